//! What had passed an interface before its probe was there: kernel minus ours.
//!
//! The kernel's counters of a link are in every namespace's own /proc/net/dev (net/core/net-procfs.c).

use std::{fs, io};

use netclaim_core::counters::{Counters, Traffic};

use super::error::ProbeError;

/// Readings until one of them is quiet enough. On a busy link each takes a few microseconds.
const READINGS: usize = 64;

/// What had passed, and by how many packets that may be wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// To be added to ours.
    pub counters: Counters,
    /// Zero unless packets passed during every reading.
    pub uncertain_packets: u64,
}

/// Reads ours, the kernel's and ours again, until both readings of ours agree. The smallest
/// disagreement wins if none does.
pub(super) fn settle(
    ours: impl Fn() -> Counters,
    kernel: impl Fn() -> Result<Counters, ProbeError>,
) -> Result<Base, ProbeError> {
    let mut best: Option<Base> = None;
    for _ in 0..READINGS {
        let before = ours();
        let kernel = kernel()?;
        let moved = ours().since(&before);
        let base = Base {
            counters: kernel.since(&before),
            uncertain_packets: moved.rx.packets + moved.tx.packets,
        };
        if best.is_none_or(|best| base.uncertain_packets < best.uncertain_packets) {
            best = Some(base);
        }
        if base.uncertain_packets == 0 {
            break;
        }
    }
    Ok(best.unwrap_or_default())
}

/// The kernel's counters of `if_name` in the calling thread's namespace; none if it has no such
/// link.
pub(super) fn kernel_counters(if_name: &str) -> Result<Option<Counters>, ProbeError> {
    const FILE: &str = "/proc/thread-self/net/dev";
    let text = fs::read_to_string(FILE).map_err(|error| ProbeError::from_io(FILE, error))?;
    let Some(line) = line_of(&text, if_name) else {
        return Ok(None);
    };
    let counters = counters(line).ok_or_else(|| {
        let what = format!("{FILE} has a line that is not the kernel's: {line:?}");
        ProbeError::from_io(FILE, io::Error::other(what))
    })?;
    Ok(Some(counters))
}

fn line_of<'a>(text: &'a str, if_name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, counters) = line.trim_start().rsplit_once(':')?;
        (name == if_name).then_some(counters)
    })
}

/// Columns: bytes packets errs drop fifo frame compressed multicast, then bytes packets errs drop….
///
/// Our program on egress runs before the device may drop a packet, so what it would have counted
/// is sent plus dropped. The kernel does not keep segments: as many as packets, at least.
fn counters(line: &str) -> Option<Counters> {
    let columns: Option<Vec<u64>> = line.split_whitespace().map(|c| c.parse().ok()).collect();
    let traffic = |bytes, packets| Traffic {
        bytes,
        packets,
        segments: packets,
        ..Traffic::default()
    };
    match columns?.as_slice() {
        &[
            rx_bytes,
            rx_packets,
            _,
            _,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            _,
            tx_dropped,
            ..,
        ] => Some(Counters {
            rx: traffic(rx_bytes, rx_packets),
            tx: traffic(tx_bytes, tx_packets + tx_dropped),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
