//! A thread that lives in namespaces of its own and does there what it is asked.
//!
//! Owns every change of a thread's namespaces in this crate. A thread that came in never comes
//! out: it ends, so that no other work runs in the wrong namespace by accident.
//!
//! Sockets, processes and inotify watches that a place makes belong to its namespaces, wherever
//! they are used afterwards.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, gettid};

type Job = Box<dyn FnOnce() + Send>;

/// Namespaces, and the thread that keeps them.
#[derive(Debug)]
pub struct Place {
    jobs: mpsc::Sender<Job>,
    /// The thread, for those who name a namespace by a process.
    pub tid: Pid,
}

impl Place {
    /// A place with new namespaces of the kinds `flags`.
    pub fn new(name: &str, flags: CloneFlags) -> Result<Self> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (entered, ready) = mpsc::channel();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let arrived = unshare(flags).map(|()| gettid());
                if entered.send(arrived).is_ok() && arrived.is_ok() {
                    for job in work {
                        job();
                    }
                }
            })?;
        let tid = ready.recv()?.context("cannot make namespaces")?;
        Ok(Self { jobs, tid })
    }

    /// Runs `job` in this place and waits for it; it must be short.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (done, result) = mpsc::channel();
        let gone = || anyhow!("a job in a place panicked");
        self.jobs
            .send(Box::new(move || {
                // Nobody waits any more only where the caller panicked.
                let _unheard = done.send(job());
            }))
            .map_err(|_| gone())?;
        result.recv().map_err(|_| gone())
    }

    /// Runs `ip` with each of `lines` as its arguments.
    pub fn ip(&self, lines: &[&str]) -> Result<()> {
        for line in lines {
            self.output("ip", line)?;
        }
        Ok(())
    }

    /// What `program` prints, given the words of `arguments`; an error if it fails.
    pub fn output(&self, program: &str, arguments: &str) -> Result<String> {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace());
        let output = self
            .run(move || command.output())?
            .with_context(|| format!("cannot run {program}"))?;
        stdout_of(&format!("{program} {arguments}"), &output)
    }

    /// Makes a network namespace with its loopback up, and mounts it at `path`.
    pub fn add_netns(&self, path: PathBuf) -> Result<()> {
        let bind = move || -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::create_new(&path)?;
            let own = Path::new("/proc/thread-self/ns/net");
            mount(
                Some(own),
                &path,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )?;
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .output()?;
            stdout_of("ip link set lo up", &up).map(drop)
        };
        self.run(move || in_thread(bind))?
            .context("cannot make a network namespace")
    }

    /// Runs `job` in the network namespace mounted at `path` and waits for it.
    pub fn within<T: Send + 'static>(
        &self,
        path: PathBuf,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(move || visit(path, job))?
    }
}

/// Runs `job` in the network namespace mounted at `path`, as this thread sees it, and waits.
pub fn visit<T: Send + 'static>(
    path: PathBuf,
    job: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    in_thread(move || {
        enter(&path)?;
        job()
    })
}

/// What a program that succeeded printed.
pub fn stdout_of(line: &str, output: &Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "`{line}` failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A child of the place's thread starts in its namespaces, and may go on to others.
fn in_thread<T: Send + 'static>(job: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let thread = thread::Builder::new().spawn(job)?;
    thread.join().map_err(|_| anyhow!("the job panicked"))?
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread was made for this and ends with its job"
)]
fn enter(netns: &Path) -> Result<()> {
    let file: io::Result<File> = File::open(netns);
    let file = file.with_context(|| format!("no network namespace at {}", netns.display()))?;
    nix::sched::setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter {}", netns.display()))
}
