//! Administration: commands declared once, run over the local socket or on the data folder, and
//! the metrics page.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod command;
mod guard;
pub mod limits;
pub mod metrics;
mod server;
pub mod socket;
mod users;

use std::path::PathBuf;
use std::sync::Arc;

use stentor_engine::{BoxFuture, Engine};
use tokio::sync::mpsc;

pub use command::{ALL, AdminError, Answer, Cx, Spec, run};

/// What commands ask of the process around them.
#[derive(Debug)]
pub enum Wish {
    /// Read the configuration again; the answer goes back in words.
    Reload(tokio::sync::oneshot::Sender<Result<String, String>>),
    /// Stop in good order.
    Stop,
}

/// What the server lends to commands.
#[derive(Clone)]
pub struct Host {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Copies the database to a path.
    pub back_up: Arc<dyn Fn(PathBuf) -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
    /// Where wishes go; none where there is no running server.
    pub wishes: Option<mpsc::Sender<Wish>>,
}
