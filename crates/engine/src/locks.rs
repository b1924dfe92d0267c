//! Both accounts of a message, locked for its whole decision.

use parking_lot::MutexGuard;

use crate::account::{Account, AccountState};

/// The states of sender and recipient, whichever are ours.
///
/// Two accounts are locked in the order of their addresses, so that two messages that cross cannot
/// wait for each other. This is the only place that holds two.
pub(crate) struct Locks<'a> {
    sender: Option<MutexGuard<'a, AccountState>>,
    recipient: Option<MutexGuard<'a, AccountState>>,
    is_same: bool,
}

impl<'a> Locks<'a> {
    /// Locks them.
    pub(crate) fn take(sender: Option<&'a Account>, recipient: Option<&'a Account>) -> Self {
        let (sender, recipient, is_same) = match (sender, recipient) {
            (Some(s), Some(r)) if std::ptr::eq(s, r) => (None, Some(r.lock()), true),
            (Some(s), Some(r)) if s.jid < r.jid => {
                let first = s.lock();
                (Some(first), Some(r.lock()), false)
            }
            (Some(s), Some(r)) => {
                let first = r.lock();
                (Some(s.lock()), Some(first), false)
            }
            (s, r) => (s.map(Account::lock), r.map(Account::lock), false),
        };
        Self { sender, recipient, is_same }
    }

    /// The sender's, if it is ours.
    pub(crate) fn sender(&mut self) -> Option<&mut AccountState> {
        if self.is_same { self.recipient() } else { self.sender.as_deref_mut() }
    }

    /// Both, to be looked at together.
    pub(crate) fn both(&self) -> (Option<&AccountState>, Option<&AccountState>) {
        let recipient = self.recipient.as_deref();
        (if self.is_same { recipient } else { self.sender.as_deref() }, recipient)
    }

    /// The recipient's, if it is ours.
    pub(crate) fn recipient(&mut self) -> Option<&mut AccountState> {
        self.recipient.as_deref_mut()
    }
}
