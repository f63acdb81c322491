//! Sets right what a crash, a missed event or a stranger left wrong.
//!
//! Events are hints: Stop and Remove may never come. Absence alone deletes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use netclaim_core::{
    attachment::{Attachment, Phase, PodSandbox, ProbeState, Slot},
    claim::{ClaimRef, object::ClaimObject},
    cni::CachedAttachment,
    fact::Fact,
    inventory::{Inventory, LinkState},
    ledger::{Held, Ledger},
    name::{NodeName, PodUid, SandboxId},
    reconcile::{Found, Lease, Lost, Orphans},
    time::Timestamp,
};
use tokio::sync::OwnedMutexGuard;

use super::{Announced, Engine, Occasion, UNDO_TIME};
use crate::{claims, clock, host::Host};

/// What one sandbox's late attach may take: nobody waits for it.
const LATE_TIME: Duration = Duration::from_secs(20);

/// Pods that are undone at once: enough that some that hang do not hold up the others, few enough
/// to leave the node to the pods that start.
const UNDONE_AT_ONCE: usize = 8;

/// How long a look at a probe waits for a pod that is busy: the next look comes soon.
const VERIFY_PATIENCE: Duration = Duration::from_secs(1);

/// Between two questions of a rebuild to the API server.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// First pause before a leftover is tried again; it doubles up to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRY_MOST: Duration = Duration::from_mins(10);

impl<H: Host> Engine<H> {
    /// Undoes what a former life or a former boot left, beside all else: a DEL that hangs holds up
    /// its own pod only. Whoever starts after us goes on where it ends.
    pub async fn recover(&self) {
        self.undo_apart(self.ledger().plan_recovery(), Held::is_unfinished)
            .await;
    }

    /// Undoes those of a plan that are `still` to be undone once their pod is locked, some pods at
    /// once.
    async fn undo_apart(&self, plan: Vec<Attachment>, still: impl Fn(&Held) -> bool) {
        let mut pods: BTreeMap<PodUid, Vec<Attachment>> = BTreeMap::new();
        for at in plan {
            pods.entry(at.pod.uid.clone()).or_default().push(at);
        }
        let undo = async |(pod, plan): (PodUid, Vec<Attachment>)| {
            let _lock = self.pods.wait(&pod).await;
            for at in plan {
                if self.ledger().held(&at.key).is_some_and(&still) {
                    self.undo(vec![at]).await;
                }
            }
        };
        stream::iter(pods)
            .for_each_concurrent(UNDONE_AT_ONCE, undo)
            .await;
    }

    /// Brings every probe of a former life up to date, and puts back those that are gone.
    pub async fn adopt(&self) {
        self.verify().await;
        for held in self.ledger().attachments() {
            // A probe that is being taken off has been read, perhaps, and would begin anew.
            if held.base().is_some() && !held.is_unfinished() {
                // What it counted goes on; the base on record is the better one.
                self.host.probe_attach(&held.attachment).await;
            }
        }
    }

    /// Takes in all sandboxes that exist, as the runtime tells them at the start of a session, and
    /// attaches in the background what is missing. `running` are those where a container has run.
    ///
    /// Only remembers before it answers: the runtime waits with every pod of the node.
    pub fn synchronize(self: &Arc<Self>, all: Vec<PodSandbox>, running: &BTreeSet<SandboxId>) {
        self.change_sandboxes(|known| {
            let mut before = std::mem::take(known);
            for sandbox in all {
                let asked = before.remove(&sandbox.id).is_some_and(|known| known.asked);
                let ran = running.contains(&sandbox.id);
                let row = Announced {
                    ran,
                    asked,
                    ..Announced::new(sandbox)
                };
                known.insert(row.sandbox.id.clone(), row);
            }
        });
        self.synchronized.send_replace(true);
        self.attach_found(|_| true);
    }

    /// A container has run in a sandbox.
    pub fn started(&self, sandbox: &SandboxId) {
        self.with_sandboxes(|known| {
            if let Some(known) = known.get_mut(sandbox) {
                known.ran = true;
            }
        });
    }

