//! Starts a plugin: in a process group of its own, in the node's root if asked, patiently while
//! its file is being installed.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    thread,
    time::Duration,
};

use netclaim_core::cni::{Fault, interpreter};
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, killpg},
    unistd::{Pid, chdir, chroot},
};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
    time,
};

/// How long to wait before each further try while the file is open for writing (ETXTBSY). It also
/// happens for a moment when another thread forks while a file is written; libcni waits 1 s five
/// times, which is most of the time that an answer may take.
const BACKOFF: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
];

/// A plugin's file.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// As the plugin's own process sees it.
    pub(super) path: PathBuf,
    /// As the driver sees it.
    pub(super) on_node: PathBuf,
    /// The root to run in, if not the driver's.
    pub(super) root: Option<Arc<Path>>,
}

/// A plugin that runs, with everything that it starts. Dropped before it is [`over`](Self::over),
/// all of it is killed; tokio reaps it in its own time.
pub(super) struct Group {
    /// The plugin itself, the group's leader.
    pub(super) child: Child,
    leader: Option<Pid>,
}

impl Group {
    fn new(child: Child) -> Self {
        let leader = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        Self { child, leader }
    }

    /// The leader has ended and nobody else is known to be left. The group's number may belong to
    /// others from here on, so it is never used again.
    pub(super) fn over(&mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // ESRCH: all of them ended by themselves.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

impl Program {
    /// Starts the plugin with pipes for its three streams.
    pub(super) async fn start(
        &self,
        environment: &[(&'static str, Option<String>)],
    ) -> Result<Group, Fault> {
        let mut pauses = BACKOFF.into_iter();
        loop {
            match (self.spawn(self.command(environment)).await, pauses.next()) {
                (Err(Fault::Busy { .. }), Some(pause)) => time::sleep(pause).await,
                (started, _) => return started,
            }
        }
    }

    /// As with libcni, a plugin inherits whatever else is in the driver's environment: its `PATH`
    /// above all, where `bridge` finds iptables.
    fn command(&self, environment: &[(&'static str, Option<String>)]) -> Command {
        let mut command = Command::new(&self.path);
        command.process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    async fn spawn(&self, mut command: Command) -> Result<Group, Fault> {
        let spawned = match &self.root {
            None => command.spawn().map(Group::new),
            Some(root) => spawn_in(Arc::clone(root), command).await?,
        };
        spawned.map_err(|error| self.refusal(&error))
    }

    /// What the kernel means by refusing to run the plugin.
    pub(super) fn refusal(&self, error: &io::Error) -> Fault {
        let path = self.path.display().to_string();
        match error.kind() {
            ErrorKind::ExecutableFileBusy => Fault::Busy {
                path,
                tries: 1 + BACKOFF.len(),
            },
            ErrorKind::NotFound => Fault::NoLoader {
                loader: self.loader(),
                path,
            },
            ErrorKind::PermissionDenied => Fault::NotExecutable { path },
            _ => match error.raw_os_error() {
                Some(errno) if errno == Errno::ENOEXEC as i32 => Fault::WrongFormat { path },
                errno => Fault::NotRun {
                    path,
                    errno: errno.unwrap_or_default(),
                },
            },
        }
    }

    /// The first page holds the program headers of every ELF file that a linker writes.
    fn loader(&self) -> Option<String> {
        let mut head = Vec::new();
        File::open(&self.on_node)
            .ok()?
            .take(4096)
            .read_to_end(&mut head)
            .ok()?;
        interpreter(&head)
    }
}

/// Starts a program chrooted. The root belongs to the thread that forks, so it is changed on a
/// thread of its own, which shares it with nobody and ends at once. (The usual way, a hook between
/// fork and exec, needs unsafe code.)
async fn spawn_in(root: Arc<Path>, mut command: Command) -> Result<io::Result<Group>, Fault> {
    let no_root = |error: &io::Error| Fault::NoRoot {
        root: root.display().to_string(),
        errno: error.raw_os_error().unwrap_or_default(),
    };
    let (sender, spawned) = oneshot::channel();
    let (runtime, inside) = (Handle::current(), Arc::clone(&root));
    let starter = thread::Builder::new().name("chroot".into()).spawn(move || {
        let _entered = runtime.enter();
        // Where nobody waits any more, the group is dropped here, and so killed.
        let _ = sender.send(enter_root(&inside).map(|()| command.spawn().map(Group::new)));
    });
    starter.map_err(|error| no_root(&error))?;
    let entered = spawned
        .await
        .unwrap_or_else(|_| Err(Errno::ECANCELED.into()));
    entered.map_err(|error| no_root(&error))
}

fn enter_root(root: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS)?;
    chroot(root)?;
    Ok(chdir("/")?)
}
