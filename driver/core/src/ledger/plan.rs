//! What to do next, as lists: attach, detach, recover.

use super::{Held, Ledger};
use crate::{
    attachment::{Attachment, Key, Phase, PodSandbox, Slot},
    claim::{PreparedClaim, PreparedDevice},
    name::{ClaimUid, PodUid, SandboxId},
};

impl Ledger {
    /// Plans what a starting sandbox still needs, in claim order.
    ///
    /// Slots are given out lowest first and at most `max_slots` of them: beyond, an attachment
    /// works uncounted rather than not at all.
    pub fn plan_attach(
        &self,
        sandbox: &PodSandbox,
        netns: &str,
        max_slots: u32,
    ) -> Vec<Attachment> {
        let taken = self.slots();
        let mut free = (0..max_slots)
            .map(Slot)
            .filter(|slot| !taken.contains(slot));
        self.claims_of(&sandbox.pod.uid)
            .flat_map(|claim| claim.devices.iter().map(move |device| (claim, device)))
            .map(|(claim, device)| attachment(sandbox, netns, claim, device))
            .filter(|planned| !self.attachments.contains_key(&planned.key))
            .map(|planned| Attachment {
                slot: free.next(),
                ..planned
            })
            .collect()
    }

    /// Plans what to undo for a stopping sandbox, newest first.
    pub fn plan_detach(&self, sandbox: &SandboxId) -> Vec<Attachment> {
        self.newest_first(|held| held.attachment.key.sandbox == *sandbox)
    }

    /// Plans what to undo when a claim is given back or changes, newest first.
    pub fn plan_release(&self, claim: &ClaimUid) -> Vec<Attachment> {
        self.newest_first(|held| held.attachment.claim.uid == *claim)
    }

    /// Plans what a pod's new sandbox must wait for: whatever its older ones still hold.
    pub fn plan_replace(&self, pod: &PodUid, new: &SandboxId) -> Vec<Attachment> {
        self.newest_first(|held| {
            held.attachment.pod.uid == *pod && held.attachment.key.sandbox != *new
        })
    }

    /// Plans what a restarted driver has to undo: whatever it was in the middle of.
    pub fn plan_recovery(&self) -> Vec<Attachment> {
        self.newest_first(|held| matches!(held.phase, Phase::Attaching | Phase::Detaching { .. }))
    }

    fn newest_first(&self, wanted: impl Fn(&Held) -> bool) -> Vec<Attachment> {
        let mut held: Vec<&Held> = self
            .attachments
            .values()
            .filter(|held| wanted(held))
            .collect();
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
