//! Looks, while something is due to devices, at how busy the server is and at how long they wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stentor_engine::Engine;

use super::lanes::Lanes;
use super::load::Looks;
use crate::limits::PUSH_LOOK_MS;

/// Begins to look. It ends when nothing is due any more.
pub(super) fn begin(lanes: &Arc<Lanes>, engine: &Arc<Engine>) {
    let (lanes, engine_too) = (lanes.clone(), engine.clone());
    engine.start(async move {
        let mut looks = Looks::default();
        while look(&lanes, &engine_too) {
            let before_ms = engine_too.clock.steady_ms();
            tokio::time::sleep(Duration::from_millis(PUSH_LOOK_MS)).await;
            let took_ms = engine_too.clock.steady_ms().saturating_sub(before_ms);
            let asked_ms = i64::try_from(PUSH_LOOK_MS).unwrap_or(i64::MAX);
            lanes.load.note(&mut looks, took_ms.saturating_sub(asked_ms));
        }
    });
}

/// Shows how things are. Whether there is anything still.
fn look(lanes: &Lanes, engine: &Engine) -> bool {
    let metrics = &engine.metrics;
    let all = lanes.lanes.lock();
    let Some(since_ms) = all.values().map(|lane| lane.since_ms).min() else {
        // Under the lock: whoever is due next begins anew.
        lanes.is_watched.store(false, Ordering::Release);
        lanes.load.rest();
        metrics.pushes_pressed.set(0);
        metrics.pushes_oldest_secs.set(0);
        return false;
    };
    metrics.pushes_pressed.set(i64::from(lanes.load.is_pressed()));
    metrics.pushes_oldest_secs.set(engine.clock.unix_ms().saturating_sub(since_ms) / 1_000);
    true
}
