//! Why the kernel dropped packets of an interface, and how many.
//!
//! Reasons bear the running kernel's names: their numbers change from one version to the next. What
//! is not counted has no [`Drops`], which is not the same as no drops.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{attachment::Slot, failure::Failure};

/// What the kernel's names begin with (include/net/dropreason-core.h).
const PREFIX: &str = "SKB_DROP_REASON_";

/// The numbers above are a subsystem's own, which is named in the upper half.
const SUBSYSTEM: u32 = 16;

/// Packets that were dropped, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drops(BTreeMap<Arc<str>, u64>);

/// Whether a node counts what its interfaces drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DropsState {
    /// Every drop that the kernel lays to an interface.
    Counting {
        /// Packets for whose reason there was no room any more.
        lost: u64,
    },
    /// None, for this reason.
    Missing {
        /// Why.
        failure: Failure,
    },
}

/// The drops of all interfaces at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Of each slot that dropped anything.
    pub by_slot: BTreeMap<Slot, Drops>,
    /// Packets of them for whose reason there was no room any more.
    pub lost: u64,
}

/// What is known of a node's drops: nothing before anything was read, or why they are not counted.
pub type Known = Result<Option<Arc<Dropped>>, Failure>;

/// The running kernel's names of its reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(BTreeMap<u32, Arc<str>>);

impl Drops {
    /// Counts packets that were dropped for a reason.
    pub fn add(&mut self, reason: Arc<str>, packets: u64) {
        let so_far = self.0.entry(reason).or_default();
        *so_far = so_far.saturating_add(packets);
    }

    /// Packets for any reason.
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// By reason, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, packets)| (&**reason, *packets))
    }

    /// By reason, those that dropped most before the others.
    pub fn most_first(&self) -> Vec<(&str, u64)> {
        let mut reasons: Vec<_> = self.iter().collect();
        reasons.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
        reasons
    }
}

impl FromIterator<(Arc<str>, u64)> for Drops {
    fn from_iter<T: IntoIterator<Item = (Arc<str>, u64)>>(reasons: T) -> Self {
        let mut drops = Self::default();
        for (reason, packets) in reasons {
            drops.add(reason, packets);
        }
        drops
    }
}

impl Reasons {
    /// The names of `enum skb_drop_reason`, as the kernel's BTF has them.
    pub fn new<'a>(enumerators: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let named =
            |(name, number): (&'a str, u32)| Some((number, Arc::from(name.strip_prefix(PREFIX)?)));
        Self(enumerators.into_iter().filter_map(named).collect())
    }

    /// The kernel's name without `SKB_DROP_REASON_`. A subsystem's reasons are not in that
    /// enumeration: they are the numbers of both, as `subsystem_2_17`.
    pub fn name(&self, reason: u32) -> Arc<str> {
        let (subsystem, own) = (reason >> SUBSYSTEM, reason & ((1 << SUBSYSTEM) - 1));
        match self.0.get(&reason) {
            Some(name) => Arc::clone(name),
            None if subsystem == 0 => format!("reason_{own}").into(),
            None => format!("subsystem_{subsystem}_{own}").into(),
        }
    }
}

#[cfg(test)]
mod tests;
