//! The allocator of the process, which SQLite uses as well, and what gives its unused memory back.
//!
//! Why unsafe: the allocator's call to give memory back is a C function.

#![allow(unsafe_code, reason = "see above")]

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Smallest after days of churn, of the allocators measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Returns pages that nobody has used for a while to the system, for as long as it runs.
///
/// The allocator does so by itself when it is called again, which on a server that has become idle
/// is never: the caches that connections of the store emptied would stay.
pub(crate) async fn give_back() {
    let mut turn = interval(EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        // SAFETY: it may be called at any time by any thread, and moves nothing that is in use.
        unsafe { libmimalloc_sys::mi_collect(false) };
    }
}

/// Rare enough to cost nothing, and soon enough to be seen by whoever watches the process.
const EVERY: Duration = Duration::from_secs(5);
