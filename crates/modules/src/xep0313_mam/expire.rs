//! Removing what the operator does not want kept any longer (§3.2).

use std::sync::Arc;

use stentor_engine::{BoxFuture, Chore, Engine, Host};

use super::Archive;

impl Chore for Archive {
    /// The oldest messages go first, so no gap is made; ids are never used again. What deleted
    /// accounts left goes as well, even where nothing expires.
    fn run<'a>(&'a self, engine: &'a Arc<Engine>, host: &'a Arc<Host>) -> BoxFuture<'a, ()> {
        let kept_ms = i64::from(self.config.expire_days).saturating_mul(DAY_MS);
        let before_ms = if kept_ms == 0 { i64::MIN } else { engine.clock.unix_ms() - kept_ms };
        Box::pin(async move {
            // Step by step: other writes go in between.
            loop {
                match engine.stores.archive.expire(Some(&host.domain), before_ms).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        tracing::error!(event = "store_failed", domain = &*host.domain, %error, "Expired messages could not be removed.");
                        return;
                    }
                }
            }
        })
    }
}

const DAY_MS: i64 = 86_400_000;
