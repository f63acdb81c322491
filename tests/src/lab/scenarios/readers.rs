//! Who reads why a pod has no interface: the claim's condition, the pod's Events, the kubelet, the
//! driver's log, `/metrics` and dra-top.
//!
//! Owns what "the same words everywhere" means. It asks each where its readers look.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Stage;
use crate::{
    lab::install::NAMESPACE,
    world::{driver::OBSERVE_SOCKET, scrape::Scrape},
};

/// A cause by its names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    /// The condition that says so.
    pub condition: &'static str,
    /// Reason of the condition and of the Event.
    pub reason: &'static str,
    /// What failed: a label of the metric.
    pub step: &'static str,
    /// Why: another one.
    pub code: &'static str,
}

/// Everybody who reads, and what was counted when they began to.
#[derive(Debug)]
pub(super) struct Readers<'a> {
    stage: &'a Stage<'a>,
    before: BTreeMap<&'static str, Scrape>,
}

impl<'a> Readers<'a> {
    /// From here on they read.
    pub(super) fn of(stage: &'a Stage<'a>) -> Result<Self> {
        let before = Stage::WORKERS.map(|node| Ok((node, stage.metrics(node)?)));
        let before = before.into_iter().collect::<Result<_>>()?;
        Ok(Self { stage, before })
    }

    /// Waits until all of them have read of this cause for a pod, in one wording that holds
    /// `words`.
    pub(super) async fn agree(&self, pod: &str, cause: Cause, words: &[&str]) -> Result<()> {
        let fact = format!("{} of {pod} to be said everywhere", cause.reason);
        self.stage
            .until(&fact, async || self.read(pod, cause, words).await)
            .await
    }

    async fn read(&self, pod: &str, cause: Cause, words: &[&str]) -> Result<()> {
        let claim = self.stage.claim_of(pod).await?;
        let said = condition(&claim, cause)?;
        for word in words {
            ensure!(said.contains(word), "{said:?} does not say {word:?}");
        }
        let events = self.stage.events(pod).await?;
        let own = format!("{}: {said}", cause.reason);
        ensure!(events.contains(&own), "no Event {own:?} in {events:?}");
        let kubelets = |event: &&String| event.starts_with("Failed") && event.contains(&said);
        let kubelet = events.iter().find(kubelets);
        ensure!(kubelet.is_some(), "the kubelet says {events:?}");

        let node = self.stage.pod(pod).await?.node;
        self.metric(&node, cause)?;
        ensure!(
            self.log(&node).await?.contains(&said),
            "the log of the driver on {node} does not say {said:?}"
        );
        let shown = self.dra_top(&node).await?;
        let is_it = |row: &&Value| {
            row["namespace"] == *self.stage.namespace && row["claim"] == claim["metadata"]["name"]
        };
        let row = shown.iter().find(is_it);
        let row = row.with_context(|| format!("dra-top shows {shown:?}"))?;
        let reason = row["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains(&said), "dra-top shows {row}");
        Ok(())
    }

    fn metric(&self, node: &str, cause: Cause) -> Result<()> {
        let labels = [("step", cause.step), ("code", cause.code)];
        let counted = |scrape: &Scrape| scrape.value("netclaim_failures_total", &labels);
        let before = self.before.get(node).and_then(counted).unwrap_or_default();
        let after = counted(&self.stage.metrics(node)?).unwrap_or_default();
        ensure!(
            after > before,
            "netclaim_failures_total{labels:?} on {node} is {after}, and was {before}"
        );
        Ok(())
    }

    async fn log(&self, node: &str) -> Result<String> {
        let lab = self.stage.lab;
        let driver = lab.pod_of(NAMESPACE, "driver", node).await?;
        lab.ask(&["logs", "--namespace", NAMESPACE, &driver]).await
    }

    /// The claims, as a script gets them from the API server and a node.
    async fn dra_top(&self, node: &str) -> Result<Vec<Value>> {
        let lab = self.stage.lab;
        let socket = lab.path_on(node, OBSERVE_SOCKET)?;
        let node = format!("--node=unix:{}", socket.display());
        lab.shown("admin", &["claims", &node]).await
    }
}

/// What a claim's condition says of a cause.
fn condition(claim: &Value, cause: Cause) -> Result<String> {
    let conditions = claim["status"]["devices"][0]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| {
        condition["type"] == cause.condition && condition["reason"] == cause.reason
    });
    let said = found.and_then(|condition| condition["message"].as_str());
    said.map(str::to_owned)
        .with_context(|| format!("the claim says {}", claim["status"]))
}
