//! Keeps the ledger on disk: a snapshot, and one line per fact since.
//!
//! Owns the files `ledger.json` and `journal.jsonl` of one folder. It never decides what a fact
//! means: it returns the ledger that the facts make. A fact counts as recorded once
//! [`Journal::append`] returned, and durable facts are then on the disk itself.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use netclaim_core::{
    fact::Fact,
    failure::Cause,
    ledger::{Ledger, record::Record},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::clock;

/// Format of both files. Version N reads N − 1, and writes N − 1 until it is alone on the node.
pub const FORMAT: u32 = 1;

/// Facts after which the journal is folded into the snapshot: reading them back takes milliseconds.
const FOLD_AFTER: u32 = 1_000;

const LEDGER_FILE: &str = "ledger.json";
const JOURNAL_FILE: &str = "journal.jsonl";

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error(
        "{path} cannot be {verb}: {source}; nothing was changed in the pod: make room on the disk \
         or mend its permissions, the kubelet then tries again"
    )]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What was tried, in the past participle.
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A newer netclaim wrote it.
    #[error(
        "{path} has format {found} and this netclaim reads up to {FORMAT}: run the version that \
         wrote it, or a newer one; nothing was touched"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is not what we wrote.
    #[error(
        "{path} cannot be understood at line {line}: {source}; nothing was touched: restore the \
         file, or move it away to start from what the kernel and the API server know"
    )]
    Garbled {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl Cause for JournalError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "JournalNotWritable",
            Self::Newer { .. } => "JournalTooNew",
            Self::Garbled { .. } => "JournalGarbled",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Disk { .. } => "journal_not_writable",
            Self::Newer { .. } => "journal_too_new",
            Self::Garbled { .. } => "journal_garbled",
        }
    }
}

/// What was found on disk.
#[derive(Debug)]
pub struct Opened {
    /// The journal, ready for the next fact.
    pub journal: Journal,
    /// The ledger that its facts make.
    pub ledger: Ledger,
    /// Whether the node has booted since: namespaces, links and pins of then are gone.
    pub rebooted: bool,
    /// Bytes of a last line that a crash cut short: dropped, and to be said.
    pub dropped: usize,
}

/// The open journal of one driver instance.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    boot_id: String,
    file: File,
    /// Length up to which the file is whole lines.
    whole: u64,
    lines: u32,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    boot_id: String,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    #[serde(flatten)]
    header: Header,
    ledger: Record,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// Generation of the ledger with this fact in it.
    n: u64,
    at: Timestamp,
    #[serde(flatten)]
    fact: Fact,
}

impl Journal {
    /// Reads what a former life left in `folder` and folds it into a fresh snapshot.
    pub fn open(folder: &Path, boot_id: &str) -> Result<Opened, JournalError> {
        fs::create_dir_all(folder).map_err(disk(folder, "made"))?;
        let snapshot = read_snapshot(&folder.join(LEDGER_FILE))?;
        let former_boot = snapshot
            .as_ref()
            .map(|snapshot| snapshot.header.boot_id.clone());
        let mut ledger = snapshot.map_or_else(Ledger::default, |snapshot| snapshot.ledger.into());
        let dropped = replay(&folder.join(JOURNAL_FILE), &mut ledger)?;
        let rebooted = former_boot.as_ref().is_some_and(|former| former != boot_id);
        // With the snapshot that first says so: whoever starts after us goes on where we ended.
        if former_boot.is_none() {
            ledger.apply(clock::now(), &Fact::Lost);
        } else if rebooted {
            ledger.apply(clock::now(), &Fact::Rebooted);
        }
        let journal = Self::fold_into(folder, boot_id, &ledger)?;
        Ok(Opened {
            journal,
            ledger,
            rebooted,
            dropped,
        })
    }

