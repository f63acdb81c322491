//! What can be done to this node: the seam between deciding and doing.
//!
//! Owns every touch of the kernel and of CNI plugins. It never decides what should be done, and
//! never reads the ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Instant,
};

use netclaim_core::{
    attachment::{Attachment, ProbeState, Slot},
    cni::{AddResult, CachedAttachment},
    counters::Counters,
    drops::Drops,
    failure::{Failure, Timing},
    reconcile::{Found, Lease},
};

pub mod cni;
pub mod heap;
pub mod links;
mod linux;
pub mod netns;
pub mod probe;

pub use linux::Linux;

/// What came of a verb, and how long its parts took, also when it failed.
#[derive(Debug)]
pub struct Tried<T> {
    /// What it gave, or why not.
    pub outcome: Result<T, Failure>,
    /// What took how long.
    pub timings: Vec<Timing>,
}

/// What a slot had counted when its interface ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// What passed.
    pub counters: Counters,
    /// What was dropped, if that was counted.
    pub drops: Option<Drops>,
}

impl<T> Tried<T> {
    /// The same, with a failure that says of which claim's interface it is.
    fn of(self, at: &Attachment) -> Self {
        let outcome = self.outcome.map_err(|failure| at.named(failure));
        Self { outcome, ..self }
    }
}

/// The verbs of a node.
///
/// Every verb may be repeated, and undoing what never happened succeeds: runtimes repeat calls,
/// and a crash can hide whether the last one took effect.
pub trait Host: Send + Sync + 'static {
    /// Runs ADD down the CNI chain; the result tells the interface's MTU also where the chain does
    /// not. Past `until` the plugin's process group is dead and the answer
    /// is here.
    fn cni_add(
        &self,
        at: &Attachment,
        until: Instant,
    ) -> impl Future<Output = Tried<AddResult>> + Send;

    /// Runs DEL up the CNI chain; succeeds when nothing is left.
    fn cni_del(&self, at: &Attachment, until: Instant) -> impl Future<Output = Tried<()>> + Send;

    /// Puts the counting programs on the pod's interface. That fails without harm: the interface
    /// then works uncounted, and says so.
    fn probe_attach(&self, at: &Attachment) -> impl Future<Output = ProbeState> + Send;

    /// Records the flows of the pod's interface from here on, unless that is done. That fails without
    /// harm, and says so; it ends with [`Host::probe_detach`].
    fn flows_attach(&self, at: &Attachment) -> impl Future<Output = ()> + Send;

    /// Takes the programs off and frees the slot; returns what the slot had counted.
    fn probe_detach(&self, at: &Attachment) -> impl Future<Output = Option<Last>> + Send;

    /// Why the programs no longer count, or nothing while they do.
    fn probe_lost(&self, at: &Attachment) -> impl Future<Output = Option<Failure>> + Send;

    /// What of ours is here, whoever remembers it.
    fn found(&self) -> impl Future<Output = Found> + Send;

    /// Runs DEL for an ADD of which only the result is left.
    fn cni_del_cached(
        &self,
        at: &CachedAttachment,
        until: Instant,
    ) -> impl Future<Output = Tried<()>> + Send;

    /// The slot among `slots` whose programs are on the interface.
    fn probe_slot(
        &self,
        at: &Attachment,
        slots: &BTreeSet<Slot>,
    ) -> impl Future<Output = Option<Slot>> + Send;

    /// Takes the programs of a slot off whatever they are on; what it had counted is lost.
    fn probe_release(&self, slot: Slot) -> impl Future<Output = ()> + Send;

    /// Frees an address of host-local, if it still is what it was when it was found; whether it was.
    fn lease_free(&self, lease: &Lease) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// What each of these slots has counted: read from memory, without a system call.
    fn counters(&self, slots: &BTreeSet<Slot>) -> BTreeMap<Slot, Counters>;

    /// Whether a network namespace is still there.
    fn has_netns(&self, path: &str) -> bool;
}

/// Runs what blocks on a thread of its own; a panic of it goes on here.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let called = tokio::task::spawn_blocking(call).await;
    called.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
