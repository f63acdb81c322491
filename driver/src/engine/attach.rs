//! Puts interfaces into a sandbox: all that its pod's claims ask for, or none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use netclaim_core::{
    admission,
    attachment::{Attachment, Key, PodSandbox},
    fact::{Fact, Refused},
    failure::{Failure, Step},
};
use tokio::sync::OwnedMutexGuard;

use super::{Announced, Engine, busy, in_time};
use crate::host::{Host, Tried};

/// What of the time is kept to stop a slow plugin and to say which one it was: killing and reaping
/// it takes some milliseconds, on a busy node tens of them.
const TO_ANSWER: Duration = Duration::from_millis(100);

/// When interfaces are put into a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The runtime starts the sandbox, or a container in it: whatever the pod's other sandboxes
    /// hold is over.
    Start,
    /// It was there before us. Which of a pod's sandboxes is the live one is not known, so that
    /// nothing of another one is touched.
    Found {
        /// A container has run in it.
        late: bool,
    },
}

impl<H: Host> Engine<H> {
    /// Puts every prepared device of the pod into its sandbox, or none of them.
    ///
    /// Repeating it attaches only what is missing. The answer is here by `until`, whatever hangs;
    /// what has to be undone is undone afterwards, before anything else happens to the pod.
    pub async fn attach(
        self: &Arc<Self>,
        sandbox: &PodSandbox,
        until: Instant,
        occasion: Occasion,
    ) -> Result<(), Failure> {
        if occasion == Occasion::Start {
            self.note(sandbox);
        }
        // Most pods have no claim, and every container of one that has asks again.
        if self.wants_nothing(sandbox) {
            return Ok(());
        }
        // On its own task: a runtime that hangs up must not leave an attach half done, and a disk
        // or a kernel that hangs must not make the answer late.
        let engine = Arc::clone(self);
        let attached = sandbox.clone();
        let work_until = until.checked_sub(TO_ANSWER).unwrap_or(until);
        let attaching = self
            .tasks
            .spawn(async move { engine.attach_all(&attached, work_until, occasion).await });
        let started = Instant::now();
        match tokio::time::timeout_at(in_time(until), attaching).await {
            Ok(Ok(attached)) => {
                attached.map(|plugins| self.tell_waited(started.elapsed(), plugins))
            }
            Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            Err(_) => {
                let (engine, sandbox, failure) =
                    (Arc::clone(self), sandbox.clone(), busy(&sandbox.pod));
                let busy = failure.clone();
                // The answer does not wait for the disk.
                self.tasks
                    .spawn(async move { engine.refuse(&sandbox, failure).await });
                Err(busy)
            }
        }
    }

    /// Says how long a sandbox waited that got something; most have it already.
    fn tell_waited(&self, waited: Duration, plugins: Duration) {
        if !plugins.is_zero() {
            let ours = waited.saturating_sub(plugins);
            self.sources.metrics.attached(plugins, ours);
        }
    }

    /// Remembers a sandbox as the runtime tells it, each container of it anew.
    fn note(&self, sandbox: &PodSandbox) {
        let is_known = |known: &Announced| known.sandbox == *sandbox;
        if self.with_sandboxes(|all| all.get(&sandbox.id).is_some_and(is_known)) {
            return;
        }
        self.change_sandboxes(|all| {
            let entry = all.entry(sandbox.id.clone());
            let known = entry.or_insert_with(|| Announced::new(sandbox.clone()));
            known.sandbox = sandbox.clone();
        });
    }

    /// Returns how long plugins took.
    async fn attach_all(
        self: &Arc<Self>,
        sandbox: &PodSandbox,
        until: Instant,
        occasion: Occasion,
    ) -> Result<Duration, Failure> {
        let Some(lock) = self.pods.lock(&sandbox.pod.uid, until).await else {
            return Err(self.refuse(sandbox, busy(&sandbox.pod)).await);
        };
        self.settle(sandbox, until).await?;
        let (lock, netns) = match self.make_room(lock, sandbox, until, occasion).await {
            Ok(room) => room,
            Err(failure) => return Err(self.refuse(sandbox, failure).await),
        };
        let late = matches!(occasion, Occasion::Found { late: true });
        let (mut tried, mut plugins) = (Vec::new(), Duration::ZERO);
        for attachment in self.ledger().plan_attach(sandbox, &netns) {
            tried.push(attachment.key.clone());
            match self.attach_one(sandbox, attachment, until, late).await {
                Ok(took) => plugins += took,
                Err(failure) => {
                    self.abandon(lock, tried);
                    return Err(failure);
                }
            }
        }
        self.count_all(lock, tried);
        Ok(plugins)
    }

