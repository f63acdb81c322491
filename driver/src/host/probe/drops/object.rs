//! The committed eBPF object that counts drops: loads its one program.

use aya::{Ebpf, EbpfLoader, programs::RawTracePoint};
use netclaim_ebpf::drops::{COUNT_DROP, DROPS, PLACES, causes};

use super::{
    super::{error::ProbeError, object, pins::Pins},
    kernel::Kernel,
};

pub(in super::super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../driver-ebpf/prebuilt/drops.bpf.o"
));

/// Loads the program for this kernel; its maps are pinned, or those that are.
pub(super) fn load(pins: &Pins, slots: u32, kernel: &Kernel) -> Result<Ebpf, ProbeError> {
    let mut loader = EbpfLoader::new();
    loader
        .btf(None)
        .map_max_entries(PLACES, slots)
        .map_max_entries(DROPS, causes(slots))
        .map_pin_path(PLACES, pins.map(PLACES))
        .map_pin_path(DROPS, pins.map(DROPS));
    for (global, value) in &kernel.globals {
        loader.override_global(global, value, true);
    }
    let mut ebpf = loader
        .load(OBJECT)
        .map_err(|error| ProbeError::from_program("creating the maps of drops", &error))?;
    program(&mut ebpf)?
        .load()
        .map_err(|error| ProbeError::from_load(COUNT_DROP, error))?;
    Ok(ebpf)
}

/// The program.
pub(super) fn program(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, ProbeError> {
    object::program(ebpf, COUNT_DROP)
}
