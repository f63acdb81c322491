//! Follows a process through its system calls, and kills it at one of them.
//!
//! Owns ptrace. The process notices nothing but a little slowness: it has no hook for this. All its
//! threads are followed; of its children only how they become a program. They are killed with it,
//! as all of a container's processes are with the first.
//!
//! A call is met where it begins: the process is killed with the call still undone and all before
//! it done. The kernel skips a call whose caller was killed at its beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow};
use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Kinds of system calls that change something which outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A program is started.
    Exec,
    /// A BPF object is made, changed, pinned or looked at.
    Bpf,
    /// The kernel is asked about links, or to change them.
    Netlink,
    /// A file reaches the disk.
    Sync,
    /// A file gets its name.
    Rename,
    /// A file, a pin or a folder is removed.
    Unlink,
}

/// The calls of each kind. An architecture has only some of those for files.
const CALLS: &[(c_long, Call)] = &[
    (libc::SYS_execve, Call::Exec),
    (libc::SYS_bpf, Call::Bpf),
    (libc::SYS_sendmsg, Call::Netlink),
    (libc::SYS_sendto, Call::Netlink),
    (libc::SYS_fsync, Call::Sync),
    (libc::SYS_fdatasync, Call::Sync),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, Call::Rename),
    (libc::SYS_renameat2, Call::Rename),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, Call::Unlink),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, Call::Unlink),
    (libc::SYS_unlinkat, Call::Unlink),
];

/// Which call of a kind, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The kind.
    pub call: Call,
    /// Which of them.
    pub nth: usize,
}

/// How many calls of each kind were met.
pub type Counts = BTreeMap<Call, usize>;

/// A process that is followed.
#[derive(Debug)]
pub struct Trace {
    pid: Pid,
    leave: Arc<AtomicBool>,
    thread: JoinHandle<Result<Counts>>,
}

impl Trace {
    /// Follows `pid` from here on, and kills it at `end`.
    pub fn start(pid: Pid, end: Option<Point>) -> Result<Self> {
        let leave = Arc::new(AtomicBool::new(false));
        let (seized, ready) = mpsc::channel();
        let stop = Arc::clone(&leave);
        // The kernel takes ptrace's requests from the thread that attached, and from no other.
        let thread = thread::Builder::new()
            .name("tracer".to_owned())
            .spawn(move || {
                let mut tracer = Tracer::new(pid, end);
                let attached = tracer.attach();
                // Nobody waits any more only where the caller panicked.
                let _unheard = seized.send(attached.is_ok());
                attached?;
                tracer.follow(&stop)
            })?;
        // Where it failed, `stop` says why.
        ready.recv()?;
        Ok(Self { pid, leave, thread })
    }

    /// Lets the process go on alone, if it lives, and says what it called.
    pub fn stop(self) -> Result<Counts> {
        self.leave.store(true, Ordering::SeqCst);
        // A signal is what wakes a tracer up; the process ignores this one.
        let _gone = kill(self.pid, Signal::SIGWINCH);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the tracer panicked"))?
    }
}

struct Tracer {
    pid: Pid,
    end: Option<Point>,
    threads: BTreeSet<Pid>,
    /// Threads of which the next stop is the end of a call.
    inside: BTreeSet<Pid>,
    counts: Counts,
}

impl Tracer {
    fn new(pid: Pid, end: Option<Point>) -> Self {
        Self {
            pid,
            end,
            threads: BTreeSet::new(),
            inside: BTreeSet::new(),
            counts: Counts::new(),
        }
    }

    /// Attaches to every thread; those which they start from here on come by themselves.
    fn attach(&mut self) -> Result<()> {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC;
        loop {
            let mut found = false;
            for entry in fs::read_dir(format!("/proc/{}/task", self.pid))? {
                let thread = Pid::from_raw(entry?.file_name().to_string_lossy().parse()?);
                if !self.threads.insert(thread) {
                    continue;
                }
                match ptrace::seize(thread, options) {
                    Ok(()) => ptrace::interrupt(thread)?,
                    // It has ended, or came by itself.
                    Err(Errno::ESRCH | Errno::EPERM) => continue,
                    Err(errno) => return Err(errno).context("cannot attach to a thread"),
                }
                found = true;
            }
            if !found {
                return Ok(());
            }
        }
    }

