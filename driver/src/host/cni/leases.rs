//! The addresses that host-local keeps in our folders: `<owner>/<network>/<address>`, and in each
//! network's folder the lock that its plugin takes.
//!
//! It frees what it is told to free, and only what still is as it was when it was listed. It never
//! gives an address, and leaves alone what host-local did not write.

use std::{
    fs::{self, DirEntry, File, OpenOptions},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use netclaim_core::{
    attachment::Key,
    failure::Cause,
    name::{IfName, SandboxId},
    reconcile::Lease,
    time::Timestamp,
};
use nix::fcntl::{Flock, FlockArg};
use tokio::task;

use crate::host::blocking;

/// Between the sandbox and the interface in a lease (`disk.LineBreak`).
const LINE_BREAK: &str = "\r\n";

/// Why a lease was not freed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// A plugin is at work in the folder.
    #[error("{path}: a host-local plugin holds the lock; it is tried again at the next look", path = path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("{path}: {source}; look at the disk, and at who owns the folder", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
}

impl Cause for LeaseError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "LeaseBusy",
            Self::Io { .. } => "LeaseNotFreed",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "lease_busy",
            Self::Io { .. } => "lease_not_freed",
        }
    }
}

/// The folder of all leases.
#[derive(Clone, Debug)]
pub(super) struct Leases {
    folder: Arc<Path>,
}

impl Leases {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Every lease; none where no host-local has run yet.
    pub(super) async fn list(&self) -> Vec<Lease> {
        let folder = Arc::clone(&self.folder);
        let listed = task::spawn_blocking(move || {
            let owners = entries(&folder);
            let networks = owners.flat_map(|owner| entries(&owner.path()).collect::<Vec<_>>());
            let files = networks.flat_map(|network| entries(&network.path()).collect::<Vec<_>>());
            files.filter_map(|file| read(&file.path())).collect()
        });
        listed.await.unwrap_or_default()
    }

    /// Frees a lease, under host-local's own lock; whether it was still there. One that is gone, or
    /// has been given again since, is left as it is.
    pub(super) async fn free(&self, lease: &Lease) -> Result<bool, LeaseError> {
        let network = self.folder.join(&lease.owner).join(&lease.network);
        let path = network.join(lease.address.to_string());
        let lease = lease.clone();
        blocking(move || {
            let _lock = lock(network.join("lock"))?;
            if read(&path).as_ref() != Some(&lease) {
                return Ok(false);
            }
            let removed = fs::remove_file(&path).map(|()| true);
            removed.map_err(|source| LeaseError::Io { path, source })
        })
        .await
    }
}

/// Takes the lock of a network, as go-filemutex does; who waits for a plugin that hangs would hang
/// as well.
fn lock(path: PathBuf) -> Result<Flock<File>, LeaseError> {
    let opened = OpenOptions::new().read(true).open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(source) => return Err(LeaseError::Io { path, source }),
    };
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => LeaseError::Busy { path },
        errno => LeaseError::Io {
            path,
            source: errno.into(),
        },
    })
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

/// A lease, if the file is one: its name is an address and its content `<sandbox>\r\n<interface>`.
fn read(path: &Path) -> Option<Lease> {
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let network = path.parent()?;
    let address: IpAddr = name(path)?.parse().ok()?;
    let written = fs::metadata(path).ok()?.modified().ok()?;
    let written = written.duration_since(UNIX_EPOCH).ok()?.as_millis();
    let content = fs::read_to_string(path).ok()?;
    let (sandbox, if_name) = content.trim().split_once(LINE_BREAK)?;
    Some(Lease {
        owner: name(network.parent()?)?,
        network: name(network)?,
        address,
        key: Key {
            sandbox: SandboxId::parse(sandbox).ok()?,
            if_name: IfName::parse(if_name).ok()?,
        },
        written: Timestamp(u64::try_from(written).ok()?),
    })
}

#[cfg(test)]
mod tests;