    /// The start of a sandbox was refused: nobody tells of its end, since containerd calls
    /// `RemovePodSandbox` only for what a plugin let start (`internal/cri/server/sandbox_run.go`).
    pub fn refused(&self, sandbox: &SandboxId) {
        self.change_sandboxes(|known| drop(known.remove(sandbox)));
    }

    /// Attaches in the background what the sandboxes of some pods lack.
    pub(super) fn attach_found(self: &Arc<Self>, of: impl Fn(&PodUid) -> bool) {
        let found = self.with_sandboxes(|known| {
            let wanted = known.values().filter(|known| of(&known.sandbox.pod.uid));
            let wanted = wanted.map(|known| (known.sandbox.clone(), known.ran));
            wanted.collect::<Vec<_>>()
        });
        for (sandbox, late) in found {
            if !self.lacks(&sandbox) {
                continue;
            }
            let engine = Arc::clone(self);
            self.tasks.spawn(async move {
                let until = Instant::now() + LATE_TIME;
                let found = Occasion::Found { late };
                if let Err(failure) = engine.attach(&sandbox, until, found).await {
                    tracing::warn!(pod = %sandbox.pod.name, "late attach: {}", failure.message);
                }
            });
        }
    }

    /// Whether something of ours is missing in a sandbox that lives. Runtimes list dead ones too,
    /// for as long as they hold an exited container.
    fn lacks(&self, sandbox: &PodSandbox) -> bool {
        let ledger = self.ledger();
        let netns = sandbox.netns.as_deref();
        let lives = netns.is_some_and(|netns| self.host.has_netns(netns));
        let elsewhere = ledger.attachments().any(|held| {
            let at = &held.attachment;
            at.pod.uid == sandbox.pod.uid
                && at.key.sandbox != sandbox.id
                && self.host.has_netns(&at.netns)
        });
        let waits = ledger.awaited_by(&sandbox.pod.uid).next().is_some();
        lives && !elsewhere && (waits || !ledger.is_complete(sandbox))
    }

    /// Undoes the attachments of sandboxes that the runtime does not know and whose namespace is
    /// gone, if both were so at the last call too. Returns those that are so now.
    pub async fn sweep(&self, before: &BTreeSet<SandboxId>) -> BTreeSet<SandboxId> {
        if !self.knows_all() {
            return BTreeSet::new();
        }
        let known = self.with_sandboxes(|known| known.keys().cloned().collect::<BTreeSet<_>>());
        let (once, twice): (Vec<_>, Vec<_>) = self
            .ledger()
            .attachments()
            .map(|held| held.attachment.clone())
            .filter(|at| !known.contains(&at.key.sandbox) && !self.host.has_netns(&at.netns))
            .partition(|at| !before.contains(&at.key.sandbox));
        self.undo_apart(twice, |_| true).await;
        once.into_iter().map(|at| at.key.sandbox).collect()
    }

    /// Makes a lost ledger anew: from the claims of this node's pods, and from what earlier ADDs
    /// and probes left. Waits for the API server; until then nothing is promised, and no pod is
    /// handed to us, because it would start bare.
    pub async fn rebuild(self: &Arc<Self>, node: &NodeName) {
        let found = self.host.found().await;
        if found.cached.is_empty() && found.slots.is_empty() {
            tracing::info!("the ledger begins with what the API server knows of this node's pods");
        } else {
            tracing::warn!(
                interfaces = found.cached.len(),
                probes = found.slots.len(),
                "the ledger is gone and interfaces are here: it is made anew"
            );
        }
        for (claim, object) in self.claims_of_node(node).await {
            if object.results(&self.rules.driver).next().is_none() {
                continue;
            }
            let inventory = self.inventory_then(&found, &object);
            if let Err(failure) = self.prepare_with(&inventory, &claim, &object).await {
                tracing::warn!(%claim, "not prepared again: {}", failure.message);
            }
        }
        for lost in found.lost(&self.ledger()) {
            if self.host.has_netns(&lost.attachment.netns) {
                self.take_over(lost, &found.slots).await;
            }
        }
        self.record(Fact::Rebuilt).await;
    }