    /// Follows until the process ends, by itself or at the point, or `leave` says so. The kernel
    /// lets go of whatever a tracer followed once it has ended.
    fn follow(mut self, leave: &AtomicBool) -> Result<Counts> {
        let any_of_ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        while !leave.load(Ordering::SeqCst) {
            let stop = match waitpid(None, Some(any_of_ours)) {
                Ok(stop) => stop,
                Err(Errno::ECHILD) => break,
                Err(errno) => return Err(errno.into()),
            };
            if let WaitStatus::PtraceSyscall(thread) = stop
                && self.meets(thread)
            {
                self.kill_all()?;
                break;
            }
            resume(stop)?;
        }
        Ok(self.counts)
    }

    /// Kills the process, then the programs that it started: each leads a group of its own.
    fn kill_all(&self) -> Result<()> {
        let mut children = String::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            children += &fs::read_to_string(entry?.path().join("children"))?;
        }
        kill(self.pid, Signal::SIGKILL)?;
        for child in children.split_ascii_whitespace() {
            let child = Pid::from_raw(child.parse()?);
            // What has ended needs no end.
            let _gone = killpg(child, Signal::SIGKILL);
            let _gone = kill(child, Signal::SIGKILL);
        }
        Ok(())
    }

    /// Counts a call that begins; whether it is the one to end at.
    fn meets(&mut self, thread: Pid) -> bool {
        if self.inside.remove(&thread) {
            return false;
        }
        self.inside.insert(thread);
        let Some(call) = call(thread) else {
            return false;
        };
        let count = self.counts.entry(call).or_default();
        *count += 1;
        self.end == Some(Point { call, nth: *count })
    }
}

/// Lets a stopped thread go on. What has become another program is followed no further.
fn resume(stop: WaitStatus) -> Result<()> {
    let resumed = match stop {
        WaitStatus::PtraceEvent(thread, _, libc::PTRACE_EVENT_EXEC) => ptrace::detach(thread, None),
        WaitStatus::PtraceEvent(thread, ..) | WaitStatus::PtraceSyscall(thread) => {
            ptrace::syscall(thread, None)
        }
        WaitStatus::Stopped(thread, signal) => ptrace::syscall(thread, signal),
        _ => Ok(()),
    };
    match resumed {
        // Somebody else killed it meanwhile.
        Err(Errno::ESRCH) => Ok(()),
        resumed => Ok(resumed?),
    }
}

/// The call that a stopped thread begins, if it is of a kind that counts.
fn call(thread: Pid) -> Option<Call> {
    // "number argument…", the number in decimal and the arguments in hexadecimal.
    let shown = fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    let mut words = shown.split_ascii_whitespace();
    let number: c_long = words.next()?.parse().ok()?;
    let (_, call) = *CALLS.iter().find(|(counted, _)| *counted == number)?;
    let first = words.next()?.strip_prefix("0x")?;
    match call {
        Call::Netlink => is_netlink(thread, first).then_some(call),
        _ => Some(call),
    }
}

/// Whether the descriptor `fd`, in hexadecimal, is a netlink socket of the thread's namespace.
fn is_netlink(thread: Pid, fd: &str) -> bool {
    let inode = || {
        let fd = u32::from_str_radix(fd, 16).ok()?;
        let link = fs::read_link(format!("/proc/{thread}/fd/{fd}")).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(inode.to_owned())
    };
    let sockets = fs::read_to_string(format!("/proc/{thread}/net/netlink")).unwrap_or_default();
    inode().is_some_and(|inode| {
        sockets
            .lines()
            .any(|line| line.trim_end().ends_with(&inode))
    })
}
