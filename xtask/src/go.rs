//! Builds the programs that come from Go modules: pinned and checksummed, once, into the cache.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead as _, BufReader, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::{
    cache,
    step::{command, found, timed},
};

/// What a failed build said last.
const LAST_WORDS: usize = 30;

/// A module of the checkout whose `tool` lines are programs that somebody runs.
pub(crate) struct Module {
    /// Folder in `tests/go`, and in the cache.
    pub(crate) name: &'static str,
    /// What it brings and how long that takes once, on 2 cores.
    pub(crate) about: &'static str,
    /// Build tags.
    pub(crate) tags: &'static [&'static str],
    /// Whether it has parts in C.
    pub(crate) with_c: bool,
    /// A package whose binary Go would name otherwise.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
    /// The package that is told Kubernetes' version, as its own release build does.
    pub(crate) versioned: Option<&'static str>,
}

impl Module {
    /// A module with nothing out of the ordinary.
    pub(crate) const fn new(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            tags: &[],
            with_c: false,
            renamed: &[],
            versioned: None,
        }
    }

    /// Whether its programs are there, or can be built.
    pub(crate) fn is_available(&self) -> anyhow::Result<bool> {
        Ok(self.folder()?.is_dir() || found("go"))
    }

    /// Where its programs are, once built. Keyed by the lock file, so that other versions are built
    /// anew.
    pub(crate) fn folder(&self) -> anyhow::Result<PathBuf> {
        let lock = self.source().join("go.sum");
        let lock = fs::read(&lock).with_context(|| format!("{} cannot be read", lock.display()))?;
        Ok(cache::folder()?.join(self.name).join(cache::key(&lock)))
    }

    /// Builds what is not there yet.
    pub(crate) fn ensure(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder()?;
        if !folder.is_dir() {
            if !found("go") {
                bail!(
                    "{} come from Go modules, and there is no Go: install 1.25 or newer (on \
                     Debian and Ubuntu `sudo apt-get install golang`, or https://go.dev/dl) and \
                     try again",
                    self.about
                );
            }
            let what = format!("Building {}", self.about);
            timed(&what, || self.build(&folder))?;
        }
        Ok(folder)
    }

    /// The folder appears only when all of its programs are there.
    fn build(&self, folder: &Path) -> anyhow::Result<()> {
        let unfinished = folder.with_extension("unfinished");
        fs::create_dir_all(&unfinished)?;
        let flags = self.linker_flags()?;
        let tools = self.ask_go(&["list", "tool"])?;
        let tools: Vec<_> = tools.lines().collect();
        for (index, tool) in tools.iter().enumerate() {
            let program = self.program_of(tool);
            let mut go = self.go();
            go.args(["build", "-v", "-trimpath", &flags])
                .arg(format!("-tags={}", self.tags.join(",")))
                .arg("-o")
                .arg(unfinished.join(program))
                .arg(tool);
            let what = format!("{program} ({} of {})", index + 1, tools.len());
            run_shown(&what, go)?;
        }
        fs::rename(&unfinished, folder)?;
        Ok(())
    }

    fn program_of<'a>(&self, tool: &'a str) -> &'a str {
        let renamed = self.renamed.iter().find(|(package, _)| *package == tool);
        let last = tool.rsplit('/').next().unwrap_or(tool);
        renamed.map_or(last, |(_, program)| program)
    }

    fn linker_flags(&self) -> anyhow::Result<String> {
        let mut flags = vec!["-ldflags=-s -w".to_owned()];
        if let Some(package) = self.versioned {
            let version = self.ask_go(&["list", "-m", "-f={{.Version}}", "k8s.io/kubernetes"])?;
            let version = version.trim();
            let mut numbers = version.trim_start_matches('v').split('.');
            let variables = [
                ("gitVersion", version),
                ("gitMajor", numbers.next().unwrap_or_default()),
                ("gitMinor", numbers.next().unwrap_or_default()),
                ("gitTreeState", "clean"),
            ];
            let set = |(variable, value)| format!("-X={package}.{variable}={value}");
            flags.extend(variables.map(set));
        }
        Ok(flags.join(" "))
    }

    fn ask_go(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.go().args(args).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("`go {}` ended with {}", args.join(" "), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn go(&self) -> Command {
        let mut go = command("go", [] as [&str; 0]);
        let with_c = if self.with_c { "1" } else { "0" };
        go.current_dir(self.source()).env("CGO_ENABLED", with_c);
        go
    }

    fn source(&self) -> PathBuf {
        cache::root().join("tests/go").join(self.name)
    }
}

/// Runs `go build -v`, which names each package that it has compiled, and shows how far it is.
fn run_shown(what: &str, mut go: Command) -> anyhow::Result<()> {
    let mut child = go
        .stderr(Stdio::piped())
        .spawn()
        .context("`go` cannot be started")?;
    let stderr = child.stderr.take().context("`go` says nothing")?;
    let mut last_words = VecDeque::new();
    let terminal = std::io::stderr().is_terminal();
    let mut err = std::io::stderr();
    if !terminal {
        writeln!(err, "  {what}")?;
    }
    for (packages, line) in (1..).zip(BufReader::new(stderr).lines()) {
        let line = line?;
        if terminal {
            write!(err, "\r\x1b[K  {what}: {packages} packages, {line:.60}")?;
        }
        last_words.push_back(line);
        if last_words.len() > LAST_WORDS {
            last_words.pop_front();
        }
    }
    if terminal {
        writeln!(err, "\r\x1b[K  {what}")?;
    }
    let status = child.wait()?;
    if !status.success() {
        let said: Vec<_> = last_words.into();
        bail!("building {what} ended with {status}:\n{}", said.join("\n"));
    }
    Ok(())
}
