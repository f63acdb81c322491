//! `BPF_MAP_LOOKUP_BATCH`, which aya 0.14 does not offer: a whole hash map in few system calls.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{Pod, maps::MapData};
use nix::{errno::Errno, libc};

/// `enum bpf_cmd` of include/uapi/linux/bpf.h.
const MAP_LOOKUP_BATCH: libc::c_int = 24;

/// Entries a call. The kernel hands out whole buckets, which hold a few.
const ENTRIES: usize = 512;

/// `union bpf_attr`, the part for batches.
#[derive(Default)]
#[repr(C)]
struct Batch {
    /// The place to go on from, none at first.
    from: u64,
    /// Where the kernel writes the place to go on from next.
    upto: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Every entry of a hash map whose keys are `K` and whose values are `V`. One that comes or goes
/// meanwhile may be among them or not.
pub(super) fn entries<K: Pod + Default, V: Pod + Default>(
    map: &MapData,
) -> io::Result<Vec<(K, V)>> {
    let mut found = Vec::new();
    each(map, |key, value| found.push((*key, *value)))?;
    Ok(found)
}

/// The same, without a place for all of them.
pub(super) fn each<K: Pod + Default, V: Pod + Default>(
    map: &MapData,
    mut with: impl FnMut(&K, &V),
) -> io::Result<()> {
    let info = map.info().map_err(io::Error::other)?;
    if (info.key_size() as usize, info.value_size() as usize) != (size_of::<K>(), size_of::<V>()) {
        return Err(io::Error::other("the map's entries are of other sizes"));
    }
    let (mut keys, mut values) = ([K::default(); ENTRIES], [V::default(); ENTRIES]);
    let (mut place, mut first) = (0_u32, true);
    loop {
        let mut batch = Batch {
            from: if first { 0 } else { address(&raw const place) },
            upto: address(&raw mut place),
            keys: address(keys.as_mut_ptr()),
            values: address(values.as_mut_ptr()),
            #[expect(clippy::cast_possible_truncation, reason = "512")]
            count: ENTRIES as u32,
            map_fd: map.fd().as_fd().as_raw_fd().cast_unsigned(),
            ..Batch::default()
        };
        let called = lookup(&mut batch);
        if !matches!(called, Ok(()) | Err(Errno::ENOENT)) {
            called?;
        }
        let read = keys.iter().zip(&values).take(batch.count as usize);
        read.for_each(|(key, value)| with(key, value));
        if called.is_err() {
            return Ok(());
        }
        first = false;
    }
}

fn lookup(batch: &mut Batch) -> Result<(), Errno> {
    let attribute = &raw mut *batch;
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: the kernel reads and writes the attribute, and writes to its addresses `count`
    // entries of the map's sizes, for which there is room, and one place; all live until it is done.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            MAP_LOOKUP_BATCH,
            attribute,
            size_of::<Batch>(),
        )
    };
    Errno::result(returned).map(drop)
}

fn address<T>(of: *const T) -> u64 {
    of.expose_provenance() as u64
}
