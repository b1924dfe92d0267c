//! The writer over a backend that the test holds in its hand.

use std::pin::pin;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use stentor_jid::BareJid;

use crate::{Backend, Counters, Stage, StoreError, Ticket, Write, Writer, WriterLimits};

/// Shows each batch to the test and commits it once told how its stages come out.
struct Held {
    taken: SyncSender<Vec<Stage>>,
    told: Receiver<Vec<Result<(), StoreError>>>,
}

struct Hand {
    taken: Receiver<Vec<Stage>>,
    tell: SyncSender<Vec<Result<(), StoreError>>>,
}

impl Backend for Held {
    fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
        drop(self.taken.send(stages.to_vec()));
        // The test has dropped its end: from here on everything is fine.
        self.told.recv().unwrap_or_else(|_| vec![Ok(()); stages.len()])
    }
}

impl Hand {
    fn let_pass(&self) -> Vec<Stage> {
        let batch = self.taken.recv().unwrap();
        self.tell.send(vec![Ok(()); batch.len()]).unwrap();
        batch
    }
}

/// Fails stages that drop up to 0, and panics at those of a host.
struct Picky;

impl Backend for Picky {
    fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
        stages.iter().map(|stage| outcome(&stage.writes()[0])).collect()
    }
}

fn outcome(write: &Write) -> Result<(), StoreError> {
    match write {
        Write::DropOffline { up_to: 0, .. } => Err(StoreError::Conflict),
        Write::RemoveHost { .. } => panic!("a backend with a fault"),
        _ => Ok(()),
    }
}

fn held(limits: WriterLimits) -> (Writer, Hand) {
    let (taken, see) = sync_channel(64);
    let (tell, told) = sync_channel(64);
    (Writer::spawn(Held { taken, told }, limits).unwrap(), Hand { taken: see, tell })
}

