//! One active instance: whoever holds the lock in the plugin folder.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    time::Duration,
};

/// How often a standby looks whether the lock is free: a rolling update waits no longer for it.
const LOOK: Duration = Duration::from_millis(100);

/// The lock; dropping it, or dying, frees it.
#[derive(Debug)]
pub struct ActiveLock {
    _file: File,
}

impl ActiveLock {
    /// The lock of this folder, unless another instance holds it.
    pub fn try_acquire(folder: &Path) -> io::Result<Option<Self>> {
        let file = open(folder)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits until no other instance holds the lock of this folder.
    pub async fn acquire(folder: &Path) -> io::Result<Self> {
        tracing::info!("another instance is active on this node: standing by");
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            if let Some(lock) = Self::try_acquire(folder)? {
                return Ok(lock);
            }
        }
    }
}

fn open(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join("active.lock");
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_lock_is_held_by_one_and_free_when_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let first = ActiveLock::acquire(folder.path()).await.unwrap();
        let mut second = Box::pin(ActiveLock::acquire(folder.path()));
        assert!(tokio::time::timeout(LOOK * 3, &mut second).await.is_err());
        drop(first);
        tokio::time::timeout(LOOK * 30, second)
            .await
            .unwrap()
            .unwrap();
    }
}
