//! What stream management (XEP-0198) asks of an outbox: what was sent is held until it is
//! acknowledged, and some of it outlives the process.

use std::collections::VecDeque;
use std::sync::Arc;

use stentor_jid::Jid;
use stentor_stanza::Stanza;
use stentor_store::{OpenIq, Write, Writer};

use super::durable::{Durable, Former};
use super::parked::Parked;
use super::unacked::{TooHigh, Unacked};
use super::{Acknowledged, Fate, Inner, Item, Outbox};
use crate::clock::Clock;

/// What XEP-0198 adds.
pub(super) struct Managed {
    /// What was taken and not acknowledged.
    pub(super) unacked: Unacked,
    /// Stanzas in the queue.
    pub(super) waiting: u64,
    /// What of all outlives the process, once the session may be resumed.
    pub(super) durable: Option<Durable>,
    /// What waits apart, while the session is without a stream.
    pub(super) parked: Option<Box<Parked>>,
}

impl Managed {
    fn new(clock: Arc<dyn Clock>, waiting: u64) -> Self {
        Self { unacked: Unacked::new(clock), waiting, durable: None, parked: None }
    }

    /// An entry takes its place at the end of the queue.
    pub(super) fn note_queued(&mut self, item: &Item) {
        if item.is_stanza() {
            self.waiting += 1;
            if let Some(parked) = &mut self.parked {
                parked.pass();
            }
        }
    }

    /// The first entry of the queue was taken. Its bytes are held until it is acknowledged.
    pub(super) fn note_taken(&mut self, item: &Item) {
        self.waiting -= u64::from(item.is_stanza());
        self.unacked.push(item.clone());
    }

    /// Entries beside those of the queue.
    pub(super) fn len(&self) -> usize {
        self.unacked.len() + self.parked.as_ref().map_or(0, |parked| parked.len())
    }
}

impl Outbox {
    /// Keeps from here on what is taken until it is acknowledged (XEP-0198 §3).
    pub(crate) fn count(&self, clock: Arc<dyn Clock>) {
        let mut inner = self.0.lock();
        let waiting = stanzas_in(&inner.queue);
        inner.asked.get_or_insert_default().managed = Some(Managed::new(clock, waiting));
    }

    /// Whether what is taken is kept until it is acknowledged.
    pub fn is_counting(&self) -> bool {
        self.0.lock().managed().is_some()
    }

    /// How many stanzas have been queued since stream management is on. None without it, and while
    /// it is not known what the client saw before a restart.
    pub fn queued(&self) -> Option<u64> {
        let inner = self.0.lock();
        if inner.durable().is_some_and(Durable::is_restored) {
            return None;
        }
        let managed = inner.managed()?;
        debug_assert_eq!(managed.waiting, stanzas_in(&inner.queue));
        Some(managed.unacked.sent() + managed.waiting)
    }

    /// Whether the client has handled what was queued up to this count, see [`Outbox::queued`].
    pub fn has_acknowledged(&self, queued: u64) -> bool {
        self.0.lock().managed().is_some_and(|managed| managed.unacked.acked() >= queued)
    }

    /// Makes what waits outlive the process, as far as it is worth it: the session has this number
    /// in the store. [`Outbox::count`] comes first.
    pub(crate) fn outlive(&self, session: u64, writer: Writer) {
        let mut inner = self.0.lock();
        if let Some(managed) = inner.managed_mut() {
            managed.durable = Some(Durable::new(session, writer, managed.waiting));
        }
    }

    /// Takes in what an earlier process left: the stanzas of the places that `former` names.
    pub(crate) fn restore(
        &self,
        session: u64,
        (writer, clock): (Writer, Arc<dyn Clock>),
        former: Former,
        stanzas: Vec<(Stanza, Fate)>,
    ) {
        let mut inner = self.0.lock();
        inner.is_parked = true;
        let managed = Managed {
            durable: Some(Durable::restored(session, writer, former)),
            parked: Some(Box::default()),
            ..Managed::new(clock, stanzas.len() as u64)
        };
        inner.asked.get_or_insert_default().managed = Some(managed);
        for (stanza, fate) in stanzas {
            inner.bytes += stanza.bytes_len();
            inner.queue.push_back(Item::Stanza(stanza, fate, None));
        }
    }

