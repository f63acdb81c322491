//! Takes interfaces out of a sandbox again, newest first, and keeps what cannot be taken out.

use std::{sync::Arc, time::Instant};

use netclaim_core::{
    attachment::{Attachment, Leftover, PodSandbox},
    fact::Fact,
    failure::Failure,
    ledger::Held,
    name::SandboxId,
};
use tokio::sync::OwnedMutexGuard;

use super::{Engine, UNDO_TIME, in_time};
use crate::{
    clock,
    host::{Host, Last, Tried},
};

impl<H: Host> Engine<H> {
    /// Takes whatever we put into the sandbox out again.
    ///
    /// Answers by `until` at the latest; what is not done by then goes on in its own time.
    pub async fn detach(self: &Arc<Self>, sandbox: &PodSandbox, until: Instant) {
        self.change_sandboxes(|known| drop(known.remove(&sandbox.id)));
        if self.ledger().plan_detach(&sandbox.id).is_empty() {
            return;
        }
        let engine = Arc::clone(self);
        let sandbox = sandbox.clone();
        let detaching = self.tasks.spawn(async move {
            let _lock = engine.pods.wait(&sandbox.pod.uid).await;
            engine.undo(engine.ledger().plan_detach(&sandbox.id)).await;
        });
        // Past the time the task goes on by itself.
        let _ = tokio::time::timeout_at(in_time(until), detaching).await;
    }

    /// Undoes a plan while the pod is locked; gives the lock back if that ended in time.
    pub(super) async fn undo_until(
        self: &Arc<Self>,
        lock: OwnedMutexGuard<()>,
        plan: Vec<Attachment>,
        until: Instant,
    ) -> Option<OwnedMutexGuard<()>> {
        if plan.is_empty() {
            return Some(lock);
        }
        let engine = Arc::clone(self);
        let undoing = self.tasks.spawn(async move {
            engine.undo(plan).await;
            lock
        });
        tokio::time::timeout_at(in_time(until), undoing)
            .await
            .ok()?
            .ok()
    }

    /// Undoes a plan to its end, whatever fails on the way.
    pub(super) async fn undo(&self, plan: Vec<Attachment>) {
        for at in plan {
            self.undo_one(&at).await;
        }
    }

    async fn undo_one(&self, at: &Attachment) {
        let key = at.key.clone();
        // Without a base on record nothing was counted: what the slot holds is another's.
        let base = self.ledger().held(&key).and_then(Held::base);
        self.record(Fact::Detaching { key: key.clone() }).await;
        let counted = self.host.probe_detach(at).await.zip(base);
        let (last, drops) = match counted {
            Some((Last { counters, drops }, base)) => (Some(counters.plus(&base)), drops),
            None => (None, None),
        };
        let until = Instant::now() + UNDO_TIME;
        let Tried { outcome, timings } = self.host.cni_del(at, until).await;
        let over = match outcome {
            Ok(()) => Fact::Detached {
                key,
                last,
                drops,
                timings,
            },
            Err(failure) => Fact::LeftBehind(Leftover {
                attachment: at.clone(),
                failure,
                last,
                drops,
                attempts: 1,
                since: clock::now(),
            }),
        };
        self.record(over).await;
    }

    /// Tries a leftover once more, unless its interface is there again.
    pub(super) async fn clear(&self, leftover: &Leftover) {
        let _lock = self.pods.wait(&leftover.attachment.pod.uid).await;
        if self.ledger().held(&leftover.attachment.key).is_none() {
            // What it says is in the ledger.
            let _ = self.clear_one(leftover, Instant::now() + UNDO_TIME).await;
        }
    }

    /// Clears what is left in a sandbox, while its pod is locked: CNI wants a DEL before the next
    /// ADD of the same interface.
    pub(super) async fn clear_sandbox(
        &self,
        sandbox: &SandboxId,
        until: Instant,
    ) -> Result<(), Failure> {
        let ledger = self.ledger();
        let here = |leftover: &&Leftover| leftover.attachment.key.sandbox == *sandbox;
        for leftover in ledger.leftovers().filter(here) {
            self.clear_one(leftover, until).await?;
        }
        Ok(())
    }

    async fn clear_one(&self, leftover: &Leftover, until: Instant) -> Result<(), Failure> {
        let at = &leftover.attachment;
        self.host.probe_detach(at).await;
        let outcome = self.host.cni_del(at, until).await.outcome;
        self.record(match &outcome {
            Ok(()) => Fact::Cleared {
                key: at.key.clone(),
            },
            Err(failure) => Fact::LeftBehind(Leftover {
                failure: failure.clone(),
                attempts: leftover.attempts.saturating_add(1),
                ..leftover.clone()
            }),
        })
        .await;
        outcome
    }
}
