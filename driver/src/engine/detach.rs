//! Takes interfaces out of a sandbox again, newest first, and keeps what cannot be taken out.

use std::{sync::Arc, time::Instant};

use netclaim_core::{
    attachment::{Attachment, Key, Leftover, PodSandbox},
    counters::Counters,
    fact::Fact,
    ledger::{Held, Ledger},
};
use tokio::sync::OwnedMutexGuard;

use super::{Engine, UNDO_TIME, in_time};
use crate::{
    clock,
    host::{Host, Tried},
};

impl<H: Host> Engine<H> {
    /// Takes whatever we put into the sandbox out again.
    ///
    /// Answers by `until` at the latest; what is not done by then goes on in its own time.
    pub async fn detach(self: &Arc<Self>, sandbox: &PodSandbox, until: Instant) {
        self.with_sandboxes(|known| known.remove(&sandbox.id));
        if self.ledger().plan_detach(&sandbox.id).is_empty() {
            return;
        }
        let engine = Arc::clone(self);
        let sandbox = sandbox.clone();
        let detaching = tokio::spawn(async move {
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
        let undoing = tokio::spawn(async move {
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
        let base = base(&self.ledger(), &key);
        self.record(Fact::Detaching { key: key.clone() }).await;
        let counted = self.host.probe_detach(at).await;
        let last = counted.map(|counted| counted.plus(&base));
        let Tried { outcome, timings } = self.host.cni_del(at, Instant::now() + UNDO_TIME).await;
        let over = match outcome {
            Ok(()) => Fact::Detached { key, last, timings },
            Err(failure) => Fact::LeftBehind(Leftover {
                attachment: at.clone(),
                failure,
                attempts: 1,
                since: clock::now(),
            }),
        };
        self.record(over).await;
    }

    /// Tries a leftover once more.
    pub(super) async fn clear(&self, leftover: &Leftover) {
        let _lock = self.pods.wait(&leftover.attachment.pod.uid).await;
        self.host.probe_detach(&leftover.attachment).await;
        let deadline = Instant::now() + UNDO_TIME;
        let tried = match self
            .host
            .cni_del(&leftover.attachment, deadline)
            .await
            .outcome
        {
            Ok(()) => Fact::Cleared {
                key: leftover.attachment.key.clone(),
            },
            Err(failure) => {
                let attempts = leftover.attempts.saturating_add(1);
                Fact::LeftBehind(Leftover {
                    failure,
                    attempts,
                    ..leftover.clone()
                })
            }
        };
        self.record(tried).await;
    }
}

/// What had passed before the probe was there.
fn base(ledger: &Ledger, key: &Key) -> Counters {
    ledger.held(key).and_then(Held::base).unwrap_or_default()
}
