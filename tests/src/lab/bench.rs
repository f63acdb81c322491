//! What netclaim costs on a real cluster, in figures with a bar each.
//!
//! Owns the order of things on one lab that is made for it. It must never leave a missed bar out,
//! nor call one met that is not.

use std::{path::PathBuf, time::Instant};

use anyhow::{Result, bail};

use self::talk::Talk;
use super::{
    Lab,
    check::ground,
    install,
    lifecycle::interruption,
    runtime::Runtimes,
    scenarios::{Stage, churn},
    topology::Topology,
};
use crate::bench::{figure::Figure, quantile::median, table};

mod talk;

/// The only node with eth1.
const NODE: &str = "kind-worker";

const LEVEL: &str = "interfaces, leases, pins, namespaces, claims; a pod that fails ends it all";

/// How often is measured what a cluster takes for once.
const TIMES: usize = 3;

/// How to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Also write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The driver's image, as an OCI archive; `cargo xtask bench cluster` builds it.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
}

/// Measures and prints; a missed bar is no failure, a row that cannot be measured is.
pub async fn run(lab: &Lab, options: &Options) -> Result<()> {
    let lab = lab.beside("bench")?;
    let measured = tokio::select! {
        measured = measure(&lab, options) => measured,
        interrupted = interruption() => interrupted.and_then(|()| bail!("interrupted")),
    };
    let down = lab.down().await;
    let figures = measured?;
    down?;
    table::tell(&figures, options.json.as_deref())
}

async fn measure(lab: &Lab, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = vec![up(lab).await?];
    lab.load(&options.image).await?;
    figures.push(installed(lab).await?);
    figures.extend(Talk::new(lab).measure().await?);
    figures.extend(churned(lab).await?);
    let relay = lab.memory(NODE, &["netclaim", "relay"], "RssAnon")?;
    figures.push(
        Figure::mebibytes("relay, its own memory (RssAnon)", relay)
            .bar(3.0)
            .how("/proc/PID/status of the relay of kind-worker, after all of the above"),
    );
    Ok(figures)
}

async fn up(lab: &Lab) -> Result<Figure> {
    let mut topology = Topology::of_the_talk(3).map_err(anyhow::Error::msg)?;
    topology.equip(Runtimes::Containerd2);
    let mut took = Vec::new();
    for _ in 0..TIMES {
        lab.down().await?;
        let begun = Instant::now();
        lab.up(&topology, false).await?;
        took.push(begun.elapsed().as_secs_f64());
    }
    Ok(Figure::new("cluster up, warm", median(&took), "s")
        .bar(12.0)
        .how(format!(
            "three nodes until all are Ready, median of {TIMES}"
        )))
}

async fn installed(lab: &Lab) -> Result<Figure> {
    let mut took = Vec::new();
    for time in 1..=TIMES {
        let begun = Instant::now();
        lab.install(install::BOOT_ID).await?;
        ground::is_level(lab).await?;
        took.push(begun.elapsed().as_secs_f64());
        if time < TIMES {
            lab.uninstall().await?;
        }
    }
    Ok(Figure::new(
        "helm install, drivers Ready and slices there",
        median(&took),
        "s",
    )
    .bar(10.0)
    .how(format!(
        "three nodes, the image loaded before, median of {TIMES}"
    )))
}

async fn churned(lab: &Lab) -> Result<Vec<Figure>> {
    let stage = Stage::open(lab, "churn".to_owned()).await?;
    let rounds = churn::rounds(&stage, NODE).await?;
    stage.close().await?;
    let left = ground::is_level(lab).await.err();
    let again: usize = rounds.iter().map(|round| round.starts.again).sum();
    let figure = |what: &str, measured| Figure::new(what, measured, "");
    let full = |what: &str, round: usize| Figure::mebibytes(what, rounds[round].full);
    let (first, third) = (
        full("  the same in the first round", 0),
        full("driver, 100 attachments, third round (VmRSS)", 2),
    );
    let more = third.measured - first.measured;
    Ok(vec![
        third
            .bar(16.0)
            .how("/proc/PID/status of the driver of kind-worker, each round with 100 pods Ready"),
        Figure::mebibytes("  of it its own (RssAnon)", rounds[2].own),
        first,
        Figure::new("  growth between them", more, "MiB").bar(0.25),
        figure(
            "churn of 100 pods, three rounds: left behind",
            count(left.is_some()),
        )
        .bar(0.0)
        .how(left.map_or_else(|| LEVEL.to_owned(), |left| format!("{left:#}"))),
        #[expect(clippy::cast_precision_loss, reason = "some pods")]
        figure("  pods that got another sandbox", again as f64),
    ])
}

fn count(is: bool) -> f64 {
    f64::from(u8::from(is))
}
