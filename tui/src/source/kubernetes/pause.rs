//! How long to wait before what failed is tried again.

use std::time::Duration;

/// The shortest.
pub(super) const FIRST: Duration = Duration::from_millis(500);
/// The longest: an API server that is away is not asked by everybody all the time.
const LONGEST: Duration = Duration::from_secs(30);

/// The time before the next try: twice as long after each.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn first() -> Self {
        Self(FIRST)
    }

    /// How long to wait this time.
    pub(super) fn take(&mut self) -> Duration {
        let next = (self.0 * 2).min(LONGEST);
        std::mem::replace(&mut self.0, next)
    }
}
