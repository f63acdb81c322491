//! What of pods outlives them: pins, leases, results of CNI, promises, namespaces, links, claims.
//!
//! Owns the list. It must never ask the driver: a driver that forgot something would not name it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use netclaim::journal::Journal;
use netclaim_core::ledger::Ledger;

use super::apiserver::resource::CLAIMS;
use super::controller;
use super::driver::{self, NAME};
use super::place::stdout_of;
use super::{Worker, World};

/// Where drivers keep what outlives them.
const STATE: &str = "/var/lib/netclaim";

/// Each thing that pods have, or had, in a world, with where it is.
pub fn left(world: &World) -> Result<BTreeSet<String>> {
    let claims = world.api.store.all(CLAIMS);
    let claims = claims.iter().map(controller::place);
    let mut left: BTreeSet<String> = claims
        .map(|(namespace, name)| format!("ResourceClaim {namespace}/{name}"))
        .collect();
    for worker in &world.workers {
        let place = &worker.node.place;
        let links = place.output("ip", "-br link show type macvlan")?;
        left.extend(links.lines().map(|link| format!("interface {link}")));
        let namespaces = place.run(|| walk(Path::new("/run/netns")))??;
        let namespaces = namespaces.iter();
        left.extend(namespaces.map(|path| format!("network namespace {}", path.display())));
        left.extend(place.run(|| in_files(Path::new("/")))??);
        left.extend(promises(&ledger(worker)?));
    }
    Ok(left)
}

/// The sockets of drivers and relays on a node whose root is here.
pub fn sockets(root: &Path) -> Result<Vec<PathBuf>> {
    let mut left = Vec::new();
    for folder in ["run/netclaim", "var/lib/kubelet/plugins_registry"] {
        left.extend(walk(&root.join(folder))?);
    }
    left.extend(walk(&root.join("var/lib/kubelet/plugins").join(NAME))?);
    left.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "sock")
    });
    Ok(left)
}

/// In the files of a node whose root is here.
pub fn in_files(root: &Path) -> Result<Vec<String>> {
    let folders = [
        ("pinned probe", driver::pins()),
        ("address lease", Path::new(STATE).join("ipam")),
        ("CNI result", ledger_folder().join("cni")),
    ];
    let mut left = Vec::new();
    for (what, folder) in folders {
        let found = walk(&root.join(folder.strip_prefix("/")?));
        let found = found.with_context(|| format!("cannot read {}", folder.display()))?;
        let of_pods = found.iter().filter(|path| is_of_a_pod(what, path));
        left.extend(of_pods.map(|path| format!("{what} {}", path.display())));
    }
    Ok(left)
}

/// The interfaces in the network namespace of this thread that can only be of a claim: the cluster's
/// own pods have none of that kind.
pub fn attached_here() -> Result<Vec<String>> {
    let line = "-br link show type macvlan";
    let output = Command::new("ip").args(line.split_whitespace()).output()?;
    let links = stdout_of(line, &output)?;
    Ok(links.lines().map(str::to_owned).collect())
}

/// The ledger of a worker's driver, as its files have it.
pub fn ledger(worker: &Worker) -> Result<Ledger> {
    let read = |file: &str| worker.node.read(ledger_folder().join(file));
    ledger_of(read)
}

/// What the ledger in the files of a node promises, where the node's root is here.
pub fn promises_in(root: &Path) -> Result<Vec<String>> {
    let folder = root.join(ledger_folder().strip_prefix("/")?);
    let read = |file: &str| Ok(fs::read_to_string(folder.join(file))?);
    Ok(promises(&ledger_of(read)?))
}

fn ledger_of(read: impl Fn(&str) -> Result<String>) -> Result<Ledger> {
    let copy = tempfile::tempdir()?;
    for file in ["ledger.json", "journal.jsonl"] {
        fs::write(copy.path().join(file), read(file)?)?;
    }
    Ok(Journal::open(copy.path(), "")?.ledger)
}

/// The folder of the ledger's files.
pub fn ledger_folder() -> PathBuf {
    Path::new(STATE).join(NAME)
}

/// A folder of pins is a slot in use; beside them are the maps, and what counts drops. The folders of
/// leases and results stay, and so do host-local's lock and last address.
fn is_of_a_pod(what: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match what {
        "pinned probe" => name.parse::<u32>().is_ok(),
        _ => !path.is_dir() && name != "lock" && !name.starts_with("last_reserved_ip"),
    }
}

fn promises(ledger: &Ledger) -> Vec<String> {
    let claims = ledger
        .claims()
        .map(|claim| format!("promise to claim {}", claim.claim.uid));
    let attachments = ledger
        .attachments()
        .map(|held| format!("attachment {}", held.attachment.key));
    let leftovers = ledger
        .leftovers()
        .map(|left| format!("leftover {}", left.attachment.key));
    claims.chain(attachments).chain(leftovers).collect()
}

/// All files and folders below a folder, which need not be there.
fn walk(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(walk(&entry.path())?);
        }
        found.push(entry.path());
    }
    Ok(found)
}
