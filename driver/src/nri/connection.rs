//! Keeps the session with the runtime alive for ever.

use std::{ffi::OsStr, io, os::fd::AsFd as _, path::Path, sync::Arc, time::Duration};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nri_client::{Registration, SessionError};
use tokio::io::unix::AsyncFd;

use super::Pods;
use crate::host::Host;

/// The longest pause between two tries: a pod that starts meanwhile starts without us.
const PAUSE: Duration = Duration::from_millis(500);

/// Connects, serves and connects again until `stop`.
pub async fn keep<H: Host>(
    socket: &Path,
    registration: &Registration,
    pods: &Arc<Pods<H>>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    let mut said = String::new();
    loop {
        let ended = session(socket, registration, pods, stop.as_mut()).await;
        pods.connected(None);
        let Err(error) = ended else { return };
        let error = error.to_string();
        if error != said {
            tracing::warn!(socket = %socket.display(), "not connected to the runtime: {error}");
            said = error;
        }
        tokio::select! {
            () = &mut stop => return,
            () = appearance(socket) => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// One session; ends well only by `stop`.
async fn session<H: Host>(
    socket: &Path,
    registration: &Registration,
    pods: &Arc<Pods<H>>,
    mut stop: impl Future<Output = ()> + Unpin,
) -> Result<(), SessionError> {
    let stream = tokio::select! {
        () = &mut stop => return Ok(()),
        stream = nri_client::connect(socket) => stream?,
    };
    nri_client::serve_until(stream, Arc::clone(pods), registration, stop).await
}

/// Returns when the socket is made anew; never where its folder cannot be watched.
async fn appearance(socket: &Path) {
    if made(socket).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[expect(
    deprecated,
    reason = "`AsyncFd::new` is sound for an `OwnedFd`, which cannot change its descriptor"
)]
async fn made(socket: &Path) -> io::Result<()> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(
        folder,
        AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO,
    )?;
    let readiness = AsyncFd::new(inotify.as_fd().try_clone_to_owned()?)?;
    let is_socket = |name: Option<&OsStr>| name == socket.file_name();
    loop {
        let mut ready = readiness.readable().await?;
        match inotify.read_events() {
            Ok(events) if events.iter().any(|event| is_socket(event.name.as_deref())) => {
                return Ok(());
            }
            Ok(_) => {}
            Err(nix::errno::Errno::EAGAIN) => ready.clear_ready(),
            Err(errno) => return Err(errno.into()),
        }
    }
}
