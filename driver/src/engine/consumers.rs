//! Serves one of the pods that come for a claim, and tells the others.
//!
//! The kubelet prepares a claim once, not once for each pod: who else comes for it stands in the
//! claim's `status.reservedFor`, and no event of the kubelet or of the runtime tells. It never takes
//! a claim from the pod that has it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use netclaim_core::{
    admission,
    attachment::PodSandbox,
    claim::{ClaimRef, PodRef, object::ClaimObject},
    fact::{Fact, Refused},
    failure::{Failure, Step},
    ledger::Ledger,
    name::{ClaimUid, PodUid, SandboxId},
};

use super::{Announced, Engine};
use crate::{claims, host::Host};

/// What of an answer's time the API server gets: with the runtime's usual 2 s, nearly a second is
/// left to the plugins.
const ASK_TIME: Duration = Duration::from_millis(500);

/// The newest look at each claim. Older ones, which come late, say nothing any more.
#[derive(Debug, Default)]
pub(super) struct Seen(pub(super) BTreeMap<ClaimUid, u64>);

impl Seen {
    /// Whether no newer look at this claim was taken in; from here on, none that is older is, while
    /// the claim is in the ledger.
    pub(super) fn is_news(&mut self, object: &ClaimObject, ledger: &Ledger) -> bool {
        self.0.retain(|claim, _| ledger.claim(claim).is_some());
        let newest = self.0.entry(object.metadata.uid.clone()).or_default();
        let is_news = object.version() >= *newest;
        *newest = object.version().max(*newest);
        is_news
    }
}

impl<H: Host> Engine<H> {
    /// Takes in how the API server has a prepared claim: who waits for it, and whom it serves next,
    /// once the one before has given it up and nothing of it is left there.
    pub async fn reserved(self: &Arc<Self>, object: &ClaimObject) -> Result<(), Failure> {
        let news = self.take_in(object).await?;
        self.attach_found(|pod| news.contains(pod));
        Ok(())
    }

    /// The same; returns the pods for which something has changed.
    async fn take_in(&self, object: &ClaimObject) -> Result<Vec<PodUid>, Failure> {
        let claim = object.claim();
        let mut turn = self.preparing.lock().await;
        let ledger = self.ledger();
        if ledger.claim(&claim.uid).is_none() || !turn.is_news(object, &ledger) {
            return Ok(Vec::new());
        }
        let mut news = self.tell_waiting(object).await?;
        let pods: Vec<PodRef> = object.pods().collect();
        let ledger = self.ledger();
        let before = ledger.claim(&claim.uid);
        if before.is_some_and(|before| admission::is_free(&ledger, before, &pods)) {
            let (next, _) = self.admit(&self.inventory_now(), &claim, object)?;
            news.push(next.pod.uid.clone());
            self.promise(Fact::Prepared(next)).await?;
        }
        Ok(news)
    }

    /// Says who waits for a prepared claim, if that has changed; returns those who are new. Only
    /// while nothing else is prepared.
    pub(super) async fn tell_waiting(&self, object: &ClaimObject) -> Result<Vec<PodUid>, Failure> {
        let ledger = self.ledger();
        let claim = &object.metadata.uid;
        let Some(served) = ledger.claim(claim).map(|claim| &claim.pod) else {
            return Ok(Vec::new());
        };
        let others = object.pods().filter(|pod| pod.uid != served.uid);
        let pods: Vec<PodRef> = others.collect();
        let before = ledger.waiting(claim);
        let before = before.map_or(&[][..], |waiting| &waiting.pods);
        if pods == before {
            return Ok(Vec::new());
        }
        let new = pods.iter().filter(|pod| !before.contains(pod));
        let new = new.map(|pod| pod.uid.clone()).collect();
        let claim = claim.clone();
        self.promise(Fact::Waiting { claim, pods }).await?;
        Ok(new)
    }

    /// Whether a sandbox has all that its pod has come for, as far as anybody can know.
    pub(super) fn wants_nothing(&self, sandbox: &PodSandbox) -> bool {
        let ledger = self.ledger();
        let pod = &sandbox.pod;
        ledger.is_complete(sandbox)
            && ledger.awaited_by(&pod.uid).next().is_none()
            && (self.is_known(sandbox) || ledger.may_await(pod).next().is_none())
    }

