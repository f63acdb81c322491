//! Network namespaces: run something inside one, tell whether one is still there.
//!
//! The only module that changes a thread's namespace. It does so on a thread that ends with the
//! call, so no thread of the runtime can ever be left in a pod's namespace.

use std::{
    fs::{self, File},
    io, panic,
    path::{Path, PathBuf},
    thread,
};

use netclaim_core::failure::Cause;
use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::{self, NSFS_MAGIC},
};

/// Why nothing could be done in a namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The path leads nowhere.
    #[error("network namespace {path}: {source}; the sandbox is gone, or its mount does not reach the driver (HostToContainer)", path = path.display())]
    Gone {
        /// The path.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// The path is no namespace, as after its unmount.
    #[error("{path}: found an ordinary file, expected a network namespace; the sandbox is gone, or its mount does not reach the driver (HostToContainer)", path = path.display())]
    NotANamespace {
        /// The path.
        path: PathBuf,
    },
    /// The kernel refused entry.
    #[error("entering network namespace {path}: {source}; the driver needs CAP_SYS_ADMIN", path = path.display())]
    Refused {
        /// The path.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// There was no thread to be had.
    #[error("starting a thread for network namespace {path}: {source}; look at the driver's pids limit", path = path.display())]
    NoThread {
        /// The path.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
}

impl Cause for NetnsError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Gone { .. } | Self::NotANamespace { .. } => "NetworkNamespaceGone",
            Self::Refused { .. } => "NetworkNamespaceRefused",
            Self::NoThread { .. } => "NoThread",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Gone { .. } | Self::NotANamespace { .. } => "network_namespace_gone",
            Self::Refused { .. } => "network_namespace_refused",
            Self::NoThread { .. } => "no_thread",
        }
    }
}

/// Runs `f` inside the network namespace at `path` and waits for it. Sockets that `f` returns stay
/// in that namespace.
pub fn inside<T: Send>(path: &Path, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    let namespace = open(path)?;
    thread::scope(|scope| {
        let visitor = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, || {
                enter(&namespace)
                    .map(|()| f())
                    .map_err(|source| NetnsError::Refused {
                        path: path.into(),
                        source,
                    })
            })
            .map_err(|source| NetnsError::NoThread {
                path: path.into(),
                source,
            })?;
        visitor
            .join()
            .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    })
}

/// Whether `path` is a namespace. A path that outlived its namespace's mount is an ordinary file.
pub fn exists(path: &Path) -> bool {
    open(path).is_ok()
}

fn open(path: &Path) -> Result<File, NetnsError> {
    let gone = |source| NetnsError::Gone {
        path: path.into(),
        source,
    };
    // A FIFO would block, and a device could do anything: look before opening.
    let metadata = fs::metadata(path).map_err(gone)?;
    if !metadata.is_file() {
        return Err(NetnsError::NotANamespace { path: path.into() });
    }
    let file = File::open(path).map_err(gone)?;
    match statfs::fstatfs(&file) {
        Ok(fs) if fs.filesystem_type() == NSFS_MAGIC => Ok(file),
        Ok(_) => Err(NetnsError::NotANamespace { path: path.into() }),
        Err(errno) => Err(gone(errno.into())),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the place, and the thread ends here"
)]
fn enter(namespace: &File) -> io::Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

#[cfg(test)]
pub(crate) mod tests;
