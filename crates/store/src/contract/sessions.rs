//! Sessions that can be resumed.

use stentor_jid::{BareJid, Jid};

use crate::contract::{account, jid, put};
use crate::limits::PAGE_BYTES_MAX;
use crate::{
    OpenIq, PendingBody, PendingHow, PendingPage, PendingRow, SessionChange, SessionPage,
    SessionRow, SessionState, Stage, StoreError, Stores, Ticket, Write,
};

/// Runs the suite.
pub async fn suite(stores: &Stores) {
    keeps_every_field(stores).await;
    changes_one_thing_at_a_time(stores).await;
    keeps_what_waits_in_order(stores).await;
    acknowledges_up_to_a_place(stores).await;
    numbers_anew(stores).await;
    the_last_of_many_counts(stores).await;
    remembers_what_has_ended(stores).await;
    counts_copies_down_with_each_that_ends(stores).await;
    ends_pages_by_rows_and_bytes(stores).await;
    a_failing_neighbour_takes_no_count_with_it(stores).await;
    pushes_nothing_to_nobody(stores).await;
    goes_with_its_account(stores).await;
}

fn row(session: u64, owner: &BareJid) -> SessionRow {
    SessionRow {
        session,
        owner: owner.clone(),
        resource: "balcony".into(),
        client: None,
        token: vec![7; 32],
        max_secs: 600,
        flags: 0,
        epoch: 0,
        state: SessionState::Attached,
        presence: None,
        directed: Vec::new(),
        h: 0,
        open_iqs: Vec::new(),
    }
}

fn change(session: u64, change: SessionChange) -> Write {
    Write::Session { session, change }
}

fn begin(row: &SessionRow) -> Write {
    change(row.session, SessionChange::Put(Box::new(row.clone())))
}

fn push(session: u64, seq: u64) -> Write {
    let body = PendingBody::Archive { id: seq * 10, how: PendingHow::Plain };
    change(session, SessionChange::Push(PendingRow { seq, copies: 1, shared: None, body }))
}

fn note(session: u64, h: u32) -> Write {
    change(session, SessionChange::In { h, open_iqs: Vec::new() })
}

fn iq(id: &str, to: Option<&str>) -> OpenIq {
    OpenIq { id: id.into(), to: to.map(|to| Jid::new(to).unwrap()) }
}

async fn everyone(stores: &Stores) -> Vec<SessionRow> {
    let mut sessions = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let page = stores.sessions.page(from, 3).await.unwrap();
        sessions.extend(page.sessions);
        after = page.next;
    }
    sessions
}

async fn places(stores: &Stores, session: u64) -> Vec<u64> {
    let page = stores.sessions.pending(session, 0, 500).await.unwrap();
    assert_eq!(page.next, None);
    page.rows.iter().map(|row| row.seq).collect()
}

async fn keeps_every_field(stores: &Stores) {
    let owner = account(stores, "fields@sessions.example").await;
    assert_eq!(stores.sessions.load(11).await, Ok(None));
    let full = SessionRow {
        resource: "b\u{1F339}".into(),
        client: Some("bzrefxmi4uij2tp8".into()),
        token: vec![0, 255],
        max_secs: u32::MAX,
        flags: u32::MAX,
        epoch: 3,
        state: SessionState::Detached(-5),
        presence: Some(b"<presence/>".to_vec()),
        directed: vec!["a@r.example/x".parse().unwrap(), "b.example".parse().unwrap()],
        h: u32::MAX,
        open_iqs: vec![iq("a\"1", None), iq("", Some("x@y.example/r \u{1F339}"))],
        ..row(11, &owner)
    };
    for wanted in [full.clone(), row(11, &owner), full] {
        put(stores, begin(&wanted)).await.unwrap();
        assert_eq!(stores.sessions.load(11).await, Ok(Some(wanted.clone())));
        assert_eq!(everyone(stores).await, [wanted]);
    }
    assert!(stores.sessions.last_id().await.unwrap() >= 11);
    put(stores, change(11, SessionChange::Drop)).await.unwrap();
    assert_eq!(stores.sessions.load(11).await, Ok(None));
}

