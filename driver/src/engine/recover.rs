//! Sets right what a crash, a missed event or a stranger left wrong.
//!
//! Events are hints: Stop and Remove may never come. Absence alone deletes nothing.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use netclaim_core::{
    attachment::{Attachment, Phase, PodSandbox, ProbeState},
    fact::Fact,
    ledger::{Held, Ledger},
    name::SandboxId,
};

use super::{Engine, Occasion};
use crate::{clock, host::Host};

/// What one sandbox's late attach may take: nobody waits for it.
const LATE_TIME: Duration = Duration::from_secs(20);

/// How long a look at a probe waits for a pod that is busy: the next look comes soon.
const VERIFY_PATIENCE: Duration = Duration::from_secs(1);

/// First pause before a leftover is tried again; it doubles up to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRY_MOST: Duration = Duration::from_mins(10);

impl<H: Host> Engine<H> {
    /// Undoes what a former life was in the middle of.
    pub async fn recover(&self) {
        for at in self.ledger().plan_recovery() {
            let _lock = self.pods.wait(&at.pod.uid).await;
            if self.ledger().held(&at.key).is_some_and(Held::is_unfinished) {
                self.undo(vec![at]).await;
            }
        }
    }

    /// Undoes all that a former boot had: its namespaces and links are gone, its leases are not.
    pub async fn recover_from_reboot(&self) {
        let all = self
            .ledger()
            .attachments()
            .map(|held| held.attachment.clone())
            .collect();
        self.undo(all).await;
    }

    /// Brings every probe of a former life up to date, and puts back those that are gone.
    pub async fn adopt(&self) {
        self.verify().await;
        for held in self.ledger().attachments() {
            if held.base().is_some() {
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
        self.with_sandboxes(|known| {
            *known = all
                .iter()
                .map(|sandbox| (sandbox.id.clone(), sandbox.clone()))
                .collect();
        });
        self.synchronized.store(true, Ordering::Release);
        for sandbox in all.into_iter().filter(|sandbox| self.lacks(sandbox)) {
            let engine = Arc::clone(self);
            let late = running.contains(&sandbox.id);
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
        lives && !elsewhere && !ledger.is_complete(sandbox)
    }

    /// Undoes the attachments of sandboxes that the runtime does not know and whose namespace is
    /// gone, if both were so at the last call too. Returns those that are so now.
    pub async fn sweep(&self, before: &BTreeSet<SandboxId>) -> BTreeSet<SandboxId> {
        if !self.synchronized.load(Ordering::Acquire) {
            return BTreeSet::new();
        }
        let known = self.with_sandboxes(|known| known.keys().cloned().collect::<BTreeSet<_>>());
        let (once, twice): (Vec<_>, Vec<_>) = self
            .ledger()
            .attachments()
            .map(|held| held.attachment.clone())
            .filter(|at| !known.contains(&at.key.sandbox) && !self.host.has_netns(&at.netns))
            .partition(|at| !before.contains(&at.key.sandbox));
        for at in twice {
            let _lock = self.pods.wait(&at.pod.uid).await;
            if self.ledger().held(&at.key).is_some() {
                self.undo(vec![at]).await;
            }
        }
        once.into_iter().map(|at| at.key.sandbox).collect()
    }

    /// Looks at every probe: a lost one is reported, put back, and reported again once it has
    /// held until the next look.
    pub async fn verify(&self) {
        for held in self.ledger().attachments() {
            let Phase::Attached { probe, .. } = &held.phase else {
                continue;
            };
            let at = &held.attachment;
            let soon = Instant::now() + VERIFY_PATIENCE;
            let lock = self.pods.lock(&at.pod.uid, soon).await;
            if lock.is_some() && self.is_current(held) {
                self.verify_one(at, probe).await;
            }
        }
    }

    async fn verify_one(&self, at: &Attachment, probe: &ProbeState) {
        let key = at.key.clone();
        match (self.host.probe_lost(at).await, probe) {
            (Some(failure), ProbeState::Counting { .. }) => {
                let lost = ProbeState::Missing { failure };
                self.record(Fact::ProbeChanged { key, probe: lost }).await;
                self.host.probe_attach(at).await;
            }
            (_, ProbeState::Missing { .. }) if at.slot.is_some() => {
                let probe = self.host.probe_attach(at).await;
                if matches!(probe, ProbeState::Counting { .. }) {
                    self.record(Fact::ProbeChanged { key, probe }).await;
                }
            }
            (_, ProbeState::Counting { .. } | ProbeState::Missing { .. }) => {}
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
