//! What the loop does, as events of the `tracing` crate.

use std::time::Duration;

use crate::handle::Handle;

/// Submitting that took the loop's time for so long is told of.
const SLOW_ENTER: Duration = Duration::from_millis(10);

pub(crate) fn entered(took: Duration) {
    if took >= SLOW_ENTER {
        tracing::warn!(target: "ambidex", ?took, "submitting blocked the loop");
    }
}

impl Handle {
    /// Emits the [metrics](Handle::metrics) each `period`, for ever: an event of level `INFO` and target
    /// `ambidex`, with a field for each number. Spawn it; each event wakes the loop.
    ///
    /// An enter of the ring that took 10 ms or longer is an event of level `WARN`, without this.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// ```
    /// # let mut engine = ambidex::Engine::new()?;
    /// engine.run(async |io| {
    ///     let own = io.clone();
    ///     let tracer = io.spawn(async move { own.trace(std::time::Duration::from_secs(60)).await });
    ///     tracer.abort();
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn trace(&self, period: Duration) {
        let mut interval = self.interval(period);
        loop {
            interval.tick().await;
            let metrics = self.metrics();
            tracing::info!(
                target: "ambidex",
                turns = metrics.turns,
                sleeps = metrics.sleeps,
                polls = metrics.polls,
                events = metrics.events,
                interrupted = metrics.interrupted,
                spurious = metrics.spurious,
                calls = metrics.calls,
                calls_elsewhere = metrics.calls_elsewhere,
                enters = metrics.enters,
                submitted = metrics.submitted,
                completed = metrics.completed,
                enter_max_us = metrics.enter_max.as_micros(),
                tasks = self.tasks(),
                in_flight = self.disk().in_flight(),
                waiting = self.disk().waiting(),
                "metrics"
            );
        }
    }
}
