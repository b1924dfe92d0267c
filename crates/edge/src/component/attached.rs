//! One component: its streams, and which of them gets what.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::{Mutex, MutexGuard};
use stentor_engine::Pressure;
use stentor_jid::Jid;
use stentor_stanza::{Condition, Stanza, StanzaError};
use stentor_stream::fault::Fault;

use super::asked::Asked;
use super::lane::{Lane, Parcel, Shard};
use super::shown::Shown;
use super::{ComponentSettings, OnConflict};
use crate::limits::{COMPONENT_QUEUE_ITEMS_MAX, COMPONENT_SHARDS};

/// A component that may attach itself.
pub(crate) struct Attached {
    state: Mutex<State>,
    /// Held while a stream comes or goes and everyone is told.
    turn: Mutex<()>,
}

/// The streams of a component are used by its senders in shards. A shard changes its stream only
/// when nothing of it is on its way, so that what one sender sends stays in order.
struct State {
    settings: Arc<ComponentSettings>,
    lanes: Vec<Arc<Lane>>,
    serials: u64,
    /// The stream that took the last stanza of each shard; zero is none.
    shards: Box<[u64; COMPONENT_SHARDS]>,
    /// Requests of the component, while it has several streams: the answer goes to the one that
    /// asked.
    asked: Asked,
    shown: Shown,
    /// What an earlier process left for it, until it comes.
    left: Left,
    is_removed: bool,
}

/// Stanzas of an earlier process, in their order.
#[derive(Default)]
struct Left {
    parcels: Vec<Parcel>,
    bytes: usize,
}

/// What a stream leaves behind.
#[derive(Default)]
pub(crate) struct Leftover {
    /// Nobody takes these any more: they go back.
    pub(crate) homeless: Vec<Parcel>,
    /// Whether that was the last stream.
    pub(crate) is_gone: bool,
    /// The component is gone, and whoever saw its entities gets these.
    pub(crate) farewells: Vec<Stanza>,
}

impl Attached {
    pub(crate) fn new(settings: Arc<ComponentSettings>) -> Self {
        let state = State {
            settings,
            lanes: Vec::new(),
            serials: 0,
            shards: Box::new([0; COMPONENT_SHARDS]),
            asked: Asked::default(),
            shown: Shown::default(),
            left: Left::default(),
            is_removed: false,
        };
        Self { state: Mutex::new(state), turn: Mutex::new(()) }
    }