fn write(up_to: u64) -> Write {
    Write::DropOffline { owner: BareJid::new("romeo@montague.example").unwrap(), up_to }
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn is_pending(ticket: &mut Ticket) -> bool {
    pin!(ticket).poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending
}

#[test]
fn commits_the_first_at_once_and_what_came_meanwhile_together() {
    let (writer, hand) = held(WriterLimits::default());
    let mut first = writer.submit(write(1));
    let batch = hand.taken.recv().unwrap();
    assert_eq!(batch, [Stage::from(write(1))]);
    let mut later: Vec<Ticket> = (2..=5).map(|n| writer.submit(write(n))).collect();
    assert!(is_pending(&mut first) && later.iter_mut().all(is_pending));
    hand.tell.send(vec![Ok(())]).unwrap();
    assert_eq!(wait(first), Ok(()));
    let expected: Vec<Stage> = (2..=5).map(|n| write(n).into()).collect();
    assert_eq!(hand.let_pass(), expected);
    for ticket in later {
        assert_eq!(wait(ticket), Ok(()));
    }
}

#[test]
fn a_batch_has_a_maximum_and_a_stage_is_never_split() {
    let limits = WriterLimits { batch_writes_max: 3, ..WriterLimits::default() };
    let (writer, hand) = held(limits);
    let first = writer.submit(write(0));
    hand.taken.recv().unwrap();
    let big: Stage = (1..=5).map(write).collect();
    let tickets =
        [writer.submit(write(6)), writer.submit(big.clone()), writer.submit(write(7)), first];
    hand.tell.send(vec![Ok(())]).unwrap();
    assert_eq!(hand.let_pass(), [write(6).into()]);
    assert_eq!(hand.let_pass(), [big]);
    assert_eq!(hand.let_pass(), [write(7).into()]);
    for ticket in tickets {
        assert_eq!(wait(ticket), Ok(()));
    }
    let counters = writer.counters();
    assert_eq!(Counters::read(&counters.batches), 4);
    assert_eq!(Counters::read(&counters.writes_committed), 8);
}

#[test]
fn says_when_there_is_no_room_and_refuses_far_above_it() {
    let limits = WriterLimits { staged_writes_max: 2, ..WriterLimits::default() };
    let (writer, hand) = held(limits);
    assert!(!writer.is_pressed());
    let mut tickets = vec![writer.submit(write(1))];
    assert!(writer.has_room() && writer.is_pressed());
    tickets.push(writer.submit(write(2)));
    assert!(!writer.has_room());
    tickets.push(writer.submit(write(3)));
    tickets.push(writer.submit(write(4)));
    assert_eq!(writer.submit(write(5)).outcome(), Some(Err(StoreError::Busy)));
    assert_eq!(Counters::read(&writer.counters().stages_refused), 1);
    drop(hand);
    for ticket in tickets {
        assert_eq!(wait(ticket), Ok(()));
    }
    assert!(writer.has_room());
    assert_eq!(Counters::read(&writer.counters().writes_waiting), 0);
    assert_eq!(Counters::read(&writer.counters().bytes_waiting), 0);
}

#[test]
fn bytes_fill_the_room_as_well() {
    let limits = WriterLimits { staged_bytes_max: 1000, ..WriterLimits::default() };
    let (writer, hand) = held(limits);
    let kept = |bytes| Write::PutVcard {
        owner: BareJid::new("romeo@montague.example").unwrap(),
        xml: vec![b' '; bytes],
    };
    let alone = writer.submit(kept(5000));
    assert!(!writer.has_room());
    assert_eq!(writer.submit(kept(1)).outcome(), Some(Err(StoreError::Busy)));
    drop(hand);
    assert_eq!(wait(alone), Ok(()));
    assert!(writer.has_room());
}

#[test]
fn a_barrier_waits_for_all_before_it_and_takes_no_failure() {
    let (writer, hand) = held(WriterLimits::default());
    assert!(writer.barrier().is_done());
    let failing = writer.submit(write(1));
    let mut barrier = writer.barrier();
    assert!(is_pending(&mut barrier));
    hand.taken.recv().unwrap();
    hand.tell.send(vec![Err(StoreError::Full)]).unwrap();
    assert_eq!(wait(&mut barrier), Ok(()));
    assert_eq!(wait(failing), Err(StoreError::Full));
}

#[test]
fn a_missing_result_is_a_failure() {
    let (writer, hand) = held(WriterLimits::default());
    let ticket = writer.submit(write(1));
    hand.taken.recv().unwrap();
    hand.tell.send(Vec::new()).unwrap();
    assert!(matches!(wait(ticket), Err(StoreError::Unreachable(_))));
}

#[test]
fn stopping_commits_what_waits_and_refuses_the_rest() {
    let (writer, hand) = held(WriterLimits::default());
    let mut tickets: Vec<Ticket> = (1..=3).map(|n| writer.submit(write(n))).collect();
    let stopped = writer.stop();
    assert_eq!(writer.submit(write(4)).outcome(), Some(Err(StoreError::Stopped)));
    drop(hand);
    assert_eq!(wait(stopped), Ok(()));
    assert!(tickets.iter_mut().all(|ticket| ticket.outcome() == Some(Ok(()))));
    assert_eq!(wait(writer.stop()), Ok(()));
}

#[test]
fn a_panicking_backend_leaves_no_ticket_waiting() {
    let writer = Writer::spawn(Picky, WriterLimits::default()).unwrap();
    let ticket = writer.submit(Write::RemoveHost { name: "montague.example".into() });
    assert_eq!(wait(ticket), Err(StoreError::Stopped));
    assert!(matches!(wait(writer.stop()), Err(StoreError::Unreachable(_))));
    assert_eq!(writer.submit(write(1)).outcome(), Some(Err(StoreError::Stopped)));
}

#[test]
fn a_backend_rests_when_nothing_more_comes_and_works_on_after_it() {
    struct Telling(SyncSender<&'static str>);

    impl Backend for Telling {
        fn commit(&mut self, stages: &[Stage]) -> Vec<Result<(), StoreError>> {
            self.0.send("commits").unwrap();
            vec![Ok(()); stages.len()]
        }

        fn rest(&mut self) {
            self.0.send("rests").unwrap();
        }
    }

    let (tell, told) = sync_channel(8);
    let limits = WriterLimits { lull: Duration::ZERO, ..WriterLimits::default() };
    let writer = Writer::spawn(Telling(tell), limits).unwrap();
    for up_to in 1..=2 {
        assert_eq!(wait(writer.submit(write(up_to))), Ok(()));
        assert_eq!((told.recv(), told.recv()), (Ok("commits"), Ok("rests")));
    }
    assert_eq!(wait(writer.stop()), Ok(()));
}

#[test]
fn a_stepped_writer_commits_when_told_and_a_stop_commits_the_rest() {
    let limits = WriterLimits { batch_writes_max: 2, ..WriterLimits::default() };
    let writer = Writer::stepped(Picky, limits);
    let mut tickets: Vec<Ticket> = (1..=5).map(|n| writer.submit(write(n))).collect();
    assert!(tickets.iter_mut().all(is_pending));
    assert!(writer.step());
    assert!(tickets[..2].iter().all(Ticket::is_done) && !tickets[2].is_done());
    assert_eq!(wait(writer.stop()), Ok(()));
    assert!(tickets.iter().all(Ticket::is_done));
    assert!(!writer.step());
}

#[test]
fn an_inline_writer_commits_before_submit_returns() {
    let writer = Writer::inline(Picky, WriterLimits::default());
    let mut good = writer.submit(write(1));
    let mut bad = writer.submit(write(0));
    assert_eq!((good.outcome(), bad.outcome()), (Some(Ok(())), Some(Err(StoreError::Conflict))));
    assert!(writer.submit(Stage::new()).is_done());
    assert_eq!(wait(writer.stop()), Ok(()));
    assert_eq!(writer.submit(write(1)).outcome(), Some(Err(StoreError::Stopped)));
}

proptest! {
    /// Whoever keeps a ticket learns the outcome of that stage, and dropped ones leave nothing.
    #[test]
    fn prop_every_ticket_tells_of_its_own_stage(
        stages in prop::collection::vec((0_u64..3, any::<bool>()), 1..200),
        batch_writes_max in 1_usize..20,
    ) {
        let limits = WriterLimits { batch_writes_max, ..WriterLimits::default() };
        let writer = Writer::spawn(Picky, limits).unwrap();
        let mut kept = Vec::new();
        for (up_to, is_kept) in stages {
            let ticket = writer.submit(write(up_to));
            if is_kept {
                kept.push((outcome(&write(up_to)), ticket));
            }
        }
        for (expected, ticket) in kept {
            prop_assert_eq!(wait(ticket), expected);
        }
        wait(writer.barrier()).unwrap();
        prop_assert_eq!(writer.remembered(), (0, 0, 0));
    }
}
