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
    /// Waits until no other instance holds the lock of this folder.
    pub async fn acquire(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("active.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        let mut look = tokio::time::interval(LOOK);
        let mut said = false;
        loop {
            look.tick().await;
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(fs::TryLockError::WouldBlock) if said => {}
                Err(fs::TryLockError::WouldBlock) => {
                    said = true;
                    tracing::info!("another instance is active on this node: standing by");
                }
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }
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
