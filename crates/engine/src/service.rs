//! Work that goes on beside the connections' tasks and ends by itself: a session's deadline, a
//! commit that failed.

/// Starts such work. What it holds is a session at most, and it ends when that does.
pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

/// The same, to be waited for. Who stops waiting does not stop it.
pub(crate) async fn run(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(work).await);
}
