//! Work that goes on beside the connections' tasks and ends by itself: a session's deadline, a
//! commit that failed.

/// Starts such work. What it holds is a session at most, and it ends when that does.
pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}