async fn changes_one_thing_at_a_time(stores: &Stores) {
    let owner = account(stores, "changes@sessions.example").await;
    let mut wanted = row(21, &owner);
    put(stores, begin(&wanted)).await.unwrap();
    let to = |text: &str| text.parse::<Jid>().unwrap();
    let directed = |text, is_available| SessionChange::Directed { to: to(text), is_available };
    let open_iqs = vec![iq("1", None)];
    wanted.h = 5;
    wanted.open_iqs = open_iqs.clone();
    wanted.presence = Some(b"<presence/>".to_vec());
    wanted.directed = vec![to("a.example"), to("c.example/x")];
    wanted.flags = 6;
    wanted.state = SessionState::Detached(99);
    for step in [
        SessionChange::In { h: 5, open_iqs },
        SessionChange::Presence(wanted.presence.clone()),
        directed("c.example/x", true),
        directed("b.example", true),
        directed("a.example", true),
        directed("a.example", true),
        directed("b.example", false),
        directed("d.example", false),
        SessionChange::Flags(6),
        SessionChange::State(wanted.state),
    ] {
        put(stores, change(21, step.clone())).await.unwrap();
        // Of a session that is not there nothing comes to be.
        put(stores, change(22, step)).await.unwrap();
    }
    assert_eq!(stores.sessions.load(21).await, Ok(Some(wanted.clone())));
    assert_eq!(stores.sessions.load(22).await, Ok(None));
    let late = row(22, &owner);
    put(stores, begin(&late)).await.unwrap();
    assert_eq!(stores.sessions.load(22).await, Ok(Some(late)));
    wanted.presence = None;
    wanted.open_iqs = Vec::new();
    let none = [change(21, SessionChange::Presence(None)), note(21, 5)];
    put(stores, none.into_iter().collect::<Stage>()).await.unwrap();
    assert_eq!(stores.sessions.load(21).await, Ok(Some(wanted)));
}

async fn keeps_what_waits_in_order(stores: &Stores) {
    let owner = account(stores, "order@sessions.example").await;
    put(stores, begin(&row(31, &owner))).await.unwrap();
    put(stores, begin(&row(32, &owner))).await.unwrap();
    assert_eq!(stores.sessions.pending(31, 0, 10).await, Ok(PendingPage::default()));
    let archived = |id, how| PendingBody::Archive { id, how };
    let bodies = [
        archived(9, PendingHow::Plain),
        PendingBody::Bytes(b"<message/>"[..].into()),
        archived(u64::MAX >> 1, PendingHow::CarbonSent),
        PendingBody::Bytes([][..].into()),
        archived(0, PendingHow::CarbonReceived),
    ];
    let rows: Vec<PendingRow> = (1 << 32..)
        .zip(0..)
        .zip(bodies)
        .map(|((seq, copies), body)| PendingRow { seq, copies, shared: None, body })
        .collect();
    for row in rows.iter().rev() {
        put(stores, change(31, SessionChange::Push(row.clone()))).await.unwrap();
    }
    put(stores, push(32, 7)).await.unwrap();
    let page = stores.sessions.pending(31, 0, 500).await.unwrap();
    assert_eq!(page, PendingPage { rows: rows.clone(), next: None });
    let first = stores.sessions.pending(31, 0, 2).await.unwrap();
    assert_eq!(first, PendingPage { rows: rows[..2].to_vec(), next: Some(rows[1].seq) });
    let rest = stores.sessions.pending(31, rows[1].seq, 3).await.unwrap();
    assert_eq!(rest, PendingPage { rows: rows[2..].to_vec(), next: None });
    // Written again, the session keeps what waits for it; a place is taken once.
    put(stores, begin(&row(31, &owner))).await.unwrap();
    assert_eq!(put(stores, push(31, rows[0].seq)).await, Err(StoreError::Conflict));
    assert_eq!(stores.sessions.pending(31, 0, 500).await.unwrap().rows, rows);
}

async fn acknowledges_up_to_a_place(stores: &Stores) {
    let owner = account(stores, "ack@sessions.example").await;
    let stage: Stage = [41, 42].iter().map(|session| begin(&row(*session, &owner))).collect();
    put(stores, stage).await.unwrap();
    let pushes = [41, 42].into_iter().flat_map(|session| (1..=4).map(move |n| push(session, n)));
    put(stores, pushes.collect::<Stage>()).await.unwrap();
    put(stores, change(41, SessionChange::Ack { seq: 2 })).await.unwrap();
    assert_eq!(places(stores, 41).await, [3, 4]);
    put(stores, change(41, SessionChange::Ack { seq: 1 })).await.unwrap();
    put(stores, change(41, SessionChange::Ack { seq: u64::MAX })).await.unwrap();
    assert_eq!(places(stores, 41).await, [0_u64; 0]);
    assert_eq!(places(stores, 42).await, [1, 2, 3, 4]);
}

