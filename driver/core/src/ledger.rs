//! Who holds what on this node: what was promised and what was done.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    attachment::{Attachment, Ended, Key, Leftover, Phase, PodSandbox, Slot, Timeline},
    claim::{PodRef, PreparedClaim},
    cni::ConfList,
    counters::Counters,
    fact::Refused,
    failure::Failure,
    name::{ClaimUid, IfName, PodUid, SandboxId},
    time::Timestamp,
};

mod apply;
mod plan;
pub mod record;

/// Attachments that are over and still explained.
pub const ENDED_KEPT: usize = 256;

/// Refused claims that are still explained; the kubelet never gives back what it did not get.
pub const REFUSED_KEPT: usize = 256;

/// Moments of one attachment that are kept: an attach has about ten.
pub const TIMELINE_KEPT: usize = 64;

/// An attachment, how far it got, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What.
    pub attachment: Attachment,
    /// How far.
    pub phase: Phase,
    /// When it was promised.
    pub since: Timestamp,
    /// Order of the promises: the newest is undone first.
    pub order: u64,
    /// Why it could not be had, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// All that happened to it.
    pub timeline: Timeline,
}

impl Held {
    /// Whether it is neither there nor gone.
    pub fn is_unfinished(&self) -> bool {
        matches!(self.phase, Phase::Attaching | Phase::Detaching { .. })
    }

    /// What passed since the interface was attached: before it was counted, and `counted` since;
    /// none where nothing is counted, which is not zero.
    pub fn counters(&self, counted: &BTreeMap<Slot, Counters>) -> Option<Counters> {
        let since = counted.get(&self.attachment.slot?)?;
        Some(self.base()?.plus(since))
    }

    /// What had passed before the interface was counted; none if it is not.
    pub fn base(&self) -> Option<Counters> {
        match &self.phase {
            Phase::Attached { probe, .. } => probe.as_ref()?.base(),
            Phase::Detaching { base } => *base,
            Phase::Attaching => None,
        }
    }
}

/// The last failure of one interface of one claim, until it succeeds or the claim goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// In which sandbox.
    pub sandbox: SandboxId,
    /// Why.
    pub failure: Failure,
}

/// A refusal and when it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When it was given last.
    pub at: Timestamp,
    /// When it was given first.
    pub since: Timestamp,
    /// What.
    pub refused: Refused,
}

/// The pods that wait for a prepared claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Since when there are any.
    pub since: Timestamp,
    /// Who, in the order in which they come to it.
    pub pods: Vec<PodRef>,
}

/// Everything this node has promised and done.
///
/// Only [`Ledger::apply`] changes it. Intent lives in the API server and traffic in the kernel;
/// status, slices, metrics and screens are functions of the three.
///
/// Its rows are shared: each fact makes a ledger of its own, and changes one row of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    claims: BTreeMap<ClaimUid, Arc<PreparedClaim>>,
    prepared: BTreeMap<ClaimUid, Timestamp>,
    waiting: BTreeMap<ClaimUid, Waiting>,
    refused: BTreeMap<ClaimUid, Arc<Refusal>>,
    attachments: BTreeMap<Key, Arc<Held>>,
    failures: BTreeMap<(ClaimUid, IfName), Failed>,
    leftovers: BTreeMap<Key, Arc<Leftover>>,
    ended: VecDeque<Arc<Ended>>,
    lost: bool,
    generation: u64,
}

impl Ledger {
    /// Counts the facts that made this ledger.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it does not yet hold all that was promised and done: it was lost, or the node is new.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// A prepared claim.
    pub fn claim(&self, uid: &ClaimUid) -> Option<&PreparedClaim> {
        self.claims.get(uid).map(Arc::as_ref)
    }

    /// When a prepared claim was prepared first.
    pub fn prepared_at(&self, uid: &ClaimUid) -> Option<Timestamp> {
        self.prepared.get(uid).copied()
    }

    /// All prepared claims.
    pub fn claims(&self) -> impl Iterator<Item = &PreparedClaim> {
        self.claims.values().map(Arc::as_ref)
    }

