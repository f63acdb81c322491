//! The highest burst since a reader last asked.

use super::{Counters, Traffic};

/// The busiest moment of each direction, in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bursts {
    /// What the pod received.
    pub rx: u64,
    /// What it sent.
    pub tx: u64,
}

/// What one reader has not seen yet of an interface's bursts.
///
/// The kernel keeps a burst for one to two seconds and nobody resets it, so any number of readers
/// can ask, each at its own pace: somebody samples for each of them once a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peaks {
    seen: Counters,
    highest: Bursts,
}

impl Peaks {
    /// Takes a look. Once a second misses nothing.
    pub fn sample(&mut self, now: &Counters) {
        self.highest.rx = self.highest.rx.max(burst(&now.rx, &self.seen.rx));
        self.highest.tx = self.highest.tx.max(burst(&now.tx, &self.seen.tx));
        self.seen = *now;
    }

    /// The highest burst since this was last called.
    pub fn take(&mut self) -> Bursts {
        std::mem::take(&mut self.highest)
    }
}

/// The burst in `now`, unless nothing passed since `seen`: an idle interface keeps its last one.
fn burst(now: &Traffic, seen: &Traffic) -> u64 {
    if now.packets == seen.packets {
        return 0;
    }
    now.peak_bytes_per_second
}

#[cfg(test)]
mod tests;