    /// Writes a fact down; `ledger` is the ledger with the fact in it.
    ///
    /// On an error the file is cut back to what it held before.
    pub fn append(
        &mut self,
        at: Timestamp,
        fact: &Fact,
        ledger: &Ledger,
    ) -> Result<(), JournalError> {
        if self.lines >= FOLD_AFTER {
            *self = Self::fold_into(&self.folder, &self.boot_id, ledger)?;
            return Ok(());
        }
        let line = Line {
            n: ledger.generation(),
            at,
            fact: fact.clone(),
        };
        let written = self.write(&line, fact.must_be_durable());
        match written {
            Ok(length) => {
                self.whole += length;
                self.lines += 1;
                Ok(())
            }
            Err(error) => {
                // The rest of a broken line would swallow the next fact: if it cannot be cut off,
                // the next fact begins a new file.
                if self.file.set_len(self.whole).is_err() {
                    self.lines = FOLD_AFTER;
                }
                Err(disk(&self.folder.join(JOURNAL_FILE), "written")(error))
            }
        }
    }

    /// From here on the disk is full.
    #[cfg(test)]
    pub(crate) fn break_disk(&mut self) -> File {
        let full = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("Linux has one");
        std::mem::replace(&mut self.file, full)
    }

    fn write(&mut self, line: &Line, durable: bool) -> io::Result<u64> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        if durable {
            self.file.sync_data()?;
        }
        Ok(text.len() as u64)
    }

    /// Snapshot first, journal second: facts that stand in both are told apart by their number.
    fn fold_into(folder: &Path, boot_id: &str, ledger: &Ledger) -> Result<Self, JournalError> {
        let header = || Header {
            format: FORMAT,
            boot_id: boot_id.to_owned(),
        };
        let snapshot = Snapshot {
            header: header(),
            ledger: Record::from(ledger),
        };
        replace(&folder.join(LEDGER_FILE), &snapshot)?;
        let path = folder.join(JOURNAL_FILE);
        let whole = replace(&path, &header())?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(disk(&path, "opened"))?;
        Ok(Self {
            folder: folder.to_owned(),
            boot_id: boot_id.to_owned(),
            file,
            whole,
            lines: 0,
        })
    }
}

fn read_snapshot(path: &Path) -> Result<Option<Snapshot>, JournalError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk(path, "read")(error)),
    };
    check_format(path, &text)?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(garbled(path, 1))
}

/// Applies the journal's facts that the snapshot does not hold yet; returns the dropped bytes.
fn replay(path: &Path, ledger: &mut Ledger) -> Result<usize, JournalError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(disk(path, "read")(error)),
    };
    let end = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let mut lines = text[..end].split(|byte| *byte == b'\n').enumerate();
    if let Some((_, header)) = lines.next() {
        check_format(path, header)?;
    }
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let line: Line = serde_json::from_slice(line).map_err(garbled(path, index + 1))?;
        if line.n > ledger.generation() {
            ledger.apply(line.at, &line.fact);
        }
    }
    Ok(text.len() - end)
}

/// Only the format is read first: everything else may have changed with it.
fn check_format(path: &Path, text: &[u8]) -> Result<(), JournalError> {
    #[derive(Deserialize)]
    struct Format {
        format: NonZeroU32,
    }
    if text.is_empty() {
        return Ok(());
    }
    let Format { format } = serde_json::from_slice(text).map_err(garbled(path, 1))?;
    if format.get() > FORMAT {
        return Err(JournalError::Newer {
            path: path.to_owned(),
            found: format.get(),
        });
    }
    Ok(())
}

/// Replaces a file so that after a crash it is either the old one or the new one.
fn replace(path: &Path, value: &impl Serialize) -> Result<u64, JournalError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<u64> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        let mut file = File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(text.len() as u64)
    };
    write().map_err(disk(path, "written"))
}

fn disk(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Disk { path, verb, source }
}

fn garbled(path: &Path, line: usize) -> impl FnOnce(serde_json::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Garbled { path, line, source }
}

#[cfg(test)]
mod tests;
