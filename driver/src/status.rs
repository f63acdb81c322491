//! Writes the status of claims: what is, on success and on failure.
//!
//! Owns `status.devices` of our driver in every claim that this node knows, as a function of the
//! ledger. It never runs inside a call of the kubelet or of the container runtime, and it never
//! writes a part: all our devices of a claim go in one server-side apply, so none is forgotten.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use k8s_openapi::jiff;
use kube::{
    Client,
    api::{Patch, PatchParams},
    core::{Request, request},
};
use netclaim_core::{
    claim::ClaimRef,
    diagnosis::node::{Noticed, dropped_fields},
    ledger::Ledger,
    name::{DriverName, NodeName},
    status::{self, DeviceStatus},
    time::Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

mod queue;

use self::queue::{Ending, Job, Queue};
use crate::{
    api::{ApiCounters, Outcome},
    claims, clock,
};

/// Applies under way at once: enough to hide the round trip, few enough to be polite.
const AT_ONCE: usize = 4;

/// Facts come in bursts, some per attach; their sum is written once.
const GATHER: Duration = Duration::from_millis(100);

/// The task's ends.
pub struct StatusWriter {
    /// The API server.
    pub client: Client,
    /// Whose devices, and the field manager.
    pub driver: DriverName,
    /// What is to be said.
    pub ledger: watch::Receiver<Arc<Ledger>>,
    /// Counts the requests.
    pub counters: Arc<ApiCounters>,
    /// Hears whether the server keeps what is said.
    pub noticed: watch::Sender<Noticed>,
    /// For the words about that.
    pub node: NodeName,
}

impl StatusWriter {
    /// Keeps the status of claims equal to the ledger until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut queue = Queue::default();
        let mut look = Some(Instant::now());
        let writer = Writer {
            client: self.client.clone(),
            driver: self.driver.clone(),
            counters: Arc::clone(&self.counters),
            noticed: self.noticed.clone(),
            node: self.node.clone(),
        };
        let mut under_way = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            if look.is_some_and(|look| look <= now) {
                look = None;
                let ledger = Arc::clone(&self.ledger.borrow_and_update());
                queue.want(wanted(&ledger, &self.driver), now);
            }
            while under_way.len() < AT_ONCE {
                let Some(job) = queue.next(now) else { break };
                under_way.push(writer.write(job));
            }
            let due = queue.due(now).into_iter().chain(look).min();
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.ledger.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    look.get_or_insert(Instant::now() + GATHER);
                }
                Some((job, ending)) = under_way.next() => {
                    queue.done(&job, ending, Instant::now());
                }
                () = clock::until(due) => {}
            }
        }
    }
}

/// All claims that the ledger speaks of, and what is to be said of each.
fn wanted(
    ledger: &Ledger,
    driver: &DriverName,
) -> impl Iterator<Item = (ClaimRef, Vec<DeviceStatus>)> {
    let prepared = ledger.claims().map(|claim| &claim.claim);
    let refused = ledger.refused().map(|refusal| &refusal.refused.claim);
    prepared.chain(refused).map(|claim| {
        let devices = status::devices(ledger, &claim.uid, driver);
        (claim.clone(), devices)
    })
}

/// Sends single applies.
struct Writer {
    client: Client,
    driver: DriverName,
    counters: Arc<ApiCounters>,
    noticed: watch::Sender<Noticed>,
    node: NodeName,
}

/// A claim as far as it matters here.
#[derive(Debug, Default, Deserialize)]
struct Seen {
    metadata: SeenMeta,
    #[serde(default)]
    status: SeenStatus,
}

#[derive(Debug, Default, Deserialize)]
struct SeenMeta {
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
struct SeenStatus {
    #[serde(default)]
    allocation: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    devices: Vec<serde::de::IgnoredAny>,
}

impl Writer {
    async fn write(&self, job: Job) -> (Job, Ending) {
        let object = format!("{}/{}", job.claim.namespace, job.claim.name);
        let answer = self.try_write(&job).await;
        let ending = match answer {
            Ok(ending) => {
                self.counters.statuses.succeeded();
                ending
            }
            Err(error) => match self.counters.statuses.failed(&object, &error) {
                Outcome::Missing => Ending::Gone,
                _ => Ending::Failed,
            },
        };
        (job, ending)
    }

    async fn try_write(&self, job: &Job) -> Result<Ending, kube::Error> {
        // The API server drops our entries itself when it deallocates the claim, and refuses
        // entries of devices that are not allocated.
        if job.last && !self.is_allocated(&job.claim).await? {
            return Ok(Ending::Gone);
        }
        let request = apply(job, &self.driver).map_err(kube::Error::BuildRequest)?;
        match self.client.request::<Seen>(request).await {
            Ok(kept) => {
                self.notice(job, &kept);
                Ok(Ending::Written)
            }
            // The UID is a precondition of the apply: the name may be another claim's by now.
            Err(error) if Outcome::of(&error) == Outcome::Conflict => {
                if self.is_same(&job.claim).await? {
                    Err(error)
                } else {
                    Ok(Ending::Gone)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Says, once until it changes, when a server drops what it accepted.
    fn notice(&self, job: &Job, kept: &Seen) {
        if job.devices.is_empty() {
            return;
        }
        let dropped = kept.status.devices.is_empty();
        let changed = self.noticed.send_if_modified(|noticed| {
            std::mem::replace(&mut noticed.no_device_status, dropped) != dropped
        });
        if changed && dropped {
            let finding = dropped_fields::device_status(&self.driver, &self.node);
            tracing::warn!("{}", finding.message);
        }
    }

    async fn is_allocated(&self, claim: &ClaimRef) -> Result<bool, kube::Error> {
        let seen = self.get(claim).await?;
        Ok(seen.metadata.uid == claim.uid.as_str() && seen.status.allocation.is_some())
    }

    async fn is_same(&self, claim: &ClaimRef) -> Result<bool, kube::Error> {
        Ok(self.get(claim).await?.metadata.uid == claim.uid.as_str())
    }

    async fn get(&self, claim: &ClaimRef) -> Result<Seen, kube::Error> {
        let request = Request::new(claims::folder(claim.namespace.as_str()))
            .get(claim.name.as_str(), &<_>::default());
        let request = request.map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }
}

/// Server-side apply of all our devices of a claim.
fn apply(job: &Job, driver: &DriverName) -> Result<http::Request<Vec<u8>>, request::Error> {
    let claim = &job.claim;
    let body = json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "namespace": claim.namespace,
            "name": claim.name,
            "uid": claim.uid,
        },
        "status": {"devices": job.devices.iter().map(entry).collect::<Vec<_>>()},
    });
    let params = PatchParams::apply(driver.as_str()).force();
    let name = claim.name.as_str();
    Request::new(claims::folder(claim.namespace.as_str())).patch_subresource(
        "status",
        name,
        &params,
        &Patch::Apply(&body),
    )
}

/// One entry of `status.devices`, times written out as the API wants them.
fn entry(device: &DeviceStatus) -> Value {
    let mut entry = json!(device);
    let conditions = entry["conditions"].as_array_mut().into_iter().flatten();
    for (written, condition) in conditions.zip(&device.conditions) {
        written["lastTransitionTime"] = Value::String(rfc3339(condition.last_transition_time));
    }
    entry
}

/// Whole seconds: all that `metav1.Time` keeps.
fn rfc3339(at: Timestamp) -> String {
    let seconds = i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds);
    time.unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests;
