//! Commands about archives of messages.

use serde::{Deserialize, Serialize};
use stentor_engine::registration::AccountError;
use stentor_jid::BareJid;

use crate::Cx;
use crate::accounts::address;
use crate::command::{AdminError, Command};

/// Tells how much an archive holds.
#[derive(Debug)]
pub struct Show;

/// Removes messages from an archive.
#[derive(Debug)]
pub struct Purge;

/// Whose archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whose {
    /// The account.
    pub jid: String,
}

/// Whose archive, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The account.
    pub jid: String,
    /// Messages younger than this many days stay; without it none does.
    #[serde(default)]
    pub keep_days: Option<u32>,
}

/// What an archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The account.
    pub jid: String,
    /// Messages.
    pub messages: u64,
    /// Their bytes. A message that two accounts share counts for both.
    pub bytes: u64,
}

impl Command for Show {
    const NAME: &'static str = "archive-show";
    const SUMMARY: &'static str = "Tell how many messages the archive of an account holds.";
    type Input = Whose;
    type Output = Held;

    async fn run(cx: Cx, input: Whose) -> Result<Held, AdminError> {
        held(&cx, account(&cx, &input.jid).await?).await
    }
}

impl Command for Purge {
    const NAME: &'static str = "archive-purge";
    const SUMMARY: &'static str = "Remove messages from the archive of an account.";
    type Input = Which;
    type Output = Held;

    async fn run(cx: Cx, input: Which) -> Result<Held, AdminError> {
        let jid = account(&cx, &input.jid).await?;
        let kept_ms = |days: u32| i64::from(days).saturating_mul(DAY_MS);
        let before_ms =
            input.keep_days.map_or(i64::MAX, |days| cx.engine.clock.unix_ms() - kept_ms(days));
        cx.engine.stores.archive.purge(&jid, before_ms).await?;
        tracing::info!(event = "archive_purged", account = %jid, keep_days = input.keep_days, "Messages were removed from an archive.");
        held(&cx, jid).await
    }
}

async fn account(cx: &Cx, jid: &str) -> Result<BareJid, AdminError> {
    let jid = address(jid)?;
    match cx.engine.stores.accounts.load(&jid).await? {
        Some(_) => Ok(jid),
        None => Err(AccountError::Missing.into()),
    }
}

async fn held(cx: &Cx, jid: BareJid) -> Result<Held, AdminError> {
    let usage = cx.engine.stores.archive.usage(&jid).await?;
    Ok(Held { jid: jid.to_string(), messages: usage.count, bytes: usage.bytes })
}

const DAY_MS: i64 = 86_400_000;

#[cfg(test)]
mod tests {
    use stentor_testkit::World;

    use super::*;
    use crate::testing::cx;

    #[tokio::test]
    async fn messages_are_removed_by_age_or_all() {
        let world = World::new();
        world.add_account("juliet@capulet.example").await;
        let jid = "juliet@capulet.example".to_owned();
        let mut juliet = world.connect("juliet@capulet.example/balcony").await;
        for day in 0..3 {
            let message = format!("<message type='chat' id='{day}'><body>x</body></message>");
            juliet.send(&message).await;
            world.advance(86_400);
        }
        let show = async || Show::run(cx(&world), Whose { jid: jid.clone() }).await.unwrap();
        let purge = async |keep_days| {
            let which = Which { jid: jid.clone(), keep_days };
            Purge::run(cx(&world), which).await.unwrap().messages
        };
        assert_eq!(show().await.messages, 3);
        assert!(show().await.bytes > 3 * 40);
        assert_eq!(purge(Some(30)).await, 3);
        assert_eq!(purge(Some(1)).await, 1);
        assert_eq!(purge(None).await, 0);
    }

    #[tokio::test]
    async fn who_has_no_account_has_no_archive() {
        let world = World::new();
        let jid = "nobody@capulet.example".to_owned();
        let shown = Show::run(cx(&world), Whose { jid: jid.clone() }).await;
        assert!(matches!(shown, Err(AdminError::Account(AccountError::Missing))), "{shown:?}");
        let purged = Purge::run(cx(&world), Which { jid, keep_days: None }).await;
        assert!(matches!(purged, Err(AdminError::Account(AccountError::Missing))), "{purged:?}");
    }
}
