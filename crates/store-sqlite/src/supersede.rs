//! Which writes a transaction need not make, because a later one of it replaces or undoes them:
//! changes of sessions, and stanzas that have left before they were written.

use std::collections::{HashMap, HashSet};

use stentor_store::{SessionChange, Stage, Write};

/// The writes of these stages, numbered through, that a later one makes needless; growing.
///
/// Right only if all of them are committed together.
pub(crate) fn superseded(stages: &[Stage]) -> Vec<usize> {
    let count: usize = stages.iter().map(Stage::len).sum();
    let mut later: HashMap<u64, Later> = HashMap::new();
    let mut arrived: HashSet<u64> = HashSet::new();
    let mut needless = Vec::new();
    let backwards = stages.iter().rev().flat_map(|stage| stage.writes().iter().rev());
    for (place, write) in (0..count).rev().zip(backwards) {
        let (session, change) = match write {
            Write::Session { session, change } => (session, change),
            Write::DropUnderway { numbers } => {
                arrived.extend(numbers.iter().copied());
                continue;
            }
            Write::PutUnderway(row) if arrived.contains(&row.number) => {
                needless.push(place);
                continue;
            }
            _ => continue,
        };
        let later = later.entry(*session).or_default();
        let is_needless = match change {
            SessionChange::In { .. } => std::mem::replace(&mut later.has_in, true),
            SessionChange::Ack { seq } => {
                let covers = later.acked.is_some_and(|acked| acked >= *seq);
                later.acked = later.acked.max(Some(*seq));
                covers
            }
            SessionChange::Presence(_) => std::mem::replace(&mut later.has_presence, true),
            SessionChange::Flags(_) => std::mem::replace(&mut later.has_flags, true),
            SessionChange::Push(_) | SessionChange::Directed { .. } => false,
            // What comes before these is read, or what comes after them means something else.
            SessionChange::Put(_)
            | SessionChange::Renumber { .. }
            | SessionChange::State(_)
            | SessionChange::Drop => {
                *later = Later::default();
                false
            }
        };
        if is_needless {
            needless.push(place);
        }
    }
    needless.reverse();
    needless
}

/// What comes later in the transaction for one session.
#[derive(Default)]
struct Later {
    has_in: bool,
    has_presence: bool,
    has_flags: bool,
    acked: Option<u64>,
}

#[cfg(test)]
mod tests {
    use stentor_store::UnderwayRow;

    use super::*;

    fn of(session: u64, change: SessionChange) -> Write {
        Write::Session { session, change }
    }

    fn note(session: u64, h: u32) -> Write {
        of(session, SessionChange::In { h, open_iqs: Vec::new() })
    }

    fn ack(session: u64, seq: u64) -> Write {
        of(session, SessionChange::Ack { seq })
    }

    #[test]
    fn the_last_of_each_kind_and_session_stays() {
        let first: Stage = [note(1, 1), note(2, 1), ack(1, 5)].into_iter().collect();
        let second: Stage = [note(1, 2), ack(2, 3), ack(1, 6), note(1, 3)].into_iter().collect();
        assert_eq!(superseded(&[first, second]), [0, 2, 3]);
    }

    #[test]
    fn what_has_arrived_before_it_was_written_is_not() {
        let put = |number| {
            Write::PutUnderway(UnderwayRow { number, since_ms: 0, stanza: b"x"[..].into() })
        };
        let drop = |number| Write::DropUnderway { numbers: vec![number] };
        let first: Stage = [put(1), put(2), note(1, 1), drop(1)].into_iter().collect();
        let second: Stage = [put(3), drop(4), put(4), note(1, 2)].into_iter().collect();
        assert_eq!(superseded(&[first, second]), [0, 2]);
    }

    #[test]
    fn a_smaller_acknowledgement_covers_no_larger_one() {
        let stage: Stage = [ack(1, 7), ack(1, 6)].into_iter().collect();
        assert_eq!(superseded(&[stage]), [0_usize; 0]);
    }

    #[test]
    fn what_precedes_new_numbers_stays() {
        let renumber = SessionChange::Renumber { epoch: 1, acked: 0, moves: Vec::new() };
        let writes = [ack(1, 5), note(1, 1), of(1, renumber), ack(1, 1 << 32), note(1, 2)];
        assert_eq!(superseded(&[writes.into_iter().collect()]), [0_usize; 0]);
    }
}
