//! Commands for people (XEP-0050): a form, and what follows when it comes back.

use stentor_payload::xep0004_forms::Form;
use stentor_stanza::StanzaError;

use crate::iq::{BoxFuture, IqCx};

/// A command of accounts, which their owners alone may execute.
pub trait Command: Send + Sync + 'static {
    /// A name for people.
    fn name(&self) -> &'static str;

    /// The form that is to be filled in.
    ///
    /// # Errors
    /// The asker gets this error.
    fn form(&self, cx: &IqCx<'_>) -> Result<Form, StanzaError>;

    /// Does what was filled in; a sentence for people. It is answered when that is on disk.
    fn complete<'a>(
        &'a self,
        cx: &'a IqCx<'a>,
        form: Form,
    ) -> BoxFuture<'a, Result<String, NotCompleted>>;
}

/// Why a command was not done.
#[derive(Debug)]
pub enum NotCompleted {
    /// What was filled in cannot be; a sentence for people says why.
    Form(String),
    /// Something else.
    Error(StanzaError),
}
