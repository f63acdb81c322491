//! The counters map, as memory: reading it makes no system call.
//!
//! It must never write through the mapping: rows are the kernel's, and only those of a slot that
//! no program writes to may be cleared.

use std::{
    fmt,
    num::NonZeroUsize,
    os::fd::AsFd as _,
    path::Path,
    ptr::NonNull,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use aya::maps::{Array, Map, MapData, MapError, MapType};
use netclaim_core::{
    attachment::Slot,
    counters::{Counters, Traffic},
};
use netclaim_ebpf::{COUNTERS, DIRECTIONS, Direction, ROW_SIZE, ROW_WORDS, Row, row};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::{
    error::{ProbeError, chain, errno},
    object::Node,
};
use crate::mutex::locked;

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h).
const MMAPABLE: u32 = 1 << 10;

type Words = [AtomicU64; ROW_WORDS];

/// All rows of all slots.
pub(super) struct Rows {
    map: Mutex<Array<MapData, Row>>,
    start: NonNull<Words>,
    len: usize,
    node: Node,
}

#[expect(
    unsafe_code,
    reason = "a pointer hides that this is plain shared memory"
)]
// SAFETY: `start` points to a mapping that only `Drop` ends, and it is read through atomics.
unsafe impl Send for Rows {}
#[expect(
    unsafe_code,
    reason = "a pointer hides that this is plain shared memory"
)]
// SAFETY: as above; nothing in it changes without `&mut` except through the kernel.
unsafe impl Sync for Rows {}

impl Rows {
    /// Maps the rows of `map` for reading.
    pub(super) fn new(map: MapData, len: u32, node: Node) -> Result<Self, ProbeError> {
        let len = len as usize;
        let size = NonZeroUsize::new(len * ROW_SIZE)
            .ok_or_else(|| ProbeError::Object("a counters map without rows".to_owned()))?;
        let (protection, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
        #[expect(unsafe_code, reason = "nix leaves the checks to its caller")]
        // SAFETY: the kernel chooses the address, so no memory in use is replaced.
        let mapped = unsafe { mmap(None, size, protection, flags, map.fd().as_fd(), 0) };
        let start = mapped
            .map_err(|errno| ProbeError::from_io("mapping the counters", errno.into()))?
            .cast();
        let map = Array::try_from(Map::Array(map))
            .map_err(|error| ProbeError::Object(format!("{COUNTERS}: {}", chain(&error))))?;
        Ok(Self {
            map: Mutex::new(map),
            start,
            len,
            node,
        })
    }

    /// What `slot` counted so far.
    pub(super) fn counters(&self, slot: Slot) -> Counters {
        let of = |direction| {
            let cpus = (0..self.node.n_cpus).map(|cpu| self.row(slot, direction, cpu));
            sum(cpus, self.node.jiffies_per_second)
        };
        Counters {
            rx: of(Direction::Rx),
            tx: of(Direction::Tx),
        }
    }

    /// Makes `slot` start from zero. No program may write to it at that time.
    pub(super) fn clear(&self, slot: Slot) -> Result<(), ProbeError> {
        let mut map = locked(&self.map);
        for direction in DIRECTIONS {
            for cpu in 0..self.node.n_cpus {
                let at = row(slot.0, direction, self.node.n_cpus, cpu);
                map.set(at, Row::default(), 0)
                    .map_err(|error| ProbeError::from_program("clearing a slot", &error))?;
            }
        }
        Ok(())
    }

    fn row(&self, slot: Slot, direction: Direction, cpu: u32) -> Row {
        let at = row(slot.0, direction, self.node.n_cpus, cpu) as usize;
        if at >= self.len {
            return Row::default();
        }
        #[expect(unsafe_code, reason = "reads one row of the mapping")]
        // SAFETY: `at` is within the mapping, which lives as long as `self`; every bit pattern is a
        // valid word and words are aligned. The kernel writes them, hence atomics.
        let words = unsafe { self.start.add(at).as_ref() };
        Row::from_words(words.each_ref().map(|word| word.load(Ordering::Relaxed)))
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("len", &self.len)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "ends the mapping made in new")]
        // SAFETY: exactly what `new` mapped; nothing borrows from it any more.
        let ended = unsafe { munmap(self.start.cast(), self.len * ROW_SIZE) };
        debug_assert_eq!(ended, Ok(()));
    }
}

/// Refuses a map pinned at `path` that is not the one we would make; no map there is fine.
pub(super) fn check_pinned(path: &Path, rows: u32) -> Result<(), ProbeError> {
    let info = match MapData::from_pin(path).and_then(|map| map.info()) {
        Ok(info) => info,
        Err(error) if errno(&error) == Some(nix::errno::Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let describe = |name: &str, mmapable: bool, rows: u32, key: u32, size: u32| {
        let kind = if mmapable {
            "an mmapable array"
        } else {
            "another kind of map"
        };
        format!("{kind} {name} of {rows} rows (key {key} bytes, row {size} bytes)")
    };
    let array = matches!(info.map_type(), Ok(MapType::Array)) && info.map_flags() & MMAPABLE != 0;
    let name = info.name_as_str().unwrap_or("");
    let found = describe(
        name,
        array,
        info.max_entries(),
        info.key_size(),
        info.value_size(),
    );
    #[expect(clippy::cast_possible_truncation, reason = "64")]
    let expected = describe(COUNTERS, true, rows, 4, ROW_SIZE as u32);
    if found == expected {
        return Ok(());
    }
    Err(ProbeError::ForeignMap {
        path: path.to_owned(),
        found,
        expected,
    })
}

fn unreadable(path: &Path, error: &MapError) -> ProbeError {
    match errno(error) {
        Some(errno) => ProbeError::from_io(format!("opening {}", path.display()), errno.into()),
        None => ProbeError::Object(chain(error)),
    }
}

/// What the CPUs' rows of one direction add up to.
///
/// Bursts are added as if they fell in the same jiffy: an upper bound, exact for one flow, which
/// stays on one CPU. A row whose epoch is two or more older than the newest holds a burst of the
/// past and has none to add.
fn sum(rows: impl Iterator<Item = Row> + Clone, jiffies_per_second: u64) -> Traffic {
    let newest = rows.clone().map(|row| row.epoch).max().unwrap_or(0);
    rows.fold(Traffic::default(), |sum, row| {
        // The kernel may open an epoch between the two readings.
        let recent = newest.saturating_sub(row.epoch) < 2 * jiffies_per_second;
        let peak = if recent {
            row.peak.max(row.last_peak)
        } else {
            0
        };
        Traffic {
            packets: sum.packets + row.packets,
            segments: sum.segments + row.segments,
            bytes: sum.bytes + row.bytes,
            peak_bytes_per_second: sum.peak_bytes_per_second + peak * jiffies_per_second,
        }
    })
}

#[cfg(test)]
mod tests;
