//! A world with a driver on its node, and what its readers say.
//!
//! Owns the objects that scenarios are made of and the questions to the five readers of a cause.
//! It must never ask the driver what the kernel or the API server knows.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use netclaim_proto::observe::{Failure, Interface, Snapshot};
use netclaim_tests::world::apiserver::resource::{CLAIMS, EVENTS, SLICES};
use netclaim_tests::world::controller::place;
use netclaim_tests::world::driver::{self, Driver};
use netclaim_tests::world::{Options, Worker, World, talk};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long a fact may take on a machine that is busy with other things.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

/// The class that says nothing about networks.
pub(super) const CLASS: &str = "cni.networking.x-k8s.io";

/// Where a scenario's own CNI plugins are, on the node.
const PLUGINS: &str = "/run/world/cni";

/// A world with a driver.
pub(super) struct Stage {
    pub(super) world: World,
    /// None while it does not run.
    pub(super) driver: Option<Driver>,
    arguments: Vec<String>,
}

/// A cause by its stable names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    pub(super) step: &'static str,
    pub(super) reason: &'static str,
    pub(super) code: &'static str,
}

/// Plays a scene on a stage of its own; where it fails, the driver's log says more.
pub(super) async fn play(
    options: Options,
    arguments: &[&str],
    scene: impl AsyncFnOnce(&mut Stage) -> Result<()>,
) -> Result<()> {
    let mut stage = Stage::new(&options, arguments)?;
    let played = async {
        stage.start().await?;
        scene(&mut stage).await
    };
    let played = played.await;
    played.with_context(|| format!("the driver's log:\n{}", stage.log().unwrap_or_default()))
}

/// Asks until there is an answer.
pub(super) async fn until<T>(what: &str, ask: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    within(LIMIT, what, ask).await
}