    /// Whether what is worth it here outlives the process.
    pub(crate) fn is_durable(&self) -> bool {
        self.0.lock().durable().is_some()
    }

    /// The session's number in the store, if it has one.
    pub(crate) fn number(&self) -> Option<u64> {
        self.0.lock().durable().map(Durable::session)
    }

    /// What waits here dies with the process after all.
    pub(crate) fn forget_places(&self) {
        if let Some(managed) = self.0.lock().managed_mut() {
            managed.durable = None;
        }
    }

    /// Everything that was written about stanzas here has been submitted.
    pub(crate) fn release(&self) {
        let waker = {
            let mut inner = self.0.lock();
            if let Some(durable) = inner.durable_mut() {
                durable.release();
            }
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Puts stanzas in front again that were taken before anything was kept. What is to be written
    /// is returned.
    pub(crate) fn put_back(&self, items: Vec<Item>) -> Option<Write> {
        let mut inner = self.0.lock();
        let mut count = 0;
        for item in items.into_iter().rev() {
            if let Item::Stanza(stanza, ..) = &item {
                inner.bytes += stanza.bytes_len();
                count += 1;
            }
            inner.queue.push_front(item);
        }
        if let Some(managed) = inner.managed_mut() {
            managed.waiting += count;
        }
        let taken = inner.taken();
        let durable = inner.durable_mut().filter(|_| count > 0)?;
        Some(durable.make_room(taken, count))
    }

    /// Forgets what the client has handled, `h` stanzas modulo 2³².
    ///
    /// # Errors
    /// It was not sent so many.
    pub(crate) fn acknowledge(&self, h: u32) -> Result<Acknowledged, TooHigh> {
        let mut inner = self.0.lock();
        let Some(managed) = inner.managed_mut() else { return Ok(Acknowledged::default()) };
        let (bytes, marks) = managed.unacked.acknowledge(h)?;
        let number = managed.unacked.acked();
        let write = managed.durable.as_mut().and_then(|durable| durable.acknowledge(number));
        inner.bytes = inner.bytes.saturating_sub(bytes);
        Ok(Acknowledged { marks, write })
    }

    /// The client takes the session up again and has handled `h` stanzas, modulo 2³²: what it has
    /// not is in front, to be sent once more. [`Outbox::gather`] is due then.
    ///
    /// # Errors
    /// It was not sent so many.
    pub(crate) fn resume(&self, h: u32) -> Result<Acknowledged, TooHigh> {
        if !self.is_restored() {
            let acknowledged = self.acknowledge(h)?;
            self.rewind();
            return Ok(acknowledged);
        }
        let mut inner = self.0.lock();
        let Some((gone, write)) = inner.durable_mut().map(|durable| durable.begin_anew(h)) else {
            return Ok(Acknowledged::default());
        };
        let mut had = 0;
        for item in inner.queue.drain(..gone).collect::<Vec<_>>() {
            if let Item::Stanza(stanza, ..) = item {
                inner.bytes = inner.bytes.saturating_sub(stanza.bytes_len());
                had += 1;
            }
        }
        if let Some(managed) = inner.managed_mut() {
            managed.waiting -= had;
            managed.unacked.begin_at(u64::from(h));
        }
        Ok(Acknowledged { marks: Vec::new(), write: Some(write) })
    }

    /// There will be a stream again: what waited apart takes its place among the others, and of the
    /// presence of one address only the latest stays. Returns what is to be written.
    pub(crate) fn gather(&self) -> Option<Write> {
        let mut inner = self.0.lock();
        // XEP-0352 §5.2: the new stream is active.
        inner.let_go();
        let queue = std::mem::take(&mut inner.queue);
        let managed = inner.managed_mut()?;
        let acked = managed.unacked.taken();
        let gathered = managed.parked.take().unwrap_or_default().gather(queue, acked);
        managed.waiting = gathered.stanzas;
        let (last, durable) = (acked + gathered.stanzas, managed.durable.as_mut());
        let write = durable.and_then(|durable| durable.reorder(acked, &gathered.moved, last));
        inner.bytes = inner.bytes.saturating_sub(gathered.freed_bytes);
        inner.queue = gathered.queue;
        write
    }

    /// Whether the session comes from an earlier process and has not been resumed since.
    pub(crate) fn is_restored(&self) -> bool {
        self.0.lock().durable().is_some_and(Durable::is_restored)
    }

    /// How often the stanzas have been numbered anew.
    pub(crate) fn epoch(&self) -> u32 {
        self.0.lock().durable().map_or(0, Durable::epoch)
    }

    /// Notes that the client asked something, for the case that its answer is lost.
    pub(crate) fn note_request(&self, id: &str, to: Option<&Jid>) {
        if let Some(durable) = self.0.lock().durable_mut() {
            durable.note_request(OpenIq { id: id.to_owned(), to: to.cloned() });
        }
    }

    /// Requests whose answers the client is not known to have.
    pub(crate) fn open_iqs(&self) -> Vec<OpenIq> {
        self.0.lock().durable().map_or_else(Vec::new, Durable::open_iqs)
    }

    /// Requests that have no answer.
    pub(crate) fn unanswered(&self) -> Vec<OpenIq> {
        self.0.lock().durable().map_or_else(Vec::new, Durable::unanswered)
    }

    /// Puts what was taken and not acknowledged in front again, to be sent once more.
    fn rewind(&self) {
        let mut inner = self.0.lock();
        let Some(managed) = inner.managed_mut() else { return };
        let mut queue = managed.unacked.take();
        managed.waiting += stanzas_in(&queue);
        queue.append(&mut inner.queue);
        inner.queue = queue;
    }
}

pub(super) fn stanzas_in(queue: &VecDeque<Item>) -> u64 {
    queue.iter().filter(|item| item.is_stanza()).count() as u64
}

impl Inner {
    pub(super) fn managed(&self) -> Option<&Managed> {
        self.asked.as_ref()?.managed.as_ref()
    }

    pub(super) fn managed_mut(&mut self) -> Option<&mut Managed> {
        self.asked.as_mut()?.managed.as_mut()
    }

    pub(super) fn durable(&self) -> Option<&Durable> {
        self.managed()?.durable.as_ref()
    }

    pub(super) fn durable_mut(&mut self) -> Option<&mut Durable> {
        self.managed_mut()?.durable.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::OUTBOX_HARD_ITEMS;
    use crate::outbox::Close;

    struct Noon;

    impl Clock for Noon {
        fn unix_ms(&self) -> i64 {
            12
        }
    }

    fn parked() -> Outbox {
        let outbox = Outbox::default();
        outbox.count(Arc::new(Noon));
        outbox.park();
        outbox
    }

    fn show(outbox: &Outbox, from: usize, show: &str) {
        let xml = format!("<presence from='{from}.example'><show>{show}</show></presence>");
        outbox.push(Stanza::parse(xml.as_bytes()).unwrap(), Fate::Forget);
    }

    #[test]
    fn a_contact_that_comes_and_goes_does_not_fill_the_outbox_of_a_session_without_a_stream() {
        let outbox = parked();
        show(&outbox, 1, "xa");
        let bytes = outbox.bytes();
        for _ in 0..2 * OUTBOX_HARD_ITEMS {
            show(&outbox, 1, "xa");
        }
        assert_eq!((outbox.bytes(), outbox.closing()), (bytes, None));
        assert_eq!(outbox.drain().len(), 1);
    }

    #[test]
    fn what_waits_apart_is_bounded_with_the_rest() {
        let outbox = parked();
        for contact in 0..=OUTBOX_HARD_ITEMS {
            assert_eq!(outbox.closing(), None, "{contact}");
            show(&outbox, contact, "xa");
        }
        assert_eq!(outbox.closing(), Some(Close::Overflow));
        assert_eq!(outbox.drain().len(), OUTBOX_HARD_ITEMS + 1);
    }

    #[test]
    fn an_acknowledgement_frees_what_was_left_out_no_more_than_once() {
        let outbox = Outbox::default();
        outbox.count(Arc::new(Noon));
        for n in ["away", "xa"] {
            show(&outbox, 1, n);
            outbox.pop();
        }
        outbox.park();
        show(&outbox, 1, "dnd");
        outbox.resume(0).unwrap();
        assert!(outbox.gather().is_none(), "nothing of it is in a store");
        outbox.unpark();
        assert_eq!(outbox.queued(), Some(1));
        outbox.pop();
        outbox.acknowledge(1).unwrap();
        assert_eq!(outbox.bytes(), 0);
    }
}