    /// The prepared claims of one pod.
    pub fn claims_of<'a>(&'a self, pod: &'a PodUid) -> impl Iterator<Item = &'a PreparedClaim> {
        self.claims().filter(move |claim| claim.pod.uid == *pod)
    }

    /// The pods that wait for a prepared claim, if there are any.
    pub fn waiting(&self, claim: &ClaimUid) -> Option<&Waiting> {
        self.waiting.get(claim)
    }

    /// The prepared claims of others that a pod waits for.
    pub fn awaited_by<'a>(&'a self, pod: &'a PodUid) -> impl Iterator<Item = &'a PreparedClaim> {
        let waits = |waiting: &Waiting| waiting.pods.iter().any(|other| other.uid == *pod);
        let awaited = self.waiting.iter().filter(move |(_, row)| waits(row));
        awaited.filter_map(|(claim, _)| self.claim(claim))
    }

    /// The prepared claims that a pod may have come for without our being told: of its namespace,
    /// serving another, and no pod's own.
    pub fn may_await<'a>(&'a self, pod: &'a PodRef) -> impl Iterator<Item = &'a PreparedClaim> {
        self.claims().filter(|claim| {
            claim.is_shared() && claim.pod.uid != pod.uid && claim.claim.namespace == pod.namespace
        })
    }

    /// Claims that were refused when something was last asked for them.
    pub fn refused(&self) -> impl Iterator<Item = &Refusal> {
        self.refused.values().map(Arc::as_ref)
    }

    /// The refusal of one claim.
    pub fn refusal(&self, uid: &ClaimUid) -> Option<&Refusal> {
        self.refused.get(uid).map(Arc::as_ref)
    }

    /// One attachment.
    pub fn held(&self, key: &Key) -> Option<&Held> {
        self.attachments.get(key).map(Arc::as_ref)
    }

    /// All attachments that are promised or there.
    pub fn attachments(&self) -> impl Iterator<Item = &Held> {
        self.attachments.values().map(Arc::as_ref)
    }

    /// The attachments of one claim.
    pub fn attachments_of<'a>(&'a self, claim: &'a ClaimUid) -> impl Iterator<Item = &'a Held> {
        self.attachments()
            .filter(move |held| held.attachment.claim.uid == *claim)
    }

    /// Why an interface of a claim is not there, if it failed last.
    pub fn failure(&self, claim: &ClaimUid, if_name: &IfName) -> Option<&Failed> {
        self.failures.get(&(claim.clone(), if_name.clone()))
    }

    /// What could not be undone.
    pub fn leftovers(&self) -> impl Iterator<Item = &Leftover> {
        self.leftovers.values().map(Arc::as_ref)
    }

    /// What is over, oldest first.
    pub fn ended(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter().map(Arc::as_ref)
    }

    /// Slots that must not be given out: their counters are still to be taken.
    pub fn slots(&self) -> BTreeSet<Slot> {
        let held = self
            .attachments
            .values()
            .filter_map(|held| held.attachment.slot);
        let left = self
            .leftovers
            .values()
            .filter_map(|leftover| leftover.attachment.slot);
        held.chain(left).collect()
    }

    /// Sandboxes that have an attachment in any phase.
    pub fn sandboxes(&self) -> BTreeSet<&SandboxId> {
        self.attachments.keys().map(|key| &key.sandbox).collect()
    }

    /// Whether every device of the pod's claims is attached to exactly this sandbox.
    pub fn is_complete(&self, sandbox: &PodSandbox) -> bool {
        self.claims_of(&sandbox.pod.uid)
            .flat_map(|claim| &claim.devices)
            .all(|device| {
                let key = Key {
                    sandbox: sandbox.id.clone(),
                    if_name: device.if_name.clone(),
                };
                matches!(
                    self.held(&key),
                    Some(Held {
                        phase: Phase::Attached { .. },
                        ..
                    })
                )
            })
    }
}

/// Makes `network` the known one that equals it, if there is one.
fn share<'a>(known: impl IntoIterator<Item = &'a Arc<ConfList>>, network: &mut Arc<ConfList>) {
    if let Some(known) = known.into_iter().find(|known| *known == network) {
        *network = Arc::clone(known);
    }
}

#[cfg(test)]
mod tests;
