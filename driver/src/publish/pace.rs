//! When something is due that is done once a second at most.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest time from one to the next.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// At most once a second, and less often while it fails.
#[derive(Debug)]
pub(super) struct Pace {
    due: Option<Instant>,
    last: Option<Instant>,
    backoff: Duration,
    max_backoff: Duration,
}

impl Pace {
    /// The first is due at once; `max_backoff` is the longest time between two tries.
    pub(super) fn new(now: Instant, max_backoff: Duration) -> Self {
        Self {
            due: Some(now),
            last: None,
            backoff: EVERY,
            max_backoff,
        }
    }

    /// When to do it, if anything asks for it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something may have changed. While tries fail, this does not hurry them.
    pub(super) fn ask(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| (last + EVERY).max(now));
        self.due.get_or_insert(earliest);
    }

    /// It must not wait for its turn.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// It was done.
    pub(super) fn done(&mut self, now: Instant, well: bool) {
        self.last = Some(now);
        if well {
            self.due = None;
            self.backoff = EVERY;
        } else {
            self.due = Some(now + self.backoff);
            self.backoff = (self.backoff * 2).min(self.max_backoff);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BACKOFF: Duration = Duration::from_secs(30);

    #[test]
    fn a_burst_is_done_once_a_second() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(start, MAX_BACKOFF);
        assert_eq!(pace.due(), Some(start));
        pace.done(start, true);
        assert_eq!(pace.due(), None);
        pace.ask(at(10));
        pace.ask(at(20));
        assert_eq!(pace.due(), Some(at(1_000)));
        pace.done(at(1_000), true);
        pace.ask(at(5_000));
        assert_eq!(pace.due(), Some(at(5_000)));
        pace.done(at(5_000), true);
        pace.ask(at(5_010));
        pace.hurry(at(5_020));
        assert_eq!(pace.due(), Some(at(5_020)));
    }

    #[test]
    fn failures_are_tried_again_ever_more_slowly() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, MAX_BACKOFF);
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
