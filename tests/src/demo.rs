//! The talk's demo in a world of its own, with traffic, checked or watched.
//!
//! Owns its steps and what is printed of them. It must never call a difference fine: what is
//! wrong is named, and the exit code says so.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::world::apiserver::resource::SLICES;
use crate::world::check::{self, Row};
use crate::world::driver::{self, Driver};
use crate::world::{
    Options as WorldOptions, World, apiserver, controller, enclosure, talk, traffic,
};

/// How long each step may take.
const LIMIT: Duration = Duration::from_secs(15);

/// How to run the demo.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Without a terminal: print what was done and a table, check it, and end.
    #[arg(long)]
    check: bool,
}

/// Runs the demo: enters an enclosure first, with which all of it ends.
pub fn enter(options: &Options) -> Result<ExitCode> {
    if !enclosure::is_inside() {
        enclosure::preflight()?;
        driver::cni_path()?;
        driver::beside_us("netclaim")?;
        return Err(enclosure::command(std::env::args_os().skip(1))?
            .exec()
            .into());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        tokio::select! {
            ended = run(options) => ended,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                bail!("interrupted: everything is taken down")
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn run(options: &Options) -> Result<()> {
    let world = World::up(&WorldOptions::default())?;
    say("A node kind-worker with eth0 and eth1, an API server, a kubelet and a runtime")?;
    let worker = &world.workers[0];
    let mut driver = Driver::start(worker, &driver::Options::default())?;
    let shown = tokio::select! {
        shown = show(&world, options) => shown,
        ended = driver.ended() => Err(anyhow!("the driver ended by itself: {}", ended?)),
    };
    let Err(error) = shown else { return Ok(()) };
    let log = driver::last_words(worker)?;
    Err(error.context(format!(
        "the demo failed; the driver's last words:\n{log}\n"
    )))
}

async fn show(world: &World, options: &Options) -> Result<()> {
    let worker = &world.workers[0];
    let plugins = &worker.kubelet.plugins;
    plugins.registered(driver::NAME, LIMIT).await?;
    say(&format!("The driver {} is registered", driver::NAME))?;
    let devices = wait_for_devices(world).await?;
    say(&format!("Its slices list {}", devices.join(", ")))?;
    let pods = roll_out(world).await?;
    say(&format!(
        "{} pods run, each with a claim of its own",
        pods.len()
    ))?;
    let rows = wait_for_status(world, pods.len()).await?;
    exchange(world, &pods, &rows).await?;
    say("Each pod reached the next over its interface")?;
    if !options.check {
        return watch(world).await;
    }
    let (rows, findings) = settle(world, pods.len()).await?;
    say(check::table(&rows).trim_end())?;
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    take_away(world, &pods).await
}

/// The devices of all slices, once eth1 is among them.
async fn wait_for_devices(world: &World) -> Result<Vec<String>> {
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

async fn roll_out(world: &World) -> Result<Vec<Value>> {
    let store = &world.api.store;
    talk::apply(store, talk::CLASS)?;
    talk::apply(store, talk::TEMPLATE)?;
    let deployment = talk::apply(store, talk::DEPLOYMENT)?;
    let pods = controller::expand(store, &deployment)?;
    world.run_pods(&pods, LIMIT).await
}

/// The rows once each of `pods` claims has a status with an interface.
async fn wait_for_status(world: &World, pods: usize) -> Result<Vec<Row>> {
    until("not every claim has a status with an interface", || async {
        let rows = check::rows(world).await?;
        let complete = rows.len() == pods && rows.iter().all(|row| !row.ips.is_empty());
        Ok(complete.then_some(rows))
    })
    .await
}

/// The rows once nothing is wrong with them, or else when the time is over.
///
/// A packet between two readings makes a difference, so one is no proof; one that stays is.
async fn settle(world: &World, pods: usize) -> Result<(Vec<Row>, Vec<String>)> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let rows = check::rows(world).await?;
        let findings = check::findings(&rows, pods);
        if findings.is_empty() || Instant::now() > deadline {
            return Ok((rows, findings));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Each pod sends to the next.
async fn exchange(world: &World, pods: &[Value], rows: &[Row]) -> Result<()> {
    let worker = &world.workers[0];
    for (index, pod) in pods.iter().enumerate() {
        let next = &pods[(index + 1) % pods.len()];
        let name = next["metadata"]["name"].as_str().unwrap_or_default();
        let row = rows.iter().find(|row| row.pod == name);
        let address: IpAddr = row
            .and_then(|row| row.ips.first())
            .and_then(|ip| ip.split('/').next()?.parse().ok())
            .with_context(|| format!("no address of {name}"))?;
        let (from, to) = (worker.netns(pod).await?, worker.netns(next).await?);
        traffic::send_udp(&worker.node, from.clone(), to.clone(), address, 20, 500)?;
        traffic::send_tcp(&worker.node, from, to, address, 200_000)?;
    }
    Ok(())
}

/// Deletes the pods, and checks that nothing of them is left.
async fn take_away(world: &World, pods: &[Value]) -> Result<()> {
    for pod in pods {
        world.delete_pod(pod).await?;
    }
    let worker = &world.workers[0];
    let left = worker.node.list("/run/netns")?;
    ensure!(left.is_empty(), "network namespaces are left: {left:?}");
    let children = worker
        .node
        .place
        .output("ip", "-br link show type macvlan")?;
    ensure!(children.is_empty(), "interfaces are left:\n{children}");
    say("All deleted, nothing left")
}

/// Opens dra-top, until its user leaves it.
async fn watch(world: &World) -> Result<()> {
    let worker = &world.workers[0];
    let kubeconfig = "/run/world/admin.kubeconfig";
    worker
        .node
        .write(kubeconfig, apiserver::kubeconfig(worker.api, "admin"))?;
    let mut command = Command::new(driver::beside_us("dra-top")?);
    command
        .args(["--kubeconfig", kubeconfig])
        .args(["--node", &format!("unix:{}", driver::OBSERVE_SOCKET)]);
    let status = worker.node.spawn(command)?.wait().await?;
    ensure!(status.success(), "dra-top ended with {status}");
    Ok(())
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
        sleep(Duration::from_millis(50)).await;
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
