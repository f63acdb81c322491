//! The suite on a real cluster: brings a lab of its own up, installs the driver as users do, plays
//! the scenarios one after another, and says what came of each.
//!
//! Owns the order, the deadline and the verdict. What a scenario broke is its own failure: the next
//! one begins on a cluster that is as it was, made anew where it is not.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::timeout;

use self::report::{Outcome, Verdict};
use super::{
    Lab, install,
    lifecycle::interruption,
    runtime::Runtimes,
    scenarios::{self, Scenario, Skip, Stage},
    topology::{ExtraLink, Topology},
};
use crate::demo::steps::say;

pub(super) mod ground;
mod report;

/// More network cards than the talk has, each in a LAN of its own: what two nodes hand out of one
/// subnet must not meet.
const LINKS: &[&str] = &[
    "kind-worker:eth2:br2",
    "kind-worker2:eth1:br3",
    "kind-worker2:eth2:br4",
];

/// Kubelets try again after this many seconds what they otherwise leave for a minute.
const SYNC_SECONDS: u16 = 10;

/// A scenario that takes longer hangs.
const DEADLINE: Duration = Duration::from_mins(10);

/// How to play the suite.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only the scenarios whose name contains this.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Stop at the first failure, and leave the cluster up.
    #[arg(long)]
    keep: bool,
    /// What runs the pods.
    #[arg(long, value_enum, default_value_t = Runtimes::Mixed)]
    runtime: Runtimes,
    /// Do not let nodes read every claim, which works round a race in the Node authorizer.
    #[arg(long)]
    without_claim_grant: bool,
    /// Print the scenarios' names, and end.
    #[arg(long)]
    list: bool,
    /// The driver's image, as an OCI archive; `cargo xtask cluster` builds it.
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    image: Option<PathBuf>,
}

/// Plays the chosen scenarios beside the lab of this name; fails if one of them does.
pub async fn run(lab: &Lab, options: &Options) -> Result<()> {
    let chosen: Vec<_> = scenarios::all()
        .filter(|scenario| options.chooses(scenario))
        .collect();
    ensure!(
        !chosen.is_empty(),
        "no scenario is called so; `cargo xtask cluster check --list` names them"
    );
    if options.list {
        return chosen.iter().try_for_each(|scenario| say(scenario.name));
    }
    let suite = Suite {
        lab: lab.beside("check")?,
        options,
    };
    let outcomes = tokio::select! {
        outcomes = suite.play(&chosen) => outcomes,
        interrupted = interruption() => interrupted.and_then(|()| bail!("interrupted")),
    };
    suite.end(outcomes).await
}

impl Options {
    fn chooses(&self, scenario: &Scenario) -> bool {
        let wanted = |word: &String| scenario.name.contains(word.as_str());
        self.only.as_ref().is_none_or(wanted)
    }
}

struct Suite<'a> {
    lab: Lab,
    options: &'a Options,
}

impl Suite<'_> {
    async fn play(&self, chosen: &[Scenario]) -> Result<Vec<Outcome>> {
        self.raise().await?;
        let mut outcomes = Vec::new();
        for (number, scenario) in (1..).zip(chosen) {
            let outcome = self.play_one(number, scenario).await;
            say(&outcome.line())?;
            let failed = matches!(outcome.verdict, Verdict::Failed(_));
            outcomes.push(outcome);
            if failed && self.options.keep {
                break;
            }
            if failed && number < chosen.len() {
                self.raise().await?;
            }
        }
        Ok(outcomes)
    }

    /// A cluster with the driver on it, made anew.
    async fn raise(&self) -> Result<()> {
        let begun = Instant::now();
        let lab = &self.lab;
        lab.down().await?;
        let mut topology = Topology::of_the_talk(3).map_err(anyhow::Error::msg)?;
        for link in LINKS {
            let link: ExtraLink = link.parse().map_err(anyhow::Error::msg)?;
            topology.plug(link).map_err(anyhow::Error::msg)?;
        }
        topology.equip(self.options.runtime);
        topology.claim_grant = !self.options.without_claim_grant;
        topology.sync_seconds = SYNC_SECONDS;
        lab.up(&topology, self.options.keep).await?;
        let image = self.options.image.as_ref().context("no image")?;
        lab.load(image).await?;
        lab.install(install::BOOT_ID).await?;
        ground::is_level(lab).await?;
        let seconds = begun.elapsed().as_secs_f64();
        say(&format!("  three nodes, driver installed: {seconds:.0} s"))
    }

    async fn play_one(&self, number: usize, scenario: &Scenario) -> Outcome {
        let begun = Instant::now();
        let namespace = format!("check-{number}");
        let played = self.act(&namespace, scenario).await;
        let verdict = match played {
            Ok(()) => Verdict::Passed,
            Err(error) => match error.downcast::<Skip>() {
                Ok(skip) => Verdict::Skipped(skip.to_string()),
                Err(error) => Verdict::Failed(format!("{error:#}")),
            },
        };
        Outcome {
            name: scenario.name,
            verdict,
            took: begun.elapsed(),
        }
    }

    /// The scenario, and what it leaves; the cluster's words where it fails.
    async fn act(&self, namespace: &str, scenario: &Scenario) -> Result<()> {
        let stage = Stage::open(&self.lab, namespace.to_owned()).await?;
        let played = timeout(DEADLINE, (scenario.play)(&stage)).await;
        let played = played.unwrap_or_else(|_| {
            bail!("it takes longer than {} s", DEADLINE.as_secs());
        });
        if let Err(error) = &played
            && !error.is::<Skip>()
        {
            self.testify(&stage).await?;
            return played;
        }
        let left = async {
            stage.close().await?;
            ground::is_level(&self.lab).await
        };
        if let Err(error) = left.await {
            self.testify(&stage).await?;
            return Err(error.context("what it left"));
        }
        played
    }

    async fn testify(&self, stage: &Stage<'_>) -> Result<()> {
        say(&self.lab.testimony().await)?;
        let claims = ["get", "resourceclaims,pods", "--output=yaml"];
        let claims = stage.kubectl(&claims).await;
        say(&claims.unwrap_or_else(|error| format!("{error:#}")))?;
        for node in &self.lab.topology()?.nodes {
            say(&format!("dra-top on {}", node.name))?;
            if let Err(error) = self.lab.show(&node.name).await {
                say(&format!("{error:#}"))?;
            }
        }
        Ok(())
    }

    /// Says what came of all, and takes the lab down.
    async fn end(&self, outcomes: Result<Vec<Outcome>>) -> Result<()> {
        let down = if self.options.keep {
            say(&format!(
                "the cluster stays up: NETCLAIM_LAB={} cargo xtask cluster kubectl get pods -A",
                self.lab.name
            ))
        } else {
            self.lab.down().await
        };
        let failed = report::tell(&outcomes?)?;
        down?;
        ensure!(failed == 0, "{failed} failed");
        Ok(())
    }
}
