//! Requests of our own: what a domain of ours asks others, and the answers (RFC 6120 §8.2.3).

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use stentor_jid::Jid;
use stentor_stanza::{Condition, ErrorType, Head, Id, IqType, Kind, Stanza, StanzaError};
use stentor_xml::Writer;
use tokio::sync::oneshot;

use crate::ask::{self, Asker};
use crate::bind::random_id;
use crate::engine::{Engine, Route};
use crate::host::Host;
use crate::limits::{OWN_REQUEST_WAIT_SECS, OWN_REQUESTS_MAX};
use crate::session::send_to_resource;

/// What has been asked and not been answered.
#[derive(Default)]
pub(crate) struct Asked(Mutex<HashMap<Id, Question>>);

struct Question {
    /// Who alone may answer.
    whom: Jid,
    /// Whom.
    asker: Jid,
    answer: oneshot::Sender<Stanza>,
}

/// Forgets the question whatever ends the wait.
struct Forget<'a>(&'a Asked, Id);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

impl Engine {
    /// Asks an entity something in a domain's name; `f` writes the payload. Waits for the answer,
    /// for [`OWN_REQUEST_WAIT_SECS`] at most.
    ///
    /// # Errors
    /// What the entity answers; `remote-server-timeout` (wait) if it does not; what the way to it
    /// says; `resource-constraint` where too much has been asked already.
    pub async fn request(
        self: &Arc<Self>,
        host: &Host,
        to: &Jid,
        kind: IqType,
        f: impl FnOnce(&mut Writer) + Send,
    ) -> Result<Stanza, StanzaError> {
        let domain = Jid::new(&host.domain);
        let domain = domain.map_err(|_| StanzaError::new(Condition::InternalServerError))?;
        self.request_as(domain, to, kind, f).await
    }

    /// The same in the name of an account, by its bare address: whoever shows it presence answers
    /// it (RFC 6121 §8.5.3).
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn request_as(
        self: &Arc<Self>,
        from: Jid,
        to: &Jid,
        kind: IqType,
        f: impl FnOnce(&mut Writer) + Send,
    ) -> Result<Stanza, StanzaError> {
        let random = random_id();
        let id = Id::from(random.map_err(|_| StanzaError::new(Condition::InternalServerError))?);
        let head = Head::new(Kind::Iq(kind)).from(from.clone()).to(to.clone()).id(id.clone());
        let stanza = Stanza::build(head, f);
        let answer = self.asked.ask(&id, &from, to)?;
        let _forget = Forget(&self.asked, id);
        let said = match self.hand_out(&from, to, stanza).await? {
            Some(said) => said,
            None => tokio::time::timeout(Duration::from_secs(OWN_REQUEST_WAIT_SECS), answer)
                .await
                .ok()
                .and_then(Result::ok)
                .ok_or(StanzaError::new(Condition::RemoteServerTimeout).of_type(ErrorType::Wait))?,
        };
        match said.error() {
            Some(error) => Err(error),
            None if said.iq_type() == Some(IqType::Error) => {
                Err(StanzaError::new(Condition::UndefinedCondition))
            }
            None => Ok(said),
        }
    }

    /// Waits for the answer to a request that is sent in somebody's name, from a bare address of ours.
    /// It keeps its id unless that is in use.
    ///
    /// # Errors
    /// As in [`Engine::request`]; an error that the entity answers is an answer.
    pub(crate) async fn request_for(
        &self,
        mut stanza: Stanza,
        send: impl FnOnce(Stanza) -> Result<(), StanzaError> + Send,
    ) -> Result<Stanza, StanzaError> {
        let missing = || StanzaError::new(Condition::BadRequest);
        let from = stanza.head.from.clone().ok_or_else(missing)?;
        let to = stanza.head.to.clone().ok_or_else(missing)?;
        let given = stanza.head.id.clone().ok_or_else(missing)?;
        let mut id = given.clone();
        if self.asked.0.lock().contains_key(&id) {
            let random = random_id();
            id = random.map_err(|_| StanzaError::new(Condition::InternalServerError))?.into();
        }
        let answer = self.asked.ask(&id, &from, &to)?;
        stanza.head.id = Some(id.clone());
        let _forget = Forget(&self.asked, id);
        send(stanza)?;
        let wait = Duration::from_secs(OWN_REQUEST_WAIT_SECS);
        let said = tokio::time::timeout(wait, answer).await.ok().and_then(Result::ok);
        let mut said = said.ok_or(StanzaError::new(Condition::RemoteServerTimeout))?;
        said.head.id = Some(given);
        Ok(said)
    }

    /// Sends the request on its way. `Some` answer where one of us gives it at once.
    async fn hand_out(
        self: &Arc<Self>,
        from: &Jid,
        to: &Jid,
        stanza: Stanza,
    ) -> Result<Option<Stanza>, StanzaError> {
        match self.route(to) {
            Route::Remote => self.send_remote(stanza).map(|_| None),
            Route::Account(..) if to.is_full() => match send_to_resource(self, stanza) {
                true => Ok(None),
                false => Err(StanzaError::new(Condition::ServiceUnavailable)),
            },
            route => {
                let asker = Asker::elsewhere(from);
                let answer = ask::answer(self, asker, route, &stanza).await;
                answer.map(Some).ok_or(StanzaError::new(Condition::ServiceUnavailable))
            }
        }
    }

    /// Takes an answer to a request of ours; false if nothing of the kind was asked.
    pub(crate) fn take_answer(&self, stanza: &Stanza) -> bool {
        let (Some(id), Some(from)) = (&stanza.head.id, &stanza.head.from) else { return false };
        let mut asked = self.asked.0.lock();
        let is_it = |q: &Question| q.whom == *from && Some(&q.asker) == stanza.head.to.as_ref();
        if !asked.get(id.as_str()).is_some_and(is_it) {
            return false;
        }
        let question = asked.remove(id.as_str());
        question.is_some_and(|question| question.answer.send(stanza.clone()).is_ok())
    }
}

/// A time about as long as this one: between half of it and half as much again, so that those who
/// wait for the same do not all try again at once. The best known where there is no randomness.
#[must_use]
pub fn about(ms: u64) -> u64 {
    let mut bytes = [0_u8; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => ms / 2 + ms * u64::from(u16::from_be_bytes(bytes)) / u64::from(u16::MAX),
        Err(_) => ms,
    }
}

impl Asked {
    fn ask(
        &self,
        id: &Id,
        asker: &Jid,
        whom: &Jid,
    ) -> Result<oneshot::Receiver<Stanza>, StanzaError> {
        let mut asked = self.0.lock();
        if asked.len() >= OWN_REQUESTS_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        let (answer, receiver) = oneshot::channel();
        asked.insert(id.clone(), Question { whom: whom.clone(), asker: asker.clone(), answer });
        Ok(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spread_round_what_they_are_about() {
        for _ in 0..200 {
            assert!((500..=1_500).contains(&about(1_000)));
        }
        assert_eq!(about(0), 0);
    }
}
