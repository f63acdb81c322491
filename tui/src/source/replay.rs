//! A recording, played again.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::{Stream, stream};
use netclaim_core::{cluster::Recorded, time::Timestamp};

use super::Source;
use crate::clock::Clock;

/// A recording that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("cannot read the recording {}: {cause}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A line is not a change.
    #[error(
        "{}, line {line}: {cause}; expected one change per line, as `dra-top --record` writes them",
        file.display()
    )]
    Line {
        /// Which recording.
        file: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
}

/// A recording.
#[derive(Debug)]
pub(crate) struct Replay {
    changes: Vec<Recorded>,
    paced: bool,
    began: Instant,
}

impl Replay {
    /// Reads a recording. `paced` gives the changes at the pace at which they came.
    pub(crate) fn open(file: &Path, paced: bool) -> Result<Self, ReplayError> {
        let read = |cause| ReplayError::Read {
            file: file.to_owned(),
            cause,
        };
        let lines = BufReader::new(File::open(file).map_err(read)?).lines();
        let mut changes = Vec::new();
        for (index, line) in lines.enumerate() {
            let line = line.map_err(read)?;
            if line.trim().is_empty() {
                continue;
            }
            let change = serde_json::from_str(&line).map_err(|cause| ReplayError::Line {
                file: file.to_owned(),
                line: index + 1,
                cause,
            })?;
            changes.push(change);
        }
        Ok(Self {
            changes,
            paced,
            began: Instant::now(),
        })
    }

    /// The recording's time.
    pub(crate) fn clock(&self) -> Clock {
        let last = self.changes.last().map_or(Timestamp(0), |change| change.at);
        let first = if self.paced { self.first() } else { last };
        Clock::Recording {
            first,
            last,
            began: self.began,
        }
    }

    fn first(&self) -> Timestamp {
        let first = self.changes.first();
        first.map_or(Timestamp(0), |change| change.at)
    }
}

impl Source for Replay {
    fn changes(self) -> impl Stream<Item = Recorded> + Send + 'static {
        let (first, began, paced) = (self.first(), self.began, self.paced);
        stream::unfold(self.changes.into_iter(), move |mut left| async move {
            let change = left.next()?;
            let due = if paced {
                change.at.since(first)
            } else {
                Duration::ZERO
            };
            tokio::time::sleep_until((began + due).into()).await;
            Some((change, left))
        })
    }
}
