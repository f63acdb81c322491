//! The demo on a terminal: dra-top on a world that lives.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::sleep;

use super::screen::Screen;
use super::{Duration, LIMIT, Stage, until};
use crate::world::traffic::flow::Flow;
use crate::world::{Worker, apiserver, check, controller, driver};

/// From one pod that goes to the next.
const EVERY: Duration = Duration::from_secs(8);

/// How long a place stays empty, so that one sees it.
const EMPTY: Duration = Duration::from_secs(2);

/// Where dra-top finds the API server, on the node.
const KUBECONFIG: &str = "/run/world/admin.kubeconfig";

/// Runs it, until its user leaves.
pub(super) async fn watch(stage: &Stage) -> Result<()> {
    let (deployment, pods) = stage.set_up().await?;
    let started = stage.world.run_pods(&pods, LIMIT);
    let words = |pods: &Vec<Value>| format!("{} pods run", pods.len());
    let pods = stage.steps.step("15 pods run", started, words).await?;
    stage.addressed(&pods).await?;
    let mut screen = open(stage.worker())?;
    tokio::select! {
        left = screen.left() => left?,
        ended = live(stage, &deployment, pods) => return ended,
    }
    stage
        .steps
        .done("you left dra-top: everything is taken down")
}

/// Traffic between the pods, some of which go and are replaced.
async fn live(stage: &Stage, deployment: &Value, mut pods: Vec<Value>) -> Result<()> {
    let flow = Flow::start();
    for (index, pod) in (0..).zip(&pods) {
        let next = &pods[(index as usize + 1) % pods.len()];
        stage.stream(&flow, pod, next, index).await?;
    }
    for index in 0.. {
        sleep(EVERY).await;
        let gone = pods.remove(0);
        flow.remove(name(&gone));
        stage.world.delete_pod(&gone).await?;
        sleep(EMPTY).await;
        let named = gone["metadata"]["generateName"]
            .as_str()
            .unwrap_or_default();
        let pod = controller::replica(&stage.world.api.store, deployment, named)?;
        let pod = stage.world.run_pod(&pod, LIMIT).await?;
        stage.addressed(std::slice::from_ref(&pod)).await?;
        let (first, last) = (pods.first(), pods.last());
        let (first, last) = first.zip(last).context("no pods are left")?;
        stage.stream(&flow, last, &pod, index).await?;
        stage.stream(&flow, &pod, first, index + 1).await?;
        pods.push(pod);
    }
    bail!("the pods went on for ever")
}

impl Stage {
    /// Begins a stream from one pod to another.
    pub(super) async fn stream(&self, flow: &Flow, from: &Value, to: &Value, i: u32) -> Result<()> {
        let worker = self.worker();
        let lacking = "a pod's claim has no address";
        let address = || async { Ok(check::address(&self.world, to)) };
        let address: IpAddr = until(lacking, address).await?;
        let (source, sink) = (worker.netns(from).await?, worker.netns(to).await?);
        flow.add(
            &worker.node,
            (name(from), source),
            (name(to), sink),
            address,
            i,
        )
    }
}

fn name(pod: &Value) -> &str {
    controller::place(pod).1
}

/// dra-top, on the node.
fn open(worker: &Worker) -> Result<Screen> {
    let kubeconfig = apiserver::kubeconfig(worker.api, "admin");
    worker.node.write(KUBECONFIG, kubeconfig)?;
    let mut command = Command::new(driver::beside_us("dra-top")?);
    command
        .args(["--kubeconfig", KUBECONFIG])
        .args(["--node", &format!("unix:{}", driver::OBSERVE_SOCKET)]);
    Screen::open(|| worker.node.spawn(command))
}
