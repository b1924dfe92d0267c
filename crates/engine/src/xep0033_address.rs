//! XEP-0033: Extended Stanza Addressing, version 1.2.1.
//!
//! A stanza to the domain that names several receivers goes to each of them. What a client sends is
//! sent to each as if it had been sent to that one alone: with the same rules, the same limits, a place
//! of its own in archives, and an error of its own that comes from whoever did not get it.
//! Implements: §2.2 (who may), §3, §4.5, §5.1 (it is directed presence), §6 (steps 4 to 8 and 10), §9.
//! Left out: other servers' multicast services (§6, steps 9 and 11) are not made use of: archive,
//! acknowledgement and order are those of one receiver each.

use std::sync::Arc;

use stentor_payload::xep0033_address::{Addresses, NS};
use stentor_stanza::{Condition, ErrorType, MessageType, PresenceType, Stanza, StanzaError};

use crate::engine::{Engine, Route};
use crate::host::Host;
use crate::session::{Handling, Session, bad_request};

/// The stanza for each receiver, if it is one for several.
type Spread = Option<Result<Vec<Stanza>, StanzaError>>;

impl Session {
    /// How many stanzas it counts for.
    #[must_use]
    pub fn weight(&self, stanza: &Stanza) -> u64 {
        let Some((_, addresses)) = service(&self.engine, stanza) else { return 1 };
        let count = addresses.map_or(0, |addresses| addresses.receivers().len());
        u64::try_from(count).unwrap_or(u64::MAX).max(1)
    }

    /// Deals with a stanza that is for several; none if it is not.
    pub(crate) fn spread(self: &Arc<Self>, stanza: &Stanza, at_ms: i64) -> Option<Handling> {
        let (host, addresses) = service(&self.engine, stanza)?;
        let copies = addresses.and_then(|addresses| {
            // §2.2: visitors have no accounts.
            if self.account.is_ephemeral {
                return Err(StanzaError::new(Condition::Forbidden));
            }
            copies(&host, stanza, &addresses)
        });
        let copies = match copies {
            Ok(copies) => copies,
            Err(error) => {
                self.refuse(stanza, &error);
                return Some(Handling::Done);
            }
        };
        let session = self.clone();
        Some(Handling::Later(Box::pin(async move { session.send_each(copies, at_ms).await })))
    }

    async fn send_each(self: Arc<Self>, copies: Vec<Stanza>, at_ms: i64) {
        let received = self.received();
        let last = copies.len().saturating_sub(1);
        for (n, copy) in copies.into_iter().enumerate() {
            self.settle_if_many().await;
            // It has been dealt with when its last copy has: not before does the store say so.
            self.note_received(if n == last { received } else { received.saturating_sub(1) });
            if let Handling::Later(rest) = self.handle_one(copy, at_ms) {
                rest.await;
            }
        }
    }
}

/// What another server sends for several of ours; none if it is not for several. §2.2: we carry
/// nothing to others, and deliver to nobody what asks for that.
pub(crate) fn spread_from_abroad(engine: &Engine, stanza: &Stanza) -> Spread {
    let (host, addresses) = service(engine, stanza)?;
    Some(addresses.and_then(|addresses| {
        let is_ours = |jid: &&stentor_jid::Jid| matches!(engine.route(jid), Route::Account(..));
        if !addresses.receivers().iter().all(is_ours) {
            return Err(StanzaError::new(Condition::Forbidden));
        }
        copies(&host, stanza, &addresses)
    }))
}

/// The domain that is to send a stanza to several, and whom it names. What is itself an error, and
/// presence that asks for something, is for nobody but whom it is addressed to.
fn service<'a>(
    engine: &Engine,
    stanza: &'a Stanza,
) -> Option<(Arc<Host>, Result<Addresses<'a>, StanzaError>)> {
    let to = stanza.head.to.as_ref()?;
    let may_spread = match (stanza.message_type(), stanza.presence_type()) {
        (Some(kind), _) => kind != MessageType::Error,
        (_, Some(kind)) => kind != PresenceType::Error && kind != PresenceType::Probe,
        _ => false,
    };
    // §3: with no username or resource.
    if !may_spread || to.local().is_some() || to.is_full() {
        return None;
    }
    let host = engine.host(to.domain())?;
    host.profile.receivers_max?;
    let addresses = stanza.child(NS, "addresses")?;
    Some((host, Addresses::read(addresses)))
}

/// What each receiver gets: those who are named share one body.
fn copies(
    host: &Host,
    stanza: &Stanza,
    addresses: &Addresses<'_>,
) -> Result<Vec<Stanza>, StanzaError> {
    if stanza.presence_type().is_some_and(PresenceType::is_subscription) {
        return Err(bad_request());
    }
    let max = host.profile.receivers_max.unwrap_or(0);
    if addresses.receivers_count() > max {
        // §9: `not-acceptable`, which is of the type `modify`.
        return Err(StanzaError::new(Condition::NotAcceptable)
            .of_type(ErrorType::Modify)
            .with_text("There are too many receivers."));
    }
    let mut rest = stanza.clone();
    rest.cut(|child| child.is(NS, "addresses"));
    let mut named = rest.clone();
    named.append(|w| addresses.write(w, None));
    let copies = addresses.receivers().into_iter().map(|receiver| {
        let head = stanza.head.clone().to(receiver.clone());
        if addresses.is_open(receiver) {
            return named.with_head(head);
        }
        let mut blind = rest.with_head(head);
        blind.append(|w| addresses.write(w, Some(receiver)));
        blind
    });
    Ok(copies.collect())
}
