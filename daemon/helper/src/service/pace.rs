//! Keeps a task that waits for a state from spending a core on a directory whose log grows a thousand times a second.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::beat;

/// Fruitless wakes in a row that cost nothing: a program that prints a little and ends is seen at once.
const FREE: u32 = 16;

/// Pause after each further one, until a beat that all share. A state that changes during a flood of output is seen as much
/// later as both together.
const PAUSE: Duration = Duration::from_millis(20);
const BEAT: Duration = Duration::from_millis(40);

/// A quiet time after which wakes are free again.
const QUIET: Duration = Duration::from_millis(200);

/// Counts wakes that brought nothing.
#[derive(Debug)]
pub(super) struct Pace {
    fruitless: u32,
    last: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            fruitless: 0,
            last: Instant::now(),
        }
    }

    /// To be called after a wake that brought nothing new.
    pub(super) async fn fruitless(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.last) > QUIET {
            self.fruitless = 0;
        }
        self.last = now;
        self.fruitless = self.fruitless.saturating_add(1);
        if self.fruitless > FREE {
            sleep_until(beat::from(now + PAUSE, BEAT)).await;
        }
    }
}