    /// The right to let a stream come or go. Whoever has it tells everyone of it before another has
    /// it: that the component is gone is never told after it is back.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    pub(crate) fn settings(&self) -> Arc<ComponentSettings> {
        self.state.lock().settings.clone()
    }

    /// Takes new settings over. A new secret ends the streams that were made with the old one.
    pub(crate) fn set(&self, settings: Arc<ComponentSettings>) {
        let mut state = self.state.lock();
        if state.settings.secret != settings.secret {
            state.close(&Fault::Policy("The secret of the component was changed"));
        }
        state.settings = settings;
    }

    /// There is to be no such component any more. What was left for it goes back.
    pub(crate) fn remove(&self) -> Vec<Parcel> {
        let mut state = self.state.lock();
        state.is_removed = true;
        state.close(&Fault::HostGone);
        std::mem::take(&mut state.left).parcels
    }

    /// Takes in what an earlier process left for the component; whether that is the first.
    ///
    /// # Errors
    /// `resource-constraint`: it is too much.
    pub(crate) fn wait_with(&self, parcel: Parcel) -> Result<bool, StanzaError> {
        let mut state = self.state.lock();
        if !state.lanes.is_empty() {
            return state.place(parcel).map(|_| false);
        }
        let bytes = state.left.bytes.saturating_add(parcel.stanza.bytes_len());
        let is_full = state.left.parcels.len() >= COMPONENT_QUEUE_ITEMS_MAX;
        if is_full || bytes > state.settings.queue_bytes_max {
            return Err(StanzaError::new(Condition::ResourceConstraint));
        }
        state.left.bytes = bytes;
        state.left.parcels.push(parcel);
        Ok(state.left.parcels.len() == 1)
    }

    /// Takes back what an earlier process left for a component that has not come.
    pub(crate) fn give_up(&self) -> Vec<Parcel> {
        std::mem::take(&mut self.state.lock().left).parcels
    }

    /// Ends every stream.
    pub(crate) fn close(&self, fault: &Fault) {
        self.state.lock().close(fault);
    }

    /// Another stream for the component, and whether it is the first. That begins with what an
    /// earlier process left.
    ///
    /// # Errors
    /// It has as many as it may have, or as many again that are being closed.
    pub(crate) fn enter(&self) -> Result<(Arc<Lane>, bool), Fault> {
        let mut state = self.state.lock();
        if state.is_removed {
            return Err(Fault::HostGone);
        }
        let settings = state.settings.clone();
        let open: Vec<_> = state.lanes.iter().filter(|lane| !lane.is_closing()).collect();
        if open.len() >= settings.streams_max {
            let closing = state.lanes.len() - open.len();
            match (settings.on_conflict, open.first()) {
                (OnConflict::Replace, Some(oldest)) if closing < settings.streams_max => {
                    oldest.close(Fault::Replaced);
                }
                _ => return Err(Fault::Occupied),
            }
        }
        state.serials += 1;
        let lane = Arc::new(Lane::new(state.serials, settings.queue_bytes_max));
        state.lanes.push(lane.clone());
        for parcel in std::mem::take(&mut state.left).parcels {
            // What does not fit, by new settings, goes back when its time is over.
            if state.place(parcel.clone()).is_err() {
                state.left.parcels.push(parcel);
            }
        }
        Ok((lane, state.lanes.len() == 1))
    }

    /// A stream is over. `unwritten` is what the socket did not take.
    pub(crate) fn leave(&self, lane: &Lane, unwritten: Vec<Parcel>) -> Leftover {
        let mut state = self.state.lock();
        state.lanes.retain(|other| other.serial != lane.serial);
        state.asked.forget(lane.serial);
        let waiting = unwritten.into_iter().chain(lane.drain());
        // Under the lock: nothing overtakes what is placed again.
        let homeless = waiting.filter(|parcel| state.place(parcel.clone()).is_err());
        let mut leftover = Leftover { homeless: homeless.collect(), ..Leftover::default() };
        leftover.is_gone = state.lanes.is_empty();
        if leftover.is_gone {
            leftover.farewells = state.shown.take_back();
        }
        leftover
    }

    /// Queues a stanza for the component.
    ///
    /// # Errors
    /// `remote-server-timeout`: it is not connected. `resource-constraint`: it does not take what
    /// waits for it.
    pub(crate) fn push(&self, parcel: Parcel) -> Result<Pressure, StanzaError> {
        self.state.lock().place(parcel)
    }

    /// Notes what the component sends.
    pub(crate) fn note(&self, lane: &Lane, stanza: &Stanza) {
        if stanza.presence_type().is_some() {
            self.state.lock().shown.note(stanza);
            return;
        }
        let is_request = stanza.iq_type().is_some_and(stentor_stanza::IqType::is_request);
        if let (true, Some(to), Some(id)) = (is_request, &stanza.head.to, &stanza.head.id) {
            let mut state = self.state.lock();
            if state.lanes.len() > 1 {
                state.asked.note(to.clone(), id.clone(), lane.serial);
            }
        }
    }

    /// Streams that stand.
    pub(crate) fn streams(&self) -> usize {
        self.state.lock().lanes.len()
    }

    /// Bytes waiting for it.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.state.lock().lanes.iter().map(|lane| lane.bytes()).sum()
    }
}

impl State {
    fn close(&self, fault: &Fault) {
        self.lanes.iter().for_each(|lane| lane.close(fault.clone()));
    }

    fn place(&mut self, parcel: Parcel) -> Result<Pressure, StanzaError> {
        if self.lanes.is_empty() {
            return Err(away());
        }
        let shard = shard_of(&parcel.stanza);
        let lane = self.asker(&parcel.stanza).unwrap_or_else(|| self.lane_of(shard));
        lane.push(shard, parcel).ok_or_else(|| {
            let error = StanzaError::new(Condition::ResourceConstraint);
            error.with_text("The component does not keep up.")
        })
    }

