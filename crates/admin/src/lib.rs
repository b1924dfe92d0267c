//! Administration: commands declared once, run over the local socket or on the data folder, and
//! the metrics page.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod accounts;
pub mod archive;
pub mod command;
pub mod devices;
pub mod domains;
pub mod facts;
pub mod guard;
pub mod import;
pub mod limits;
pub mod metrics;
pub mod reports;
pub mod s2s;
pub mod server;
pub mod socket;
#[cfg(test)]
mod testing;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stentor_engine::{BoxFuture, Engine};
use tokio::sync::{mpsc, oneshot};

pub use command::{ALL, AdminError, Command, Entry, run};
use server::Reloaded;

/// What commands run with; lent by the server, or made over a data folder without one.
#[derive(Clone)]
pub struct Cx {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Copies the database to a new file. An error is a sentence for the operator.
    pub back_up: Arc<dyn Fn(PathBuf) -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
    /// Streams between servers; none where the server does not speak to others.
    pub s2s: Option<Arc<dyn s2s::ServerStreams>>,
    /// Where wishes go; none where there is no running server.
    pub wishes: Option<mpsc::Sender<Wish>>,
}

/// What commands ask of the process around them.
#[derive(Debug)]
pub enum Wish {
    /// Read the configuration again; the answer goes back.
    Reload(oneshot::Sender<Result<Reloaded, String>>),
    /// Look for certificates of new domains; what is worth saying goes back.
    Certificates(oneshot::Sender<Result<Vec<String>, String>>),
    /// Stop in good order.
    Stop,
}

/// No input, or no output: `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Cx {
    /// Where wishes go, if there is a running server.
    ///
    /// # Errors
    /// There is none.
    fn running(&self) -> Result<&mpsc::Sender<Wish>, AdminError> {
        self.wishes.as_ref().ok_or(AdminError::NotRunning)
    }
}

impl std::fmt::Debug for Cx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx").field("is_running", &self.wishes.is_some()).finish_non_exhaustive()
    }
}
