//! Where the kernel objects that outlive the driver are pinned.
//!
//! `<bpffs>/netclaim/<driver>/v1/counters` is the map, `…/<slot>_rx` and `…/<slot>_tx` the TCX links
//! of a slot, `…/<slot>_rx_tc` and `…/<slot>_tx_tc` its programs where clsact had to do. The pins
//! are all the state there is: a second instance of the driver sees what the first one sees.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use netclaim_core::attachment::Slot;
use netclaim_ebpf::{DIRECTIONS, Direction, LAYOUT_VERSION};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::error::ProbeError;

/// The folder for the pins of one driver name. bpffs keeps names with dots for itself
/// (kernel/bpf/inode.c, `bpf_lookup`), and no driver name has an underscore.
pub fn folder(bpffs: &Path, driver_name: &str) -> PathBuf {
    let name = driver_name.replace('.', "_");
    bpffs.join("netclaim").join(name).join(format!("v{LAYOUT_VERSION}"))
}

/// The pins of one driver.
#[derive(Debug)]
pub(super) struct Pins {
    folder: PathBuf,
}

impl Pins {
    /// The pins in `folder`, which is made if it is not there. It has to be on a bpffs.
    pub(super) fn open(folder: &Path) -> Result<Self, ProbeError> {
        let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
        match statfs(existing).map(|fs| fs.filesystem_type()) {
            Ok(BPF_FS_MAGIC) => {}
            _ => return Err(ProbeError::BpffsNotMounted { path: folder.to_owned() }),
        }
        fs::create_dir_all(folder)
            .map_err(|error| ProbeError::from_io(format!("making {}", folder.display()), error))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The pin of the counters map.
    pub(super) fn counters(&self) -> PathBuf {
        self.folder.join("counters")
    }

    /// The pin of a TCX link.
    pub(super) fn link(&self, slot: Slot, direction: Direction) -> PathBuf {
        self.folder.join(format!("{}_{}", slot.0, suffix(direction)))
    }

    /// The pin of a program that is a filter of a clsact qdisc.
    pub(super) fn filter(&self, slot: Slot, direction: Direction) -> PathBuf {
        self.folder.join(format!("{}_{}_tc", slot.0, suffix(direction)))
    }

    /// All pins that a slot may have.
    pub(super) fn of(&self, slot: Slot) -> [PathBuf; 4] {
        let [rx, tx] = DIRECTIONS;
        [self.link(slot, rx), self.link(slot, tx), self.filter(slot, rx), self.filter(slot, tx)]
    }

    /// Removes all pins of `slot`; those that are not there are fine.
    pub(super) fn remove(&self, slot: Slot) -> Result<(), ProbeError> {
        self.of(slot).iter().try_for_each(|pin| remove(pin))
    }

    /// The slots that have a pin.
    pub(super) fn slots(&self) -> Result<BTreeSet<Slot>, ProbeError> {
        let listed = fs::read_dir(&self.folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        let names: Vec<_> = listed.map_err(|error| {
            ProbeError::from_io(format!("listing {}", self.folder.display()), error)
        })?;
        Ok(names.iter().filter_map(|name| slot_of(name.to_str()?)).collect())
    }
}

/// Removes a pin; one that is not there is fine.
pub(super) fn remove(pin: &Path) -> Result<(), ProbeError> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ProbeError::from_io(format!("removing {}", pin.display()), error))
        }
        _ => Ok(()),
    }
}

fn suffix(direction: Direction) -> &'static str {
    match direction {
        Direction::Rx => "rx",
        Direction::Tx => "tx",
    }
}

fn slot_of(name: &str) -> Option<Slot> {
    let (slot, hook) = name.split_once('_')?;
    matches!(hook, "rx" | "tx" | "rx_tc" | "tx_tc").then(|| slot.parse().ok().map(Slot))?
}

#[cfg(test)]
mod tests;
