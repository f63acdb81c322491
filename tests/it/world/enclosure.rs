//! Nothing is left of a world, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use netclaim_tests::world::enclosure::{command, is_inside, preflight, runtime};
use netclaim_tests::world::runtime::Pod;
use netclaim_tests::world::{Options, World};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn nothing_is_left_of_a_world() -> Result<()> {
    if is_inside() {
        return runtime()?.block_on(end_somehow());
    }
    if let Err(lacking) = preflight() {
        println!("skipped: {lacking:#}");
        return Ok(());
    }
    for end in ["return", "panic", "kill"] {
        let output = command([
            "--exact",
            "world::enclosure::nothing_is_left_of_a_world",
            "--nocapture",
        ])?
        .env("END", end)
        .output()?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.success(), end == "return", "{end}: {stdout}");
        let namespaces = stdout
            .lines()
            .filter_map(|line| line.strip_prefix("namespace "));
        let namespaces: BTreeSet<String> = namespaces.map(str::to_owned).collect();
        assert_eq!(namespaces.len(), 3, "switch, node and pod: {stdout}");
        wait_until_unknown(&namespaces).with_context(|| format!("after {end}"))?;
    }
    Ok(())
}

async fn end_somehow() -> Result<()> {
    let world = World::up(&Options::default())?;
    let worker = &world.workers[0];
    let pod = Pod {
        name: "pod".to_owned(),
        ip: Some("10.244.1.9".to_owned()),
        ..Pod::default()
    };
    let runtime = worker.kubelet.runtime.read().await;
    let sandbox = runtime.run_pod_sandbox(&pod).await?;
    runtime.run_container(&sandbox, "main").await?;
    let own = || Ok(fs::read_link("/proc/thread-self/ns/net")?);
    let in_pod = worker.node.place.within(runtime.netns(&sandbox)?, own)?;
    for namespace in [
        world.switch.place.run(own)??,
        worker.node.place.run(own)??,
        in_pod,
    ] {
        println!("namespace {}", namespace.display());
    }
    match std::env::var("END")?.as_str() {
        "panic" => panic!("as asked"),
        // Nothing is run on the way out, as with SIGKILL.
        "kill" => std::process::abort(),
        _ => Ok(()),
    }
}

/// Namespaces end with their last process and mount; the kernel takes a moment for it.
fn wait_until_unknown(namespaces: &BTreeSet<String>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let mut left = processes_in(namespaces)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let is_ours = |mount: &&str| namespaces.iter().any(|namespace| mount.contains(namespace));
        left.extend(mounts.lines().filter(is_ours).map(str::to_owned));
        let links = Command::new("ip").args(["-br", "link"]).output()?;
        let links = String::from_utf8_lossy(&links.stdout).into_owned();
        left.extend(
            links
                .lines()
                .filter(|link| link.starts_with("port"))
                .map(str::to_owned),
        );
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "left: {left:?}");
        std::thread::yield_now();
    }
}

fn processes_in(namespaces: &BTreeSet<String>) -> Result<Vec<String>> {
    let mut inside = Vec::new();
    for entry in fs::read_dir("/proc").context("no /proc")? {
        let path = entry?.path();
        let Ok(namespace) = fs::read_link(path.join("ns/net")) else {
            continue;
        };
        if namespaces.contains(&*namespace.to_string_lossy()) {
            inside.push(path.display().to_string());
        }
    }
    Ok(inside)
}

/// Dropping the command's parent end kills what is inside.
#[test]
fn a_world_dies_with_the_one_who_started_it() -> Result<()> {
    if is_inside() {
        println!("inside");
        // Until it is killed from outside.
        loop {
            std::thread::park();
        }
    }
    if let Err(lacking) = preflight() {
        println!("skipped: {lacking:#}");
        return Ok(());
    }
    let mut child = command([
        "--exact",
        "world::enclosure::a_world_dies_with_the_one_who_started_it",
        "--nocapture",
    ])?
    .stdout(std::process::Stdio::piped())
    .spawn()?;
    let stdout = child.stdout.take().context("stdout")?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    while !lines.next().context("it ended early")??.contains("inside") {}
    // `setpriv` became `unshare`, so this is the parent of the one inside.
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)?;
    child.wait()?;
    ensure!(lines.next().is_none(), "its standard output ends with it");
    Ok(())
}
