//! Traffic of one interface, as sums with a meaning.
//!
//! The rows that the kernel fills are `netclaim-ebpf`'s; this is what they add up to.

use serde::{Deserialize, Serialize};

/// Traffic in one direction, from the pod's point of view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// One per socket buffer: the kernel's meaning, equal to `ip -s link`.
    pub packets: u64,
    /// What the wire carries: the sum of `max(1, gso_segs)`.
    pub segments: u64,
    /// Length of the socket buffers, link header included as the kernel counts it.
    pub bytes: u64,
    /// Most bytes that passed in about one second, since whoever reads this read it last.
    pub peak_bytes_per_second: u64,
}

/// Traffic of one interface, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// What the pod received.
    pub rx: Traffic,
    /// What the pod sent.
    pub tx: Traffic,
}

impl Traffic {
    /// What passed after `earlier`; never below zero, since a counter may start again.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(earlier.packets),
            segments: self.segments.saturating_sub(earlier.segments),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            peak_bytes_per_second: self.peak_bytes_per_second,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            segments: self.segments.saturating_add(other.segments),
            bytes: self.bytes.saturating_add(other.bytes),
            peak_bytes_per_second: self.peak_bytes_per_second.max(other.peak_bytes_per_second),
        }
    }
}

impl Counters {
    /// What passed after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            rx: self.rx.since(&earlier.rx),
            tx: self.tx.since(&earlier.tx),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            rx: self.rx.plus(&other.rx),
            tx: self.tx.plus(&other.tx),
        }
    }
}