    /// What the node had when a claim was prepared first: a link that is gone from it may be in the
    /// claim's pod, if that lives and has an interface of ours. It then has one for each device of
    /// its claims, because a sandbox gets all of them or none.
    fn inventory_then(&self, found: &Found, object: &ClaimObject) -> Inventory {
        let mut inventory = Inventory::clone(&self.inventory_now());
        let of_pod = |cached: &CachedAttachment| object.pods().any(|pod| pod.uid == cached.pod.uid);
        if found.cached.iter().any(|at| of_pod(at) && self.lives(at)) {
            let gone = inventory.devices.values_mut();
            gone.filter(|device| device.state == LinkState::Gone)
                .for_each(|device| device.state = LinkState::Up);
        }
        inventory
    }

    fn lives(&self, cached: &CachedAttachment) -> bool {
        let netns = cached.netns.as_deref();
        netns.is_some_and(|netns| self.host.has_netns(netns))
    }

    /// The claims of this node's pods, once the API server answers.
    async fn claims_of_node(&self, node: &NodeName) -> Vec<(ClaimRef, ClaimObject)> {
        let mut said = String::new();
        loop {
            match claims::of_node(&self.sources.client, node).await {
                Ok(claims) => return claims,
                Err(error) => {
                    let error = error.to_string();
                    if error != said {
                        tracing::warn!("the ledger waits for the API server: {error}");
                        said = error;
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
    }

    async fn take_over(&self, lost: Lost, slots: &BTreeSet<Slot>) {
        let counted = self.host.probe_slot(&lost.attachment, slots).await;
        let taken = self.ledger().slots();
        let mut free = (0..self.rules.max_interfaces).map(Slot);
        let free = free.find(|slot| !taken.contains(slot) && !slots.contains(slot));
        let attachment = Attachment {
            slot: counted.or(free),
            ..lost.attachment
        };
        self.record(Fact::TakenOver {
            attachment: attachment.clone(),
            result: lost.result,
        })
        .await;
        self.count(&attachment).await;
    }

    /// Whether what is absent is gone: the ledger is whole, and the runtime has told all sandboxes.
    fn knows_all(&self) -> bool {
        *self.synchronized.borrow() && !self.ledger().is_lost()
    }

    /// Takes away what nobody answers for, if nobody did at the last call either. Returns what
    /// nobody answers for now.
    pub async fn sweep_orphans(&self, before: &Orphans) -> Orphans {
        if !self.knows_all() {
            return Orphans::default();
        }
        let now = clock::now();
        let mut orphans = self.orphans(now).await.since(before);
        for slot in orphans.still_pinned(before) {
            self.host.probe_release(slot).await;
        }
        for cached in orphans.still_cached(before) {
            self.undo_cached(cached).await;
        }
        let overdue = orphans.overdue(now, self.rules.lease_patience).cloned();
        for lease in overdue.collect::<Vec<Lease>>() {
            if self.free(&lease).await {
                orphans.leases.remove(&lease);
            }
        }
        orphans
    }

    /// What nobody answers for, as far as anybody can know.
    async fn orphans(&self, now: Timestamp) -> Orphans {
        let found = self.host.found().await;
        let ledger = self.ledger();
        let alive = self.with_sandboxes(|known| known.keys().cloned().collect());
        let mut orphans = found.orphans(&ledger, &alive, now);
        // While the runtime tells of no sandbox, one that is not known may well be there.
        if !self.sources.nri.borrow().connected {
            orphans.leases.clear();
        }
        // What a slot counts may be an interface that lives, though nobody answers for it yet.
        if found.unknown(&ledger).any(|at| self.lives(at)) {
            orphans.slots.clear();
        }
        orphans.cached.retain(|cached| !self.lives(cached));
        orphans
    }

    async fn undo_cached(&self, cached: &CachedAttachment) {
        let until = Instant::now() + UNDO_TIME;
        match self.host.cni_del_cached(cached, until).await.outcome {
            Ok(()) => tracing::warn!(key = %cached.key, "an interface of nobody is undone"),
            Err(failure) => tracing::warn!(
                key = %cached.key, "an interface of nobody is not undone: {}", failure.message
            ),
        }
    }

    /// Frees an address; whether nobody has it any more. Somebody may have got it meanwhile.
    async fn free(&self, lease: &Lease) -> bool {
        match self.host.lease_free(lease).await {
            Ok(freed) => {
                if freed {
                    tracing::warn!("{}; it is freed", lease.words());
                }
                true
            }
            Err(failure) => {
                tracing::warn!(
                    reason = %failure.reason, "{}; it is not freed: {}", lease.words(), failure.message
                );
                false
            }
        }
    }

    /// Looks at every probe: a lost one is put back, reported, and reported again once it has
    /// held until the next look.
    pub async fn verify(&self) {
        for held in self.ledger().attachments() {
            let Phase::Attached { probe, .. } = &held.phase else {
                continue;
            };
            if let Some(_lock) = self.lock_current(held).await {
                self.verify_one(&held.attachment, probe.as_ref()).await;
            }
        }
    }

    /// Records the flows of every interface whose claim asks for that and which lacks it: of those
    /// that were there before the driver, and of those whose programs somebody took off.
    pub async fn keep_flows(&self) {
        for held in self.ledger().attachments() {
            let at = &held.attachment;
            let is_there = matches!(held.phase, Phase::Attached { .. });
            if !is_there || !at.device.observe_flows {
                continue;
            }
            if let Some(_lock) = self.lock_current(held).await {
                self.record_flows(at).await;
            }
        }
    }

    /// The lock of an attachment's pod, unless that is busy or something else became of it meanwhile.
    async fn lock_current(&self, held: &Held) -> Option<OwnedMutexGuard<()>> {
        let soon = Instant::now() + VERIFY_PATIENCE;
        let lock = self.pods.lock(&held.attachment.pod.uid, soon).await?;
        self.is_current(held).then_some(lock)
    }

    async fn verify_one(&self, at: &Attachment, probe: Option<&ProbeState>) {
        let key = at.key.clone();
        match probe {
            Some(ProbeState::Counting { .. }) => {
                let Some(failure) = self.host.probe_lost(at).await else {
                    return;
                };
                let base = self.host.probe_attach(at).await.base();
                let lost = ProbeState::Missing {
                    failure,
                    base: base.map(Box::new),
                };
                self.record(Fact::ProbeChanged { key, probe: lost }).await;
            }
            Some(ProbeState::Missing { .. }) if at.slot.is_some() => {
                let probe = self.host.probe_attach(at).await;
                if matches!(probe, ProbeState::Counting { .. }) {
                    self.record(Fact::ProbeChanged { key, probe }).await;
                }
            }
            Some(ProbeState::Missing { .. }) => {}
            None => self.count(at).await,
        }
    }

    /// Tries those leftovers again whose pause is over.
    pub async fn retry_leftovers(&self) {
        let now = clock::now();
        let ledger: Arc<Ledger> = self.ledger();
        for leftover in ledger.leftovers() {
            if now.since(leftover.since) >= retry_after(leftover.attempts) {
                self.clear(leftover).await;
            }
        }
    }

    fn is_current(&self, held: &Held) -> bool {
        self.ledger()
            .held(&held.attachment.key)
            .is_some_and(|now| now.phase == held.phase)
    }
}

/// How long after its beginning a leftover is tried for the next time.
fn retry_after(attempts: u32) -> Duration {
    (1..attempts)
        .scan(RETRY_FIRST, |pause, _| {
            *pause = (*pause * 2).min(RETRY_MOST);
            Some(*pause)
        })
        .fold(RETRY_FIRST, Duration::saturating_add)
}
