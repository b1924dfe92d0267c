//! Making many accounts at a time.

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::Cx;
use crate::accounts::{Add, Credentials};
use crate::command::{AdminError, Command, Refusal};
use crate::limits::{IMPORT_ROWS, IMPORTS_IN_HAND};

/// Makes many accounts, each on its own: one that is refused keeps back no other.
#[derive(Debug)]
pub struct Import;

/// The accounts to make.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// At most [`IMPORT_ROWS`].
    pub accounts: Vec<Credentials>,
}

/// What came of a batch.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Accounts made.
    pub made: usize,
    /// Those that were not, in the order of the batch.
    pub refused: Vec<Refused>,
}

/// An account that was not made.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Where it stands in its batch, counted from 0.
    pub index: usize,
    /// Its address, as given.
    pub jid: String,
    /// Why.
    #[serde(flatten)]
    pub refusal: Refusal,
}

impl Command for Import {
    const NAME: &'static str = "account-import";
    const SUMMARY: &'static str = "Make many accounts.";
    type Input = Batch;
    type Output = Imported;

    async fn run(cx: Cx, input: Batch) -> Result<Imported, AdminError> {
        if input.accounts.len() > IMPORT_ROWS {
            let text = format!("{IMPORT_ROWS} accounts at a time and no more");
            return Err(AdminError::Refused(text));
        }
        let mut imported = Imported::default();
        let mut waiting = input.accounts.into_iter().enumerate();
        let mut in_hand = JoinSet::new();
        loop {
            // Several at a time share one commit.
            while in_hand.len() < IMPORTS_IN_HAND
                && let Some((index, credentials)) = waiting.next()
            {
                in_hand.spawn(add(cx.clone(), index, credentials));
            }
            match in_hand.join_next().await {
                None => break,
                Some(Ok(Ok(()))) => imported.made += 1,
                Some(Ok(Err(refused))) => imported.refused.push(refused),
                Some(Err(error)) => return Err(AdminError::Refused(error.to_string())),
            }
        }
        imported.refused.sort_unstable_by_key(|refused| refused.index);
        Ok(imported)
    }
}

async fn add(cx: Cx, index: usize, credentials: Credentials) -> Result<(), Refused> {
    let jid = credentials.jid.clone();
    let outcome = Add::run(cx, credentials).await;
    outcome.map(drop).map_err(|error| Refused { index, jid, refusal: error.into() })
}

#[cfg(test)]
mod tests {
    use stentor_testkit::World;

    use super::*;
    use crate::testing::cx;

    fn batch(jids: impl IntoIterator<Item = String>) -> Batch {
        let accounts = jids.into_iter().map(|jid| Credentials { jid, password: "secret".into() });
        Batch { accounts: accounts.collect() }
    }

    #[tokio::test]
    async fn makes_all_that_can_be_made_and_tells_the_others_in_order() {
        let world = World::new();
        world.add_account("taken@capulet.example").await;
        let mut jids: Vec<_> = (0..40).map(|n| format!("user{n}@capulet.example")).collect();
        jids.insert(3, "taken@capulet.example".into());
        jids.insert(7, "nowhere@elsewhere.example".into());
        jids.push("capulet.example".into());
        let imported = Import::run(cx(&world), batch(jids)).await.unwrap();
        assert_eq!(imported.made, 40);
        let refused: Vec<_> =
            imported.refused.iter().map(|r| (r.index, r.refusal.code.as_str())).collect();
        assert_eq!(refused, [(3, "account-exists"), (7, "not-ours"), (42, "refused")]);
    }

    #[tokio::test]
    async fn a_batch_beyond_the_maximum_makes_nothing() {
        let world = World::new();
        let jids = (0..=IMPORT_ROWS).map(|n| format!("user{n}@capulet.example"));
        assert!(Import::run(cx(&world), batch(jids)).await.is_err());
        let jid = "user0@capulet.example".parse().unwrap();
        assert!(world.engine.stores.accounts.load(&jid).await.unwrap().is_none());
    }
}
