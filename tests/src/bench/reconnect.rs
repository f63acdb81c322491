//! How soon the driver is back on a runtime that comes back, and how long that waits for it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::figure::Figure;
use super::node::Busy;
use super::quantile::quantile;

/// As many as a node has by the kubelet's default, nearly.
const PODS: usize = 100;

const RUNS: u32 = 11;

const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn measure() -> Result<Vec<Figure>> {
    Runtime::new()?.block_on(measure_runs())
}

async fn measure_runs() -> Result<Vec<Figure>> {
    let busy = Busy::with_pods(PODS).await?;
    for pod in &busy.pods {
        busy.run(pod).await?;
    }
    let (mut back, mut told) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        // At another moment of the driver's pause each time.
        let (reconnected, synchronized) = restart(&busy, Duration::from_millis(97) * run).await?;
        back.push(reconnected.as_secs_f64() * 1e3);
        told.push(synchronized.as_secs_f64() * 1e3);
    }
    let longest =
        |what: &str, milliseconds: &[f64]| Figure::new(what, quantile(milliseconds, 1.0), "ms");
    let how = format!(
        "the world's runtime with {PODS} pods, each with one macvlan interface, is gone for 0 to 1 s; \
         longest of {RUNS} runs"
    );
    Ok(vec![
        longest("from the runtime's socket until synchronized", &back)
            .bar(500.0)
            .how(how),
        longest("  of it Synchronize of 100 pods", &told).bar(100.0),
    ])
}

/// How long after a runtime's return the driver was back, and how long it took to answer.
async fn restart(busy: &Busy, away: Duration) -> Result<(Duration, Duration)> {
    let runtime = &busy.worker().kubelet.runtime;
    let mut runtime = runtime.write().await;
    runtime.stop().await?;
    sleep(away).await;
    runtime.restart().await?;
    let start = Instant::now();
    while runtime.plugins().await.is_empty() {
        ensure!(start.elapsed() < LIMIT, "the driver does not come back");
        sleep(Duration::from_millis(1)).await;
    }
    let synchronized = runtime.synchronized_in().await;
    Ok((start.elapsed(), synchronized.context("nobody was told")?))
}
