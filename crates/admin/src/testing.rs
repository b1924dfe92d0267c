//! What the tests of commands run with.

use std::sync::Arc;

use stentor_testkit::World;
use tokio::sync::mpsc;

use crate::Cx;

/// Commands over a world, as in a running server that nobody hears.
pub(crate) fn cx(world: &World) -> Cx {
    let (wishes, _) = mpsc::channel(1);
    Cx {
        engine: world.engine.clone(),
        back_up: Arc::new(|_| Box::pin(async { Ok(()) })),
        s2s: None,
        wishes: Some(wishes),
    }
}
