//! The driver's process on a node, started as its DaemonSet would.
//!
//! Owns its command line and its end. It must never pass an option that a DaemonSet could not.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hyper_util::rt::TokioIo;
use netclaim_core::flows::Flows;
use netclaim_proto::observe::observe_service_client::ObserveServiceClient;
use netclaim_proto::observe::{
    GetHistoryRequest, InterfaceHistory, InterfaceKey, Snapshot, WatchFlowsRequest,
    WatchSnapshotsRequest,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use super::Worker;

/// The kubeconfig that a node holds for the driver.
pub const KUBECONFIG: &str = "/run/world/kubeconfig";

/// Where drivers log, on their node.
const LOG: &str = "/run/world/driver.log";

/// Where a driver shows what it knows.
pub const OBSERVE_SOCKET: &str = "/run/netclaim/observe.sock";

/// The driver's name, and so its sockets' and slices'.
pub const NAME: &str = "cni.dra.networking.x-k8s.io";

/// A running driver; it is killed when this is dropped.
#[derive(Debug)]
pub struct Driver {
    child: Child,
}

/// How to start one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The program; the one beside this one where it is not said.
    pub program: Option<PathBuf>,
    /// More of its options.
    pub arguments: Vec<String>,
}

impl Driver {
    /// Starts the driver on a worker.
    pub fn start(worker: &Worker, options: &Options) -> Result<Self> {
        let program = match &options.program {
            Some(program) => program.clone(),
            None => beside_us("netclaim")?,
        };
        let mut command = Command::new(&program);
        command
            .arg("run")
            .args(["--node-name", &worker.node.name])
            .args(["--kubeconfig", KUBECONFIG])
            .args(["--cni-path", &cni_path()?])
            .args(&options.arguments)
            .env("NO_COLOR", "1")
            // As the DaemonSet sets them: with an arena per thread, glibc keeps several times of what
            // the driver holds; without thresholds, twice the largest that was ever given back, and
            // holes in the heap where large things were.
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_TRIM_THRESHOLD_", "131072")
            .env("MALLOC_MMAP_THRESHOLD_", "32768")
            .stdin(Stdio::null());
        let log = worker
            .node
            .place
            .run(|| File::options().create(true).append(true).open(LOG))??;
        command.stdout(log.try_clone()?).stderr(log);
        let child = worker.node.spawn(command)?;
        Ok(Self { child })
    }

    /// Its process.
    pub fn pid(&self) -> Result<Pid> {
        let pid = self.child.id().context("the driver has ended")?;
        Ok(Pid::from_raw(i32::try_from(pid)?))
    }

    /// Ends it at once, as a crash does, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to end, and waits.
    pub async fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        kill(self.pid()?, Signal::SIGTERM)?;
        let ended = timeout(limit, self.child.wait()).await;
        Ok(ended.context("the driver does not end after SIGTERM")??)
    }

    /// Waits until it ends by itself, or by a tracer.
    pub async fn end(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Waits until it ends by itself, and says how.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// How it ended by itself, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

/// Where a driver pins what outlives it, on its node.
pub fn pins() -> PathBuf {
    netclaim::host::probe::folder(Path::new("/sys/fs/bpf"), NAME)
}

/// What the driver on `worker` shows.
pub async fn snapshot(worker: &Worker) -> Result<Snapshot> {
    snapshot_by(worker.node.channel(OBSERVE_SOCKET)).await
}

/// What the driver on `worker` tells of flows.
pub async fn flows(worker: &Worker, request: WatchFlowsRequest) -> Result<Flows> {
    let mut client = ObserveServiceClient::new(worker.node.channel(OBSERVE_SOCKET));
    let mut flows = client.watch_flows(request).await?.into_inner();
    let first = flows.message().await?;
    Ok(first.context("the driver tells no flows")?.try_into()?)
}

/// What the driver on `worker` remembers of one interface's traffic, or of all.
pub async fn history(worker: &Worker, key: Option<InterfaceKey>) -> Result<Vec<InterfaceHistory>> {
    let mut client = ObserveServiceClient::new(worker.node.channel(OBSERVE_SOCKET));
    let history = client.get_history(GetHistoryRequest { key }).await?;
    Ok(history.into_inner().histories)
}

/// What the driver behind a socket of this machine shows.
pub async fn snapshot_at(socket: PathBuf) -> Result<Snapshot> {
    let connect = move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    };
    // The address is only the request's authority.
    let endpoint = Endpoint::from_static("http://localhost");
    snapshot_by(endpoint.connect_with_connector_lazy(tower::service_fn(connect))).await
}

/// What the driver at the other end of a channel shows.
pub async fn snapshot_by(channel: Channel) -> Result<Snapshot> {
    let mut client = ObserveServiceClient::new(channel);
    let request = WatchSnapshotsRequest { interval: None };
    let mut snapshots = client.watch_snapshots(request).await?.into_inner();
    let first = snapshots.message().await?;
    first
        .and_then(|response| response.snapshot)
        .context("the driver shows no snapshot")
}

/// The last lines that drivers logged on a worker.
pub fn last_words(worker: &Worker) -> Result<String> {
    let log = worker.node.read(LOG)?;
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.len().saturating_sub(20);
    Ok(lines[last..].join("\n"))
}

/// A program of this workspace: beside this binary, or above it where this is a test.
pub fn beside_us(name: &str) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let mut found = folders
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file());
    found
        .next()
        .with_context(|| format!("{name} is not built: run `cargo build -p {name}`"))
}

/// The folder of the CNI plugins.
pub fn cni_path() -> Result<String> {
    let cache = || {
        let home = env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".cache/netclaim/cni-1.9.1"))
    };
    let said = env::var_os("CNI_PATH").map(PathBuf::from);
    let usual = ["/opt/cni/bin", "/usr/lib/cni"].map(PathBuf::from);
    let mut folders = said.into_iter().chain(usual).chain(cache());
    match folders.find(|folder| folder.join("macvlan").is_file()) {
        Some(folder) => Ok(folder.display().to_string()),
        None => bail!(
            "no CNI plugins in $CNI_PATH, /opt/cni/bin or /usr/lib/cni: install the package \
             containernetworking-plugins, or run `cargo xtask test`, which fetches them"
        ),
    }
}
