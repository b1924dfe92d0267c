//! A server over real sockets, in the test's own process.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part")]

pub mod piped;

use std::net::SocketAddr;
use std::sync::Arc;

use stentor_edge::{C2sListener, Shared, accept};
use stentor_engine::Settings as ProfileSettings;
use stentor_jid::BareJid;
use stentor_testkit::{Typist, World};
use stentor_transport::Listener;
use tokio::sync::watch;

/// An engine behind a port. Juliet and Romeo have accounts.
pub struct Server {
    pub world: World,
    pub addr: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Server {
    pub async fn start(settings: ProfileSettings) -> Self {
        let world = World::with(settings, "");
        Self::create_accounts(&world).await;
        Self::over(world)
    }

    pub async fn create_accounts(world: &World) {
        for name in ["juliet@capulet.example", "romeo@montague.example"] {
            let jid = BareJid::new(name).unwrap();
            world.engine.create_account(&jid, "secret".to_owned()).await.unwrap();
        }
    }

    pub fn over(world: World) -> Self {
        let shared = Arc::new(Shared::new(world.engine.clone()));
        let (stop, stopped) = watch::channel(false);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.addr();
        let c2s = Arc::new(C2sListener::in_clear(shared));
        tokio::spawn(accept(c2s, listener, stopped));
        Self { world, addr, _stop: stop }
    }

    pub async fn bind(&self, jid: &str) -> Typist {
        let mut typist = Typist::bind(self.addr, jid, "secret").await;
        typist.say("<presence/>").await;
        typist
    }

    /// Juliet with stream management, and the id of her session.
    pub async fn juliet(&self) -> (Typist, String) {
        let mut juliet = self.bind("juliet@capulet.example/balcony").await;
        juliet.sync().await;
        juliet.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        let enabled = juliet.hear("/>").await;
        let id = enabled.split_once("id='").unwrap().1.split_once('\'').unwrap().0.to_owned();
        assert!(id.len() >= 26, "{id}");
        (juliet, id)
    }

    pub async fn resume(&self, id: &str, h: u32) -> (Typist, String) {
        let mut juliet = Typist::sign_in(self.addr, "juliet@capulet.example", "secret").await;
        juliet.say(&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{h}'/>")).await;
        let answer = juliet.hear(">").await;
        (juliet, answer)
    }

    pub async fn until(&self, holds: impl Fn(&World) -> bool) {
        for _ in 0..5_000 {
            if holds(&self.world) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("it never came to be");
    }

    pub async fn until_detached(&self) {
        self.until(|world| world.engine.metrics.sessions_detached.get() == 1).await;
    }
}
