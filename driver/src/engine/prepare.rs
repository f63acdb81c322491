//! Promises a claim to the kubelet, and gives it back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use netclaim_core::{
    admission::{self, Admission},
    attachment::Phase,
    claim::{
        Allocated, ClaimRef, PreparedClaim,
        object::ClaimObject,
        parse::{self, Known},
    },
    fact::Fact,
    failure::{Cause, Failure, Step},
    inventory::Inventory,
    ledger::Held,
    name::ClaimUid,
};

use super::{Engine, UNDO_TIME, busy};
use crate::{
    claims::{self, ReadError},
    host::Host,
};

/// The kubelet waits longer than this for a Prepare, and tries again.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a Prepare waits for the container runtime to come back.
const NRI_PATIENCE: Duration = Duration::from_secs(10);

/// No pod may start while the runtime does not tell us of it.
#[derive(Debug, thiserror::Error)]
#[error(
    "netclaim is not connected to the container runtime's NRI, so the pod would start without its \
     interfaces: check that NRI is enabled and that its socket is the one of --nri-socket; the \
     kubelet tries again"
)]
struct Disconnected;

impl Cause for Disconnected {
    fn reason(&self) -> &'static str {
        "RuntimeDisconnected"
    }

    fn code(&self) -> &'static str {
        "runtime_disconnected"
    }
}

/// What a Prepare waits for may come after our end.
#[derive(Debug, thiserror::Error)]
#[error(
    "netclaim ends on this node, as it does for an update, while the claim waits; the kubelet tries \
     again, and the next instance answers"
)]
pub struct Leaving;

impl Cause for Leaving {
    fn reason(&self) -> &'static str {
        "DriverStopping"
    }

    fn code(&self) -> &'static str {
        "driver_stopping"
    }
}

impl<H: Host> Engine<H> {
    /// Promises the devices of a claim, or says in words why not.
    ///
    /// Repeating it gives the same answer, and takes nothing from a pod that runs; of a pod that does
    /// not, what was allocated otherwise is released first.
    pub async fn prepare(self: &Arc<Self>, claim: &ClaimRef) -> Result<Vec<Allocated>, Failure> {
        tokio::select! {
            prepared = self.read_and_prepare(claim) => prepared,
            // Not a fact: the next instance finds out what is wrong, if anything is.
            () = self.leaving.cancelled() => Err(Failure::new(Step::Prepare, &Leaving)),
        }
    }

    async fn read_and_prepare(
        self: &Arc<Self>,
        claim: &ClaimRef,
    ) -> Result<Vec<Allocated>, Failure> {
        let before = self.ledger().claim(&claim.uid).cloned();
        let read = claims::read(&self.sources.client, claim, PATIENCE).await;
        let object = match (read, &before) {
            (Ok(object), _) => Ok(object),
            // What was prepared stays so while the API server is away: a kubelet that starts
            // again asks for every claim of the node.
            (Err(ReadError::Unreachable { .. }), Some(before)) => return Ok(devices(before)),
            (Err(error), _) => Err(Failure::new(Step::Prepare, &error)),
        };
        let prepared = match &object {
            Ok(object) => self.prepare_for_kubelet(claim, object).await,
            Err(failure) => Err(failure.clone()),
        };
        if let (Err(failure), None) = (&prepared, before) {
            let object = object.as_ref().ok();
            let refused = parse::refused(object, claim, &self.rules.driver, failure.clone());
            self.record(Fact::Refused(refused)).await;
        }
        prepared
    }

    /// The pod starts next: the runtime must tell us of it, and what else it comes for be known.
    async fn prepare_for_kubelet(
        self: &Arc<Self>,
        claim: &ClaimRef,
        object: &ClaimObject,
    ) -> Result<Vec<Allocated>, Failure> {
        self.connected().await?;
        let served = parse::served(object, claim, &self.ledger());
        if let Ok(pod) = served {
            self.learn(&pod, PATIENCE).await?;
        }
        self.prepare_object(claim, object).await
    }

    pub(super) async fn prepare_object(
        self: &Arc<Self>,
        claim: &ClaimRef,
        object: &ClaimObject,
    ) -> Result<Vec<Allocated>, Failure> {
        self.prepare_with(&self.inventory_now(), claim, object)
            .await
    }

    pub(super) async fn prepare_with(
        self: &Arc<Self>,
        inventory: &Inventory,
        claim: &ClaimRef,
        object: &ClaimObject,
    ) -> Result<Vec<Allocated>, Failure> {
        // One at a time: what one claim takes, the next must see.
        let mut turn = self.preparing.lock().await;
        let ledger = self.ledger();
        if let (false, Some(before)) = (turn.is_news(object, &ledger), ledger.claim(&claim.uid)) {
            return Ok(devices(before));
        }
        let (mut prepared, mut admission) = self.admit_again(inventory, claim, object)?;
        if admission == Admission::Replace {
            // Others need not wait for plugins.
            drop(turn);
            let until = Instant::now() + UNDO_TIME;
            self.release(&claim.uid, until).await?;
            turn = self.preparing.lock().await;
            (prepared, admission) = self.admit_again(inventory, claim, object)?;
        }
        let devices = devices(&prepared);
        if admission != Admission::Same {
            self.promise(Fact::Prepared(prepared)).await?;
        }
        self.tell_waiting(object).await?;
        drop(turn);
        Ok(devices)
    }

