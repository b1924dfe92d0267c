//! Roster versions: whatever happens, a client that is told of changes ends up with the roster.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use stentor_jid::BareJid;
use stentor_store::{RosterChange, RosterChanges, RosterRow, Stores, Write};
use stentor_store_sqlite::{Options, Sqlite};

type Contacts = BTreeMap<BareJid, RosterRow>;

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn owner() -> BareJid {
    BareJid::new("romeo@montague.example").unwrap()
}

fn current(stores: &Stores) -> (u64, Contacts) {
    let data = wait(stores.roster.load(&owner())).unwrap();
    (data.version, data.items.into_iter().map(|item| (item.contact.clone(), item)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn prop_changes_lead_from_any_version_to_the_last(
        steps in prop::collection::vec((0_u8..8, 0_u8..4, 0_u64..3), 1..60),
    ) {
        let sqlite = Sqlite::in_memory_inline(&Options::default()).unwrap();
        let stores = sqlite.stores();
        let create = Write::CreateAccount { owner: owner(), created_ms: 0, keys: Vec::new() };
        wait(stores.writer.submit(create)).unwrap();
        let mut clients = vec![current(&stores)];
        for (contact, action, leap) in steps {
            // A new version for each change; leaps leave gaps.
            let version = clients.last().unwrap().0 + 1 + leap;
            let contact = BareJid::new(&format!("c{contact}@capulet.example")).unwrap();
            let write = if action == 0 {
                Write::RemoveRoster { owner: owner(), contact, version }
            } else {
                let name = Some(format!("name {action}"));
                let item = RosterRow { name, ..RosterRow::new(contact) };
                Write::PutRoster { owner: owner(), item, version }
            };
            wait(stores.writer.submit(write)).unwrap();
            clients.push(current(&stores));
        }
        let (last, expected) = current(&stores);
        for (since, mut contacts) in clients {
            let RosterChanges::Since { changes, version } =
                wait(stores.roster.changes(&owner(), since)).unwrap()
            else {
                prop_assert!(since == 0, "version {} is forgotten", since);
                continue;
            };
            prop_assert_eq!(version, last);
            for (_, change) in changes {
                match change {
                    RosterChange::Put(item) => drop(contacts.insert(item.contact.clone(), item)),
                    RosterChange::Removed(contact) => drop(contacts.remove(&contact)),
                }
            }
            prop_assert_eq!(&contacts, &expected);
        }
    }
}
