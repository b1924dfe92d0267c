//! Whether the server has more to do than it can, which is known by how late its own timers wake: then
//! what may wait does, and leaves the processor to chats and to what somebody waits for.

use tokio::sync::watch;

/// What is known of it. Nobody looks while there is nothing to tell.
pub(super) struct Load {
    late_ms_max: u64,
    is_pressed: watch::Sender<bool>,
}

/// The last few looks.
#[derive(Default)]
pub(super) struct Looks {
    is_late: bool,
}

impl Load {
    /// With timers that may wake so late; 0 for however late.
    pub(super) fn new(late_ms_max: u64) -> Self {
        Self { late_ms_max, is_pressed: watch::Sender::new(false) }
    }

    /// Whether what may wait is to wait.
    pub(super) fn is_pressed(&self) -> bool {
        *self.is_pressed.borrow()
    }

    /// Waits until it need not.
    pub(super) async fn relief(&self) {
        // The sender is ours: it is never closed.
        let _ = self.is_pressed.subscribe().wait_for(|is_pressed| !is_pressed).await;
    }

    /// Notes by how much a timer was late, in milliseconds. One that is late alone says little: a clock
    /// was set, or somebody else had the machine for a moment.
    pub(super) fn note(&self, looks: &mut Looks, late_ms: i64) {
        let late_ms = u64::try_from(late_ms).unwrap_or(0);
        let is_late = self.late_ms_max > 0 && late_ms > self.late_ms_max;
        let was_late = std::mem::replace(&mut looks.is_late, is_late);
        self.is_pressed.send_if_modified(|is_pressed| {
            let before = *is_pressed;
            *is_pressed = is_late && (was_late || before);
            before != *is_pressed
        });
    }

    /// Nobody looks any more.
    pub(super) fn rest(&self) {
        self.is_pressed.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn it_is_pressed_while_timers_go_on_being_late() {
        let (load, mut looks) = (Load::new(100), Looks::default());
        let mut noted = |late_ms| {
            load.note(&mut looks, late_ms);
            load.is_pressed()
        };
        assert!(!noted(101), "once is chance");
        assert!(noted(101) && noted(5_000));
        assert!(!noted(100) && !noted(101) && noted(101));
        load.rest();
        assert!(!load.is_pressed());
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let (load, mut looks) = (Load::new(0), Looks::default());
        for late_ms in [i64::MAX, i64::MAX, -1] {
            load.note(&mut looks, late_ms);
            assert!(!load.is_pressed());
        }
    }

    #[tokio::test]
    async fn who_waits_goes_on_with_relief() {
        let (load, mut looks) = (Load::new(1), Looks::default());
        load.note(&mut looks, 2);
        load.note(&mut looks, 2);
        assert!(timeout(Duration::ZERO, load.relief()).await.is_err());
        load.note(&mut looks, 0);
        load.relief().await;
    }
}