async fn numbers_anew(stores: &Stores) {
    let owner = account(stores, "renumber@sessions.example").await;
    put(stores, begin(&row(51, &owner))).await.unwrap();
    let stage: Stage = [2, 5, 9, 11].into_iter().map(|seq| push(51, seq)).collect();
    put(stores, stage).await.unwrap();
    let places = [(1 << 32) + 6, (1 << 32) + 9, (1 << 32) + 10];
    let moves = [5, 7, 9, 11].into_iter().zip([places[0], 1 << 33, places[1], places[2]]).collect();
    let renumber = SessionChange::Renumber { epoch: 1, acked: 4, moves };
    put(stores, change(51, renumber)).await.unwrap();
    let page = stores.sessions.pending(51, 0, 10).await.unwrap();
    let ids = page.rows.iter().map(|row| match row.body {
        PendingBody::Archive { id, .. } => id,
        PendingBody::Bytes(_) => panic!("none was pushed"),
    });
    assert!(ids.eq([50, 90, 110]), "in the order in which they were pushed");
    assert_eq!(self::places(stores, 51).await, places);
    assert_eq!(stores.sessions.load(51).await.unwrap().unwrap().epoch, 1);
}

async fn the_last_of_many_counts(stores: &Stores) {
    let owner = account(stores, "many@sessions.example").await;
    put(stores, [begin(&row(61, &owner)), begin(&row(62, &owner))].into_iter().collect::<Stage>())
        .await
        .unwrap();
    let tickets: Vec<Ticket> = (1..=300_u32)
        .map(|n| {
            let seq = u64::from(n);
            let ack = change(61, SessionChange::Ack { seq: seq.saturating_sub(3) });
            let other = note(62, 1_000 + n);
            let stage: Stage = [note(61, n), push(61, seq), ack, other].into_iter().collect();
            stores.writer.submit(stage)
        })
        .collect();
    for ticket in tickets {
        assert_eq!(ticket.await, Ok(()));
    }
    assert_eq!(stores.sessions.load(61).await.unwrap().unwrap().h, 300);
    assert_eq!(stores.sessions.load(62).await.unwrap().unwrap().h, 1_300);
    assert_eq!(places(stores, 61).await, [298, 299, 300]);
}

async fn remembers_what_has_ended(stores: &Stores) {
    let owner = account(stores, "ended@sessions.example").await;
    let full = SessionRow {
        presence: Some(b"<presence/>".to_vec()),
        directed: vec!["a.example".parse().unwrap()],
        h: 9,
        open_iqs: vec![iq("1", None)],
        ..row(71, &owner)
    };
    put(stores, [begin(&full), push(71, 1)].into_iter().collect::<Stage>()).await.unwrap();
    put(stores, begin(&row(72, &owner))).await.unwrap();
    let end = |until_ms| SessionChange::State(SessionState::Ended(until_ms));
    put(stores, change(71, end(1_000))).await.unwrap();
    put(stores, change(72, end(1_001))).await.unwrap();
    let left = SessionRow { h: 9, state: SessionState::Ended(1_000), ..row(71, &owner) };
    assert_eq!(stores.sessions.load(71).await, Ok(Some(left)));
    assert_eq!(places(stores, 71).await, [0_u64; 0]);
    assert!(everyone(stores).await.iter().all(|row| row.owner != owner));
    put(stores, Write::ExpireSessions { now_ms: 1_000 }).await.unwrap();
    assert_eq!(stores.sessions.load(71).await, Ok(None));
    assert!(stores.sessions.load(72).await.unwrap().is_some());
}

async fn counts_copies_down_with_each_that_ends(stores: &Stores) {
    let owner = account(stores, "copies@sessions.example").await;
    let number = stores.sessions.last_id().await.unwrap() + 1_000;
    let stage: Stage = (75..=77).map(|session| begin(&row(session, &owner))).collect();
    put(stores, stage).await.unwrap();
    let copy = |seq, copies, shared| PendingRow {
        seq,
        copies,
        shared,
        body: PendingBody::Bytes(b"<message/>"[..].into()),
    };
    let one = [copy(1, 3, Some(number)), copy(2, 2, Some(number + 1)), copy(3, 1, None)];
    let other = [copy(7, 3, Some(number)), copy(8, 1, None)];
    let third = [copy(1, 2, Some(number + 1)), copy(2, 3, Some(number))];
    for (session, rows) in [(75, &one[..]), (76, &other[..]), (77, &third[..])] {
        for row in rows {
            put(stores, change(session, SessionChange::Push(row.clone()))).await.unwrap();
        }
    }
    assert_eq!(stores.sessions.last_id().await, Ok(number + 1));
    // What its client has had is not lost.
    put(stores, change(77, SessionChange::Ack { seq: 1 })).await.unwrap();
    let end = |session| change(session, SessionChange::State(SessionState::Ended(1_000)));
    put(stores, end(77)).await.unwrap();
    let rows = |page: PendingPage| page.rows;
    let left = stores.sessions.pending(75, 0, 10).await.map(rows).unwrap();
    assert_eq!(left, [copy(1, 2, Some(number)), one[1].clone(), one[2].clone()]);
    let left = stores.sessions.pending(76, 0, 10).await.map(rows).unwrap();
    assert_eq!(left, [copy(7, 2, Some(number)), other[1].clone()]);
    put(stores, end(75)).await.unwrap();
    let left = stores.sessions.pending(76, 0, 10).await.map(rows).unwrap();
    assert_eq!(left, [copy(7, 1, Some(number)), other[1].clone()]);
    put(stores, Write::DeleteAccount { owner }).await.unwrap();
}

