//! What the log says of a store that refuses: when it begins, each minute that it goes on, and when
//! it is over. A disk is full for hours, and each write that it refuses would fill it with a line.

use std::time::{Duration, Instant};

use crate::writer::Backend;
use crate::{Stage, StoreError};

/// A backend whose refusals are told.
pub(crate) struct Told<B> {
    backend: B,
    outage: Outage,
}

/// Refusals that no success has ended.
#[derive(Debug, Default)]
struct Outage {
    began: Option<Instant>,
    told: Option<Instant>,
    refused: u64,
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
enum Say {
    Refuses { refused: u64 },
    AcceptsAgain { refused: u64, secs: u64 },
}

impl<B: Backend> Told<B> {
    pub(crate) fn new(backend: B) -> Self {
        Self { backend, outage: Outage::default() }
    }
}

impl<B: Backend> Backend for Told<B> {
    fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
        let results = self.backend.commit(stages);
        let of_store = |result: &&Result<(), StoreError>| {
            result.as_ref().is_err_and(|error| !error.is_of_the_stage())
        };
        let refused = results.iter().filter(of_store).count();
        if refused > 0 || self.outage.began.is_some() {
            let error = results.iter().find(of_store).and_then(|result| result.as_ref().err());
            if let Some(say) = self.outage.note(refused as u64, Instant::now()) {
                say.tell(error);
            }
        }
        results
    }

    fn rest(&mut self) {
        self.backend.rest();
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.backend.close()
    }
}

impl Outage {
    /// Notes a transaction of which so much was refused.
    fn note(&mut self, refused: u64, now: Instant) -> Option<Say> {
        self.refused += refused;
        if refused == 0 {
            let began = self.began.take()?;
            let (refused, secs) = (self.refused, now.saturating_duration_since(began).as_secs());
            *self = Self::default();
            return Some(Say::AcceptsAgain { refused, secs });
        }
        self.began.get_or_insert(now);
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(Say::Refuses { refused: self.refused })
    }
}

impl Say {
    fn tell(&self, error: Option<&StoreError>) {
        match self {
            Self::Refuses { refused } => {
                let error = error.map(tracing::field::display);
                tracing::error!(
                    event = "store_refuses",
                    error,
                    refused,
                    "The store refuses writes, and their senders are told to try again: look after \
                     the disk of the data folder."
                );
            }
            Self::AcceptsAgain { refused, secs } => tracing::info!(
                event = "store_accepts",
                refused,
                secs,
                "The store accepts writes again."
            ),
        }
    }
}

const EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_when_it_begins_each_minute_and_when_it_is_over() {
        let begin = Instant::now();
        let at = |secs| begin + Duration::from_secs(secs);
        let mut outage = Outage::default();
        assert_eq!(outage.note(2, at(0)), Some(Say::Refuses { refused: 2 }));
        assert_eq!(outage.note(1, at(1)), None);
        assert_eq!(outage.note(1, at(59)), None);
        assert_eq!(outage.note(1, at(60)), Some(Say::Refuses { refused: 5 }));
        assert_eq!(outage.note(4, at(61)), None);
        assert_eq!(outage.note(0, at(70)), Some(Say::AcceptsAgain { refused: 9, secs: 70 }));
        assert_eq!(outage.note(0, at(71)), None);
        assert_eq!(outage.note(1, at(72)), Some(Say::Refuses { refused: 1 }));
    }
}
