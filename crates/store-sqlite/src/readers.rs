//! The threads that read.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use stentor_store::{Boxed, StoreError};
use tokio::sync::oneshot;

use crate::connection::give_back;
use crate::error::store_error;
use crate::limits::{LULL, READS_WAITING_MAX};

/// Connections for reading, and who uses them.
#[derive(Debug)]
pub(crate) struct Readers {
    home: Home,
}

#[derive(Debug)]
enum Home {
    /// Each connection lives in a thread; all take from one queue.
    Threads { jobs: Option<SyncSender<Job>>, threads: Vec<JoinHandle<()>> },
    /// Whoever asks reads, on the connection of the writer.
    Caller(Arc<Mutex<Connection>>),
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

impl Readers {
    /// Starts a thread for each connection.
    pub(crate) fn spawn(connections: Vec<Connection>) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(READS_WAITING_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for connection in connections {
            let queue = Arc::clone(&queue);
            let thread = thread::Builder::new().name("store-reader".into());
            threads.push(thread.spawn(move || run(&queue, connection))?);
        }
        Ok(Self { home: Home::Threads { jobs: Some(jobs), threads } })
    }

    /// Reads on the connection that the writer uses as well, between its commits.
    pub(crate) fn inline(connection: Arc<Mutex<Connection>>) -> Self {
        Self { home: Home::Caller(connection) }
    }

    /// Runs `read` on one of the connections, within one view of the database.
    pub(crate) fn read<T, F>(self: &Arc<Self>, read: F) -> Boxed<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let this = Arc::clone(self);
        Box::pin(async move {
            let jobs = match &this.home {
                Home::Caller(connection) => return in_one_view(&mut connection.lock(), read),
                Home::Threads { jobs, .. } => jobs.as_ref().ok_or(StoreError::Stopped)?,
            };
            let (reply, answer) = oneshot::channel();
            let job: Job = Box::new(move |connection| {
                // Who no longer waits needs no answer.
                if !reply.is_closed() {
                    drop(reply.send(in_one_view(connection, read)));
                }
            });
            match jobs.try_send(job) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => return Err(StoreError::Busy),
                Err(TrySendError::Disconnected(_)) => return Err(StoreError::Stopped),
            }
            answer.await.unwrap_or_else(|_| Err(StoreError::Unreachable("a read panicked".into())))
        })
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        if let Home::Threads { jobs, threads } = &mut self.home {
            *jobs = None;
            // The last future may be dropped by the thread that answered it.
            let this = thread::current().id();
            for thread in threads.drain(..).filter(|thread| thread.thread().id() != this) {
                drop(thread.join());
            }
        }
    }
}

fn run(queue: &Mutex<Receiver<Job>>, mut connection: Connection) {
    let mut has_read = false;
    loop {
        let job = match next(queue, has_read.then_some(LULL)) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                give_back(&connection);
                has_read = false;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
            tracing::error!(event = "store_failed", "a read panicked");
        }
        has_read = true;
    }
}

/// Waits for a job, for ever or until there has been none for so long.
fn next(queue: &Mutex<Receiver<Job>>, lull: Option<Duration>) -> Result<Job, RecvTimeoutError> {
    // One thread waits inside `recv`, the others for the lock; each takes one job.
    match lull {
        None => queue.lock().recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(lull) => {
            let queue = queue.try_lock_for(lull).ok_or(RecvTimeoutError::Timeout)?;
            queue.recv_timeout(lull)
        }
    }
}

fn in_one_view<T>(
    connection: &mut Connection,
    read: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let view = connection.transaction().map_err(store_error)?;
    let result = read(&view);
    view.finish().map_err(store_error)?;
    result
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn wait<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn one_thread() -> Arc<Readers> {
        Arc::new(Readers::spawn(vec![Connection::open_in_memory().unwrap()]).unwrap())
    }

    #[test]
    fn refuses_more_reads_than_may_wait() {
        let readers = one_thread();
        let (started, see) = sync_channel(1);
        let (release, held) = sync_channel::<()>(1);
        let mut first = readers.read(move |_| {
            started.send(()).unwrap();
            held.recv().unwrap();
            Ok(())
        });
        let mut cx = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        see.recv().unwrap();
        let mut waiting: Vec<Boxed<usize>> =
            (0..READS_WAITING_MAX).map(|n| readers.read(move |_| Ok(n))).collect();
        assert!(waiting.iter_mut().all(|read| read.as_mut().poll(&mut cx).is_pending()));
        let mut refused = readers.read(|_| Ok(()));
        assert_eq!(refused.as_mut().poll(&mut cx), Poll::Ready(Err(StoreError::Busy)));
        release.send(()).unwrap();
        assert_eq!(wait(first), Ok(()));
        for (n, read) in waiting.into_iter().enumerate() {
            assert_eq!(wait(read), Ok(n));
        }
    }

    #[test]
    fn a_thread_learns_that_there_has_been_no_job_for_a_while() {
        let (jobs, queue) = sync_channel::<Job>(1);
        let queue = Mutex::new(queue);
        let now = Some(Duration::ZERO);
        assert!(matches!(next(&queue, now), Err(RecvTimeoutError::Timeout)));
        jobs.send(Box::new(|_| ())).unwrap();
        assert!(next(&queue, now).is_ok());
        let held = queue.lock();
        assert!(matches!(next(&queue, now), Err(RecvTimeoutError::Timeout)), "another waits");
        drop((held, jobs));
        assert!(matches!(next(&queue, now), Err(RecvTimeoutError::Disconnected)));
        assert!(matches!(next(&queue, None), Err(RecvTimeoutError::Disconnected)));
    }

    #[test]
    fn a_panic_fails_one_read_and_ends_no_thread() {
        let readers = one_thread();
        let failed = wait(readers.read::<(), _>(|_| panic!("a read with a fault")));
        assert!(matches!(failed, Err(StoreError::Unreachable(_))));
        assert_eq!(wait(readers.read(|_| Ok(7))), Ok(7));
    }

    #[test]
    fn one_view_holds_for_a_whole_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stentor.db");
        let writer = Connection::open(&file).unwrap();
        writer.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t (n INTEGER)").unwrap();
        let reader = crate::connection::open_reader(&file).unwrap();
        let readers = Arc::new(Readers::spawn(vec![reader]).unwrap());
        let count = |db: &Connection| -> Result<i64, StoreError> {
            db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).map_err(store_error)
        };
        let counts = wait(readers.read(move |db| {
            let before = count(db)?;
            writer.execute("INSERT INTO t VALUES (1)", []).map_err(store_error)?;
            Ok((before, count(db)?))
        }));
        assert_eq!(counts, Ok((0, 0)));
        assert_eq!(wait(readers.read(move |db| count(db))), Ok(1));
    }
}
