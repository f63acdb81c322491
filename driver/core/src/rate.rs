//! Traffic per second, from two readings of the same counters.
//!
//! A rate needs two readings with time between them; without them there is no rate, which is not
//! the same as a rate of zero.

use serde::{Deserialize, Serialize};

use crate::{
    counters::{Counters, Traffic},
    time::Timestamp,
};

/// One direction, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rate {
    /// Bytes per second.
    pub bytes: u64,
    /// Packets per second, as the kernel counts them.
    pub packets: u64,
    /// Segments per second: what the wire carries.
    pub segments: u64,
}

/// Both directions, from the pod's point of view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// What the pod receives.
    pub rx: Rate,
    /// What the pod sends.
    pub tx: Rate,
}

impl Rates {
    /// Rates over the time between two readings; none when no time lies between them.
    ///
    /// A counter that went back yields zero, not a wrapped number.
    pub fn between(
        (earlier, old): (Timestamp, &Counters),
        (later, new): (Timestamp, &Counters),
    ) -> Option<Self> {
        let millis = u64::try_from(later.since(earlier).as_millis()).ok()?;
        if millis == 0 {
            return None;
        }
        let passed = new.since(old);
        Some(Self {
            rx: Rate::over(&passed.rx, millis),
            tx: Rate::over(&passed.tx, millis),
        })
    }

    /// Both together, interface by interface.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rx: self.rx.plus(other.rx),
            tx: self.tx.plus(other.tx),
        }
    }
}

impl Rate {
    fn over(passed: &Traffic, millis: u64) -> Self {
        Self {
            bytes: per_second(passed.bytes, millis),
            packets: per_second(passed.packets, millis),
            segments: per_second(passed.segments, millis),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            packets: self.packets.saturating_add(other.packets),
            segments: self.segments.saturating_add(other.segments),
        }
    }
}

/// Rounded to the nearest; in 128 bits, because bytes times 1,000 may not fit in 64.
pub(crate) fn per_second(count: u64, millis: u64) -> u64 {
    let (count, millis) = (u128::from(count), u128::from(millis));
    u64::try_from((count * 1_000 + millis / 2) / millis).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
