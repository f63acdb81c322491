//! Puts interfaces into a sandbox: all that its pod's claims ask for, or none.

use std::{sync::Arc, time::Instant};

use netclaim_core::{
    admission,
    attachment::{Attachment, PodSandbox},
    fact::{Fact, Refused},
    failure::{Failure, Step},
    name::PodUid,
};
use tokio::sync::OwnedMutexGuard;

use super::{Engine, PodBusy};
use crate::host::{Host, Tried};

impl<H: Host> Engine<H> {
    /// Puts every prepared device of the pod into its sandbox, or none of them.
    ///
    /// Repeating it attaches only what is missing. The answer is here by `until`; what has to be
    /// undone is undone afterwards, before anything else happens to the pod. `late` says that a
    /// container already runs.
    pub async fn attach(
        self: &Arc<Self>,
        sandbox: &PodSandbox,
        until: Instant,
        late: bool,
    ) -> Result<(), Failure> {
        self.with_sandboxes(|known| known.insert(sandbox.id.clone(), sandbox.clone()));
        if self.ledger().claims_of(&sandbox.pod.uid).next().is_none() {
            return Ok(());
        }
        // On its own task: a runtime that hangs up must not leave an attach half done.
        let engine = Arc::clone(self);
        let sandbox = sandbox.clone();
        let attaching = tokio::spawn(async move { engine.attach_all(&sandbox, until, late).await });
        attaching
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    async fn attach_all(
        self: &Arc<Self>,
        sandbox: &PodSandbox,
        until: Instant,
        late: bool,
    ) -> Result<(), Failure> {
        let pod = &sandbox.pod.uid;
        let busy = || Failure::new(Step::Plan, &PodBusy { pod: pod.clone() });
        let lock = self.pods.lock(pod, until).await.ok_or_else(busy)?;
        let netns = match self.check(sandbox) {
            Ok(netns) => netns,
            Err(failure) => return Err(self.refuse(pod, failure).await),
        };
        let older = self.ledger().plan_replace(pod, &sandbox.id);
        let lock = self.undo_until(lock, older, until).await.ok_or_else(busy)?;
        let plan = self
            .ledger()
            .plan_attach(sandbox, &netns, self.rules.max_interfaces);
        for attachment in plan {
            if let Err(failure) = self.attach_one(&attachment, until, late).await {
                self.abandon(lock, sandbox);
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Says of every claim of the pod why nothing of it is tried.
    async fn refuse(&self, pod: &PodUid, failure: Failure) -> Failure {
        let ledger = self.ledger();
        for claim in ledger.claims_of(pod) {
            self.record(Fact::Refused(Refused::prepared(claim, failure.clone())))
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

    async fn attach_one(&self, at: &Attachment, until: Instant, late: bool) -> Result<(), Failure> {
        // On disk before the kernel changes: a crash from here on is undone by `recover`.
        if let Err(failure) = self.promise(Fact::Attaching(at.clone())).await {
            return Err(self.refuse(&at.pod.uid, failure).await);
        }
        let Tried { outcome, timings } = self.host.cni_add(at, until).await;
        let key = at.key.clone();
        let attached = match outcome {
            Ok(result) => {
                let probe = self.host.probe_attach(at).await;
                let timings = timings.clone();
                self.promise(Fact::Attached {
                    key: key.clone(),
                    result,
                    probe,
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
        attached
    }

    /// Undoes all of a sandbox in its own time; the pod stays locked until that is done.
    fn abandon(self: &Arc<Self>, lock: OwnedMutexGuard<()>, sandbox: &PodSandbox) {
        let plan = self.ledger().plan_detach(&sandbox.id);
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            engine.undo(plan).await;
            drop(lock);
        });
    }
}
