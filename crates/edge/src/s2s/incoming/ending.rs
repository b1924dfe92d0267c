//! The end of a stream from another server.

use super::Stream;
use crate::monotonic;
use crate::s2s::carrier::settle;
use crate::s2s::pump::Counts;
use crate::s2s::resume::{End, Left};

impl Stream {
    /// The stream is over: what waits for its domain goes another way.
    pub(in crate::s2s) async fn finish(&mut self, broken: Option<std::io::Error>) {
        self.place = None;
        self.inbound.settle_all().await;
        let links = &self.listener.links;
        let back = std::mem::take(&mut self.back);
        // The peer might have counted, had it had the time.
        let is_young = self.end == End::Broken && self.settled_by > monotonic::now();
        for (link, taker) in &back {
            if is_young && self.machine.tally().is_none() {
                link.queue.acked_but_messages(*taker, self.pump.written);
            } else {
                // Who never counted has what the socket took.
                settle((link, *taker), &self.machine, &self.pump);
            }
        }
        // It goes another way, and must not come on this one after all.
        let has_unacked = back.iter().any(|(link, taker)| link.queue.unacked(*taker) > 0);
        if self.end == End::Broken && self.machine.tally().is_some() && has_unacked {
            self.pump.conn.abort();
        }
        let tally = self.machine.tally().filter(|_| self.end == End::Broken);
        match (self.resumable.take(), tally) {
            (Some((id, _)), Some(tally)) => links.park(id, Left::new(tally, back)),
            (resumable, _) => {
                if let Some((id, _)) = resumable {
                    links.resumable.forget(&id);
                }
                let doubt = self.end.doubt(self.machine.tally().is_some());
                for (link, taker) in back {
                    links.return_queue(&link, taker, doubt);
                }
            }
        }
        let may_be_gone = self.end.may_be_gone();
        self.machine.pairs().for_each(|pair| links.look_after_pair(pair, may_be_gone));
        self.tell_end(broken);
    }

    /// Writes into the log how it ended.
    fn tell_end(&mut self, broken: Option<std::io::Error>) {
        let reason = self.fault.take().or_else(|| broken.map(|error| error.to_string()));
        if !self.is_authorized && self.has_verified && reason.is_none() {
            let (local, remote, peer) = (self.machine.domain(), self.remote.as_deref(), self.peer);
            tracing::debug!(event = "s2s_in_verified", local, remote, %peer, "Another server had a key of ours verified.");
            return;
        }
        let (remote, peer) = (self.remote.as_deref(), self.peer);
        let reason = reason.as_deref().unwrap_or("closed");
        if !self.is_authorized && remote.is_some() {
            self.federation().metrics.refused.inc();
            let (local, certificate) = (self.machine.domain(), self.doubt.as_deref());
            tracing::info!(event = "s2s_in_refused", local, remote, %peer, reason, certificate, "A stream from another server ended before its domain was proven.");
            return;
        }
        let Counts { presences_out, others_out, presences_in, others_in } = self.pump.counts;
        tracing::info!(event = "s2s_in_ended", remote, %peer, reason, presences_out, others_out, presences_in, others_in, "A stream from another server ended.");
    }
}
