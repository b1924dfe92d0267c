//! How our own failures look to a peer: the one mapping from internal errors to stanza errors.

use stentor_stanza::{Condition, ErrorType, StanzaError};
use stentor_store::StoreError;

/// The stanza error for a failed read or write. The cause goes to the log, not to the peer.
#[must_use]
pub fn store_error(error: &StoreError) -> StanzaError {
    if matches!(error, StoreError::Full) {
        return StanzaError::new(Condition::ResourceConstraint);
    }
    let refusal = StanzaError::new(Condition::InternalServerError);
    if error.is_temporary() { refusal.of_type(ErrorType::Wait) } else { refusal }
}
