//! The committed eBPF object: loads one instance of the programs per interface.
//!
//! It must never attach anything.

use std::{path::Path, sync::Mutex};

use aya::{
    Ebpf, EbpfLoader,
    maps::MapData,
    programs::{Program, ProgramError, SchedClassifier},
};
use netclaim_core::attachment::Slot;
use netclaim_ebpf::{COUNT_RX, COUNT_TX, COUNTERS, Direction, EPOCH_JIFFIES, N_CPUS, SLOT};

use super::error::{ProbeError, chain};
use crate::mutex::locked;

pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../driver-ebpf/prebuilt/probe.bpf.o"
));

/// What the node tells every instance of the programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// One more than the highest possible CPU id.
    pub(super) n_cpus: u32,
    /// The kernel's HZ.
    pub(super) jiffies_per_second: u64,
}

/// Makes instances of the programs, all with one counters map.
#[derive(Debug)]
pub(super) struct Object {
    /// Kept, because making a loader parses the running kernel's BTF, which takes longer than all
    /// the rest of an attach.
    loader: Mutex<EbpfLoader<'static>>,
    slots: &'static [u32],
}

/// The two programs of one slot, in the kernel but on no interface.
pub(super) struct Programs {
    ebpf: Ebpf,
}

impl Object {
    /// An object whose counters map is pinned at `pin` and holds `rows` rows.
    ///
    /// The loader borrows the globals for as long as it lives, and it lives as long as the process:
    /// four bytes per slot are leaked, once.
    pub(super) fn new(pin: &Path, rows: u32, slots: u32, node: Node) -> Self {
        let node: &'static Node = Box::leak(Box::new(node));
        let mut loader = EbpfLoader::new();
        loader
            .btf(None)
            .override_global(N_CPUS, &node.n_cpus, true)
            .override_global(EPOCH_JIFFIES, &node.jiffies_per_second, true)
            .map_max_entries(COUNTERS, rows)
            .map_pin_path(COUNTERS, pin.to_owned());
        let slots = (0..slots).collect::<Vec<u32>>().leak();
        Self {
            loader: Mutex::new(loader),
            slots,
        }
    }

    /// The number of `slot`, as it is baked into programs.
    pub(super) fn baked(&self, slot: Slot) -> Result<&'static u32, ProbeError> {
        let at = usize::try_from(slot.0).ok();
        at.and_then(|at| self.slots.get(at)).ok_or_else(|| {
            let max = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            ProbeError::NoSlot { slot, max }
        })
    }

    /// Loads the programs that write to `slot`.
    pub(super) fn load(&self, slot: Slot) -> Result<Programs, ProbeError> {
        let baked = self.baked(slot)?;
        let mut loader = locked(&self.loader);
        let ebpf = loader
            .override_global(SLOT, baked, true)
            .load(OBJECT)
            .map_err(|error| ProbeError::from_object(&error))?;
        let mut programs = Programs { ebpf };
        for direction in netclaim_ebpf::DIRECTIONS {
            let name = name(direction);
            programs
                .get(direction)?
                .load()
                .map_err(|error| ProbeError::from_load(name, error))?;
        }
        Ok(programs)
    }
}

impl Programs {
    /// The program of one direction.
    pub(super) fn get(&mut self, direction: Direction) -> Result<&mut SchedClassifier, ProbeError> {
        program(&mut self.ebpf, name(direction))
    }

    /// What the kernel says is the identity of the program's instructions, whatever its globals.
    pub(super) fn tag(&mut self, direction: Direction) -> Result<u64, ProbeError> {
        let info = self.get(direction)?.info();
        info.map(|info| info.tag())
            .map_err(|error| ProbeError::from_program("reading a program's tag", &error))
    }

    /// The map that all instances share.
    pub(super) fn into_counters(mut self) -> Result<MapData, ProbeError> {
        match self.ebpf.take_map(COUNTERS) {
            Some(aya::maps::Map::Array(map)) => Ok(map),
            _ => Err(ProbeError::Object(format!("no array map {COUNTERS}"))),
        }
    }
}

/// A program of an object, as what its kind can do.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProbeError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded);
    program
        .and_then(TryInto::try_into)
        .map_err(|error| ProbeError::Object(format!("{name}: {}", chain(&error))))
}

/// The name of a direction's program.
pub(super) fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Rx => COUNT_RX,
        Direction::Tx => COUNT_TX,
    }
}
