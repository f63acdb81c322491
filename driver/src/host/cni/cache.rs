//! The results of ADD on disk, in libcni's layout: `results/<network>-<container>-<interface>`.
//!
//! A record is there whole or not at all. It is not synced: the promise to undo is the journal's,
//! and what a power cut takes from here it takes from the kernel as well.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use netclaim_core::{
    attachment::Key,
    cni::{CachedAttachment, CachedAttachmentError, ConfList},
};
use tokio::{
    task,
    time::{self, Instant},
};
use tracing::warn;

/// A cache that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The disk refused.
    #[error("CNI result cache, {path}: {source}; look at the disk, and at who owns the folder", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("CNI result cache, {path}: {source}; delete the file if nothing uses that sandbox", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CachedAttachmentError,
    },
}

/// The folder of the records.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    results: Arc<Path>,
}

impl Cache {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            results: dir.join("results").into(),
        }
    }

    /// Writes the record, or fails at `deadline`.
    pub(super) async fn put(
        &self,
        attachment: CachedAttachment,
        deadline: Instant,
    ) -> Result<(), CacheError> {
        let path = self.path(&attachment.network, &attachment.key);
        let content = attachment.write().map_err(|source| CacheError::Record {
            path: path.clone(),
            source,
        })?;
        let written = blocking(path.clone(), move |path| write(path, &content));
        // A disk that stalls must not hold up the container runtime.
        time::timeout_at(deadline, written)
            .await
            .unwrap_or_else(|late| {
                Err(CacheError::Io {
                    path,
                    source: late.into(),
                })
            })
    }

    /// The record, if there is one.
    pub(super) async fn get(
        &self,
        network: &ConfList,
        key: &Key,
    ) -> Result<Option<CachedAttachment>, CacheError> {
        let path = self.path(network, key);
        match blocking(path.clone(), |path| fs::read(path)).await {
            Ok(content) => parse(path, &content).map(Some),
            Err(CacheError::Io { source, .. }) if absent(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn remove(&self, network: &ConfList, key: &Key) -> Result<(), CacheError> {
        match blocking(self.path(network, key), |path| fs::remove_file(path)).await {
            Err(CacheError::Io { source, .. }) if absent(&source) => Ok(()),
            result => result,
        }
    }

    /// Every record of `network`.
    pub(super) async fn attachments(
        &self,
        network: &str,
    ) -> Result<Vec<CachedAttachment>, CacheError> {
        let mut all = self.all().await?;
        all.retain(|cached| cached.network.name() == network);
        Ok(all)
    }

    /// Every record, in the order of names; a file that is none is logged and left alone.
    pub(super) async fn all(&self) -> Result<Vec<CachedAttachment>, CacheError> {
        let mut files = match blocking(self.results.to_path_buf(), read_dir).await {
            Err(CacheError::Io { source, .. }) if absent(&source) => Vec::new(),
            files => files?,
        };
        files.sort();
        let parsed = files
            .into_iter()
            .map(|(path, content)| parse(path, &content));
        Ok(parsed
            .filter_map(|record| record.inspect_err(|error| warn!(%error)).ok())
            .collect())
    }

    fn path(&self, network: &ConfList, key: &Key) -> PathBuf {
        self.results.join(CachedAttachment::file_name(network, key))
    }
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    io: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, CacheError> {
    task::spawn_blocking(move || io(&path).map_err(|source| CacheError::Io { path, source }))
        .await
        .unwrap_or_else(|error| {
            Err(CacheError::Io {
                path: PathBuf::new(),
                source: error.into(),
            })
        })
}

fn absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn parse(path: PathBuf, content: &[u8]) -> Result<CachedAttachment, CacheError> {
    CachedAttachment::read(content).map_err(|source| CacheError::Record { path, source })
}

/// Writes beside the folder's records first, so that no reader meets half of one.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let results = path.parent().unwrap_or(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(results)?;
    let unfinished = path.with_file_name(format!(
        ".{}",
        path.file_name().unwrap_or_default().display()
    ));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(content)?;
    fs::rename(&unfinished, path)
}

/// The folder's files and their content; hidden ones are unfinished.
fn read_dir(results: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(results)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            files.push((entry.path(), fs::read(entry.path())?));
        }
    }
    Ok(files)
}
