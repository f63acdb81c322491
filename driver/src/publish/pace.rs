//! When the next publish is due.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest time between two publishes.
const EVERY: Duration = Duration::from_secs(1);

/// Longest time between two tries.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// At most one publish a second, and fewer while they fail.
#[derive(Debug)]
pub(super) struct Pace {
    due: Option<Instant>,
    last: Option<Instant>,
    backoff: Duration,
}

impl Pace {
    /// The first publish is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: Some(now),
            last: None,
            backoff: EVERY,
        }
    }

    /// When to publish, if anything asks for it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something may have changed. While tries fail, this does not hurry them.
    pub(super) fn ask(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| (last + EVERY).max(now));
        self.due.get_or_insert(earliest);
    }

    /// A publish ended.
    pub(super) fn done(&mut self, now: Instant, well: bool) {
        self.last = Some(now);
        if well {
            self.due = None;
            self.backoff = EVERY;
        } else {
            self.due = Some(now + self.backoff);
            self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_published_once_a_second() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(start);
        assert_eq!(pace.due(), Some(start));
        pace.done(start, true);
        assert_eq!(pace.due(), None);
        pace.ask(at(10));
        pace.ask(at(20));
        assert_eq!(pace.due(), Some(at(1_000)));
        pace.done(at(1_000), true);
        pace.ask(at(5_000));
        assert_eq!(pace.due(), Some(at(5_000)));
    }

    #[test]
    fn failures_are_tried_again_ever_more_slowly() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let waits = [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs);
        for wait in waits {
            pace.done(now, false);
            pace.ask(now);
            assert_eq!(pace.due(), Some(now + wait));
            now += wait;
        }
        pace.done(now, true);
        pace.done(now, false);
        assert_eq!(pace.due(), Some(now + EVERY));
    }
}
