//! The maxima of the modules.

/// The longest time that an option of a module may say, in seconds: a hundred years.
pub(crate) const SECS_MAX: u64 = 3_155_760_000;

/// Seconds of an option as milliseconds.
pub(crate) fn millis(secs: u64) -> i64 {
    i64::try_from(secs.min(SECS_MAX).saturating_mul(1_000)).unwrap_or(i64::MAX)
}
