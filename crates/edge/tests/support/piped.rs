//! A server without sockets: time passes only when everybody waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stentor_edge::{C2sListener, Driver, Link, Rates, Shared};
use stentor_testkit::{Wire, World};
use stentor_transport::{Conn, Pipe};
use tokio::time::sleep;

use super::Server;

/// The server. Juliet and Romeo have accounts.
pub struct Piped {
    pub world: World,
    pub listener: Arc<C2sListener>,
}

impl Piped {
    pub async fn with(rates: Rates) -> Self {
        Self::over(World::new(), rates).await
    }

    pub async fn over(world: World, rates: Rates) -> Self {
        Server::create_accounts(&world).await;
        Self::around(world, rates).await
    }

    /// The same, with the accounts that there are.
    pub async fn around(world: World, rates: Rates) -> Self {
        let shared = Arc::new(Shared { rates, ..Shared::new(world.engine.clone()) });
        let listener = Arc::new(C2sListener::in_clear(shared));
        Self { world, listener }
    }

    /// A connection that holds so many bytes in each direction.
    pub fn dial(&self, bytes_max: usize) -> Conn {
        let (mine, theirs) = Pipe::pair(bytes_max);
        let peer = SocketAddr::from(([192, 0, 2, 1], 5222));
        let permit = self.listener.shared.admission.admit(peer.ip()).unwrap();
        tokio::spawn(Driver::new(
            Conn::piped(theirs, peer),
            Link::new(self.listener.clone(), peer, permit),
        ));
        Conn::piped(mine, peer)
    }

    /// The same, signed in and bound.
    pub async fn connect_over(&self, bytes_max: usize, user: &str, domain: &str) -> Wire {
        let mut wire = Wire::new(self.dial(bytes_max));
        wire.sign_in(user, domain, "secret").await.unwrap();
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
        wire.write(bind).unwrap();
        wire.frame().await.unwrap();
        wire
    }

    pub async fn connect(&self, user: &str, domain: &str) -> Wire {
        let wire = self.connect_over(1 << 20, user, domain).await;
        // Whatever signing in took, it has a whole burst again.
        sleep(Duration::from_secs(60)).await;
        wire
    }

    pub async fn juliet(&self) -> Wire {
        self.connect("juliet", "capulet.example").await
    }

    pub async fn romeo(&self) -> Wire {
        self.connect("romeo", "montague.example").await
    }

    pub fn paused(&self) -> u64 {
        self.listener.shared.metrics.paused.get()
    }
}
