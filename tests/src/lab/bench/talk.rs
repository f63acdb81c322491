//! The talk's fifteen pods, with and without their claims, side by side.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::NODE;
use crate::{
    bench::{figure::Figure, quantile::median},
    lab::{
        Lab,
        demo::{DEPLOYMENT, ROLLED_OUT},
        network, wait,
    },
    world::{place, scrape::Scrape, talk},
};

/// How often each side is rolled out.
const TIMES: usize = 5;

const PATIENCE: Duration = Duration::from_mins(2);

/// The talk on a lab.
pub(super) struct Talk<'a> {
    lab: &'a Lab,
}

impl<'a> Talk<'a> {
    pub(super) fn new(lab: &'a Lab) -> Self {
        Self { lab }
    }

    /// What claims add to the start of the pods, and what of that is ours.
    pub(super) async fn measure(&self) -> Result<Vec<Figure>> {
        for manifest in [talk::CLASS, talk::TEMPLATE] {
            self.lab.apply(manifest).await?;
        }
        let claiming = deployment()?;
        let bare = without_claims(claiming.clone()).to_string();
        let claiming = claiming.to_string();
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            without.push(self.roll_out(&bare).await?);
            with.push(self.roll_out(&claiming).await?);
        }
        let (with, without) = (median(&with), median(&without));
        let scraped = place::visit(network::path(&self.lab.name, NODE), Scrape::here)?;
        let part = |part| half(&scraped, part).map(|seconds| seconds * 1e3);
        Ok(vec![
            Figure::new("the talk's 15 pods, with claims over without", with / without, "×")
                .bar(1.15)
                .how(format!(
                    "kubectl apply until all are Ready, on kind-worker, median of {TIMES} each, in turns"
                )),
            Figure::new("  with claims", with, "s"),
            Figure::new("  without", without, "s"),
            Figure::new("driver's part of RunPodSandbox, p50", part("driver")?, "ms")
                .bar(3.0)
                .how("netclaim_attach_duration_seconds{part=\"driver\"} of kind-worker, all of the above"),
            Figure::new("  the plugins' part, p50", part("plugins")?, "ms"),
        ])
    }

    /// How long it takes until all pods are Ready; then they are taken away.
    async fn roll_out(&self, deployment: &str) -> Result<f64> {
        let lab = self.lab;
        let begun = Instant::now();
        lab.apply(deployment).await?;
        lab.ask(&ROLLED_OUT).await?;
        let took = begun.elapsed().as_secs_f64();
        lab.ask(&["delete", DEPLOYMENT]).await?;
        wait::until(
            "the pods and their claims to be gone",
            PATIENCE,
            async || {
                let left = lab.list(&["pods,resourceclaims"]).await?;
                ensure!(left.is_empty(), "{} are left", left.len());
                Ok(())
            },
        )
        .await?;
        Ok(took)
    }
}

/// The talk's Deployment. Its containers ignore that they are asked to end.
fn deployment() -> Result<Value> {
    let mut deployment: Value = serde_saphyr::from_str(talk::DEPLOYMENT)?;
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
    Ok(deployment)
}

/// The same without claims, on the node where those with claims are.
fn without_claims(mut deployment: Value) -> Value {
    let spec = &mut deployment["spec"]["template"]["spec"];
    spec["resourceClaims"] = Value::Null;
    spec["containers"][0]["resources"] = Value::Null;
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": NODE});
    deployment
}

/// What half of the attaches do not exceed, as Prometheus' `histogram_quantile` has it: within a
/// bucket, they are taken as spread evenly.
fn half(scraped: &Scrape, part: &str) -> Result<f64> {
    let labels = [("part", part)];
    let buckets = scraped.all("netclaim_attach_duration_seconds_bucket", &labels);
    let mut buckets = buckets
        .map(|sample| {
            let edge = sample
                .labels
                .get("le")
                .context("a bucket without an edge")?;
            Ok((edge.parse::<f64>()?, sample.value))
        })
        .collect::<Result<Vec<_>>>()?;
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    let all = buckets.last().context("nothing was attached")?.1;
    let mut below = (0.0, 0.0);
    for (edge, count) in buckets {
        if count >= all / 2.0 {
            let share = (all / 2.0 - below.1) / (count - below.1);
            return Ok(below.0 + (edge - below.0) * share);
        }
        below = (edge, count);
    }
    anyhow::bail!("{all} attaches, and no bucket has half of them")
}