    /// The stream whose request this stanza answers.
    fn asker(&mut self, stanza: &Stanza) -> Option<Arc<Lane>> {
        if self.asked.is_empty() || stanza.iq_type().is_none_or(|kind| kind.is_request()) {
            return None;
        }
        let (from, id) = (stanza.head.from.clone()?, stanza.head.id.clone()?);
        let serial = self.asked.take(from, id)?;
        self.lanes.iter().find(|lane| lane.serial == serial).cloned()
    }

    fn lane_of(&mut self, shard: Shard) -> Arc<Lane> {
        let last = self.shards[usize::from(shard)];
        let best = self.lanes.iter().max_by_key(|lane| weight(lane.serial, shard));
        let last = self.lanes.iter().find(|lane| lane.serial == last && lane.holds(shard));
        let lane = last.or(best).expect("the caller has seen a stream").clone();
        self.shards[usize::from(shard)] = lane.serial;
        lane
    }
}

/// Rendezvous hashing: a stream that comes or goes moves no more shards than it must.
fn weight(serial: u64, shard: Shard) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u64(serial);
    hasher.write_u8(shard);
    hasher.finish()
}

/// RFC 6120 §10.1: order is kept between two bare addresses.
fn shard_of(stanza: &Stanza) -> Shard {
    let from = stanza.head.from.as_ref().map_or("", Jid::bare_str);
    let hash = FixedState::default().hash_one(from);
    // The top bits are the best mixed.
    Shard::try_from(hash >> 56).unwrap_or(0)
}