    /// Undoes what is in the way of a sandbox's interfaces, and says in which namespace they go.
    async fn make_room(
        self: &Arc<Self>,
        lock: OwnedMutexGuard<()>,
        sandbox: &PodSandbox,
        until: Instant,
        occasion: Occasion,
    ) -> Result<(OwnedMutexGuard<()>, String), Failure> {
        let netns = self.check(sandbox)?;
        let before = match occasion {
            Occasion::Start => self.ledger().plan_replace(&sandbox.pod.uid, &sandbox.id),
            Occasion::Found { .. } => self.ledger().plan_unfinished(&sandbox.id),
        };
        let lock = self
            .undo_until(lock, before, until)
            .await
            .ok_or_else(|| busy(&sandbox.pod))?;
        self.clear_sandbox(&sandbox.id, until).await?;
        Ok((lock, netns))
    }

    /// Says of every claim of the pod why nothing of it is tried; of nothing, once the sandbox has
    /// all by somebody else's doing.
    pub(super) async fn refuse(&self, sandbox: &PodSandbox, failure: Failure) -> Failure {
        let ledger = self.ledger();
        for claim in ledger.claims_of(&sandbox.pod.uid) {
            let refused = Fact::Refused(Refused::prepared(claim, failure.clone()));
            self.record_of(|ledger| (!ledger.is_complete(sandbox)).then_some(refused))
                .await;
        }
        failure
    }

    /// The namespace to attach in.
    fn check(&self, sandbox: &PodSandbox) -> Result<String, Failure> {
        let ledger = self.ledger();
        let claims = ledger.claims_of(&sandbox.pod.uid);
        admission::attach_check(sandbox, claims, &self.rules.refused_handlers)
            .map_err(|refusal| Failure::new(Step::Plan, &*refusal))?;
        Ok(sandbox.netns.clone().unwrap_or_default())
    }

    /// Returns how long its plugins took.
    async fn attach_one(
        &self,
        sandbox: &PodSandbox,
        mut at: Attachment,
        until: Instant,
        late: bool,
    ) -> Result<Duration, Failure> {
        // On disk before the kernel changes: a crash from here on is undone by `recover`. The slot
        // is chosen with the promise, because other pods promise between our plan and this.
        let max_interfaces = self.rules.max_interfaces;
        let promised = self.promise_of(|ledger| {
            at.slot = ledger.free_slot(max_interfaces);
            Fact::Attaching(at.clone())
        });
        if let Err(failure) = promised.await {
            return Err(self.refuse(sandbox, failure).await);
        }
        let at = &at;
        let Tried { outcome, timings } = self.host.cni_add(at, until).await;
        let took = timings.iter().map(|timing| timing.micros).sum();
        let key = at.key.clone();
        let attached = match outcome {
            Ok(result) => {
                let timings = timings.clone();
                self.promise(Fact::Attached {
                    key: key.clone(),
                    result,
                    probe: None,
                    late,
                    timings,
                })
                .await
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &attached {
            self.record(Fact::AttachFailed {
                key,
                failure: failure.clone(),
                timings,
            })
            .await;
        }
        attached.map(|()| Duration::from_micros(took))
    }

    /// Begins to count what was attached, after the answer: the kernel takes some grace periods of
    /// RCU to hang programs on an interface, and what passes meanwhile is in its own counters. The
    /// pod stays locked until that is over.
    fn count_all(self: &Arc<Self>, lock: OwnedMutexGuard<()>, attached: Vec<Key>) {
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            let ledger = engine.ledger();
            for held in attached.iter().filter_map(|key| ledger.held(key)) {
                engine.count(&held.attachment).await;
            }
            drop(lock);
        });
    }

    /// Hangs the probe on an interface and says whether it counts, while its pod is locked.
    pub(super) async fn count(&self, at: &Attachment) {
        let probe = self.host.probe_attach(at).await;
        let key = at.key.clone();
        self.record(Fact::ProbeChanged { key, probe }).await;
        self.record_flows(at).await;
    }

    /// Records an interface's flows where its claim asks for that, while its pod is locked. It is no
    /// fact: nothing of it is kept.
    pub(super) async fn record_flows(&self, at: &Attachment) {
        if at.device.observe_flows {
            self.host.flows_attach(at).await;
        }
    }

    /// Undoes what one attach has done, in its own time; the pod stays locked until that is over.
    fn abandon(self: &Arc<Self>, lock: OwnedMutexGuard<()>, tried: Vec<Key>) {
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            let ledger = engine.ledger();
            let held = tried.iter().rev().filter_map(|key| ledger.held(key));
            engine
                .undo(held.map(|held| held.attachment.clone()).collect())
                .await;
            drop(lock);
        });
    }
}
