//! Work that is due now and then, whoever is there: what has expired is removed.

use std::sync::Arc;

use stentor_store::Write;

use crate::engine::Engine;
use crate::host::Host;
use crate::iq::BoxFuture;

/// Work of a feature for one domain.
pub trait Chore: Send + Sync + 'static {
    /// Does what is due. Failures are logged: it is called again an hour later.
    fn run<'a>(&'a self, engine: &'a Arc<Engine>, host: &'a Arc<Host>) -> BoxFuture<'a, ()>;
}

impl Engine {
    /// Does what is due for all domains, one after the other. The server calls it once an hour.
    pub async fn do_chores(self: &Arc<Self>) {
        let now_ms = self.clock.unix_ms();
        drop(self.stores.writer.submit(Write::ExpireSessions { now_ms }));
        let hosts: Vec<_> = self.hosts.load().iter().cloned().collect();
        for host in &hosts {
            for chore in &host.profile.chores {
                chore.run(self, host).await;
            }
        }
    }
}
