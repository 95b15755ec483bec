//! How much of large files may be under way, so that what is saved meanwhile does not wait behind it in the buffers of a
//! slow line: as much as the host lately took in about [`DELAY`], besides what the way itself holds. Knows the clock and
//! nothing else.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Bytes under way at first, at least and at most.
const FIRST: u64 = 1 << 20;
const LEAST: u64 = 256 << 10;
const MOST: u64 = 16 << 20;
/// How long what is under way may wait for what was sent before.
const DELAY: Duration = Duration::from_millis(100);
/// Over how long the pace is taken.
const LATELY: Duration = Duration::from_secs(1);
/// How long the shortest way counts: it may become another one.
const EPOCH: Duration = Duration::from_secs(10);

/// What is under way.
#[derive(Debug)]
pub(crate) struct Window {
    size: u64,
    under_way: u64,
    /// Of that, what no answer was asked for yet.
    unasked: u64,
    /// When an answer was asked for, and for how many bytes.
    asked: VecDeque<(Instant, u64)>,
    /// What was answered lately, and for how many bytes. The first one is where that begins.
    answered: VecDeque<(Instant, u64)>,
    /// How long the shortest way took, and until when that counts.
    shortest: Option<(Duration, Instant)>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            size: FIRST,
            under_way: 0,
            unasked: 0,
            asked: VecDeque::new(),
            answered: VecDeque::new(),
            shortest: None,
        }
    }
}

impl Window {
    /// Whether more may be sent.
    pub(crate) fn is_open(&self) -> bool {
        // Where no answer is to come, there has to be something that asks for one.
        self.under_way < self.size || self.asked.is_empty()
    }

    /// Takes note of bytes that are sent. Gives whether an answer is to be asked for.
    pub(crate) fn sent(&mut self, bytes: u64, now: Instant) -> bool {
        if self.under_way == 0 {
            // What comes after a pause says nothing of how it was before.
            self.answered.clear();
            self.answered.push_back((now, 0));
        }
        self.under_way += bytes;
        self.unasked += bytes;
        let asks = self.unasked > 0 && self.unasked >= self.size / 4;
        if asks {
            self.asked.push_back((now, std::mem::take(&mut self.unasked)));
        }
        asks
    }

    /// The host answered what it was asked first.
    pub(crate) fn answered(&mut self, now: Instant) {
        let Some((at, bytes)) = self.asked.pop_front() else {
            return;
        };
        self.under_way = self.under_way.saturating_sub(bytes);
        self.answered.push_back((now, bytes));
        while self.answered.len() > 2 && self.answered.front().is_some_and(|(at, _)| *at + LATELY < now) {
            self.answered.pop_front();
        }
        let took = now.duration_since(at);
        let (shortest, until) = *self.shortest.get_or_insert((took, now + EPOCH));
        let shortest = shortest.min(took);
        self.shortest = Some((shortest, until));
        if now > until {
            // With less under way it shows again how short the way is.
            self.shortest = None;
            self.size = (self.size / 2).max(LEAST);
            return;
        }
        let Some((since, _)) = self.answered.front() else {
            return;
        };
        let bytes: u64 = self.answered.iter().skip(1).map(|(_, bytes)| bytes).sum();
        let lasted = now.duration_since(*since).max(Duration::from_micros(1));
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is under way is no exact number"
        )]
        let size = (bytes as f64 / lasted.as_secs_f64() * (shortest + DELAY).as_secs_f64()) as u64;
        self.size = size.clamp(LEAST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 256 << 10;

    /// Sends for a while over a line with this pace (bytes a second) and way there and back. Gives the pace that was
    /// reached in the second half, and how long the last bytes were under way on average.
    fn run(
        window: &mut Window,
        clock: &mut Instant,
        pace: u64,
        way: Duration,
        lasts: Duration,
    ) -> (u64, Duration) {
        let begun = *clock;
        let mut now = begun;
        // When the line has taken all of it.
        let mut free = begun;
        let mut answers = VecDeque::new();
        let (mut counted, mut delays) = (0, Vec::new());
        while now < begun + lasts {
            while window.is_open() {
                free = free.max(now) + Duration::from_secs_f64(PIECE as f64 / pace as f64);
                if window.sent(PIECE, now) {
                    answers.push_back(free + way);
                }
                if now > begun + lasts / 2 {
                    counted += PIECE;
                    delays.push(free + way - now);
                }
            }
            now = answers.pop_front().expect("what is full asks");
            window.answered(now);
        }
        for at in answers {
            window.answered(at);
            now = at;
        }
        *clock = now;
        let count = u32::try_from(delays.len()).expect("not so many").max(1);
        let pace = (counted as f64 / (lasts / 2).as_secs_f64()) as u64;
        (pace, delays.iter().sum::<Duration>() / count)
    }

    #[test]
    fn a_line_is_used_and_not_filled() {
        let far = Duration::from_millis(40);
        for (pace, way, most) in [
            (
                1_000_000_000,
                Duration::from_micros(200),
                Duration::from_millis(30),
            ),
            (80_000_000, far, Duration::from_millis(260)),
            (10_000_000, far, Duration::from_millis(280)),
            (2_000_000, far, Duration::from_millis(450)),
        ] {
            let (mut window, mut clock) = (Window::default(), Instant::now());
            let (reached, delay) = run(&mut window, &mut clock, pace, way, Duration::from_secs(30));
            assert!(reached >= pace / 100 * 80, "{reached} of {pace}");
            assert!(delay <= most, "{delay:?} at {pace}");
        }
    }

    #[test]
    fn a_line_that_becomes_another_one_is_learnt_anew() {
        let (mut window, mut clock) = (Window::default(), Instant::now());
        let near = Duration::from_millis(1);
        let seconds = Duration::from_secs;
        run(&mut window, &mut clock, 500_000_000, near, seconds(20));
        let (_, delay) = run(&mut window, &mut clock, 5_000_000, near, seconds(30));
        assert!(delay <= Duration::from_millis(300), "{delay:?}");
        let far = Duration::from_millis(200);
        let (reached, _) = run(&mut window, &mut clock, 50_000_000, far, seconds(60));
        assert!(reached >= 35_000_000, "{reached}");
    }
}