/// RFC 6120 §8.3.3.16: the domain is known, and it cannot be reached for now.
fn away() -> StanzaError {
    StanzaError::new(Condition::RemoteServerTimeout).with_text("The component is not connected.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn attached(streams_max: usize) -> Attached {
        Attached::new(Arc::new(ComponentSettings {
            domain: "irc.capulet.example".into(),
            secret: Zeroizing::new("Mercutio".into()),
            streams_max,
            ..ComponentSettings::default()
        }))
    }

    fn message(from: usize, id: usize) -> Parcel {
        let xml = format!(
            "<message from='user{from}@capulet.example/r{id}' to='x@irc.capulet.example' id='{id}'>\
             <body>{id}</body></message>"
        );
        let frame = stentor_xml::Frame::parse(xml.as_bytes()).unwrap();
        Parcel { stanza: Stanza::from_frame(frame).unwrap(), kept: None }
    }

    fn push(attached: &Attached, parcel: Parcel) {
        attached.push(parcel).unwrap();
    }

    fn taken(lane: &Lane) -> Vec<(String, usize)> {
        let mut all = Vec::new();
        while let Some((shard, Parcel { stanza, .. })) = lane.pop() {
            lane.settle(shard);
            let id = stanza.head.id.as_deref().unwrap().parse().unwrap();
            all.push((stanza.head.from.unwrap().bare_str().to_owned(), id));
        }
        all
    }

    #[test]
    fn senders_are_spread_over_the_streams_and_stay_with_theirs() {
        let attached = attached(4);
        let lanes: Vec<_> = (0..4).map(|_| attached.enter().unwrap().0).collect();
        for id in 0..2 {
            (0..200).for_each(|from| push(&attached, message(from, id)));
        }
        let taken: Vec<_> = lanes.iter().map(|lane| taken(lane)).collect();
        for (n, share) in taken.iter().enumerate() {
            assert!(share.len() > 20, "stream {n} got {} of 400", share.len());
            for (from, id) in share {
                assert!(share.contains(&(from.clone(), 1 - id)), "{from} used two streams");
            }
        }
    }

    #[test]
    fn a_new_stream_does_not_overtake_what_is_on_its_way() {
        let attached = attached(2);
        let (first, is_first) = attached.enter().unwrap();
        assert!(is_first);
        (0..50).for_each(|from| push(&attached, message(from, 0)));
        let (second, is_first) = attached.enter().unwrap();
        assert!(!is_first);
        (0..50).for_each(|from| push(&attached, message(from, 1)));
        assert_eq!(taken(&first).len(), 100, "all of them had something on its way");
        (0..50).for_each(|from| push(&attached, message(from, 2)));
        assert!(!taken(&second).is_empty(), "then some move");
    }

    #[test]
    fn what_a_stream_leaves_goes_to_another_in_its_order_or_back() {
        let attached = attached(2);
        let (first, _) = attached.enter().unwrap();
        (0..3).for_each(|id| push(&attached, message(1, id)));
        let (_, unwritten) = first.pop().unwrap();
        let (second, _) = attached.enter().unwrap();
        let leftover = attached.leave(&first, vec![unwritten]);
        assert!(leftover.homeless.is_empty());
        attached.push(message(1, 3)).unwrap();
        let ids: Vec<_> = taken(&second).into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, [0, 1, 2, 3]);
        attached.push(message(1, 4)).unwrap();
        assert_eq!(attached.leave(&second, Vec::new()).homeless.len(), 1);
        let error = attached.push(message(1, 5)).unwrap_err();
        assert_eq!(error.condition, Condition::RemoteServerTimeout);
        let (third, is_first) = attached.enter().unwrap();
        assert!(is_first);
        attached.push(message(1, 6)).unwrap();
        assert_eq!(taken(&third).len(), 1, "it is routed at once");
    }

    #[test]
    fn what_waits_is_bounded() {
        let attached = Attached::new(Arc::new(ComponentSettings {
            queue_bytes_max: 4_096,
            ..ComponentSettings::default()
        }));
        let (lane, _) = attached.enter().unwrap();
        let error = (0..1_000).find_map(|id| attached.push(message(1, id)).err()).unwrap();
        assert_eq!(error.condition, Condition::ResourceConstraint);
        assert!(lane.bytes() <= 4_096 && attached.waiting_bytes() == lane.bytes());
        taken(&lane);
        assert!(attached.push(message(1, 0)).is_ok());
    }

    #[test]
    fn one_stream_too_many_is_refused_or_takes_the_oldest_ones_place() {
        let refuses = attached(1);
        let (first, _) = refuses.enter().unwrap();
        assert_eq!(refuses.enter().err(), Some(Fault::Occupied));
        assert_eq!(first.take_close(), None);
        let replaces = Attached::new(Arc::new(ComponentSettings {
            on_conflict: OnConflict::Replace,
            ..ComponentSettings::default()
        }));
        let (first, _) = replaces.enter().unwrap();
        let (second, _) = replaces.enter().unwrap();
        assert_eq!(first.take_close(), Some(Fault::Replaced));
        assert_eq!(second.take_close(), None);
        // One that is on its way out makes no room for another.
        assert_eq!(replaces.enter().err(), Some(Fault::Occupied));
        replaces.leave(&first, Vec::new());
        let (third, _) = replaces.enter().unwrap();
        assert_eq!(second.take_close(), Some(Fault::Replaced));
        assert_eq!(third.take_close(), None);
    }

    #[test]
    fn an_answer_goes_to_the_stream_that_asked() {
        let attached = attached(2);
        let lanes: Vec<_> = (0..2).map(|_| attached.enter().unwrap().0).collect();
        for (n, lane) in lanes.iter().enumerate() {
            for k in 0..20 {
                let iq = |head: &str| {
                    let xml = format!("<iq {head} id='{n}-{k}'><x xmlns='urn:example:x'/></iq>");
                    Stanza::parse(xml.as_bytes()).unwrap()
                };
                let (us, them) = ("irc.capulet.example", format!("u{k}@capulet.example/r"));
                let ask = iq(&format!("type='get' from='{us}' to='{them}'"));
                attached.note(lane, &ask);
                let stanza = iq(&format!("type='result' from='{them}' to='{us}'"));
                attached.push(Parcel { stanza, kept: None }).unwrap();
                assert!(lane.pop().is_some(), "request {k} of stream {n}");
            }
        }
    }

    #[test]
    fn whoever_saw_an_entity_hears_that_it_is_gone() {
        let attached = attached(1);
        let (lane, _) = attached.enter().unwrap();
        for (kind, from) in [("", "a"), ("", "a"), ("", "b"), ("type='unavailable'", "b")] {
            let xml = format!(
                "<presence {kind} from='{from}@irc.capulet.example' to='juliet@capulet.example'/>"
            );
            attached.note(&lane, &Stanza::parse(xml.as_bytes()).unwrap());
        }
        let farewells = attached.leave(&lane, Vec::new()).farewells;
        let [farewell] = &farewells[..] else { panic!("{farewells:?}") };
        let from = farewell.head.from.as_ref().unwrap().as_str();
        assert_eq!(from, "a@irc.capulet.example");
    }
}
