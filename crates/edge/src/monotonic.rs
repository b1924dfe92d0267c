//! The monotonic clock of the process, as stream machines want it.

use std::sync::OnceLock;
use std::time::Duration;

use stentor_stream::Millis;
use tokio::time::Instant;

/// Milliseconds since two days before the process first asked: what an earlier one left has a time.
pub(crate) fn now() -> Millis {
    let millis = Instant::now().duration_since(origin()).as_millis();
    Millis(u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(BEFORE_MS))
}

/// The instant of a number of milliseconds.
pub(crate) fn instant(at: Millis) -> Instant {
    origin() + Duration::from_millis(at.0.saturating_sub(BEFORE_MS))
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// Longer than anything waits for another server.
const BEFORE_MS: u64 = 2 * 24 * 3_600 * 1_000;
