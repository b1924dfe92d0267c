//! The end of a run: everything arrived, and the archives tell the same.

use std::collections::{BTreeMap, BTreeSet};

use stentor_jid::BareJid;
use stentor_stanza::Stanza;
use stentor_store::{ArchiveFilter, ArchiveRange, ArchiveRow, Edge, Stores};

use crate::device::{Counts, Device};

/// Panics at the first difference.
pub(super) async fn judge(stores: &Stores, devices: &[Device]) -> Counts {
    let mut counts = Counts::default();
    for device in devices {
        counts.add(device.counts);
        // The other device of an account says nothing.
        if device.has_twin && device.sent.is_empty() {
            continue;
        }
        for other in devices.iter().filter(|other| other.me != device.me) {
            let wanted: Vec<u32> = (1..=device.sent.get(&other.me).copied().unwrap_or(0)).collect();
            let got = got(devices, &other.me, &device.me);
            assert_eq!(got, wanted, "from {} to {}", device.me, other.me);
        }
        archive(stores, devices, device).await;
    }
    counts
}

/// What the devices of an account got of somebody, together.
fn got(devices: &[Device], account: &BareJid, from: &BareJid) -> Vec<u32> {
    let own: Vec<&Device> = devices.iter().filter(|device| device.me == *account).collect();
    let all = own.iter().filter_map(|device| device.got.get(from)).flatten();
    let mut numbers: Vec<u32> = all.map(|got| got.number).collect();
    if own.len() > 1 {
        numbers.sort_unstable();
        numbers.dedup();
    }
    numbers
}

async fn archive(stores: &Stores, devices: &[Device], device: &Device) {
    let mut kept: BTreeMap<(BareJid, bool), Vec<u32>> = BTreeMap::new();
    for row in everything(stores, &device.me).await {
        let stanza = Stanza::parse(&row.body).unwrap();
        let number = stanza.child(stentor_xml::ns::CLIENT, "body").unwrap().text().parse().unwrap();
        kept.entry((row.peer.to_bare(), row.is_sent)).or_default().push(number);
    }
    let sent = device.sent.iter().map(|(to, sent)| ((to.clone(), true), (1..=*sent).collect()));
    let own = devices.iter().filter(|other| other.me == device.me);
    let senders: BTreeSet<&BareJid> = own.flat_map(|own| own.got.keys()).collect();
    let got =
        senders.into_iter().map(|from| ((from.clone(), false), got(devices, &device.me, from)));
    let wanted: BTreeMap<(BareJid, bool), Vec<u32>> = sent.chain(got).collect();
    assert_eq!(kept, wanted, "the archive of {}", device.me);
}

async fn everything(stores: &Stores, owner: &BareJid) -> Vec<ArchiveRow> {
    let mut rows: Vec<ArchiveRow> = Vec::new();
    loop {
        let from = rows.last().map_or(Edge::First, |row| Edge::After(row.id));
        let range = ArchiveRange { limit: 500, from };
        let page = stores.archive.page(owner, ArchiveFilter::default(), range).await.unwrap();
        let page = page.unwrap();
        rows.extend(page.rows);
        if page.is_complete {
            return rows;
        }
    }
}
