//! Work that goes on beside the connections' tasks and ends by itself: a session's deadline, a
//! commit that failed.

use tokio::task::JoinHandle;

/// Starts such work. What it holds is a session at most, and it ends when that does.
pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

/// The same, to be waited for. Who stops waiting does not stop it.
pub(crate) async fn run(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(work).await);
}

/// The same, to be waited for by somebody who comes later.
pub(crate) fn begin(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(work)
}
