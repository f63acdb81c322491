//! Waits for facts. A deadline's error says what was waited for and what was seen last.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{self, Instant};

/// How often a fact is looked at: short against what it waits for, long against a look's cost.
const LOOK: Duration = Duration::from_millis(50);

/// Looks until there is no error any more, or until the deadline.
pub async fn until<T>(
    fact: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Ok(seen) => return Ok(seen),
            Err(error) if Instant::now() >= deadline => {
                bail!("waited {} s for {fact}: {error:#}", within.as_secs());
            }
            Err(_) => time::sleep(LOOK).await,
        }
    }
}
