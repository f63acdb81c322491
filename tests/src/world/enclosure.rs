//! Where a world lives: a process in mount and PID namespaces of its own.
//!
//! Owns the way in. Whatever ends the process inside (an error, a panic, Ctrl-C, SIGKILL), the
//! kernel then kills every process of its PID namespace, and with the last of them go their
//! mounts, their network namespaces and their links. So there is nothing to sweep up, and this
//! must never leave anything outside: no named network namespace, no folder, no cgroup.

use std::any::type_name;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::process::{self, Command};

use anyhow::{Context as _, Result, bail, ensure};

use super::preflight::Machine;

/// Says to a process that it was started by [`command`].
const INSIDE: &str = "NETCLAIM_WORLD";

/// This very program with `arguments`, inside an enclosure.
///
/// It dies with the thread that starts it: `setpriv` ties `unshare` to that thread, and
/// `unshare` ties the program to itself.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> io::Result<Command> {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .args(["unshare", "--mount", "--pid", "--mount-proc"])
        .args(["--fork", "--kill-child", "--"])
        .arg(env::current_exe()?)
        .args(arguments)
        .env(INSIDE, "1");
    Ok(command)
}

/// Whether this process is the first one of an enclosure.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some() && process::id() == 1
}

/// What this machine lacks for a world, and how to get it; found before anything is changed.
pub fn preflight() -> Result<()> {
    match Machine::read()?.lacks() {
        None => Ok(()),
        Some(lacking) => bail!(lacking),
    }
}

/// Runs the privileged test `body` in an enclosure of its own, so that tests run side by side
/// and leave nothing, however they end.
///
/// The test binary starts itself again for this one test; there, `body` runs. Where the machine
/// cannot, says `skipped:` and why. Lines that `body` prints with `note:` or `skipped:` before them
/// are passed on.
pub fn test<F, W>(body: F) -> Result<()>
where
    F: FnOnce() -> W,
    W: Future<Output = Result<()>>,
{
    if is_inside() {
        return runtime()?.block_on(body());
    }
    if let Err(lacking) = preflight() {
        return say(&format!("skipped: {lacking:#}"));
    }
    let name = test_name(type_name::<F>()).context("a test's body must be a closure")?;
    let output = command(["--exact", name, "--nocapture"])?
        .output()
        .context("cannot start setpriv")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && stdout.contains("1 passed"),
        "{name} failed in its enclosure ({}):\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    // A harness of one thread names the test before it runs.
    let begun = format!("test {name} ... ");
    let lines = stdout.lines();
    let lines = lines.map(|line| line.strip_prefix(&begun).unwrap_or(line));
    lines
        .filter(|line| is_for_people(line))
        .try_for_each(|line| say(&format!("{line} ({name})")))
}

fn is_for_people(line: &str) -> bool {
    ["note: ", "skipped: "]
        .iter()
        .any(|word| line.starts_with(word))
}

/// Threads of a world's runtime: most wait for a program in a [`Place`](super::place::Place), and
/// the API server must answer meanwhile, on a machine of one core as well.
const THREADS: usize = 8;

/// A runtime for a world.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(THREADS).enable_all().build()
}

/// `room::test` of `binary::room::test::{{closure}}`.
fn test_name(closure: &str) -> Option<&str> {
    let (_, path) = closure.split_once("::")?;
    path.strip_suffix("::{{closure}}")
}

/// Writes a line past the test harness, where who runs the tests sees it and counts what is
/// skipped.
fn say(line: &str) -> Result<()> {
    use std::io::Write as _;
    Ok(writeln!(io::stdout(), "{line}")?)
}

#[cfg(test)]
mod tests {
    use super::test_name;

    #[test]
    fn a_closure_names_its_test() {
        let name = test_name("it::world::nothing_is_left::{{closure}}");
        assert_eq!(name, Some("world::nothing_is_left"));
        assert_eq!(test_name("it::world::a_function"), None);
    }
}
