//! Where the kernel objects that outlive the driver are pinned.
//!
//! `<bpffs>/netclaim/<driver>/v1/counters` is the map. `…/<slot>/` is there while a slot is in use;
//! in it `rx` and `tx` are its TCX links, `rx_tc` and `tx_tc` its programs where clsact had to do.
//! `…/drops` is the link of the program that counts drops, beside its maps, which are called as they
//! are in the object, with their version.
//! This is all the state there is: a second instance of the driver sees what the first one sees.

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
    bpffs
        .join("netclaim")
        .join(name)
        .join(format!("v{LAYOUT_VERSION}"))
}

/// The pins of one driver.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    folder: PathBuf,
}

impl Pins {
    /// The pins in `folder`, which is made if it is not there. It has to be on a bpffs.
    pub(super) fn open(folder: &Path) -> Result<Self, ProbeError> {
        let existing = folder
            .ancestors()
            .find(|path| path.exists())
            .unwrap_or(folder);
        match statfs(existing).map(|fs| fs.filesystem_type()) {
            Ok(BPF_FS_MAGIC) => {}
            _ => {
                return Err(ProbeError::BpffsNotMounted {
                    path: folder.to_owned(),
                });
            }
        }
        make(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The pin of the counters map.
    pub(super) fn counters(&self) -> PathBuf {
        self.folder.join("counters")
    }

    /// The pin of a map that bears its version in its name.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The pin of the link that counts drops.
    pub(super) fn drops_link(&self) -> PathBuf {
        self.folder.join("drops")
    }

    /// The pin of a TCX link.
    pub(super) fn link(&self, slot: Slot, direction: Direction) -> PathBuf {
        self.slot(slot).join(match direction {
            Direction::Rx => "rx",
            Direction::Tx => "tx",
        })
    }

    /// The pin of a program that is a filter of a clsact qdisc.
    pub(super) fn filter(&self, slot: Slot, direction: Direction) -> PathBuf {
        self.slot(slot).join(match direction {
            Direction::Rx => "rx_tc",
            Direction::Tx => "tx_tc",
        })
    }

    /// Whether `slot` has a program that is a filter.
    pub(super) fn has_filter(&self, slot: Slot) -> bool {
        DIRECTIONS
            .iter()
            .any(|&direction| self.filter(slot, direction).exists())
    }

    /// Whether `slot` is in use.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.slot(slot).exists()
    }

    /// Takes `slot` into use; one that is in use already is fine.
    pub(super) fn claim(&self, slot: Slot) -> Result<(), ProbeError> {
        make(&self.slot(slot))
    }

    /// Removes all pins of `slot`. It is free then.
    pub(super) fn release(&self, slot: Slot) -> Result<(), ProbeError> {
        let folder = self.slot(slot);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProbeError::from_io(
                format!("removing {}", folder.display()),
                error,
            )),
            _ => Ok(()),
        }
    }

    /// The slots in use.
    pub(super) fn slots(&self) -> Result<BTreeSet<Slot>, ProbeError> {
        let listed = fs::read_dir(&self.folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        let names: Vec<_> = listed.map_err(|error| {
            ProbeError::from_io(format!("listing {}", self.folder.display()), error)
        })?;
        Ok(names
            .iter()
            .filter_map(|name| name.to_str()?.parse().ok().map(Slot))
            .collect())
    }

    fn slot(&self, slot: Slot) -> PathBuf {
        self.folder.join(slot.0.to_string())
    }
}

/// Removes a pin; one that is not there is fine.
pub(super) fn remove(pin: &Path) -> Result<(), ProbeError> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProbeError::from_io(
            format!("removing {}", pin.display()),
            error,
        )),
        _ => Ok(()),
    }
}

fn make(folder: &Path) -> Result<(), ProbeError> {
    fs::create_dir_all(folder)
        .map_err(|error| ProbeError::from_io(format!("making {}", folder.display()), error))
}

#[cfg(test)]
mod tests;
