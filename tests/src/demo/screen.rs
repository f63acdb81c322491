//! dra-top on the terminal of a demo.

use std::thread;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{Duration, Instant};

use super::terminal::Terminal;

/// dra-top on the terminal; when this is dropped it has given the terminal back.
pub(crate) struct Screen {
    dra_top: Child,
    before: Terminal,
}

impl Screen {
    /// Starts it.
    pub(crate) fn open(start: impl FnOnce() -> Result<Child>) -> Result<Self> {
        Ok(Self {
            before: Terminal::as_it_is(),
            dra_top: start()?,
        })
    }

    /// Until its user leaves it.
    pub(crate) async fn left(&mut self) -> Result<()> {
        let status = self.dra_top.wait().await?;
        self.before.restore();
        ensure!(status.success(), "dra-top ended with {status}");
        Ok(())
    }
}

impl Drop for Screen {
    /// A killed dra-top would leave the terminal without echo: it is asked first.
    fn drop(&mut self) {
        let Some(pid) = self.dra_top.id().and_then(|id| i32::try_from(id).ok()) else {
            return;
        };
        let deadline = Instant::now() + Duration::from_secs(1);
        let asked = kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok();
        while asked && matches!(self.dra_top.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(10));
        }
        self.before.restore();
    }
}
