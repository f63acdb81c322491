//! The real Prometheus on a lab: it scrapes the drivers, and watches the rules of deploy/prometheus.
//!
//! Owns how it is configured, run and asked. It is a process of the control plane, so that it ends
//! with the lab, if nothing ended it before.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{self, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{Lab, cgroup, install, lifecycle::interruption, program, wait};
use crate::{demo::steps::say, world::scrape::Scrape};

mod operator;

/// How people configure it who do not have its operator.
const CONFIGURATION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/prometheus/prometheus.yaml"
);

const RULES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/prometheus/rules.yaml"
);

/// On the control plane, whose network no pod of the lab asks it from.
const ADDRESS: &str = "127.0.0.1:9090";

/// Often, because a scenario waits for it.
const INTERVAL: &str = "10s";

/// It takes a second; more on a busy machine.
const START: Duration = Duration::from_secs(30);

/// Who tells it what to scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its operator, by the chart's `PodMonitor`.
    ByOperator,
    /// Its configuration.
    Plainly,
}

/// A Prometheus that runs until this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    lab: Lab,
    process: Child,
    folder: PathBuf,
    log: PathBuf,
}

/// Runs it for people, until they or the system want it to end.
pub async fn run(lab: &Lab) -> Result<()> {
    let mut prometheus = tokio::select! {
        started = Prometheus::start(lab, Told::ByOperator) => started?,
        interrupted = interruption() => return interrupted,
    };
    say(&format!(
        "Prometheus scrapes the drivers of lab {} every {INTERVAL}, until Ctrl-C. Ask it from \
         another terminal:\n  cargo xtask cluster query 'sum by (node) \
         (rate(netclaim_interface_receive_bytes_total[1m]))'",
        lab.name
    ))?;
    tokio::select! {
        death = prometheus.death() => return Err(death),
        interrupted = interruption() => interrupted?,
    }
    prometheus.stop().await
}

impl Prometheus {
    /// Starts it, and waits until it answers.
    pub async fn start(lab: &Lab, told: Told) -> Result<Self> {
        let topology = lab.topology()?;
        let node = &topology
            .control_plane()
            .context("a lab without nodes")?
            .name;
        if let Some(running) = lab.processes(node, &["prometheus"])?.first() {
            bail!(
                "Prometheus runs already, as process {running}: ask it by `cargo xtask cluster \
                 query`, or end it by Ctrl-C or `kill {running}`"
            );
        }
        let folder = lab.folder.join("prometheus");
        // Left by one that was killed.
        fs::remove_dir_all(&folder).ok();
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let mut prometheus = Self {
            process: spawn(lab, node, &folder, &configuration(lab, told).await?)?,
            lab: lab.clone(),
            log: lab.log(node, "prometheus"),
            folder,
        };
        let url = format!("--url=http://{ADDRESS}");
        let ready = wait::until("Prometheus to be ready", START, async || {
            let ask = lab.promtool(&["check", "ready", &url])?;
            program::finish(ask.into(), "").await.map(drop)
        });
        tokio::select! {
            ready = ready => ready?,
            death = prometheus.death() => return Err(death),
        }
        Ok(prometheus)
    }

    /// What a query gives now.
    pub async fn ask(&self, query: &str) -> Result<Scrape> {
        let ask = self.lab.query(query, &["--format=json"])?;
        Scrape::answered(&program::finish(ask.into(), "").await?)
    }

    /// Ends it, so that another can be started.
    pub async fn stop(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    /// Returns when it ends by itself.
    async fn death(&mut self) -> anyhow::Error {
        let ended = match self.process.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        anyhow!("Prometheus ended ({ended}): see {}", self.log.display())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Either may be gone already.
        self.process.start_kill().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

impl Lab {
    /// Prometheus' own tool, with a query for the Prometheus that runs.
    pub fn query(&self, query: &str, options: &[&str]) -> Result<process::Command> {
        let url = format!("http://{ADDRESS}");
        self.promtool(&[&["query", "instant"], options, &[&url, query]].concat())
    }

    fn promtool(&self, args: &[&str]) -> Result<process::Command> {
        let mut promtool = self.administer("promtool")?;
        promtool.args(args);
        Ok(promtool)
    }
}

fn spawn(lab: &Lab, node: &str, folder: &Path, configuration: &Value) -> Result<Child> {
    let file = folder.join("prometheus.json");
    fs::write(&file, configuration.to_string())?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(lab.log(node, "prometheus"))?;
    let mut command = Command::from(lab.administer("prometheus")?);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={ADDRESS}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is ours to hear.
        .process_group(0)
        .kill_on_drop(true);
    let process = command.spawn().context("nsenter cannot be started")?;
    let pid = process.id().context("Prometheus ended at once")?;
    cgroup::admit(
        &cgroup::hierarchies()?,
        &lab.name,
        &format!("{node}/init"),
        pid,
    )?;
    Ok(process)
}

async fn configuration(lab: &Lab, told: Told) -> Result<Value> {
    let plain = fs::read_to_string(CONFIGURATION).context(CONFIGURATION)?;
    let mut configuration: Value = serde_saphyr::from_str(&plain)?;
    let mut job = match told {
        Told::Plainly => configuration["scrape_configs"][0].take(),
        Told::ByOperator => {
            let monitor = ["monitoring.podMonitor.create=true"];
            let monitor = install::rendered("templates/monitoring.yaml", &monitor).await?;
            operator::job(&monitor)?
        }
    };
    job["scrape_interval"] = json!(INTERVAL);
    // It is no pod of the cluster.
    let kubeconfig = lab.pki().kubeconfig("admin");
    job["kubernetes_sd_configs"][0]["kubeconfig_file"] = json!(kubeconfig);
    configuration["global"] = json!({"evaluation_interval": INTERVAL});
    configuration["rule_files"] = json!([RULES]);
    configuration["scrape_configs"] = json!([job]);
    Ok(configuration)
}
