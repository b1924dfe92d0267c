//! What users choose for their devices: when they are told, and how much.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stentor_engine::{AccountState, Resident, Slot, slots};
use stentor_jid::BareJid;
use stentor_store::Write;
use stentor_xml::ns;

use super::hours::Hours;
use super::registration::Registration;

/// What a user chose. Whoever chose nothing has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Until when no device is told; [`FOREVER`] until that is taken back.
    pub(super) quiet_until_ms: Option<i64>,
    /// When they are told.
    pub(super) hours: Hours,
    /// How much.
    pub(super) told: Told,
    /// How much each is told, by the mark of its registration; the lesser of both holds.
    pub(super) devices: BTreeMap<String, Told>,
}

/// How much a device is told; never more than the operator permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Told {
    /// Nothing at all.
    Nothing,
    /// That something came.
    Bare,
    /// Who wrote.
    Sender,
    /// And what.
    #[default]
    All,
}

/// How it is stored.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Row {
    quiet_until_ms: Option<i64>,
    hours: Vec<String>,
    told: Told,
    devices: BTreeMap<String, Told>,
}

impl Told {
    pub(super) const ALL: [Self; 4] = [Self::All, Self::Sender, Self::Bare, Self::Nothing];

    /// Its word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Bare => "bare",
            Self::Sender => "sender",
            Self::All => "all",
        }
    }

    pub(super) fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|told| told.name() == name)
    }
}

impl Choice {
    /// How much a device is told.
    pub(super) fn told(&self, registration: &Registration) -> Told {
        let own = self.devices.get(&registration.mark()).copied().unwrap_or_default();
        self.told.min(own)
    }

    /// Until when no device is told, and why, if that is so now.
    pub(super) fn closed_until_ms(&self, now_ms: i64) -> Option<(i64, &'static str)> {
        let quiet = self.quiet_until_ms.filter(|until_ms| *until_ms > now_ms);
        let quiet = quiet.map(|until_ms| (until_ms, "do not disturb"));
        quiet.or_else(|| Some((self.hours.closed_until_ms(now_ms)?, "hours")))
    }

    /// The write that keeps it.
    pub(super) fn put(&self, owner: &BareJid) -> Write {
        let row = Row {
            quiet_until_ms: self.quiet_until_ms,
            hours: self.hours.lines(),
            told: self.told,
            devices: self.devices.clone(),
        };
        // Texts and numbers: nothing that JSON cannot say.
        let value = serde_json::to_vec(&row).unwrap_or_default();
        Write::PutData { owner: owner.clone(), kind: KIND.into(), key: String::new(), value }
    }

    fn read(value: &[u8]) -> Option<Self> {
        let row: Row = serde_json::from_slice(value).ok()?;
        let hours = Hours::read(row.hours.iter().map(String::as_str)).ok()?;
        let (quiet_until_ms, told, devices) = (row.quiet_until_ms, row.told, row.devices);
        Some(Self { quiet_until_ms, hours, told, devices })
    }
}

/// How much a device is told.
pub(super) fn told(state: &AccountState, registration: &Registration) -> Told {
    state.slots.find::<Choice>().map_or(Told::All, |choice| choice.told(registration))
}

/// Until when no device is told, and why, if that is so now.
pub(super) fn closed_until_ms(state: &AccountState, now_ms: i64) -> Option<(i64, &'static str)> {
    let choice = state.slots.find::<Choice>().and_then(|choice| choice.closed_until_ms(now_ms));
    // RFC 6121 §4.7.2.1: nobody tells when that ends.
    choice.or_else(|| is_busy(state).then(|| (now_ms.saturating_add(BUSY_MS), "busy")))
}

/// Whether the client that came last says that nobody is to disturb.
fn is_busy(state: &AccountState) -> bool {
    let last = state.available().max_by_key(|session| session.bound_ms);
    let show = last.and_then(|session| session.presence()).and_then(|presence| {
        presence.child(ns::CLIENT, "show").map(|show| show.text().trim().to_owned())
    });
    show.as_deref() == Some("dnd")
}

/// Keeps it in memory with the account.
pub(super) struct ChoiceRows;

impl Resident for ChoiceRows {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot {
        let Some((_, value)) = rows.first() else { return slots::nothing() };
        match Choice::read(value) {
            Some(choice) => Box::new(choice),
            None => {
                tracing::error!(
                    event = "damaged",
                    "What a user chose for notifications cannot be read."
                );
                slots::nothing()
            }
        }
    }
}

/// Longer than any time that can be chosen.
pub(super) const FOREVER: i64 = i64::MAX;
/// Milliseconds after which it is looked again whether somebody is still busy.
const BUSY_MS: i64 = 60_000;
/// The kind of the row.
const KIND: &str = "push-choice";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let choice = Choice {
            quiet_until_ms: Some(FOREVER),
            hours: Hours::read(["Mon-Fri 08:00-18:00 Europe/Berlin"]).unwrap(),
            told: Told::Sender,
            devices: [("0a1b2c3d".to_owned(), Told::Nothing)].into(),
        };
        let Write::PutData { value, .. } = choice.put(&BareJid::new("a@b.example").unwrap()) else {
            panic!("no row")
        };
        assert_eq!(Choice::read(&value).as_ref(), Some(&choice));
        assert_eq!(Choice::read(b"{}"), Some(Choice::default()));
        assert_eq!(Choice::read(b"{\"hours\":[\"x\"]}"), None);
    }

    #[test]
    fn the_quiet_time_ends_before_the_hours_count() {
        let hours = Hours::read(["Mon-Sun 08:00-18:00 UTC"]).unwrap();
        let choice = Choice { quiet_until_ms: Some(5), hours, ..Choice::default() };
        assert_eq!(choice.closed_until_ms(0), Some((5, "do not disturb")));
        assert_eq!(choice.closed_until_ms(5), Some((8 * 3_600_000, "hours")));
        assert_eq!(choice.closed_until_ms(8 * 3_600_000), None);
        assert_eq!(Choice::default().closed_until_ms(0), None);
    }
}
