//! Keeps a node's programs running, from inside the node.
//!
//! A program that ends is started again at once, as an init system would, unless it cannot stay up.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    net::UnixStream,
    process::Command,
    time::{self, Instant},
};

use super::{
    Lab,
    pki::Pki,
    program,
    service::{self, CONTAINERD, Service},
    topology::{Node, Topology},
    wait,
};

/// A program that ends sooner than this did not stay up.
const STEADY: Duration = Duration::from_secs(5);

/// This many times in a row, and it is given up.
const ATTEMPTS: u32 = 5;

/// How often a program that is kept down is looked after.
const LOOK: Duration = Duration::from_millis(50);

/// Etcd, its API server and all start hooks on a busy machine.
const API_DEADLINE: Duration = Duration::from_secs(90);

/// Starting the container runtime and importing images on a busy machine.
const RUNTIME_DEADLINE: Duration = Duration::from_mins(1);

/// Runs a node until one of its programs cannot be kept up.
pub async fn run(lab: &Lab, topology: &Topology, node: &Node) -> anyhow::Result<()> {
    let node = Supervisor {
        lab,
        topology,
        node,
        pki: lab.pki(),
    };
    service::configure(topology, node.node, &node.pki)?;
    if node.node.is_control_plane() {
        tokio::try_join!(node.run_control_plane(), node.run_node())?;
    } else {
        node.run_node().await?;
    }
    Ok(())
}

struct Supervisor<'a> {
    lab: &'a Lab,
    topology: &'a Topology,
    node: &'a Node,
    pki: Pki,
}

impl Supervisor<'_> {
    async fn run_control_plane(&self) -> anyhow::Result<()> {
        // After a reboot it is not ready any more.
        fs::remove_file(self.lab.api_ready()).ok();
        let after = async {
            self.announce_api().await?;
            tokio::try_join!(
                self.keep(service::controller_manager(&self.pki)),
                self.keep(service::scheduler(&self.pki)),
            )
        };
        tokio::try_join!(
            self.keep(service::etcd()),
            self.keep(service::api_server(self.node, &self.pki)),
            after,
        )?;
        Ok(())
    }

    async fn run_node(&self) -> anyhow::Result<()> {
        let after = async {
            self.import_images().await?;
            self.wait_for_api().await?;
            self.keep(service::kubelet(self.node, &self.pki)).await
        };
        tokio::try_join!(self.keep(service::containerd()), after)?;
        Ok(())
    }

    /// Tells the other nodes that the API server answers.
    async fn announce_api(&self) -> anyhow::Result<()> {
        wait::until("the API server to be ready", API_DEADLINE, async || {
            let ready = ["get", "--raw=/readyz"];
            program::run("kubectl", self.as_admin(&ready)).await
        })
        .await?;
        if self.topology.claim_grant {
            let apply = self.as_admin(&["apply", "--filename=-"]);
            program::feed("kubectl", apply, &service::claim_grant()).await?;
        }
        File::create(self.lab.api_ready())?;
        Ok(())
    }

    async fn wait_for_api(&self) -> anyhow::Result<()> {
        let ready = self.lab.api_ready();
        wait::until("the API server to be announced", API_DEADLINE, async || {
            fs::metadata(&ready).map(drop).map_err(Into::into)
        })
        .await
    }

    async fn import_images(&self) -> anyhow::Result<()> {
        wait::until("containerd's socket", RUNTIME_DEADLINE, async || {
            UnixStream::connect(CONTAINERD)
                .await
                .map(drop)
                .map_err(Into::into)
        })
        .await?;
        // The socket is there before the services behind it are.
        wait::until("containerd to take images", RUNTIME_DEADLINE, async || {
            program::run("ctr", import(&self.lab.images())).await
        })
        .await
    }

    fn as_admin(&self, args: &[&str]) -> Vec<String> {
        let kubeconfig = format!("--kubeconfig={}", self.pki.kubeconfig("admin"));
        let args = args.iter().map(|arg| (*arg).to_owned());
        [kubeconfig].into_iter().chain(args).collect()
    }

    /// Starts a program again and again. Returns only when it cannot be kept up.
    async fn keep(&self, service: Service) -> anyhow::Result<()> {
        let name = service.name;
        let log = self.lab.log(&self.node.name, name);
        let held = self.lab.held(&self.node.name, name);
        let mut failures = 0;
        loop {
            while held.exists() {
                time::sleep(LOOK).await;
            }
            let started = Instant::now();
            let status = start(&service, &log)?.wait().await?;
            tracing::warn!("{name} ended with {status}");
            failures = if started.elapsed() < STEADY {
                failures + 1
            } else {
                0
            };
            if failures == ATTEMPTS {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let said = said.lines().last().unwrap_or("it said nothing");
                bail!("{name} does not stay up ({status}); it said last: {said}");
            }
        }
    }
}

/// Arguments with which `ctr` takes in an archive for the kubelet.
pub fn import(archive: &Path) -> [PathBuf; 5] {
    let address = format!("--address={CONTAINERD}");
    [
        PathBuf::from(address),
        PathBuf::from("--namespace=k8s.io"),
        PathBuf::from("images"),
        PathBuf::from("import"),
        archive.to_owned(),
    ]
}

fn start(service: &Service, log: &Path) -> anyhow::Result<tokio::process::Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(service.name)
        .args(&service.args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} cannot be started", service.name))
}
