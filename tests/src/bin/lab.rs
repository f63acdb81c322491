//! `lab`: a real Kubernetes on this machine. Started by `cargo xtask cluster`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use clap::{Parser, Subcommand};
use netclaim_tests::lab::{
    Lab, bench, check, demo,
    node::{self, Step},
    prometheus,
    runtime::Runtimes,
    topology::{ExtraLink, LabName, Topology},
};

/// A real Kubernetes on this machine, on nodes made of namespaces.
#[derive(Parser)]
#[command(name = "cargo xtask cluster")]
struct Cli {
    /// Which lab; several can stand side by side.
    #[arg(long, env = "NETCLAIM_LAB", default_value = "netclaim")]
    name: LabName,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Bring the cluster up.
    Up(UpOptions),
    /// Take it down; leaves nothing, also after a crash of `up`.
    Down,
    /// Say what of it exists.
    Status,
    /// Run kubectl as administrator.
    Kubectl {
        /// Passed on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run helm as administrator.
    Helm {
        /// Passed on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Install the driver as users do and run the talk on it.
    Demo(demo::Options),
    /// Play the scenarios on a cluster of their own, beside yours.
    Check(check::Options),
    /// Measure on a cluster of its own, beside yours.
    #[command(hide = true)]
    Bench(bench::Options),
    /// Open dra-top on it, through its API server; `q` leaves.
    Top {
        /// Whose credentials: admin, or reader, who may use dra-top and nothing else (once the demo
        /// has given that user its rights).
        #[arg(long, default_value = "admin")]
        user: String,
        /// Passed on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run Prometheus on it, as its operator would, until Ctrl-C.
    Prometheus,
    /// Ask the Prometheus that runs.
    Query {
        /// In `PromQL`.
        query: String,
    },
    /// Run a command on a node.
    Node {
        /// As Kubernetes names it.
        node: String,
        /// A shell by default.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Show the log of a node's program, or list the logs.
    Logs {
        /// As Kubernetes names it.
        node: Option<String>,
        /// Such as kubelet, containerd or kube-apiserver.
        program: Option<String>,
        /// Go on as it grows.
        #[arg(short, long)]
        follow: bool,
    },
    /// Give every node the images of an OCI or Docker archive.
    Load {
        /// The archive.
        archive: PathBuf,
    },
    /// Restart a node as if it had lost its power.
    Reboot {
        /// As Kubernetes names it.
        node: String,
    },
    #[command(hide = true)]
    Begin { node: String, step: Step },
}

#[derive(clap::Args)]
struct UpOptions {
    /// How many nodes, the control plane among them.
    #[arg(long, value_name = "N", default_value_t = 3)]
    nodes: usize,
    /// One more network card, such as kind-worker2:eth1:br1.
    #[arg(long, value_name = "NODE:LINK:LAN")]
    link: Vec<ExtraLink>,
    /// What runs the pods.
    #[arg(long, value_enum, default_value_t)]
    runtime: Runtimes,
    /// Do not let nodes read every claim, which works round a race in the Node authorizer.
    #[arg(long)]
    without_claim_grant: bool,
    /// Leave what failed half-way as it is.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let lab = Lab::new(cli.name);
    // The first process of a node has no threads.
    if let Action::Begin { node, step } = cli.action {
        return node::begin(&lab, &node, step);
    }
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(act(&lab, cli.action))
}

async fn act(lab: &Lab, action: Action) -> anyhow::Result<()> {
    match action {
        Action::Up(options) => up(lab, options).await,
        Action::Down => lab.down().await,
        Action::Status => status(lab),
        Action::Kubectl { args } => become_program(lab.kubectl(&args)?),
        Action::Helm { args } => become_program(lab.helm(&args)?),
        Action::Demo(options) => demo::run(lab, &options).await,
        Action::Check(options) => check::run(lab, &options).await,
        Action::Bench(options) => bench::run(lab, &options).await,
        Action::Top { user, args } => become_program(lab.dra_top(&user, &args)?),
        Action::Prometheus => prometheus::run(lab).await,
        Action::Query { query } => become_program(lab.query(&query, &[])?),
        Action::Node { node, command } if command.is_empty() => {
            become_program(lab.on_node(&node, &["sh"])?)
        }
        Action::Node { node, command } => become_program(lab.on_node(&node, &command)?),
        Action::Logs {
            node,
            program,
            follow,
        } => match (node, program) {
            (Some(node), Some(program)) => become_program(tail(&lab.log(&node, &program), follow)),
            (node, _) => list_logs(lab, node.as_deref()),
        },
        Action::Load { archive } => lab.load(&archive).await,
        Action::Reboot { node } => {
            let topology = lab.topology()?;
            let node = topology.node(&node).map_err(anyhow::Error::msg)?;
            lab.reboot(node).await
        }
        Action::Begin { node, step } => node::begin(lab, &node, step),
    }
}

async fn up(lab: &Lab, options: UpOptions) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut topology = Topology::of_the_talk(options.nodes).map_err(anyhow::Error::msg)?;
    for link in options.link {
        topology.plug(link).map_err(anyhow::Error::msg)?;
    }
    topology.equip(options.runtime);
    topology.claim_grant = !options.without_claim_grant;
    lab.up(&topology, options.keep).await?;
    tracing::info!(
        "lab {} is up after {:.1} s",
        lab.name,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn status(lab: &Lab) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let remains = lab.remains()?;
    if let Ok(topology) = lab.topology() {
        for node in &topology.nodes {
            let state = if lab.is_alive(node) { "up" } else { "down" };
            writeln!(out, "{:<24} {:<6} {}", node.name, state, node.address())?;
        }
    }
    writeln!(
        out,
        "lab {}: {} processes, {} network namespaces, {} control groups, {}",
        lab.name,
        remains.processes,
        remains.namespaces.len(),
        remains.control_groups,
        if remains.folder {
            "a folder"
        } else {
            "no folder"
        },
    )?;
    Ok(())
}

fn list_logs(lab: &Lab, node: Option<&str>) -> anyhow::Result<()> {
    let names = lab.topology()?.nodes.into_iter().map(|node| node.name);
    for name in names.filter(|name| node.is_none_or(|node| node == name)) {
        for log in std::fs::read_dir(lab.logs(&name))? {
            let file = log?.path();
            let program = file.file_stem().unwrap_or_default().display();
            writeln!(io::stdout(), "{name} {program}")?;
        }
    }
    Ok(())
}

fn tail(log: &Path, follow: bool) -> Command {
    let mut tail = Command::new("tail");
    tail.arg("--lines=+1")
        .args(follow.then_some("--follow"))
        .arg(log);
    tail
}

/// Its input, output, signals and exit code are then ours.
fn become_program(mut command: Command) -> anyhow::Result<()> {
    Err(command.exec().into())
}
