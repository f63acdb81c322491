//! A node's beginning, in three steps of one program: enter the namespaces, be the first process,
//! supervise.

use std::{
    env, fs,
    fs::OpenOptions,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use nix::unistd::{Pid, setsid};

use super::{Lab, cgroup, network, program, room, room::Room, supervisor, topology::Node};

/// A step of a node's beginning; each is the `lab` program again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// In the node's network namespace: take its control groups, leave the machine's namespaces.
    Enter,
    /// As the first process: mount everything, reap.
    First,
    /// Keep its programs running.
    Supervise,
}

/// Starts a node. It then lives by itself.
pub async fn start(lab: &Lab, node: &Node) -> anyhow::Result<()> {
    fs::create_dir_all(lab.logs(&node.name))?;
    cgroup::create(&cgroup::hierarchies()?, &lab.name, &node.name)?;
    let namespace = network::path(&lab.name, &node.name);
    let mut command = tokio::process::Command::new("nsenter");
    command
        .env("PATH", node.runtime.search_path()?)
        .arg(format!("--net={}", namespace.display()))
        .arg(env::current_exe()?)
        .args(arguments(lab, &node.name, Step::Enter))
        .stdin(Stdio::null());
    program::finish(command, "").await.map(drop)
}

/// Does one step of a node's beginning, in the process that is to become it.
pub fn begin(lab: &Lab, node: &str, step: Step) -> anyhow::Result<()> {
    match step {
        Step::Enter => enter(lab, node),
        Step::First => be_first(lab, node),
        Step::Supervise => supervise(lab, node),
    }
}

fn enter(lab: &Lab, node: &str) -> anyhow::Result<()> {
    let hierarchies = cgroup::hierarchies()?;
    setsid()?;
    // The new namespace's root is the group at that moment.
    cgroup::enter(&hierarchies, &lab.name, node)?;
    let mut first = Command::new(env::current_exe()?);
    first.args(arguments(lab, node, Step::First));
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(lab.log(node, "node"))?;
    first.stdout(log.try_clone()?).stderr(log);
    let pid = room::leave(first)?;
    Ok(fs::write(lab.pid_file(node), pid.to_string())?)
}

fn be_first(lab: &Lab, node: &str) -> anyhow::Result<()> {
    let hierarchies = cgroup::hierarchies()?;
    cgroup::enter(&hierarchies, &lab.name, &format!("{node}/init"))?;
    let room = Room {
        hostname: node.to_owned(),
        folder: lab.node_folder(node),
        plugins: plugins()?,
        visible: visible(lab)?,
    };
    room.furnish(&hierarchies)?;
    let mut supervisor = Command::new(env::current_exe()?);
    supervisor.args(arguments(lab, node, Step::Supervise));
    let supervisor = supervisor.spawn()?.id();
    room::reap_until(Pid::from_raw(i32::try_from(supervisor)?))
}

fn supervise(lab: &Lab, node: &str) -> anyhow::Result<()> {
    let topology = lab.topology()?;
    let node = topology.node(node).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(supervisor::run(lab, &topology, node))
}

fn arguments(lab: &Lab, node: &str, step: Step) -> [String; 5] {
    let step = match step {
        Step::Enter => "enter",
        Step::First => "first",
        Step::Supervise => "supervise",
    };
    let lab = lab.name.to_string();
    [
        "--name".to_owned(),
        lab,
        "begin".to_owned(),
        node.to_owned(),
        step.to_owned(),
    ]
}

/// The CNI reference plugins.
pub fn plugins() -> anyhow::Result<PathBuf> {
    let path = env::var_os("CNI_PATH").unwrap_or_else(|| "/opt/cni/bin".into());
    let needed = ["bridge", "host-local", "loopback"];
    let mut folders = env::split_paths(&path);
    match folders.find(|folder| needed.iter().all(|plugin| folder.join(plugin).is_file())) {
        Some(folder) => Ok(folder.canonicalize()?),
        None => bail!(
            "no CNI plugins {needed:?} in {}: set CNI_PATH, or use `cargo xtask cluster`, which \
             builds them",
            path.display()
        ),
    }
}

/// What a node sees at the same place as the machine: the lab's folder and all programs.
fn visible(lab: &Lab) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = vec![lab.folder.clone()];
    let program = env::current_exe()?;
    folders.extend(program.parent().map(PathBuf::from));
    let path = env::var_os("PATH").context("PATH is not set")?;
    folders.extend(env::split_paths(&path).filter(|folder| folder.is_dir()));
    Ok(folders)
}
