//! What the programs in the kernel and the driver agree on: the rows of the counters map, the
//! names in the object and the version of both.
//!
//! It must never depend on anything: both sides compile it.
#![no_std]

pub mod drops;
pub mod flows;

/// Version of everything below. It is part of [`COUNTERS`], so a map of another version cannot be
/// taken for ours, and of the folder that holds the pins (`…/v1`).
pub const LAYOUT_VERSION: u32 = 1;

/// The map of [`Row`]s: a `BPF_F_MMAPABLE` array.
pub const COUNTERS: &str = "COUNTERS_V1";

/// Counts what a device receives: TCX ingress on the pod's own device.
pub const COUNT_RX: &str = "count_rx";

/// Counts what a device sends: TCX egress on the pod's own device.
pub const COUNT_TX: &str = "count_tx";

/// A program of each object that does nothing: what any one costs.
pub const EMPTY: &str = "empty";

/// Global: the slot whose rows this instance of the programs writes.
pub const SLOT: &str = "SLOT";

/// Global: rows per slot and direction. One more than the highest possible CPU id, because ids
/// may have gaps.
pub const N_CPUS: &str = "N_CPUS";

/// Global: jiffies in an epoch of burst peaks. The driver sets the kernel's HZ: one second.
pub const EPOCH_JIFFIES: &str = "EPOCH_JIFFIES";

/// Traffic of one slot and direction as one CPU saw it.
///
/// One cache line (64 bytes): a CPU writes its row without taking a line from another CPU. Only
/// that CPU writes it, with bottom halves off, so plain adds lose nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Row {
    /// Socket buffers, the kernel's meaning of a packet in `ip -s link`.
    pub packets: u64,
    /// Packets on the wire: a GSO or GRO buffer counts as its segments.
    pub segments: u64,
    /// Length of the buffers with their Ethernet header.
    pub bytes: u64,
    /// The jiffy in which the last packet came.
    pub jiffy: u64,
    /// Bytes of that jiffy so far.
    pub jiffy_bytes: u64,
    /// The jiffy in which the current epoch began.
    pub epoch: u64,
    /// Most bytes in one jiffy of the current epoch.
    pub peak: u64,
    /// Most bytes in one jiffy of the epoch just before the current one; 0 if that one was idle.
    pub last_peak: u64,
}

/// Bytes of a [`Row`].
pub const ROW_SIZE: usize = size_of::<Row>();

/// 64-bit words of a [`Row`].
pub const ROW_WORDS: usize = ROW_SIZE / size_of::<u64>();

const _: () = assert!(ROW_SIZE == 64 && align_of::<Row>() == 64 && ROW_WORDS == 8);

impl Row {
    /// The row whose words in memory these are.
    #[must_use]
    pub const fn from_words(words: [u64; ROW_WORDS]) -> Self {
        let [
            packets,
            segments,
            bytes,
            jiffy,
            jiffy_bytes,
            epoch,
            peak,
            last_peak,
        ] = words;
        Self {
            packets,
            segments,
            bytes,
            jiffy,
            jiffy_bytes,
            epoch,
            peak,
            last_peak,
        }
    }
}

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "a promise to aya about the memory of a row")]
// SAFETY: `repr(C)`, only integers, no padding (asserted above): any bit pattern is valid.
unsafe impl aya::Pod for Row {}

/// Which way a packet goes, seen from the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    /// Into the pod: ingress on its device.
    Rx = 0,
    /// Out of the pod: egress on its device.
    Tx = 1,
}

/// Both directions, in the order of their rows.
pub const DIRECTIONS: [Direction; 2] = [Direction::Rx, Direction::Tx];

/// Index in [`COUNTERS`] of the row that `cpu` writes for `slot`.
#[must_use]
pub const fn row(slot: u32, direction: Direction, n_cpus: u32, cpu: u32) -> u32 {
    (slot * 2 + direction as u32) * n_cpus + cpu
}

/// Rows that `slots` slots need.
#[must_use]
pub const fn rows(slots: u32, n_cpus: u32) -> u32 {
    row(slots, Direction::Rx, n_cpus, 0)
}

#[cfg(test)]
mod tests;
