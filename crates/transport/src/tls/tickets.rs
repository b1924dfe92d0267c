//! Session tickets (RFC 8446 §4.6.1, RFC 5077): stateless, under keys that live in memory only.
//!
//! A ticket opens only for the certificate it was issued under, so none works for another host's
//! certificate or after a renewal; rustls itself compares the server name. A key issues tickets
//! for 12 hours, opens them for 12 more, and is then erased: recorded traffic stays closed.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use parking_lot::Mutex;
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::limits::{TICKET_KEY_SECS, TICKET_LIFETIME_SECS};

/// The ticket keys of one set of certificates.
pub(crate) struct TicketKeys {
    state: Mutex<State>,
}

struct State {
    current: Option<Key>,
    previous: Option<Key>,
}

struct Key {
    id: [u8; KEY_ID_LEN],
    made_at_secs: u64,
    cipher: RandomizedNonceKey,
}

impl TicketKeys {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State { current: None, previous: None }) }
    }

    /// Erases all keys: every ticket out there becomes useless.
    pub(crate) fn erase(&self) {
        let mut state = self.state.lock();
        state.current = None;
        state.previous = None;
    }

    fn seal(&self, binding: &[u8], plain: &[u8], now_secs: u64) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        state.rotate(now_secs);
        if state.current.is_none() {
            state.current = Key::new(now_secs);
        }
        let key = state.current.as_ref()?;
        let mut sealed = plain.to_vec();
        let nonce = key.cipher.seal_in_place_append_tag(Aad::from(binding), &mut sealed).ok()?;
        Some([&key.id[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, binding: &[u8], ticket: &[u8], now_secs: u64) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_at_checked(KEY_ID_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut state = self.state.lock();
        state.rotate(now_secs);
        let key = [&state.current, &state.previous].into_iter().flatten().find(|k| k.id == id)?;
        let mut plain = sealed.to_vec();
        let len = key.cipher.open_in_place(nonce, Aad::from(binding), &mut plain).ok()?.len();
        plain.truncate(len);
        Some(plain)
    }
}

impl State {
    fn rotate(&mut self, now_secs: u64) {
        let age = |key: &Key| now_secs.saturating_sub(key.made_at_secs);
        if self.current.as_ref().is_some_and(|key| age(key) >= TICKET_KEY_SECS) {
            self.previous = self.current.take();
        }
        if self.previous.as_ref().is_some_and(|key| age(key) >= u64::from(TICKET_LIFETIME_SECS)) {
            self.previous = None;
        }
    }
}

impl Key {
    fn new(now_secs: u64) -> Option<Self> {
        let mut id = [0; KEY_ID_LEN];
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut id).ok()?;
        rand::fill(&mut *bytes).ok()?;
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &*bytes).ok()?;
        Some(Self { id, made_at_secs: now_secs, cipher })
    }
}

/// Tickets of one certificate.
pub(crate) struct Tickets {
    keys: Arc<TicketKeys>,
    /// Fingerprint of the certificate, authenticated with each ticket.
    binding: [u8; 32],
}

impl Tickets {
    pub(crate) fn new(keys: Arc<TicketKeys>, binding: [u8; 32]) -> Self {
        Self { keys, binding }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME_SECS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.seal(&self.binding, plain, UnixTime::now().as_secs())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.keys.open(&self.binding, ticket, UnixTime::now().as_secs())
    }
}

/// Issues nothing and accepts nothing.
#[derive(Debug)]
pub(crate) struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _ticket: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

const KEY_ID_LEN: usize = 8;
const NONCE_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    #[test]
    fn opens_what_it_sealed() {
        let keys = TicketKeys::new();
        let ticket = keys.seal(b"cert", b"state", NOW).unwrap();
        assert_eq!(keys.open(b"cert", &ticket, NOW + 60).unwrap(), b"state");
    }

    #[test]
    fn refuses_a_ticket_of_another_certificate() {
        let keys = TicketKeys::new();
        let ticket = keys.seal(b"cert", b"state", NOW).unwrap();
        assert!(keys.open(b"other", &ticket, NOW).is_none());
    }

    #[test]
    fn refuses_a_changed_or_short_ticket() {
        let keys = TicketKeys::new();
        let ticket = keys.seal(b"cert", b"state", NOW).unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(keys.open(b"cert", &changed, NOW).is_none(), "byte {at}");
            assert!(keys.open(b"cert", &ticket[..at], NOW).is_none(), "length {at}");
        }
    }

    #[test]
    fn erases_a_key_after_a_day() {
        let keys = TicketKeys::new();
        let ticket = keys.seal(b"cert", b"state", NOW).unwrap();
        let day = u64::from(TICKET_LIFETIME_SECS);
        let next = keys.seal(b"cert", b"state", NOW + TICKET_KEY_SECS).unwrap();
        assert_ne!(ticket[..KEY_ID_LEN], next[..KEY_ID_LEN]);
        assert!(keys.open(b"cert", &ticket, NOW + day - 1).is_some());
        assert!(keys.open(b"cert", &ticket, NOW + day).is_none());
        assert!(keys.open(b"cert", &next, NOW + day).is_some());
    }

    #[test]
    fn erasing_makes_all_tickets_useless() {
        let keys = TicketKeys::new();
        let ticket = keys.seal(b"cert", b"state", NOW).unwrap();
        keys.erase();
        assert!(keys.open(b"cert", &ticket, NOW).is_none());
    }
}