    /// Makes sure that the pod of a starting sandbox has come for no claim that serves another.
    ///
    /// About a pod that has claims of its own this was found out when they were prepared. About
    /// one that has none the API server is asked, if such a claim is in the pod's namespace; while
    /// it does not answer the pod does not start, because it might start bare.
    pub(super) async fn settle(
        self: &Arc<Self>,
        sandbox: &PodSandbox,
        until: Instant,
    ) -> Result<(), Failure> {
        let pod = &sandbox.pod;
        let until = until.min(Instant::now() + ASK_TIME);
        let ledger = self.ledger();
        let awaited: Vec<ClaimRef> = ledger
            .awaited_by(&pod.uid)
            .map(|claim| claim.claim.clone())
            .collect();
        let learned = if awaited.is_empty() && !self.is_known(sandbox) {
            self.learn(pod, left(until)).await
        } else {
            self.look_again(pod, &awaited, until).await
        };
        let ledger = self.ledger();
        let awaited = ledger.awaited_by(&pod.uid).next();
        let failure = match (learned, awaited) {
            (Ok(()), None) => {
                self.asked(sandbox);
                return Ok(());
            }
            (Ok(()), Some(claim)) => Failure::new(Step::Plan, &admission::in_use(claim)),
            (Err(failure), _) => failure,
        };
        if let Some(claim) = awaited.or_else(|| ledger.may_await(pod).next()) {
            let refused = Refused::to(pod, claim, failure.clone());
            self.record(Fact::Refused(refused)).await;
        }
        Err(failure)
    }

    /// Asks the API server which claims of others a pod has come for, if there are any in its
    /// namespace that it may have come for without our being told.
    pub(super) async fn learn(
        self: &Arc<Self>,
        pod: &PodRef,
        within: Duration,
    ) -> Result<(), Failure> {
        let until = Instant::now() + within;
        let ledger = self.ledger();
        if ledger.may_await(pod).next().is_none() {
            return Ok(());
        }
        let used = claims::pod::claims_of(&self.sources.client, pod, within).await;
        let used = used.map_err(|error| Failure::new(Step::Plan, &error))?;
        let others = ledger.claims().filter(|claim| {
            claim.claim.namespace == pod.namespace
                && claim.pod.uid != pod.uid
                && used.contains(claim.claim.name.as_str())
        });
        for claim in others {
            let object = claims::read(&self.sources.client, &claim.claim, left(until)).await;
            let object = object.map_err(|error| Failure::new(Step::Plan, &error))?;
            self.take_in_for(pod, &object).await?;
        }
        Ok(())
    }

    /// Looks whether claims that a pod waits for are free. While the API server does not say so,
    /// they are not.
    async fn look_again(
        self: &Arc<Self>,
        pod: &PodRef,
        awaited: &[ClaimRef],
        until: Instant,
    ) -> Result<(), Failure> {
        for claim in awaited {
            if let Ok(object) = claims::read(&self.sources.client, claim, left(until)).await {
                self.take_in_for(pod, &object).await?;
            }
        }
        Ok(())
    }

    /// Takes in a claim on behalf of a pod that is being attached already.
    async fn take_in_for(
        self: &Arc<Self>,
        pod: &PodRef,
        object: &ClaimObject,
    ) -> Result<(), Failure> {
        let news = self.take_in(object).await?;
        self.attach_found(|other| *other != pod.uid && news.contains(other));
        Ok(())
    }

    /// Whether it was found out which claims of others the pod has come for.
    fn is_known(&self, sandbox: &PodSandbox) -> bool {
        let has_own = self.ledger().claims_of(&sandbox.pod.uid).next().is_some();
        let is_asked = |known: &mut BTreeMap<SandboxId, Announced>| {
            known.get(&sandbox.id).is_some_and(|known| known.asked)
        };
        has_own || self.with_sandboxes(is_asked)
    }

    fn asked(&self, sandbox: &PodSandbox) {
        self.with_sandboxes(|known| {
            if let Some(known) = known.get_mut(&sandbox.id) {
                known.asked = true;
            }
        });
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