async fn ends_pages_by_rows_and_bytes(stores: &Stores) {
    let owner = account(stores, "pages@sessions.example").await;
    let before = stores.sessions.last_id().await.unwrap().max(1_000);
    let big = vec![b' '; PAGE_BYTES_MAX / 2 + 1];
    for n in 1..=5 {
        let presence = Some(big.clone());
        put(stores, begin(&SessionRow { presence, ..row(before + n, &owner) })).await.unwrap();
    }
    assert_eq!(stores.sessions.last_id().await, Ok(before + 5));
    let page = stores.sessions.page(before, 500).await.unwrap();
    assert_eq!((page.sessions.len(), page.next), (2, Some(before + 2)));
    let page = stores.sessions.page(before, 1).await.unwrap();
    assert_eq!((page.sessions.len(), page.next), (1, Some(before + 1)));
    let page = stores.sessions.page(before + 4, 500).await.unwrap();
    assert_eq!((page.sessions.len(), page.next), (1, None));
    assert_eq!(stores.sessions.page(before + 5, 500).await, Ok(SessionPage::default()));
    let rows = (1..=3).map(|seq| PendingRow {
        seq,
        copies: 1,
        shared: None,
        body: PendingBody::Bytes(big.clone().into()),
    });
    for row in rows {
        put(stores, change(before + 1, SessionChange::Push(row))).await.unwrap();
    }
    let page = stores.sessions.pending(before + 1, 0, 500).await.unwrap();
    assert_eq!((page.rows.len(), page.next), (2, Some(2)));
    put(stores, Write::DeleteAccount { owner }).await.unwrap();
}

async fn a_failing_neighbour_takes_no_count_with_it(stores: &Stores) {
    let owner = account(stores, "neighbour@sessions.example").await;
    let nobody = jid("nobody@sessions.example");
    put(stores, begin(&row(81, &owner))).await.unwrap();
    let bad = Write::DropOffline { owner: nobody, up_to: 1 };
    // A later count would replace the earlier ones, but it fails with its stage.
    let tickets: Vec<Ticket> = (1..=20)
        .map(|h| {
            let stage: Stage = if h == 20 {
                [note(81, h), bad.clone()].into_iter().collect()
            } else {
                note(81, h).into()
            };
            stores.writer.submit(stage)
        })
        .collect();
    for (n, ticket) in (1..).zip(tickets) {
        assert_eq!(ticket.await.is_ok(), n != 20);
    }
    assert_eq!(stores.sessions.load(81).await.unwrap().unwrap().h, 19);
}

async fn pushes_nothing_to_nobody(stores: &Stores) {
    let owner = account(stores, "nobody-there@sessions.example").await;
    let kept = Write::StoreOffline {
        owner: owner.clone(),
        received_ms: 0,
        body: b"<message/>".to_vec().into(),
    };
    let stage: Stage = [kept, push(91, 1)].into_iter().collect();
    assert_eq!(put(stores, stage).await, Err(StoreError::Conflict));
    assert_eq!(stores.offline.usage(&owner).await.unwrap().count, 0, "all of it or nothing");
}

async fn goes_with_its_account(stores: &Stores) {
    let owner = account(stores, "gone@sessions.example").await;
    let row = SessionRow { directed: vec!["a.example".parse().unwrap()], ..row(95, &owner) };
    put(stores, [begin(&row), push(95, 1)].into_iter().collect::<Stage>()).await.unwrap();
    put(stores, Write::DeleteAccount { owner: owner.clone() }).await.unwrap();
    assert_eq!(stores.sessions.load(95).await, Ok(None));
    assert_eq!(places(stores, 95).await, [0_u64; 0]);
    assert_eq!(put(stores, begin(&row)).await, Err(StoreError::NoAccount));
}
