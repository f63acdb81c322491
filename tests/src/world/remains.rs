//! What of a driver outlives it on a node: pins, leases, results of CNI, its ledger, links.
//!
//! Owns the list. It must never ask the driver: a driver that forgot something would not name it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use netclaim::journal::Journal;
use netclaim_core::ledger::Ledger;

use super::Worker;
use super::driver::NAME;

/// Where drivers keep what outlives them.
pub const STATE: &str = "/var/lib/netclaim";

/// The folders below which every name counts.
const FOLDERS: [&str; 3] = [
    "/sys/fs/bpf/netclaim",
    "/var/lib/netclaim/ipam",
    "/var/lib/netclaim/cni.dra.networking.x-k8s.io/cni",
];

/// All that remains on a worker, one name each: to be compared with what remained before.
pub fn remains(worker: &Worker) -> Result<BTreeSet<String>> {
    let mut remains = worker.node.place.run(|| -> io::Result<_> {
        let mut names = BTreeSet::new();
        FOLDERS
            .iter()
            .try_for_each(|folder| walk(Path::new(folder), &mut names))?;
        Ok(names)
    })??;
    let links = worker
        .node
        .place
        .output("ip", "-br link show type macvlan")?;
    remains.extend(links.lines().map(|link| format!("link {link}")));
    remains.extend(promises(&ledger(worker)?));
    Ok(remains)
}

/// The ledger of a worker's driver, as its files have it.
pub fn ledger(worker: &Worker) -> Result<Ledger> {
    let copy = tempfile::tempdir()?;
    for file in ["ledger.json", "journal.jsonl"] {
        let content = worker.node.read(ledger_folder().join(file))?;
        fs::write(copy.path().join(file), content)?;
    }
    Ok(Journal::open(copy.path(), "")?.ledger)
}

/// The folder of the ledger's files.
pub fn ledger_folder() -> PathBuf {
    Path::new(STATE).join(NAME)
}

fn promises(ledger: &Ledger) -> impl Iterator<Item = String> {
    let claims = ledger
        .claims()
        .map(|claim| format!("claim {}", claim.claim.uid));
    let attachments = ledger
        .attachments()
        .map(|held| format!("attachment {}", held.attachment.key));
    let leftovers = ledger
        .leftovers()
        .map(|left| format!("leftover {}", left.attachment.key));
    let all: Vec<String> = claims.chain(attachments).chain(leftovers).collect();
    all.into_iter()
}

fn walk(folder: &Path, names: &mut BTreeSet<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        names.insert(entry.path().display().to_string());
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), names)?;
        }
    }
    Ok(())
}
