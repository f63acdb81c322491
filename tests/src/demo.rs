//! The talk's demo in a world of its own, with traffic, checked or watched.
//!
//! Owns its steps and what is printed of them. It must never call a difference fine: what is
//! wrong is named, and the exit code says so.

mod checked;
mod guard;
pub(crate) mod screen;
pub(crate) mod steps;
mod terminal;
mod watched;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::steps::{Steps, say};
use crate::world::apiserver::resource::{PODS, SLICES};
use crate::world::driver::{self, Driver};
use crate::world::{Options as WorldOptions, Worker, World, check, controller, enclosure};
use crate::world::{talk, traffic};

/// How long each step may take.
const LIMIT: Duration = Duration::from_secs(20);

/// How to run the demo.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Without a terminal: print what was done and a table, check it, and end.
    #[arg(long)]
    check: bool,
    /// Have the claims ask for flows, which the talk's do not: dra-top then shows with whom a pod
    /// talks (Enter on an interface).
    #[arg(long)]
    flows: bool,
}

/// Runs the demo: enters an enclosure first, with which all of it ends.
pub fn enter(options: &Options) -> Result<ExitCode> {
    if !enclosure::is_inside() {
        ensure!(
            options.check || io::stdout().is_terminal(),
            "the demo opens dra-top, which needs a terminal; without one try --check"
        );
        enclosure::preflight()?;
        driver::cni_path()?;
        driver::beside_us("netclaim")?;
        driver::beside_us("dra-top")?;
        return guard::guard(enclosure::command(std::env::args_os().skip(1))?);
    }
    // Signals are the guard's: the first process of an enclosure hears none but what it asks for.
    enclosure::runtime()?.block_on(run(options))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(options: &Options) -> Result<()> {
    say("The talk's demo, in network namespaces of its own on this machine's kernel")?;
    let steps = Steps::begin();
    let world = World::up(&WorldOptions::default())?;
    steps.done("node kind-worker with eth0 and eth1, an API server, a kubelet and a runtime")?;
    let mut stage = Stage {
        driver: Driver::start(&world.workers[0], &driver::Options::default())?,
        world,
        steps,
        flows: options.flows,
    };
    let shown = if options.check {
        checked::check(&mut stage).await
    } else {
        watched::watch(&stage).await
    };
    let Err(error) = shown else { return Ok(()) };
    let log = driver::last_words(stage.worker())?;
    say(&format!("\nThe driver's last words:\n{log}\n"))?;
    Err(match stage.driver.ended()? {
        Some(status) => error.context(format!("the driver ended by itself ({status})")),
        None => error.context("the demo failed"),
    })
}

/// What the steps of the demo share.
struct Stage {
    driver: Driver,
    world: World,
    steps: Steps,
    flows: bool,
}

impl Stage {
    fn worker(&self) -> &Worker {
        &self.world.workers[0]
    }

    async fn registered(&self) -> Result<()> {
        let plugins = &self.worker().kubelet.plugins;
        plugins.registered(driver::NAME, LIMIT).await?;
        let answers = || async { Ok(driver::snapshot(self.worker()).await.ok()) };
        until("the driver does not answer on its socket", answers).await?;
        Ok(())
    }

    /// The driver with its devices, and the talk's objects: the pods are made, and none runs.
    async fn set_up(&self) -> Result<(Value, Vec<Value>)> {
        let Self {
            world,
            steps,
            flows,
            ..
        } = self;
        let registered = |(): &()| format!("the driver {} registered", driver::NAME);
        let waits = "the driver has registered with the kubelet";
        steps.step(waits, self.registered(), registered).await?;
        let listed = |devices: &Vec<String>| format!("slices list {}", devices.join(", "));
        let waits = "the slices list eth0 and eth1";
        steps.step(waits, devices(world), listed).await?;
        let store = &world.api.store;
        talk::apply(store, talk::CLASS)?;
        if *flows {
            talk::create(store, talk::asking_for_flows(talk::TEMPLATE)?)?;
        } else {
            talk::apply(store, talk::TEMPLATE)?;
        }
        let deployment = talk::apply(store, talk::DEPLOYMENT)?;
        let pods = controller::expand(store, &deployment)?;
        steps.done("applied the talk's DeviceClass, ResourceClaimTemplate and Deployment")?;
        Ok((deployment, pods))
    }

    /// How many pods run.
    fn running(&self) -> usize {
        let pods = self.world.api.store.all(PODS);
        let runs = |pod: &&Value| pod["status"]["phase"] == "Running";
        pods.iter().filter(runs).count()
    }

    /// Once each of `pods` has an address in its claim's status.
    async fn addressed(&self, pods: &[Value]) -> Result<()> {
        let lacking = "not every claim's status has an address";
        until(lacking, || async {
            let known = |pod| check::address(&self.world, pod).is_some();
            Ok(pods.iter().all(known).then_some(()))
        })
        .await
    }

    /// Each pod sends to the next, as a ring.
    async fn exchange(&self, pods: &[Value]) -> Result<()> {
        let worker = self.worker();
        for (index, pod) in pods.iter().enumerate() {
            let next = &pods[(index + 1) % pods.len()];
            let address = check::address(&self.world, next).context("no address of a pod")?;
            let (from, to) = (worker.netns(pod).await?, worker.netns(next).await?);
            traffic::send_udp(&worker.node, from.clone(), to.clone(), address, 20, 500)?;
            traffic::send_tcp(&worker.node, from, to, address, 200_000)?;
        }
        Ok(())
    }
}

/// The devices of all slices, once eth0 and eth1 are among them.
async fn devices(world: &World) -> Result<Vec<String>> {
    until("the slices do not list eth0 and eth1", || async {
        let slices = world.api.store.all(SLICES);
        let devices = slices
            .iter()
            .filter_map(|slice| slice["spec"]["devices"].as_array());
        let names = devices
            .flatten()
            .filter_map(|device| device["name"].as_str());
        let names: Vec<String> = names.map(str::to_owned).collect();
        let complete = ["eth0", "eth1"]
            .iter()
            .all(|link| names.iter().any(|name| name == link));
        Ok(complete.then_some(names))
    })
    .await
}

/// Asks until there is an answer, or the step's time is over.
async fn until<T, F>(lacking: &str, ask: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{lacking} after {LIMIT:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
