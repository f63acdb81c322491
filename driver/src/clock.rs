//! The wall clock: the one place where the driver asks for the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use netclaim_core::time::Timestamp;
use tokio::time::Instant;

/// Now, in milliseconds; zero on a clock that stands before 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Waits until then; for ever when there is no such time.
pub async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
