//! The demo as a newcomer runs it: without a terminal, and on one of its own with the ways out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use netclaim_tests::world::driver::beside_us;
use netclaim_tests::world::{enclosure, id};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcgetattr;
use nix::unistd::Pid;

/// A busy machine builds a world in a minute.
const LIMIT: Duration = Duration::from_mins(2);

/// In the environment of every process of one demo.
const MARK: &str = "NETCLAIM_TEST_DEMO";

/// A demo that somebody looks at.
struct Demo {
    mark: String,
    child: Child,
    keyboard: File,
    /// Kept open, so that it can be asked for its modes afterwards.
    terminal: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Demo {
    fn start() -> Result<Self> {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let ends = openpty(&size, None)?;
        let mark = id::uuid();
        let child = Command::new(beside_us("world")?)
            .arg("demo")
            .env(MARK, &mark)
            .stdin(ends.slave.try_clone()?)
            .stdout(ends.slave.try_clone()?)
            .stderr(ends.slave.try_clone()?)
            .spawn()?;
        let keyboard = File::from(ends.master);
        let mut screen = keyboard.try_clone()?;
        let shown = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count) = screen.read(&mut bytes) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.extend_from_slice(&bytes[..count]);
            }
        });
        Ok(Self {
            mark,
            child,
            keyboard,
            terminal: ends.slave,
            shown,
        })
    }

    fn shown(&self) -> String {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Until dra-top shows a pod with its interface.
    fn wait_for_screen(&mut self) -> Result<()> {
        until("dra-top shows the pods", || {
            if let Some(status) = self.child.try_wait()? {
                bail!("the demo ended ({status}):\n{}", self.shown());
            }
            Ok(self.shown().contains("attached").then_some(()))
        })
    }

    fn ended(&mut self) -> Result<ExitStatus> {
        until("the demo has ended", || Ok(self.child.try_wait()?))
    }

    /// The processes of the demo, by program.
    fn processes(&self) -> Result<Vec<(Pid, String)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
                continue;
            };
            // Whoever ends in the meantime cannot be read.
            let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            if environment.contains(&self.mark) {
                let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
                found.push((Pid::from_raw(pid), command));
            }
        }
        Ok(found)
    }

    fn process(&self, program: &str) -> Result<Pid> {
        let processes = self.processes()?;
        let program = format!("{} ", beside_us(program)?.display());
        let found = processes
            .iter()
            .find(|(_, line)| line.starts_with(&program));
        let (pid, _) = found.with_context(|| format!("no {program}among {processes:?}"))?;
        Ok(*pid)
    }
}

fn until<T>(what: &str, mut fact: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(fact) = fact()? {
            return Ok(fact);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Whatever ends a demo, none of its processes is left, and the terminal is as it was.
fn check(code: i32, last_words: &str, end: impl FnOnce(&mut Demo) -> Result<()>) -> Result<()> {
    if let Err(lacking) = enclosure::preflight() {
        return Ok(writeln!(std::io::stdout(), "skipped: {lacking:#}")?);
    }
    let mut demo = Demo::start()?;
    let before = tcgetattr(&demo.terminal)?;
    demo.wait_for_screen()?;
    ensure!(tcgetattr(&demo.terminal)? != before, "dra-top reads keys");
    ensure!(demo.processes()?.len() > 15, "fifteen pods run");
    end(&mut demo)?;
    let status = demo.ended()?;
    let left = demo.processes()?;
    ensure!(left.is_empty(), "left: {left:?}");
    ensure!(tcgetattr(&demo.terminal)? == before, "the terminal's modes");
    until("it says why it ended", || {
        let shown = demo.shown();
        let (_, after) = shown.rsplit_once("\x1b[?1049l").unwrap_or_default();
        Ok((after.contains("\x1b[?25h") && after.contains(last_words)).then_some(()))
    })
    .with_context(|| demo.shown())?;
    ensure!(status.code() == Some(code), "{status}");
    Ok(())
}

/// What the README promises of `cargo xtask demo --check`, after compiling.
const PROMISED: Duration = Duration::from_mins(1);

#[test]
fn a_check_shows_each_pod_and_leaves_nothing() -> Result<()> {
    if let Err(lacking) = enclosure::preflight() {
        return Ok(writeln!(std::io::stdout(), "skipped: {lacking:#}")?);
    }
    let begun = Instant::now();
    let checked = Command::new(beside_us("world")?)
        .args(["demo", "--check"])
        .stdin(Stdio::null())
        .output()?;
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&checked.stdout);
    ensure!(
        checked.status.success(),
        "{}:\n{said}\n{}",
        checked.status,
        String::from_utf8_lossy(&checked.stderr)
    );
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let rows = said.lines().map(words);
    let rows: Vec<_> = rows
        .filter(|row| row.get(2..4) == Some(&["eth1".to_owned(), "net1".to_owned()]))
        .collect();
    let addresses: BTreeSet<_> = rows.iter().filter_map(|row| row.get(4)).collect();
    ensure!(addresses.len() == 15 && rows.len() == 15, "{said}");
    let last = said.lines().last().unwrap_or_default();
    ensure!(last.contains("all deleted"), "it ends with {last:?}");
    ensure!(took < PROMISED, "it took {took:?}");
    Ok(())
}

#[test]
fn control_c_leaves_the_demo() -> Result<()> {
    check(0, "you left dra-top", |demo| {
        Ok(demo.keyboard.write_all(b"\x03")?)
    })
}

#[test]
fn q_leaves_the_demo() -> Result<()> {
    check(0, "you left dra-top", |demo| {
        Ok(demo.keyboard.write_all(b"q")?)
    })
}

#[test]
fn a_dra_top_that_dies_ends_the_demo() -> Result<()> {
    check(1, "dra-top ended with signal: 9", |demo| {
        Ok(kill(demo.process("dra-top")?, Signal::SIGKILL)?)
    })
}

#[test]
fn a_driver_that_dies_ends_the_demo() -> Result<()> {
    check(1, "the driver ended by itself", |demo| {
        Ok(kill(demo.process("netclaim")?, Signal::SIGKILL)?)
    })
}

#[test]
fn a_signal_ends_the_demo() -> Result<()> {
    check(1, "interrupted by SIGTERM", |demo| {
        let pid = i32::try_from(demo.child.id())?;
        Ok(kill(Pid::from_raw(pid), Signal::SIGTERM)?)
    })
}
