//! Unix sockets that we serve: bound where only a dead one was, removed when we go.
//!
//! Never removes what somebody still serves, nor what is no socket.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::{UnixListener, UnixStream};

mod authority;
mod server;

pub(crate) use server::Server;

/// Longest path of a unix socket in bytes: `sun_path` has 108, one of them for the final zero
/// (unix(7)).
pub const PATH_MAX: usize = 107;

/// How long a socket that accepts slowly is asked whether anybody serves it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel cannot name it.
    #[error(
        "socket path {} has {} bytes, the kernel takes {PATH_MAX}: choose a shorter folder",
        path.display(), path.as_os_str().len()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Another process serves it.
    #[error("socket {} is served by another process: stop that one first", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("{} exists and is no socket: move it away", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The file system said no.
    #[error(
        "cannot {what} socket {}: {source}; its folder must be there for netclaim to write, as a \
         mount that is not read-only",
        path.display()
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The file of a socket that we serve; dropping it removes the file.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    inode: (u64, u64),
}

impl Socket {
    /// Listens at `path` with these permissions, in the place of a socket that nobody serves. Its
    /// folder is made.
    pub async fn listen(path: &Path, mode: u32) -> Result<(UnixListener, Self), SocketError> {
        if path.as_os_str().len() > PATH_MAX {
            let path = path.to_owned();
            return Err(SocketError::TooLong { path });
        }
        let failed = |what| move |source| failed(what, path, source);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed("make the folder of"))?;
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at")(error)),
            Ok(found) if !found.file_type().is_socket() => {
                let path = path.to_owned();
                return Err(SocketError::NotASocket { path });
            }
            Ok(_) if !unlink_dead(path).await.map_err(failed("remove"))? => {
                let path = path.to_owned();
                return Err(SocketError::InUse { path });
            }
            Ok(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed("bind"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("chmod"))?;
        let found = fs::symlink_metadata(path).map_err(failed("look at"))?;
        let socket = Self {
            path: path.to_owned(),
            inode: (found.dev(), found.ino()),
        };
        Ok((listener, socket))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = |found: &fs::Metadata| (found.dev(), found.ino()) == self.inode;
        if fs::symlink_metadata(&self.path).as_ref().is_ok_and(ours)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "socket not removed");
        }
    }
}

/// Removes a socket that refuses a connection; whether it is gone.
pub async fn unlink_dead(path: &Path) -> io::Result<bool> {
    match tokio::time::timeout(PATIENCE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path)?;
            Ok(true)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(false),
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> SocketError {
    let path = path.to_owned();
    SocketError::Io { what, path, source }
}

#[cfg(test)]
mod tests;
