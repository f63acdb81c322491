//! The demo on a terminal: dra-top on a world that lives.

use std::net::IpAddr;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::terminal::Terminal;
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
    let mut screen = Screen::open(stage.worker())?;
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

/// dra-top on the terminal; when this is dropped it has given the terminal back.
struct Screen {
    dra_top: Child,
    before: Terminal,
}

impl Screen {
    fn open(worker: &Worker) -> Result<Self> {
        let kubeconfig = apiserver::kubeconfig(worker.api, "admin");
        worker.node.write(KUBECONFIG, kubeconfig)?;
        let mut command = Command::new(driver::beside_us("dra-top")?);
        command
            .args(["--kubeconfig", KUBECONFIG])
            .args(["--node", &format!("unix:{}", driver::OBSERVE_SOCKET)]);
        Ok(Self {
            before: Terminal::as_it_is(),
            dra_top: worker.node.spawn(command)?,
        })
    }

    /// Until its user leaves it.
    async fn left(&mut self) -> Result<()> {
        let status = self.dra_top.wait().await?;
        self.before.restore();
        ensure!(status.success(), "dra-top ended with {status}");
        Ok(())
    }
}

impl Drop for Screen {
    /// A killed dra-top would leave the terminal without echo: it is asked first.
    fn drop(&mut self) {
        let Some(pid) = self.dra_top.id().and_then(|id| i32::try_from(id).ok()) else {
            return;
        };
        let deadline = Instant::now() + Duration::from_secs(1);
        let asked = kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok();
        while asked && matches!(self.dra_top.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(10));
        }
        self.before.restore();
    }
}
