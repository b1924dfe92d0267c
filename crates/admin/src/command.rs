//! What a command is: a name, a sentence, and a function from an input to an output.
//!
//! Commands are declared once and run over the local socket, on the data folder without a server,
//! or by whatever else reads [`ALL`].

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stentor_engine::registration::AccountError;
use stentor_engine::{BoxFuture, DomainError};
use stentor_store::StoreError;

use crate::{Cx, accounts, archive, devices, domains, guard, import, reports, s2s, server};

/// A command of administrators.
pub trait Command: 'static {
    /// Its name, as on the socket.
    const NAME: &'static str;
    /// What it does, in a sentence.
    const SUMMARY: &'static str;
    /// What it takes.
    type Input: Serialize + DeserializeOwned + Send + 'static;
    /// What it answers.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Does it.
    ///
    /// # Errors
    /// As [`AdminError`] says; then nothing was changed.
    fn run(
        cx: Cx,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, AdminError>> + Send;
}

/// A command among all of them.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    run: fn(Cx, Value) -> BoxFuture<'static, Result<Value, AdminError>>,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is none of this name.
    #[error("there is no command `{0}`; ask the server of the same release")]
    Unknown(String),
    /// Its input is not what it takes.
    #[error("the input is not what the command takes: {0}")]
    Input(String),
    /// It needs a running server.
    #[error("no server is running on this data folder; start it by `stentor run`")]
    NotRunning,
    /// It cannot be done, and this is why.
    #[error("{0}")]
    Refused(String),
    /// About an account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// About a domain.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

/// The same, as told to whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub error: String,
}

/// All commands.
pub const ALL: &[Entry] = &[
    Entry::of::<accounts::Add>(),
    Entry::of::<import::Import>(),
    Entry::of::<accounts::List>(),
    Entry::of::<accounts::Show>(),
    Entry::of::<accounts::SetPassword>(),
    Entry::of::<accounts::Delete>(),
    Entry::of::<accounts::Suspend>(),
    Entry::of::<accounts::Unsuspend>(),
    Entry::of::<accounts::Unlock>(),
    Entry::of::<domains::AddDomain>(),
    Entry::of::<domains::ListDomains>(),
    Entry::of::<domains::RemoveDomain>(),
    Entry::of::<devices::ListDevices>(),
    Entry::of::<devices::RevokeDevice>(),
    Entry::of::<archive::Show>(),
    Entry::of::<archive::Purge>(),
    Entry::of::<guard::ListBlocked>(),
    Entry::of::<guard::LiftBlock>(),
    Entry::of::<reports::ListReports>(),
    Entry::of::<reports::ShowReport>(),
    Entry::of::<reports::DropReport>(),
    Entry::of::<s2s::ListStreams>(),
    Entry::of::<s2s::EndStreams>(),
    Entry::of::<server::Status>(),
    Entry::of::<server::Backup>(),
    Entry::of::<server::Reload>(),
    Entry::of::<server::Stop>(),
];

/// Runs a command by its name.
///
/// # Errors
/// As [`AdminError`] says.
pub async fn run(cx: Cx, name: &str, input: Value) -> Result<Value, AdminError> {
    match ALL.iter().find(|entry| entry.name == name) {
        None => Err(AdminError::Unknown(name.to_owned())),
        Some(entry) => (entry.run)(cx, input).await,
    }
}

impl Entry {
    const fn of<C: Command>() -> Self {
        Self {
            name: C::NAME,
            summary: C::SUMMARY,
            run: |cx, input| Box::pin(erased::<C>(cx, input)),
        }
    }
}

impl AdminError {
    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown-command",
            Self::Input(_) => "bad-input",
            Self::NotRunning => "not-running",
            Self::Refused(_) => "refused",
            Self::Account(AccountError::Exists) => "account-exists",
            Self::Account(AccountError::Missing) => "no-account",
            Self::Account(AccountError::NotOurs) => "not-ours",
            Self::Account(AccountError::VisitorsOnly) => "visitors-only",
            Self::Account(AccountError::Password(_)) => "bad-password",
            Self::Domain(DomainError::Served | DomainError::Component) => "domain-exists",
            Self::Domain(DomainError::Missing) => "no-domain",
            Self::Domain(DomainError::NoProfile(_)) => "no-profile",
            Self::Domain(DomainError::Configured | DomainError::Last | DomainError::Full) => {
                "refused"
            }
            Self::Domain(DomainError::Store(_)) => "store",
            Self::Account(AccountError::Store(_)) | Self::Store(_) => "store",
        }
    }
}

impl From<AdminError> for Refusal {
    fn from(error: AdminError) -> Self {
        Self { code: error.code().to_owned(), error: error.to_string() }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

async fn erased<C: Command>(cx: Cx, input: Value) -> Result<Value, AdminError> {
    let input = serde_json::from_value(input).map_err(|e| AdminError::Input(e.to_string()))?;
    let output = C::run(cx, input).await?;
    // Every output is a plain structure of texts and numbers.
    serde_json::to_value(output).map_err(|e| AdminError::Refused(e.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stentor_testkit::World;

    use super::*;
    use crate::testing::cx;

    #[test]
    fn names_are_unique_and_summaries_are_sentences() {
        let mut names: Vec<_> = ALL.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert!(ALL.iter().all(|entry| entry.summary.ends_with('.')), "{ALL:?}");
    }

    #[tokio::test]
    async fn every_command_refuses_an_input_that_it_does_not_know() {
        let world = World::new();
        for entry in ALL {
            let outcome = run(cx(&world), entry.name, json!({ "weather": "fine" })).await;
            assert!(matches!(outcome, Err(AdminError::Input(_))), "{}: {outcome:?}", entry.name);
        }
    }

    #[tokio::test]
    async fn what_a_server_alone_knows_is_refused_without_one() {
        let world = World::new();
        for (name, input) in [
            ("account-unlock", json!({ "jid": "a@capulet.example" })),
            ("blocked-list", json!({})),
            ("blocked-lift", json!({ "address": "192.0.2.1" })),
            ("s2s-list", json!({ "domain": null })),
            ("s2s-close", json!({ "domain": "montague.example" })),
            ("reload", json!({})),
            ("stop", json!({})),
        ] {
            let offline = Cx { wishes: None, ..cx(&world) };
            let outcome = run(offline, name, input).await;
            assert!(matches!(outcome, Err(AdminError::NotRunning)), "{name}: {outcome:?}");
        }
    }
}
