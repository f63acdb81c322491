//! What the node has against what the ledger says: what to take over, and what nobody answers for.
//!
//! Says only what could be set right. When something has been nobody's for long enough to be taken
//! away is the edge's question: absence alone deletes nothing.

use std::collections::BTreeSet;

use crate::{
    attachment::{Attachment, Key, Slot},
    claim::PreparedDevice,
    cni::{AddResult, CachedAttachment},
    ledger::Ledger,
    name::SandboxId,
};

/// What of ours is on a node, whatever the ledger says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The ADDs that were not undone.
    pub cached: Vec<CachedAttachment>,
    /// The slots with something pinned.
    pub slots: BTreeSet<Slot>,
}

/// What nobody answers for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Interfaces, by what ADD left of them.
    pub cached: Vec<CachedAttachment>,
    /// Slots.
    pub slots: BTreeSet<Slot>,
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

    /// What neither an attachment nor a leftover holds, and no sandbox of `alive` has.
    pub fn orphans(&self, ledger: &Ledger, alive: &BTreeSet<SandboxId>) -> Orphans {
        let held = ledger.slots();
        let cached = self
            .unknown(ledger)
            .filter(|cached| !alive.contains(&cached.key.sandbox));
        Orphans {
            cached: cached.cloned().collect(),
            slots: self.slots.difference(&held).copied().collect(),
        }
    }

    fn unknown(&self, ledger: &Ledger) -> impl Iterator<Item = &CachedAttachment> {
        let held = ledger.attachments().map(|held| &held.attachment);
        let left = ledger.leftovers().map(|left| &left.attachment);
        let known: BTreeSet<Key> = held.chain(left).map(|at| at.key.clone()).collect();
        self.cached
            .iter()
            .filter(move |cached| !known.contains(&cached.key))
    }
}

impl Orphans {
    /// Those that were so `before` as well.
    #[must_use]
    pub fn still(&self, before: &Self) -> Self {
        let cached = self.cached.iter().filter(|at| before.cached.contains(at));
        Self {
            cached: cached.cloned().collect(),
            slots: self.slots.intersection(&before.slots).copied().collect(),
        }
    }
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
