//! How much memory the driver holds on a full node.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::figure::Figure;
use super::node::Busy;
use crate::world::apiserver::resource::CLAIMS;
use crate::world::{driver, memory};

const ATTACHMENTS: usize = 256;

/// The driver gives back every 10 s what nobody uses.
const QUIET: Duration = Duration::from_secs(12);

/// For the statuses of all claims.
const LIMIT: Duration = Duration::from_mins(1);

pub(super) fn measure() -> Result<Vec<Figure>> {
    Runtime::new()?.block_on(measure_pods())
}

async fn measure_pods() -> Result<Vec<Figure>> {
    let busy = Busy::with_pods(ATTACHMENTS).await?;
    for pod in &busy.pods {
        busy.run(pod).await?;
    }
    wait_for_statuses(&busy).await?;
    let snapshot = driver::snapshot(busy.worker()).await?;
    ensure!(snapshot.interfaces.len() == ATTACHMENTS, "interfaces lack");
    let pid = busy.driver.pid()?;
    let figure = |what: &str, field| -> Result<Figure> {
        let held = memory::kibibytes(pid, field)?;
        Ok(Figure::mebibytes(what, held))
    };
    let resident = figure("resident memory, 256 attachments (VmRSS)", "VmRSS")?;
    let own = figure("  of it its own (RssAnon)", "RssAnon")?;
    let peak = figure("  its most so far (VmHWM)", "VmHWM")?;
    let mut pods = Vec::new();
    for pod in &busy.pods {
        pods.push(busy.world.delete_pod(pod));
    }
    futures::future::try_join_all(pods).await?;
    sleep(QUIET).await;
    let after = figure("  of it its own, once they have gone (RssAnon)", "RssAnon")?;
    let how = "/proc/PID/status of the image's program in the world, with 256 pods, after all \
               statuses were written and one snapshot was streamed";
    Ok(vec![resident.bar(16.0).how(how), own.bar(6.0), peak, after])
}

async fn wait_for_statuses(busy: &Busy) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let claims = busy.world.api.store.all(CLAIMS);
        let written = |claim: &&serde_json::Value| !claim["status"]["devices"].is_null();
        let written = claims.iter().filter(written).count();
        if written == ATTACHMENTS {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{written} of {ATTACHMENTS} claims have a status after {LIMIT:?}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}