/// Asks until there is an answer or `limit` is over.
pub(super) async fn within<T>(
    limit: Duration,
    what: &str,
    ask: impl AsyncFn() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "not in {limit:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

impl Stage {
    fn new(options: &Options, arguments: &[&str]) -> Result<Self> {
        let world = World::up(options)?;
        let stage = Self {
            world,
            driver: None,
            arguments: arguments.iter().map(ToString::to_string).collect(),
        };
        talk::apply(&stage.world.api.store, talk::CLASS)?;
        Ok(stage)
    }

    /// Starts the driver, and waits until it is on all of its sockets and has offered eth1.
    pub(super) async fn start(&mut self) -> Result<()> {
        self.driver = Some(self.spawn(&[])?);
        self.ready().await
    }

    /// An instance with some more options.
    pub(super) fn spawn(&self, more: &[&str]) -> Result<Driver> {
        let more = more.iter().map(ToString::to_string);
        let options = driver::Options {
            program: None,
            arguments: self.arguments.iter().cloned().chain(more).collect(),
        };
        Driver::start(self.worker(), &options)
    }

    /// Waits until a driver is on all of its sockets and has offered eth1.
    pub(super) async fn ready(&self) -> Result<()> {
        let plugins = &self.worker().kubelet.plugins;
        plugins.registered(driver::NAME, LIMIT).await?;
        self.on_nri().await?;
        // The former instance is dead and cannot answer for this one.
        until("the driver is ready", async || {
            let answer = self.get("/readyz").unwrap_or_default();
            Ok(answer.contains(" 200 ").then_some(()))
        })
        .await?;
        until("eth1 is offered", async || {
            Ok(self.device("eth1").map(drop))
        })
        .await
    }

    /// Waits until a driver follows the runtime.
    pub(super) async fn on_nri(&self) -> Result<()> {
        until("the driver is on NRI", async || {
            let runtime = self.worker().kubelet.runtime.read().await;
            Ok((!runtime.plugins().await.is_empty()).then_some(()))
        })
        .await
    }

    pub(super) fn worker(&self) -> &Worker {
        &self.world.workers[0]
    }

    /// A device as the slices have it.
    pub(super) fn device(&self, name: &str) -> Option<Value> {
        let slices = self.world.api.store.all(SLICES).into_iter();
        slices
            .filter_map(|slice| slice["spec"]["devices"].as_array().cloned())
            .flatten()
            .find(|device| device["name"] == name)
    }

    /// Makes a CNI plugin `name`, a shell script that is run for ADD and succeeds else.
    pub(super) fn plugin(&self, name: &str, on_add: &str) -> Result<()> {
        self.script(
            name,
            &format!("[ \"$CNI_COMMAND\" = ADD ] || exit 0\n{on_add}"),
        )
    }

    /// Makes a CNI plugin `name`, a shell script that is run for every verb.
    pub(super) fn script(&self, name: &str, script: &str) -> Result<()> {
        let path = format!("{PLUGINS}/{name}");
        let script = format!("#!/bin/sh\n{script}\n");
        let make = move || -> io::Result<()> {
            fs::create_dir_all(PLUGINS)?;
            fs::write(&path, script)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))
        };
        Ok(self.worker().node.place.run(make)??)
    }

    /// A claim for eth1, with a configuration unless that is null.
    pub(super) fn claim(&self, name: &str, class: &str, parameters: &Value) -> Result<Value> {
        let mut devices = json!({"requests": [{"name": "net", "exactly": {
            "deviceClassName": class,
            "selectors": [{"cel": {"expression":
                format!("device.attributes[\"{}\"].name == \"eth1\"", driver::NAME)}}],
        }}]});
        if !parameters.is_null() {
            devices["config"] = json!([{"opaque": opaque(parameters)}]);
        }
        let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "metadata": {"name": name}, "spec": {"devices": devices}});
        talk::create(&self.world.api.store, claim)
    }

    /// A class with a configuration of its own.
    pub(super) fn class(&self, name: &str, parameters: &Value) -> Result<Value> {
        let class = json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass",
            "metadata": {"name": name}, "spec": {
                "selectors": [{"cel": {"expression":
                    format!("device.driver == \"{}\"", driver::NAME)}}],
                "config": [{"opaque": opaque(parameters)}]}});
        talk::create(&self.world.api.store, class)
    }

    /// A pod with these claims.
    pub(super) fn pod(&self, name: &str, claims: &[&str]) -> Result<Value> {
        let entries: Vec<Value> = claims
            .iter()
            .map(|claim| json!({"name": claim, "resourceClaimName": claim}))
            .collect();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "main"}], "resourceClaims": entries}});
        talk::create(&self.world.api.store, pod)
    }

    /// A pod with a claim of its own for net1 on eth1, not yet started.
    pub(super) fn usual(&self, name: &str) -> Result<Value> {
        self.claim(name, CLASS, &parameters("net1", &macvlan()))?;
        self.pod(name, &[name])
    }

    /// The same, running.
    pub(super) async fn running(&self, name: &str) -> Result<Value> {
        let pod = self.usual(name)?;
        self.world.run_pod(&pod, LIMIT).await
    }

    /// Tries once to start a pod that must be refused; what the kubelet says of it.
    pub(super) async fn refused(&self, pod: &Value) -> Result<String> {
        let refused = self.world.run_pod(pod, Duration::ZERO).await.err();
        Ok(format!("{:#}", refused.context("the pod starts")?))
    }

    /// Waits until Event, condition, log, metric and gRPC have the same cause; returns its words.
    pub(super) async fn agreed(&self, pod: &Value, claim: &str, cause: Cause) -> Result<String> {
        let uid = &pod["metadata"]["uid"];
        let note = until(&format!("an Event {cause:?}"), async || {
            let events = self.world.api.store.all(EVENTS).into_iter();
            let mut ours = events.filter(|event| event["regarding"]["uid"] == *uid);
            let said = ours.find(|event| event["reason"] == cause.reason);
            Ok(said.and_then(|event| event["note"].as_str().map(str::to_owned)))
        })
        .await?;
        until(&format!("a condition with {note:?}"), async || {
            let ready = self.condition(claim, "Ready")?;
            let same = ready["reason"] == cause.reason && ready["message"] == note.as_str();
            Ok((same && ready["status"] == "False").then_some(()))
        })
        .await?;
        let log = self.log()?;
        ensure!(log.contains(&note), "the log does not say {note:?}");
        let series = format!(
            "netclaim_failures_total{{step=\"{}\",code=\"{}\"}}",
            cause.step, cause.code
        );
        let scraped = self.scrape()?;
        ensure!(scraped.contains(&series), "no {series} in\n{scraped}");
        let shown = shown_failure(&self.snapshot().await?, claim);
        let shown = shown.with_context(|| format!("gRPC shows no failure of {claim}"))?;
        ensure!(
            (shown.reason.as_str(), shown.code.as_str(), &shown.message)
                == (cause.reason, cause.code, &note),
            "gRPC shows {shown:?} instead of {cause:?} {note:?}"
        );
        Ok(note)
    }

    /// A condition of a claim's only device; null where there is none.
    pub(super) fn condition(&self, claim: &str, kind: &str) -> Result<Value> {
        let claim = self.world.api.store.get(CLAIMS, "default", claim)?;
        let conditions = claim["status"]["devices"][0]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let found = conditions.find(|condition| condition["type"] == kind);
        Ok(found.cloned().unwrap_or_default())
    }

    /// Waits until a condition of a claim has this status and reason.
    pub(super) async fn told(&self, claim: &str, kind: &str, expected: &str) -> Result<()> {
        until(&format!("{claim} {kind} {expected}"), async || {
            let found = self.condition(claim, kind)?;
            let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
            let found = format!("{}/{}", text("status"), text("reason"));
            Ok((found == expected).then_some(()))
        })
        .await
    }

    pub(super) fn log(&self) -> Result<String> {
        self.worker().node.read("/run/world/driver.log")
    }

    /// What `/metrics` has.
    pub(super) fn scrape(&self) -> Result<String> {
        self.get("/metrics")
    }

    /// What the port of the metrics has at a path.
    pub(super) fn get(&self, path: &str) -> Result<String> {
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        let ask = move || -> io::Result<String> {
            let mut stream = TcpStream::connect("127.0.0.1:10476")?;
            stream.write_all(request.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        Ok(self.worker().node.place.run(ask)??)
    }

    /// What gRPC has.
    pub(super) async fn snapshot(&self) -> Result<Snapshot> {
        driver::snapshot(self.worker()).await
    }

    /// The totals of packets that gRPC has of an interface over time, oldest first.
    pub(super) async fn packets_over_time(&self, of: &Interface) -> Result<Vec<u64>> {
        let key = of.key.clone();
        let histories = driver::history(self.worker(), key.clone()).await?;
        let samples = histories
            .into_iter()
            .filter(|history| history.key == key)
            .flat_map(|history| history.samples);
        let sent = samples.filter_map(|sample| Some(sample.counters?.tx?.packets));
        Ok(sent.collect())
    }

    /// The interface of a pod, as gRPC has it.
    pub(super) async fn interface(&self, pod: &Value) -> Result<Interface> {
        let (_, name) = place(pod);
        let snapshot = self.snapshot().await?;
        let mut rows = snapshot.interfaces.into_iter();
        let is_of_pod = |row: &Interface| row.pod.as_ref().is_some_and(|pod| pod.name == name);
        rows.find(is_of_pod)
            .with_context(|| format!("gRPC shows no interface of {name}"))
    }

    /// Waits until of this many interfaces there is each one's lease, and nothing else is left.
    pub(super) async fn left(&self, interfaces: usize) -> Result<()> {
        until(
            &format!("{interfaces} leases and no leftover"),
            async || {
                let node = &self.worker().node;
                let found = node.place.output("find", "/var/lib/netclaim -name 10.*")?;
                let snapshot = self.snapshot().await?;
                let clean = found.lines().count() == interfaces && snapshot.leftovers.is_empty();
                Ok(clean.then_some(()))
            },
        )
        .await
    }
}

/// Parameters of a configuration.
pub(super) fn parameters(if_name: &str, plugins: &Value) -> Value {
    json!({"apiVersion": "cni.networking.x-k8s.io/v1alpha1", "kind": "CNI", "ifName": if_name,
        "config": {"cniVersion": "1.0.0", "name": "net", "plugins": plugins}})
}

/// The talk's chain.
pub(super) fn macvlan() -> Value {
    json!([{"type": "macvlan", "mode": "bridge",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.10.1.0/24"}]]}}])
}

/// The talk's chain with one more plugin at its end.
pub(super) fn macvlan_then(plugin: &str) -> Value {
    let mut chain = macvlan();
    if let Some(chain) = chain.as_array_mut() {
        chain.push(json!({"type": plugin}));
    }
    chain
}

/// More options for a driver that runs the scenario's own plugins.
pub(super) const OWN_PLUGINS: [&str; 4] = [
    "--cni-path",
    PLUGINS,
    "--cni-types",
    "fails,hangs,absent,fragile",
];

/// The value of a series.
pub(super) fn value(scraped: &str, series: &str) -> Option<f64> {
    let line = scraped.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn opaque(parameters: &Value) -> Value {
    json!({"driver": driver::NAME, "parameters": parameters})
}

fn shown_failure(snapshot: &Snapshot, claim: &str) -> Option<Failure> {
    let refused = snapshot.claims.iter().find_map(|state| {
        let of_claim = state.claim.as_ref().is_some_and(|of| of.name == claim);
        state.refused.clone().filter(|_| of_claim)
    });
    let failed = snapshot.interfaces.iter().find_map(|row| {
        let of_claim = row.claim.as_ref().is_some_and(|of| of.name == claim);
        row.failure.clone().filter(|_| of_claim)
    });
    refused.or(failed)
}
