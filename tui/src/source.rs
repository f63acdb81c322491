//! Where changes come from.

use std::path::{Path, PathBuf};

use futures::{Stream, StreamExt as _};
use netclaim_core::cluster::Recorded;
use tokio::{fs::File, io::AsyncWriteExt as _, sync::mpsc};

pub(crate) mod kubernetes;
pub(crate) mod node;
mod observe;
pub(crate) mod replay;

pub(crate) use observe::Looked;

/// Something that changes come from: a node, an API server, a recording.
pub(crate) trait Source {
    /// One stream of changes, each with the time at which it came.
    ///
    /// It reconnects by itself and says so in a change; it ends only when nothing will ever come.
    fn changes(self) -> impl Stream<Item = Recorded> + Send + 'static;
}

/// A recording that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot record to {}: {cause}", file.display())]
pub struct RecordError {
    file: PathBuf,
    #[source]
    cause: std::io::Error,
}

/// Brings all sources into one channel, through a recording where one is asked for.
#[derive(Debug)]
pub(crate) struct Feed {
    into: mpsc::Sender<Recorded>,
}

impl Feed {
    /// Changes go to `screen`, and to `file` as lines of JSON.
    pub(crate) async fn new(
        screen: mpsc::Sender<Recorded>,
        file: Option<&Path>,
    ) -> Result<Self, RecordError> {
        let Some(path) = file else {
            return Ok(Self { into: screen });
        };
        let file = File::create(path).await.map_err(|cause| RecordError {
            file: path.to_owned(),
            cause,
        })?;
        let (into, from) = mpsc::channel(screen.max_capacity());
        tokio::spawn(record(from, screen, file));
        Ok(Self { into })
    }

    /// Follows a source until it ends, or until nobody looks any more.
    pub(crate) fn follow(&self, source: impl Source + Send + 'static) {
        let into = self.into.clone();
        tokio::spawn(async move {
            let mut changes = std::pin::pin!(source.changes());
            while let Some(change) = changes.next().await {
                if into.send(change).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A change is on its way to the disk before it is shown; a full disk ends the recording only.
async fn record(mut from: mpsc::Receiver<Recorded>, into: mpsc::Sender<Recorded>, mut file: File) {
    let mut whole = true;
    while let Some(change) = from.recv().await {
        if whole && let Ok(mut line) = serde_json::to_vec(&change) {
            line.push(b'\n');
            whole = file.write_all(&line).await.is_ok() && file.flush().await.is_ok();
        }
        if into.send(change).await.is_err() {
            return;
        }
    }
}
