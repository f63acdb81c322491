//! Which of a node's instances does what: whoever holds the seats in the plugin folder.
//!
//! Seats are file locks, so a death frees them. An instance takes them in the order of [`Seat`] and
//! lets go of [`Seat::Kubelet`] first, so that in an update the kubelet has always somebody to ask:
//!
//! | the one that leaves | the one that comes |
//! |---|---|
//! | | takes `Standby`, waits for `Kubelet` |
//! | lets go of `Kubelet`, waits for `Standby` | takes `Kubelet`, registers; claims wait |
//! | | is registered: lets go of `Standby`, waits for `Active` |
//! | leaves the kubelet, ends what runs, lets go of `Active` | takes `Active`, answers |

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often it is looked whether a seat is free: an update waits no longer for it.
const LOOK: Duration = Duration::from_millis(100);

/// What one instance of a node does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Waits to be called to the kubelet.
    Standby,
    /// Is registered with the kubelet.
    Kubelet,
    /// Attaches, and writes the journal.
    Active,
}

/// A seat that we hold; dropping it, or dying, frees it.
#[derive(Debug)]
pub struct Taken {
    _file: File,
}

/// What the active instance holds.
#[derive(Debug)]
pub struct Seats {
    folder: PathBuf,
    kubelet: Taken,
    active: Taken,
}

impl Seat {
    /// Takes the seat, unless another instance has it.
    pub fn try_take(self, folder: &Path) -> io::Result<Option<Taken>> {
        fs::create_dir_all(folder)?;
        let path = folder.join(self.file());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Taken { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits until no other instance has the seat.
    pub async fn take(self, folder: &Path) -> io::Result<Taken> {
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            if let Some(taken) = self.try_take(folder)? {
                return Ok(taken);
            }
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Standby => "standby.lock",
            Self::Kubelet => "kubelet.lock",
            Self::Active => "active.lock",
        }
    }
}

impl Seats {
    /// The seats of the active instance, unless another one has any of them.
    pub fn try_take(folder: &Path) -> io::Result<Option<Self>> {
        let Some(kubelet) = Seat::Kubelet.try_take(folder)? else {
            return Ok(None);
        };
        let active = Seat::Active.try_take(folder)?;
        Ok(active.map(|active| Self::new(folder, kubelet, active)))
    }

    /// Waits until the seats are ours. Once the kubelet's is, `register` is called, and given the
    /// standby's: to let go of as soon as the kubelet knows us, however long that takes.
    pub async fn take(folder: &Path, register: impl AsyncFnOnce(Taken)) -> io::Result<Self> {
        let standby = Seat::Standby.take(folder).await?;
        let kubelet = Seat::Kubelet.take(folder).await?;
        register(standby).await;
        let active = Seat::Active.take(folder).await?;
        Ok(Self::new(folder, kubelet, active))
    }

    /// Calls whoever stands by to the kubelet; ends when it is registered, at once if nobody stands
    /// by, and after `patience` at the latest.
    pub async fn call_next(self, patience: Duration) -> Taken {
        drop(self.kubelet);
        let called = tokio::time::timeout(patience, Seat::Standby.take(&self.folder)).await;
        if called.is_err() {
            tracing::warn!(
                ?patience,
                "the instance that stands by is not registered with the kubelet yet; the kubelet \
                 tries claims again that come before it is"
            );
        }
        self.active
    }

    fn new(folder: &Path, kubelet: Taken, active: Taken) -> Self {
        Self {
            folder: folder.to_owned(),
            kubelet,
            active,
        }
    }
}

#[cfg(test)]
mod tests;