    async fn connected(&self) -> Result<(), Failure> {
        let (mut nri, mut synchronized) = (self.sources.nri.clone(), self.synchronized.subscribe());
        let connected = async {
            synchronized.wait_for(|synchronized| *synchronized).await?;
            nri.wait_for(|state| state.connected).await.map(drop)
        };
        match tokio::time::timeout(NRI_PATIENCE, connected).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Failure::new(Step::Prepare, &Disconnected)),
        }
    }

    /// Like [`Self::admit`], but for what a pod runs with: that stays as it was promised, whatever
    /// this node makes of its claim by now, and the kubelet hears what it heard before.
    fn admit_again(
        &self,
        inventory: &Inventory,
        claim: &ClaimRef,
        object: &ClaimObject,
    ) -> Result<(PreparedClaim, Admission), Failure> {
        let admitted = self.admit(inventory, claim, object);
        let Some(promised) = self.running(claim, object) else {
            return admitted;
        };
        let pod = &promised.pod;
        match &admitted {
            Ok((_, Admission::New | Admission::Same)) => return admitted,
            Ok((_, Admission::Renew)) => {
                tracing::warn!(
                    %claim, %pod, "the node has changed what it makes of the claim: what the pod \
                     has stays, the next sandbox gets it otherwise"
                );
                return admitted;
            }
            Ok((_, Admission::Replace)) => tracing::warn!(
                %claim, %pod, "other devices or names than the pod runs with are allocated: what \
                 it has stays; delete the pod to have them"
            ),
            Err(failure) => tracing::warn!(
                %claim, %pod, reason = %failure.reason, "what the pod runs with stays, and the \
                 next pod will be refused: {}", failure.message
            ),
        }
        Ok((promised, Admission::Same))
    }

    /// What the pod that a claim is still for was promised, if it has it in a sandbox that lives.
    fn running(&self, claim: &ClaimRef, object: &ClaimObject) -> Option<PreparedClaim> {
        let ledger = self.ledger();
        let promised = ledger.claim(&claim.uid)?;
        let served = parse::served(object, claim, &ledger).ok()?;
        let lives = |held: &Held| {
            let at = &held.attachment;
            at.pod == served
                && !matches!(held.phase, Phase::Detaching { .. })
                && self.host.has_netns(&at.netns)
        };
        let runs = served == promised.pod && ledger.attachments_of(&claim.uid).any(lives);
        runs.then(|| promised.clone())
    }

    pub(super) fn admit(
        &self,
        inventory: &Inventory,
        claim: &ClaimRef,
        object: &ClaimObject,
    ) -> Result<(PreparedClaim, Admission), Failure> {
        let ledger = self.ledger();
        let known = Known {
            driver: &self.rules.driver,
            inventory,
            ledger: &ledger,
            policy: &self.rules.policy,
        };
        let admitted = parse::prepare(object, claim, &known).and_then(|prepared| {
            let admission = admission::admit(&ledger, inventory, &prepared)?;
            Ok((prepared, admission))
        });
        admitted.map_err(|refusal| Failure::new(Step::Prepare, &*refusal))
    }

    /// Gives a claim back: what is still attached is taken out first, what cannot be is kept as a
    /// leftover. Needs no API server, and succeeds for a claim that nobody knows.
    ///
    /// A DEL that hangs goes on in its own time. Where none could begin, because the pod is busy all
    /// the time, the claim stays, and the kubelet tries again.
    pub async fn unprepare(self: &Arc<Self>, claim: &ClaimUid) -> Result<(), Failure> {
        let ledger = self.ledger();
        if ledger.claim(claim).is_none() && ledger.refusal(claim).is_none() {
            return Ok(());
        }
        self.give_back(claim, Instant::now() + UNDO_TIME).await
    }

    pub(super) async fn give_back(
        self: &Arc<Self>,
        claim: &ClaimUid,
        until: Instant,
    ) -> Result<(), Failure> {
        self.release(claim, until).await?;
        self.promise(Fact::Unprepared {
            claim: claim.clone(),
        })
        .await
    }

    /// Takes out whatever a claim still has in pods; fails where that cannot begin by `until`. What
    /// is not done by then goes on before anything else happens to the pod.
    async fn release(self: &Arc<Self>, claim: &ClaimUid, until: Instant) -> Result<(), Failure> {
        let plan = self.ledger().plan_release(claim);
        let Some(first) = plan.first() else {
            return Ok(());
        };
        let lock = self.pods.lock(&first.pod.uid, until).await;
        let lock = lock.ok_or_else(|| busy(&first.pod))?;
        let plan = self.ledger().plan_release(claim);
        self.undo_until(lock, plan, until).await;
        Ok(())
    }
}

fn devices(prepared: &PreparedClaim) -> Vec<Allocated> {
    prepared
        .devices
        .iter()
        .map(|device| device.allocated.clone())
        .collect()
}
