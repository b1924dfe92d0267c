//! Time as an argument: the engine never reads a clock of its own.

/// Where the time comes from: the system in the server, a number in tests.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> i64;

    /// Milliseconds since some moment, on a clock that nobody sets.
    fn steady_ms(&self) -> i64 {
        self.unix_ms()
    }
}
