//! Stays outside the enclosure while the demo runs inside, and leaves nothing behind.
//!
//! Owns the end: whatever comes (Ctrl-C, SIGTERM, a closed terminal, the death of any process
//! inside), all processes are gone and the terminal is as it was when this returns. It must never
//! do anything else, so that it lives longest.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::terminal::Terminal;

/// Signals that end the demo.
const ENDS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Runs an enclosure's `command` until nothing of it is left.
pub(super) fn guard(mut command: Command) -> Result<ExitCode> {
    // What outlives its parent in there becomes ours: so we know when it is gone.
    prctl::set_child_subreaper(true)?;
    let terminal = Terminal::as_it_is();
    let child = command.spawn().context("cannot start setpriv")?;
    // Not before: a child inherits what is blocked.
    let mut signals = SigSet::from_iter(ENDS);
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    let ended = stay(Pid::from_raw(i32::try_from(child.id())?), &signals);
    terminal.restore();
    let (status, interrupted) = ended?;
    if let Some(signal) = interrupted {
        bail!("interrupted by {signal}: everything is taken down");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    match code {
        Some(code) => Ok(ExitCode::from(code)),
        None => bail!("the demo died ({status}): everything is taken down"),
    }
}

/// Until all are gone; how the first of them ended, and what we were told.
fn stay(child: Pid, signals: &SigSet) -> Result<(ExitStatus, Option<Signal>)> {
    let (mut status, mut interrupted) = (ExitStatus::default(), None);
    while !reap(child, &mut status)? {
        match signals.wait()? {
            Signal::SIGCHLD => {}
            signal => {
                interrupted = Some(signal);
                // With it the first process of the enclosure is killed, and the kernel kills the
                // others. It is gone already where the signal came twice.
                let _gone = kill(child, Signal::SIGKILL);
            }
        }
    }
    Ok((status, interrupted))
}

/// Takes notice of those that ended; whether nobody is left.
fn reap(child: Pid, status: &mut ExitStatus) -> Result<bool> {
    loop {
        let raw = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => code << 8,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => signal as i32,
            Ok(WaitStatus::StillAlive) => return Ok(false),
            Err(Errno::ECHILD) => return Ok(true),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        *status = ExitStatus::from_raw(raw);
    }
}
