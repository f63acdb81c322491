//! The page of a pod's interface in dra-top, as a user has it who sits before a terminal.
//!
//! Owns that terminal and types on it. What is shown there is not read: dra-top records all that it
//! shows, and it is that.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::OwnedFd,
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use netclaim_core::cluster::{AgentState, Change, FlowsTold, Recorded, WatchState, Watched};
use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
};
use tempfile::NamedTempFile;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{Lab, PATIENCE};

/// Room for a page, its flows included.
const SIZE: Winsize = Winsize {
    ws_row: 50,
    ws_col: 120,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// Opens the page of the row under the cursor; where one is open, nothing.
const OPEN: &str = "\r";

/// Leaves the page for the table of interfaces.
const TABLE: &str = "3";

const QUIT: &str = "q";

/// dra-top with such a page open; it is killed when this is dropped.
#[derive(Debug)]
pub struct Page {
    dra_top: Child,
    terminal: File,
    recording: NamedTempFile,
}

impl Page {
    /// Starts dra-top as a user, on a namespace, and has it show the pod of this name alone.
    pub fn open(lab: &Lab, user: &str, (namespace, pod): (&str, &str)) -> Result<Self> {
        let recording = NamedTempFile::new()?;
        let record = recording
            .path()
            .to_str()
            .context("a path that is no text")?;
        let (ours, theirs) = terminal()?;
        let args = ["--namespace", namespace, "--record", record, "interfaces"];
        let mut command = Command::from(lab.dra_top(user, &args)?);
        command
            .stdin(theirs.try_clone()?)
            .stdout(theirs)
            .kill_on_drop(true);
        let dra_top = command.spawn()?;
        let mut screen = ours.try_clone()?;
        // It would wait for whoever does not read; the thread ends with it.
        thread::spawn(move || io::copy(&mut screen, &mut io::sink()));
        let mut page = Self {
            dra_top,
            terminal: ours,
            recording,
        };
        page.press(&format!("/pod:{pod}\r"))?;
        Ok(page)
    }

    /// What dra-top was told last of an interface's flows; has its page opened where it is not.
    pub fn flows(&mut self, of: &Watched) -> Result<FlowsTold> {
        let ended = self.dra_top.try_wait()?;
        ensure!(ended.is_none(), "dra-top ended: {ended:?}");
        let changes = self.changes()?;
        let told = changes.iter().rev().find_map(|change| match change {
            Change::Flows { of, told } => Some((of, told)),
            _ => None,
        });
        match told {
            Some((told_of, told)) if told_of == of => return Ok(told.clone()),
            // A key counts for the rows that are on the screen, and those were still all of them.
            Some(_) => self.press(&[TABLE, OPEN].concat())?,
            None => self.press(OPEN)?,
        }
        let trouble = changes.iter().rev().find(|change| match change {
            Change::Agent { state, .. } => matches!(state, AgentState::Lost { .. }),
            Change::Watch { state, .. } => matches!(state, WatchState::Denied { .. }),
            _ => false,
        });
        let other = told.map(|(of, _)| of);
        bail!("dra-top was told flows of {other:?}; what troubled it last is {trouble:?}")
    }

    /// Leaves dra-top, as one does.
    pub async fn leave(mut self) -> Result<()> {
        self.press(QUIT)?;
        let status = timeout(PATIENCE, self.dra_top.wait()).await;
        let status = status.context("dra-top does not end")??;
        ensure!(status.success(), "dra-top ended with {status}");
        Ok(())
    }

    fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.terminal.write_all(keys.as_bytes())?)
    }

    /// All that has reached dra-top; a line that is still being written has not.
    fn changes(&self) -> Result<Vec<Change>> {
        let text = fs::read_to_string(self.recording.path())?;
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let changes = lines.map(|line| {
            let recorded: Recorded = serde_json::from_str(line)?;
            Ok(recorded.change)
        });
        changes.collect()
    }
}

/// Both sides of a terminal. Theirs takes keys as they are from the beginning, also those that are
/// pressed before dra-top asks for that.
fn terminal() -> Result<(File, OwnedFd)> {
    let OpenptyResult { master, slave } = openpty(&SIZE, None)?;
    let mut modes = tcgetattr(&slave)?;
    cfmakeraw(&mut modes);
    tcsetattr(&slave, SetArg::TCSANOW, &modes)?;
    Ok((master.into(), slave))
}
