//! The allocator of the process, and what gives unused memory back.
//!
//! Why unsafe: the calls of both allocators to give memory back are C functions.

#![allow(unsafe_code, reason = "see above")]

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Smallest after days of churn, of the allocators measured. It is not put in the place of the C
/// library's, which SQLite and the cryptography use: a process into which a library is loaded that
/// changes the clock, as tests do, would not start.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Returns pages that nobody has used for a while to the system, for as long as it runs.
///
/// Ours does so by itself when it is called again, which on a server that has become idle is never;
/// the C library's only with what is last in memory. The caches that connections of the store
/// emptied would stay.
pub(crate) async fn give_back() {
    let mut turn = interval(EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        // SAFETY: it may be called at any time by any thread, and moves nothing that is in use.
        unsafe { libmimalloc_sys::mi_collect(false) };
        #[cfg(target_env = "gnu")]
        // SAFETY: as above (malloc_trim(3): MT-Safe).
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

/// Rare enough to cost nothing, and soon enough to be seen by whoever watches the process.
const EVERY: Duration = Duration::from_secs(5);
