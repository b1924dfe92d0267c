//! What features keep in memory with an account: typed values beside the roster.

use std::any::Any;
use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_store::{DataRow, StoreError};

use crate::engine::Engine;

/// A value that a feature keeps with an account.
pub type Slot = Box<dyn Any + Send>;

/// Small data of a feature that is in memory whenever its account is.
pub trait Resident: Send + Sync + 'static {
    /// The kind of its rows in the store; it never changes.
    fn kind(&self) -> &'static str;

    /// Makes the value of the rows of this kind, keys and values, in the order of the keys. A row
    /// that cannot be read is left out and logged: the account must come up. What most accounts have
    /// none of may be [`nothing`].
    fn build(&self, rows: Vec<(String, Vec<u8>)>) -> Slot;
}

/// A slot without a value, which takes no memory.
#[must_use]
pub fn nothing() -> Slot {
    Box::new(())
}

/// The values of one account, at most one of each type. A handful: a list is faster than a map.
#[derive(Default)]
pub struct Slots(Vec<Slot>);

impl Slots {
    /// The value of this type, if some feature keeps one.
    #[must_use]
    pub fn find<T: 'static>(&self) -> Option<&T> {
        self.0.iter().find_map(|slot| slot.downcast_ref())
    }

    /// The same, to be changed.
    pub fn find_mut<T: 'static>(&mut self) -> Option<&mut T> {
        self.0.iter_mut().find_map(|slot| slot.downcast_mut())
    }

    /// The value of this type, made if there is none.
    pub fn entry<T: Default + Send + 'static>(&mut self) -> &mut T {
        let at = self.0.iter().position(|slot| slot.is::<T>()).unwrap_or_else(|| {
            self.0.push(Box::new(T::default()));
            self.0.len() - 1
        });
        self.0[at].downcast_mut().expect("it has this type")
    }

    /// Adds a value of a type that there is none of.
    pub(crate) fn push(&mut self, slot: Slot) {
        self.0.push(slot);
    }

    /// Adds a value or replaces the one of its type.
    pub fn put<T: Send + 'static>(&mut self, value: T) {
        match self.find_mut() {
            Some(slot) => *slot = value,
            None => self.0.push(Box::new(value)),
        }
    }
}

/// Reads what the features of the account's domain keep with it.
pub(crate) async fn load(engine: &Engine, owner: &BareJid) -> Result<Slots, StoreError> {
    let Some(host) = engine.host(owner.as_jid().domain()) else { return Ok(Slots::default()) };
    let residents = &host.profile.residents;
    if residents.is_empty() {
        return Ok(Slots::default());
    }
    let kinds: Vec<&'static str> = residents.iter().map(|r| r.kind()).collect();
    let mut rows = engine.stores.data.of_kinds(owner, &kinds).await?;
    let slots = residents.iter().map(|resident| build(resident, &mut rows));
    let mut slots: Vec<_> = slots.filter(|slot| !slot.is::<()>()).collect();
    slots.shrink_to_fit();
    Ok(Slots(slots))
}

fn build(resident: &Arc<dyn Resident>, rows: &mut Vec<DataRow>) -> Slot {
    let of_kind = rows.extract_if(.., |row| row.kind == resident.kind());
    resident.build(of_kind.map(|row| (row.key, row.value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_holds_one_value_of_each_type() {
        let mut slots = Slots::default();
        slots.put(1_u32);
        slots.put(String::from("a"));
        slots.put(2_u32);
        assert_eq!(slots.find(), Some(&2_u32));
        slots.find_mut::<String>().unwrap().push('b');
        assert_eq!(slots.find::<String>().unwrap(), "ab");
        assert_eq!(slots.find::<u64>(), None);
        *slots.entry::<u32>() += 1;
        assert_eq!(slots.find(), Some(&3_u32));
        assert_eq!(size_of_val(&*nothing()), 0);
        assert_eq!(slots.0.len(), 2);
    }
}
