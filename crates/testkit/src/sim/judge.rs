//! The end of a run: everything arrived, and the archives tell the same.

use std::collections::BTreeMap;

use stentor_jid::BareJid;
use stentor_stanza::Stanza;
use stentor_store::{ArchiveFilter, ArchiveRange, ArchiveRow, Edge, Stores};

use crate::device::{Counts, Device};

/// Panics at the first difference.
pub(super) async fn judge(stores: &Stores, devices: &[Device]) -> Counts {
    let mut counts = Counts::default();
    for device in devices {
        counts.add(device.counts);
        for other in devices.iter().filter(|other| other.me != device.me) {
            let wanted: Vec<u32> = (1..=device.sent.get(&other.me).copied().unwrap_or(0)).collect();
            let got = other.got.get(&device.me).map_or(&[][..], Vec::as_slice);
            let got: Vec<u32> = got.iter().map(|got| got.number).collect();
            assert_eq!(got, wanted, "from {} to {}", device.me, other.me);
        }
        archive(stores, device).await;
    }
    counts
}

async fn archive(stores: &Stores, device: &Device) {
    let mut kept: BTreeMap<(BareJid, bool), Vec<u32>> = BTreeMap::new();
    for row in everything(stores, &device.me).await {
        let stanza = Stanza::parse(&row.body).unwrap();
        let number = stanza.child(stentor_xml::ns::CLIENT, "body").unwrap().text().parse().unwrap();
        kept.entry((row.peer.to_bare(), row.is_sent)).or_default().push(number);
    }
    let sent = device.sent.iter().map(|(to, sent)| ((to.clone(), true), (1..=*sent).collect()));
    let got = device
        .got
        .iter()
        .map(|(from, got)| ((from.clone(), false), got.iter().map(|got| got.number).collect()));
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
