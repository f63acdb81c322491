//! The committed eBPF object that records flows: loads one instance of its programs per interface,
//! all with one table.
//!
//! It must never attach anything.

use std::sync::Mutex;

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData},
    programs::SchedClassifier,
};
use netclaim_ebpf::{
    Direction,
    flows::{FLOW_RX, FLOW_TX, FLOWS, Flow, Key, LINK_HEADER, SLOT, TABLE},
};

use super::{
    super::{error::ProbeError, object},
    error::FlowsError,
    room::Room,
};
use crate::mutex::locked;

pub(in super::super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../driver-ebpf/prebuilt/flows.bpf.o"
));

/// Flows that there is room for whichever CPUs see them. A kilobyte of kernel memory holds seven.
pub(in super::super) const FLOWS_AT_LEAST: u32 = 8_192;

/// Entries that each CPU may take aside for flows to come (`kernel/bpf/bpf_lru_list.c`,
/// `LOCAL_FREE_TARGET`): where all of them did, a table of [`FLOWS_AT_LEAST`] alone would forget
/// flows while it is nearly empty.
const ASIDE: u32 = 128;

/// What an instance of the programs is told; the loader borrows it for as long as it lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Baked {
    /// Of which slot the flows are.
    pub(super) slot: &'static u32,
    /// Bytes of the link header.
    pub(super) link_header: &'static u32,
}

/// The table of flows, and what is noted about it.
pub(super) struct Maps {
    pub(super) flows: HashMap<MapData, Key, Flow>,
    pub(super) table: Array<MapData, u64>,
}

/// Makes instances of the programs.
pub(super) struct Object {
    /// Kept, because making a loader parses the running kernel's BTF.
    loader: Mutex<EbpfLoader<'static>>,
    /// Where its maps are pinned.
    _room: Room,
    entries: u32,
}

impl Object {
    /// An object whose table has room for all CPUs.
    pub(super) fn new(cpus: u32) -> Result<Self, FlowsError> {
        let room = Room::new()
            .map_err(|error| ProbeError::from_io("mounting a bpf file system", error))?;
        let entries = FLOWS_AT_LEAST.saturating_add(ASIDE.saturating_mul(cpus));
        let mut loader = EbpfLoader::new();
        loader
            .btf(None)
            .map_max_entries(FLOWS, entries)
            .map_pin_path(FLOWS, room.pin(FLOWS))
            .map_pin_path(TABLE, room.pin(TABLE));
        Ok(Self {
            loader: Mutex::new(loader),
            _room: room,
            entries,
        })
    }

    /// Flows that its table holds.
    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// The programs in the kernel, on no interface.
    pub(super) fn load(&self, baked: Baked) -> Result<Ebpf, FlowsError> {
        let mut loader = locked(&self.loader);
        let mut ebpf = loader
            .override_global(SLOT, baked.slot, true)
            .override_global(LINK_HEADER, baked.link_header, true)
            .load(OBJECT)
            .map_err(|error| FlowsError::from_object(&error))?;
        for direction in netclaim_ebpf::DIRECTIONS {
            program(&mut ebpf, direction)?
                .load()
                .map_err(|error| ProbeError::from_load(name(direction), error))?;
        }
        Ok(ebpf)
    }
}

/// The program of one direction.
pub(super) fn program(
    ebpf: &mut Ebpf,
    direction: Direction,
) -> Result<&mut SchedClassifier, ProbeError> {
    object::program(ebpf, name(direction))
}

/// Takes the maps, which all instances share.
pub(super) fn maps(ebpf: &mut Ebpf) -> Result<Maps, ProbeError> {
    let missing = |name: &str| ProbeError::Object(format!("no map {name} of its kind"));
    let flows = ebpf.take_map(FLOWS).map(HashMap::try_from);
    let table = ebpf.take_map(TABLE).map(Array::try_from);
    match (flows, table) {
        (Some(Ok(flows)), Some(Ok(table))) => Ok(Maps { flows, table }),
        (Some(Ok(_)), _) => Err(missing(TABLE)),
        _ => Err(missing(FLOWS)),
    }
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Rx => FLOW_RX,
        Direction::Tx => FLOW_TX,
    }
}
