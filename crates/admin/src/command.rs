//! What a command is: a name, a sentence, and a function from values to a value.

use serde::de::DeserializeOwned;
use serde_json::Value;
use stentor_engine::BoxFuture;
use stentor_engine::registration::AccountError;
use stentor_store::StoreError;

use crate::{Host, guard, server, users};

/// What a command runs with.
pub type Cx = Host;

/// What a command answers.
pub type Answer = Result<Value, AdminError>;

/// A command, in data.
pub struct Spec {
    /// Its name, as on the socket.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    run: fn(Cx, Value) -> BoxFuture<'static, Answer>,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is none of this name.
    #[error("there is no command `{0}`")]
    Unknown(String),
    /// Its input is not what it takes.
    #[error("the input is not what the command takes: {0}")]
    Input(String),
    /// It cannot be done, and this is why.
    #[error("{0}")]
    Refused(String),
    /// About an account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

/// All commands.
pub const ALL: &[Spec] = &[
    users::ADD,
    users::LIST,
    users::PASSWORD,
    users::DELETE,
    users::SUSPEND,
    users::RESUME,
    users::UNLOCK,
    guard::BLOCKED,
    guard::UNBLOCK,
    server::STATUS,
    server::BACKUP,
    server::RELOAD,
    server::STOP,
];

/// Runs a command by its name.
///
/// # Errors
/// As [`AdminError`] says.
pub async fn run(cx: Cx, name: &str, input: Value) -> Answer {
    match ALL.iter().find(|spec| spec.name == name) {
        None => Err(AdminError::Unknown(name.to_owned())),
        Some(spec) => (spec.run)(cx, input).await,
    }
}

impl Spec {
    pub(crate) const fn new(
        name: &'static str,
        summary: &'static str,
        run: fn(Cx, Value) -> BoxFuture<'static, Answer>,
    ) -> Self {
        Self { name, summary, run }
    }
}

/// Reads the input of a command.
pub(crate) fn input<T: DeserializeOwned>(value: Value) -> Result<T, AdminError> {
    serde_json::from_value(value).map_err(|e| AdminError::Input(e.to_string()))
}
