//! What the node has against what the ledger says: what to take over, and what nobody answers for.
//!
//! Says only what could be set right. When something has been nobody's for long enough to be taken
//! away is the edge's question: absence alone deletes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    attachment::{Attachment, Key, Slot},
    claim::PreparedDevice,
    cni::{AddResult, CachedAttachment},
    ledger::Ledger,
    name::SandboxId,
    time::Timestamp,
};

mod lease;

pub use lease::Lease;

/// What of ours is on a node, whatever the ledger says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The ADDs that were not undone.
    pub cached: Vec<CachedAttachment>,
    /// The slots with something pinned.
    pub slots: BTreeSet<Slot>,
    /// The addresses that are kept for interfaces.
    pub leases: Vec<Lease>,
}

/// What nobody answers for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Interfaces, by what ADD left of them.
    pub cached: Vec<CachedAttachment>,
    /// Slots.
    pub slots: BTreeSet<Slot>,
    /// Addresses, and since when they are nobody's.
    pub leases: BTreeMap<Lease, Timestamp>,
}

/// An interface that a pod has, and the ledger does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// What it is, without the slot that counts it.
    pub attachment: Attachment,
    /// What its ADD reported.
    pub result: AddResult,
}

impl Found {
    /// The interfaces which a prepared claim of their pod asks for, so that they can be taken over
    /// as they are.
    pub fn lost(&self, ledger: &Ledger) -> Vec<Lost> {
        self.unknown(ledger)
            .filter_map(|cached| lost(ledger, cached))
            .collect()
    }

    /// What neither an attachment nor a leftover holds, and no sandbox of `alive` has, as of `now`.
    ///
    /// A lease whose ADD left a result is not among them: the DEL of that frees it.
    pub fn orphans(&self, ledger: &Ledger, alive: &BTreeSet<SandboxId>, now: Timestamp) -> Orphans {
        let held = ledger.slots();
        let cached = self
            .unknown(ledger)
            .filter(|cached| !alive.contains(&cached.key.sandbox));
        Orphans {
            cached: cached.cloned().collect(),
            slots: self.slots.difference(&held).copied().collect(),
            leases: self.unknown_leases(ledger, alive, now).collect(),
        }
    }

    fn unknown_leases(
        &self,
        ledger: &Ledger,
        alive: &BTreeSet<SandboxId>,
        now: Timestamp,
    ) -> impl Iterator<Item = (Lease, Timestamp)> {
        let mut known = known(ledger);
        known.extend(self.cached.iter().map(|cached| cached.key.clone()));
        self.leases
            .iter()
            .filter(move |lease| !known.contains(&lease.key) && !alive.contains(&lease.key.sandbox))
            .map(move |lease| (lease.clone(), now))
    }

    /// The interfaces that neither an attachment nor a leftover holds.
    pub fn unknown(&self, ledger: &Ledger) -> impl Iterator<Item = &CachedAttachment> {
        let known = known(ledger);
        self.cached
            .iter()
            .filter(move |cached| !known.contains(&cached.key))
    }
}

impl Orphans {
    /// The same, with the times from which leases were nobody's at every look.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        for (lease, since) in &mut self.leases {
            if let Some(earlier) = before.leases.get(lease) {
                *since = *earlier;
            }
        }
        self
    }

    /// The interfaces that were nobody's `before` as well.
    pub fn still_cached<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = &'a CachedAttachment> {
        let cached = self.cached.iter();
        cached.filter(|at| before.cached.contains(at))
    }

    /// The slots that were nobody's `before` as well.
    pub fn still_pinned<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = Slot> + 'a {
        self.slots.intersection(&before.slots).copied()
    }

    /// The leases that have been nobody's for as long as `patience`: an ADD in flight is in the
    /// ledger before, and the runtime tells a sandbox long before, so the wait is only for what
    /// nobody thought of.
    pub fn overdue(&self, now: Timestamp, patience: Duration) -> impl Iterator<Item = &Lease> {
        let overdue = move |since: Timestamp| now.since(since) >= patience;
        let leases = self.leases.iter();
        leases
            .filter(move |(_, since)| overdue(**since))
            .map(|(lease, _)| lease)
    }
}

/// What the ledger answers for.
fn known(ledger: &Ledger) -> BTreeSet<Key> {
    let held = ledger.attachments().map(|held| &held.attachment);
    let left = ledger.leftovers().map(|left| &left.attachment);
    held.chain(left).map(|at| at.key.clone()).collect()
}

fn lost(ledger: &Ledger, cached: &CachedAttachment) -> Option<Lost> {
    let (claim, device) = ledger
        .claims_of(&cached.pod.uid)
        .flat_map(|claim| claim.devices.iter().map(move |device| (claim, device)))
        .find(|(_, device)| device.if_name == cached.key.if_name)?;
    // DEL runs what ADD ran, whatever policy makes of the claim today.
    let device = PreparedDevice {
        network: cached.network.clone().into(),
        runtime_config: cached.runtime_config.clone(),
        ..device.clone()
    };
    Some(Lost {
        attachment: Attachment {
            key: cached.key.clone(),
            claim: claim.claim.clone(),
            pod: cached.pod.clone(),
            netns: cached.netns.clone()?,
            device,
            slot: None,
        },
        result: cached.result.clone(),
    })
}

#[cfg(test)]
mod tests;
