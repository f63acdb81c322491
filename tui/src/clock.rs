//! The time that screens show: ours, or that of a recording.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use netclaim_core::time::Timestamp;

/// Where the time comes from.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The machine's.
    Wall,
    /// A recording's: it runs from the first change to the last and stops there.
    Recording {
        /// Time of the first change.
        first: Timestamp,
        /// Time of the last one.
        last: Timestamp,
        /// When playing began.
        began: Instant,
    },
}

impl Clock {
    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::Wall => wall(),
            Self::Recording { first, last, began } => {
                let played = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                Timestamp(first.0.saturating_add(played).min(last.0))
            }
        }
    }
}

/// The machine's time.
pub(crate) fn wall() -> Timestamp {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = passed.map_or(0, |passed| passed.as_millis());
    Timestamp(u64::try_from(millis).unwrap_or(u64::MAX))
}
