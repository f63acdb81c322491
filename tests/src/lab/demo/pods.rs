//! The talk's pods, and each of their interfaces as everybody sees it.

use std::{cell::Cell, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::task::JoinSet;

use super::NODE;
use crate::{
    lab::{Lab, dashboard, forward::Forward, install::READER, network, program, wait},
    world::{
        check::{self, Row},
        place,
        scrape::Scrape,
        traffic::{self, Interface},
    },
};

/// As the talk's Deployment says.
const REPLICAS: usize = 15;

/// For what happens by itself within seconds, on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// Looks until there is no error any more, or too long.
pub(super) async fn until<T>(fact: &str, look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    wait::until(fact, LIMIT, look).await
}

/// The pods as the API server has them.
pub(super) struct Pods(Vec<Value>);

impl Pods {
    pub(super) async fn of(lab: &Lab) -> Result<Self> {
        let pods = lab
            .list(&["pods", "--selector=app=demo-application"])
            .await?;
        ensure!(pods.len() == REPLICAS, "{} pods are there", pods.len());
        Ok(Self(pods))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn are_placed(&self, node: &str) -> Result<()> {
        for pod in &self.0 {
            let (name, on) = (name(pod), &pod["spec"]["nodeName"]);
            ensure!(on == node, "{name} is on {on}, and only {node} has eth1");
        }
        Ok(())
    }

    /// Each pod pings the next, from inside its container.
    pub(super) async fn exchange(&self, lab: &Lab) -> Result<()> {
        self.each(lab, |next| format!("ping -c 3 -s 1000 {next}"))
            .await
    }

    /// Each pod pings the next for as long as it lives, some faster than others.
    pub(super) async fn talk(&self, lab: &Lab) -> Result<()> {
        let size = Cell::new(100);
        self.each(lab, |next| {
            size.set(size.get() + 90);
            let size = size.get();
            format!("ping -i 0.2 -s {size} {next} >/dev/null 2>&1 &")
        })
        .await
    }

    /// Runs in each pod what is to be done with the next one's address.
    async fn each(&self, lab: &Lab, script: impl Fn(&str) -> String) -> Result<()> {
        let addresses = until("every claim has an address", async || {
            let claims = lab.list(&["resourceclaims"]).await?;
            let addresses = self.0.iter().map(|pod| address(&claims, pod));
            addresses.collect::<Result<Vec<_>>>()
        })
        .await?;
        let mut scripts = JoinSet::new();
        for (index, pod) in self.0.iter().enumerate() {
            let script = script(&addresses[(index + 1) % addresses.len()]);
            let kubectl = lab.kubectl(&["exec", name(pod), "--", "sh", "-c", &script])?;
            scripts.spawn(program::finish(kubectl.into(), ""));
        }
        while let Some(done) = scripts.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Once dra-top shows for each claim what its driver says.
    pub(super) async fn are_shown(&self, lab: &Lab, forward: &Forward) -> Result<()> {
        until("dra-top shows what drivers say", async || {
            let shown = lab.shown(READER, &["interfaces"]).await?;
            dashboard::agree(&shown, &forward.snapshot().await?)
        })
        .await
    }

    /// The table of all interfaces once everybody agrees; an error that names who does not.
    pub(super) async fn settled(&self, lab: &Lab, forward: &Forward) -> Result<String> {
        until("everybody to agree", async || {
            let rows = self.rows(lab, forward).await?;
            let findings = check::findings(&rows, self.len());
            ensure!(
                findings.is_empty(),
                "{}\n{}",
                findings.join("\n"),
                check::table(&rows)
            );
            Ok(check::table(&rows))
        })
        .await
    }

    async fn rows(&self, lab: &Lab, forward: &Forward) -> Result<Vec<Row>> {
        let claims = lab.list(&["resourceclaims"]).await?;
        let scrape = place::visit(network::path(&lab.name, NODE), Scrape::here)?;
        let seen = (forward.snapshot().await?, scrape);
        let mut rows = Vec::new();
        for pod in &self.0 {
            let claim = claim(&claims, pod)?;
            let device = &claim["status"]["devices"][0];
            let kernel = kernel(lab, device)?;
            rows.push(Row::new(&seen, pod, name(claim), device, kernel));
        }
        Ok(rows)
    }
}

/// The interface as the kernel has it in the pod.
fn kernel(lab: &Lab, device: &Value) -> Result<Interface> {
    let path = device["data"]["interfaces"][0]["sandbox"].as_str();
    let path = path.context("a claim without a network namespace")?;
    // On the node, /var/run is a link to /run.
    let path = path.strip_prefix("/var").unwrap_or(path);
    let path: PathBuf = lab.path_on(NODE, path)?;
    place::visit(path, || traffic::here("net1"))
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn claim<'a>(claims: &'a [Value], pod: &Value) -> Result<&'a Value> {
    let wanted = &pod["status"]["resourceClaimStatuses"][0]["resourceClaimName"];
    let mut claims = claims.iter();
    let claim = claims.find(|claim| claim["metadata"]["name"] == *wanted);
    claim.with_context(|| format!("{} has no claim", name(pod)))
}

fn address(claims: &[Value], pod: &Value) -> Result<String> {
    let claim = claim(claims, pod)?;
    let address = claim["status"]["devices"][0]["networkData"]["ips"][0].as_str();
    let address = address.and_then(|address| address.split('/').next());
    let address = address.with_context(|| format!("claim {} has no address", name(claim)))?;
    Ok(address.to_owned())
}
