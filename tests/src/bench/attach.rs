//! What netclaim adds to the time of the CNI plugins when a sandbox starts.
//!
//! The runtime's clock runs from its request to our answer. From that goes what the plugins took:
//! per pod by the driver's own timing of them, since two runs of a plugin never take the same; and
//! that timing is held against the same plugins run bare, pod by pod in the same minute. By what
//! ours take longer in the median, our part is more.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use netclaim_proto::observe::Step;
use tokio::runtime::Runtime;

use bare::Bare;

use super::figure::Figure;
use super::node::Busy;
use super::quantile::{median, quantile};
use crate::world::driver;

mod bare;

const PODS: usize = 200;

/// Facts of an attach before its answer, and how long their lines are; the first, the promise, must
/// be on disk before the kernel is touched.
const FACTS: usize = 2;
const LINE: usize = 1_500;

pub(super) fn measure() -> Result<Vec<Figure>> {
    Runtime::new()?.block_on(measure_pods())
}

async fn measure_pods() -> Result<Vec<Figure>> {
    let busy = Busy::with_pods(PODS).await?;
    let worker = busy.worker();
    let (mut answered, mut bare, mut links) = (Vec::new(), Vec::new(), Vec::new());
    let beside = Bare::new()?;
    for (index, pod) in busy.pods.iter().enumerate() {
        let sandbox = busy.run(pod).await?;
        let took = worker.kubelet.runtime.read().await.answered_in(&sandbox);
        answered.push((sandbox, took.context("the runtime asked nobody")?));
        let took = beside.run(&worker.node, index)?;
        bare.push(milliseconds(took.plugins));
        links.push(milliseconds(took.links));
    }
    let attached = plugins_of(&busy, &answered).await?;
    let plugins: Vec<f64> = attached.iter().map(|(_, plugins)| *plugins).collect();
    let more = (median(&plugins) - median(&bare)).max(0.0);
    let ours: Vec<f64> = attached
        .iter()
        .map(|(answered, plugins)| answered - plugins + more)
        .collect();
    Ok(figures(&ours, &plugins, &bare, &links, &syncs()?))
}

fn figures(
    ours: &[f64],
    plugins: &[f64],
    bare: &[f64],
    links: &[f64],
    syncs: &[f64],
) -> Vec<Figure> {
    let figure = |what: &str, values: &[f64], of| Figure::new(what, quantile(values, of), "ms");
    let how = format!(
        "{PODS} pods, one macvlan with host-local each: RunPodSandbox as the runtime sees it, \
         minus the plugins; the journal on tmpfs"
    );
    let disk = "the same two writes and one fdatasync of an attach, on this program's disk";
    vec![
        figure("our part of an attach, p50", ours, 0.5).bar(3.0).how(how),
        figure("our part of an attach, p99", ours, 0.99).bar(10.0),
        figure("  two TCX links put on a device bare, p50", links, 0.5)
            .how("BPF_LINK_CREATE of the empty program, by hand beside each pod: put on after the answer"),
        figure("  two TCX links put on a device bare, p99", links, 0.99),
        figure("  disk sync, not in it, p50", syncs, 0.5).how(disk),
        figure("  disk sync, not in it, p99", syncs, 0.99),
        figure("  plugins under netclaim, p50", plugins, 0.5),
        figure("  plugins run bare beside it, p50", bare, 0.5)
            .how("the difference of the two, if there is one, is in our part"),
    ]
}

/// Milliseconds of each sandbox: until the answer, and of its plugins as the driver timed them.
async fn plugins_of(busy: &Busy, answered: &[(String, Duration)]) -> Result<Vec<(f64, f64)>> {
    let snapshot = driver::snapshot(busy.worker()).await?;
    let of = |(sandbox, answered): &(String, Duration)| {
        let mut rows = snapshot.interfaces.iter();
        let row = rows.find(|row| {
            let key = row.key.as_ref();
            key.is_some_and(|key| key.sandbox == *sandbox)
        });
        let row = row.with_context(|| format!("the driver does not show sandbox {sandbox}"))?;
        let timings = row
            .timeline
            .iter()
            .filter_map(|moment| moment.timing.as_ref());
        let added = timings.filter(|timing| timing.step() == Step::CniAdd);
        let plugins: Duration = added
            .filter_map(|timing| Duration::try_from(timing.took?).ok())
            .sum();
        ensure!(!plugins.is_zero(), "no plugin ran for sandbox {sandbox}");
        Ok((milliseconds(*answered), milliseconds(plugins)))
    };
    answered.iter().map(of).collect()
}

/// What an attach's lines of the journal take on a real disk.
fn syncs() -> Result<Vec<f64>> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program without a folder")?;
    let mut file: File = tempfile::tempfile_in(folder)?;
    let line = [b'x'; LINE];
    let mut attach = || -> Result<f64> {
        let start = Instant::now();
        for written in 0..FACTS {
            file.write_all(&line)?;
            if written == 0 {
                file.sync_data()?;
            }
        }
        Ok(milliseconds(start.elapsed()))
    };
    (0..PODS).map(|_| attach()).collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
