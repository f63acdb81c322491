//! What is left on nodes of pods that are gone: nothing, where the driver kept its promise.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use netclaim_proto::observe::InterfaceState;

use super::apiserver::resource::CLAIMS;
use super::controller::place;
use super::{Worker, World, driver};

/// Each thing that is left, with where it is.
pub async fn left(world: &World) -> Result<Vec<String>> {
    let claims = world.api.store.all(CLAIMS);
    let mut left: Vec<String> = claims
        .iter()
        .map(|claim| format!("ResourceClaim {} with its status", place(claim).1))
        .collect();
    for worker in &world.workers {
        left.extend(left_on(worker)?);
        left.extend(remembered(worker).await?);
    }
    Ok(left)
}

/// In the kernel and on the disk of a node.
fn left_on(worker: &Worker) -> Result<Vec<String>> {
    let node = &worker.node;
    let interfaces = node.place.output("ip", "-br link show type macvlan")?;
    let interfaces = interfaces.lines().map(|line| format!("interface {line}"));
    let namespaces = node.place.run(|| files_below(Path::new("/run/netns")))??;
    let namespaces = namespaces.into_iter();
    let namespaces = namespaces.map(|path| format!("network namespace {}", path.display()));
    let files = node.place.run(|| in_files(Path::new("/")))??;
    Ok(interfaces.chain(namespaces).chain(files).collect())
}

/// In the files of a node whose root is here.
pub fn in_files(root: &Path) -> Result<Vec<String>> {
    let folders = [
        ("address lease", "/var/lib/netclaim/ipam".to_owned()),
        (
            "pinned probe",
            driver::pins().to_string_lossy().into_owned(),
        ),
        (
            "CNI result",
            format!("/var/lib/netclaim/{}/cni", driver::NAME),
        ),
    ];
    let mut left = Vec::new();
    for (what, folder) in folders {
        let files = files_below(&root.join(folder.trim_start_matches('/')));
        let files = files.with_context(|| format!("cannot read {folder}"))?;
        let mine = files.iter().filter(|file| is_of_a_pod(what, file));
        left.extend(mine.map(|file| format!("{what} {}", file.display())));
    }
    Ok(left)
}

/// host-local keeps its lock and the last address as well, and the counters' map is the driver's.
fn is_of_a_pod(what: &str, file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    match what {
        "address lease" => name.parse::<IpAddr>().is_ok(),
        "pinned probe" => name != "counters",
        _ => true,
    }
}

/// What the driver itself still holds.
async fn remembered(worker: &Worker) -> Result<Vec<String>> {
    let snapshot = driver::snapshot(worker).await?;
    let held = snapshot.interfaces.iter().filter(|interface| {
        let state = interface.state();
        state != InterfaceState::Ended
    });
    let held = held.map(|interface| format!("{} in the driver's ledger", interface.name));
    let leftovers = (0..snapshot.leftovers.len()).map(|_| "a leftover".to_owned());
    Ok(held.chain(leftovers).collect())
}

fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}
