//! Who has seen which of a component's entities: when the component goes, they must hear that those
//! are gone.

use hashbrown::{HashMap, HashSet};
use stentor_jid::Jid;
use stentor_stanza::{Head, Kind, PresenceType, Stanza};

use crate::limits::COMPONENT_SHOWN_MAX;

/// Presences that a component sent and did not take back.
#[derive(Default)]
pub(crate) struct Shown {
    /// By the component's entity: who has seen it.
    by_entity: HashMap<Jid, HashSet<Jid>>,
    count: usize,
}

impl Shown {
    /// Notes a presence of the component. What would be too much is not noted.
    pub(crate) fn note(&mut self, stanza: &Stanza) {
        let (Some(from), Some(to)) = (&stanza.head.from, &stanza.head.to) else { return };
        match stanza.presence_type() {
            Some(PresenceType::Available) if self.count < COMPONENT_SHOWN_MAX => {
                let is_new = self.by_entity.entry(from.clone()).or_default().insert(to.clone());
                self.count += usize::from(is_new);
            }
            Some(PresenceType::Unavailable) => {
                let Some(seen_by) = self.by_entity.get_mut(from) else { return };
                self.count -= usize::from(seen_by.remove(to));
                if seen_by.is_empty() {
                    self.by_entity.remove(from);
                }
            }
            _ => {}
        }
    }

    /// Takes everything back: presences that say so, in no order.
    pub(crate) fn take_back(&mut self) -> Vec<Stanza> {
        self.count = 0;
        let all = std::mem::take(&mut self.by_entity).into_iter();
        let gone = |from: &Jid, to: Jid| {
            let head = Head::new(Kind::Presence(PresenceType::Unavailable));
            Stanza::empty(head.from(from.clone()).to(to))
        };
        all.flat_map(|(from, seen_by)| {
            seen_by.into_iter().map(move |to| gone(&from, to)).collect::<Vec<_>>()
        })
        .collect()
    }
}
