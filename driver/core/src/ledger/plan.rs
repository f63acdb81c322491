//! What to do next, as lists: attach, detach, recover.

use super::{Held, Ledger};
use crate::{
    attachment::{Attachment, Key, PodSandbox, Slot},
    claim::{PreparedClaim, PreparedDevice},
    name::{ClaimUid, PodUid, SandboxId},
};

impl Ledger {
    /// Plans what a starting sandbox still needs, in claim order.
    ///
    /// Without slots: each is chosen with its promise, because other pods promise between this plan
    /// and that ([`Self::free_slot`]).
    pub fn plan_attach(&self, sandbox: &PodSandbox, netns: &str) -> Vec<Attachment> {
        self.claims_of(&sandbox.pod.uid)
            .flat_map(|claim| claim.devices.iter().map(move |device| (claim, device)))
            .map(|(claim, device)| attachment(sandbox, netns, claim, device))
            .filter(|planned| !self.attachments.contains_key(&planned.key))
            .collect()
    }

    /// The lowest slot that nobody holds, below `max_slots`: beyond, an attachment works uncounted
    /// rather than not at all.
    pub fn free_slot(&self, max_slots: u32) -> Option<Slot> {
        let taken = self.slots();
        (0..max_slots).map(Slot).find(|slot| !taken.contains(slot))
    }

    /// Plans what to undo for a stopping sandbox, newest first.
    pub fn plan_detach(&self, sandbox: &SandboxId) -> Vec<Attachment> {
        self.newest_first(|held| held.attachment.key.sandbox == *sandbox)
    }

    /// Plans what to undo when a claim is given back or changes, newest first.
    pub fn plan_release(&self, claim: &ClaimUid) -> Vec<Attachment> {
        self.newest_first(|held| held.attachment.claim.uid == *claim)
    }

    /// Plans what must be undone before a pod's sandbox is attached: whatever its other sandboxes
    /// hold, and what was left unfinished in this one.
    pub fn plan_replace(&self, pod: &PodUid, new: &SandboxId) -> Vec<Attachment> {
        self.newest_first(|held| {
            let here = held.attachment.key.sandbox == *new;
            held.attachment.pod.uid == *pod && (!here || held.is_unfinished())
        })
    }

    /// Plans what was left unfinished in one sandbox.
    pub fn plan_unfinished(&self, sandbox: &SandboxId) -> Vec<Attachment> {
        self.newest_first(|held| held.attachment.key.sandbox == *sandbox && held.is_unfinished())
    }

    /// Plans what a restarted driver has to undo: whatever it was in the middle of.
    pub fn plan_recovery(&self) -> Vec<Attachment> {
        self.newest_first(Held::is_unfinished)
    }

    fn newest_first(&self, wanted: impl Fn(&Held) -> bool) -> Vec<Attachment> {
        let mut held: Vec<&Held> = self.attachments().filter(|held| wanted(held)).collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.order));
        held.into_iter()
            .map(|held| held.attachment.clone())
            .collect()
    }
}

fn attachment(
    sandbox: &PodSandbox,
    netns: &str,
    claim: &PreparedClaim,
    device: &PreparedDevice,
) -> Attachment {
    Attachment {
        key: Key {
            sandbox: sandbox.id.clone(),
            if_name: device.if_name.clone(),
        },
        claim: claim.claim.clone(),
        pod: sandbox.pod.clone(),
        netns: netns.to_owned(),
        device: device.clone(),
        slot: None,
    }
}
