//! The wall clock: the one place where the driver asks for the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use netclaim_core::time::Timestamp;

/// Now, in milliseconds; zero on a clock that stands before 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
