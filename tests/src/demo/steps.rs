//! What the demo says while it goes on: a line for each step that is done, and what a long one
//! waits for.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

/// After this time a person wants to know what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says steps, with the time since the start.
#[derive(Debug)]
pub(crate) struct Steps {
    begun: Instant,
}

impl Steps {
    /// The clock starts.
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    /// Does `work` and says what came of it; says what it waits for where it takes long.
    pub(crate) async fn step<T>(
        &self,
        waits_for: &str,
        work: impl Future<Output = Result<T>>,
        words: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let done = tokio::select! {
            done = &mut work => done?,
            () = sleep(PATIENCE) => {
                say(&format!("         … waiting until {waits_for}"))?;
                work.await?
            }
        };
        self.done(&words(&done))?;
        Ok(done)
    }

    /// Says what has been done.
    pub(crate) fn done(&self, words: &str) -> Result<()> {
        let seconds = self.begun.elapsed().as_secs_f64();
        say(&format!("{seconds:6.1} s  ✔ {words}"))
    }
}

/// Writes a line, at once.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
