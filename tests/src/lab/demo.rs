//! The talk on a real cluster: netclaim is installed as users do, the talk's manifests are applied
//! as they stand, and everything is looked at from outside.
//!
//! Owns the steps and what is printed of them. It must never call a difference fine: what is wrong
//! is named, and the exit code says so.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

use self::pods::Pods;
use super::{
    Lab,
    install::{NAMESPACE, READER},
    runtime::Runtimes,
    topology::Topology,
};
use crate::{
    demo::{
        screen::Screen,
        steps::{Steps, say},
    },
    lab::forward::Forward,
    world::{left, talk},
};

mod pods;

/// The only node with the talk's eth1.
const NODE: &str = "kind-worker";

/// What the talk's Deployment is called.
pub(super) const DEPLOYMENT: &str = "deployment/demo-application";

/// Waits until all of its pods are Ready.
pub(super) const ROLLED_OUT: [&str; 4] = ["rollout", "status", "--timeout=2m", DEPLOYMENT];

/// What the slices have to list, by node.
const DEVICES: &[(&str, &[&str])] = &[
    ("kind-control-plane", &["eth0"]),
    (NODE, &["eth0", "eth1"]),
    ("kind-worker2", &["eth0"]),
];

/// How to run it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Check everything, take the cluster down, and end.
    #[arg(long)]
    check: bool,
    /// What runs the pods.
    #[arg(long, value_enum, default_value_t)]
    runtime: Runtimes,
    /// The driver's image, as an OCI archive; `cargo xtask cluster` builds it.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
}

/// The two ways in which the talk's pods share one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// Consumable capacity: `resource.k8s.io/v1`.
    Capacity,
    /// The talk's own: admin access, `v1beta1`.
    AdminAccess,
}

impl Sharing {
    fn template(self) -> &'static str {
        match self {
            Self::Capacity => talk::TEMPLATE,
            Self::AdminAccess => talk::TEMPLATE_V1BETA1,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Capacity => "sharing by capacity (v1)",
            Self::AdminAccess => "sharing by adminAccess (v1beta1)",
        }
    }
}

/// Brings the cluster up, runs the talk on it, checks it or opens dra-top, and takes the cluster
/// down again, whatever comes of it.
pub async fn run(lab: &Lab, options: &Options) -> Result<()> {
    if options.check {
        let lab = lab.beside("talk")?;
        lab.down().await?;
        return show(&lab, options).await;
    }
    show(lab, options).await
}

async fn show(lab: &Lab, options: &Options) -> Result<()> {
    say("The talk's demo, on a real Kubernetes in namespaces of its own")?;
    let demo = Demo {
        lab,
        steps: Steps::begin(),
    };
    demo.set_up(options).await?;
    let shown = async {
        if options.check {
            demo.check().await
        } else {
            demo.watch().await
        }
    };
    let shown = tokio::select! {
        shown = shown => shown,
        interrupted = interrupted() => interrupted.and_then(|()| bail!("interrupted")),
    };
    if shown.is_err() {
        say(&lab.testimony().await)?;
    }
    let down = lab.down().await;
    shown.context("the demo failed")?;
    down?;
    demo.steps.done("the cluster is taken down")
}

/// Somebody wants it to end, or the terminal is gone.
async fn interrupted() -> Result<()> {
    let mut ends = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    let [interrupt, terminate, hangup] = &mut ends;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// Fails unless kubectl was refused with these words.
fn refused(answer: Result<String>, words: &str) -> Result<()> {
    match answer {
        Err(error) if format!("{error:#}").contains(words) => Ok(()),
        Err(error) => Err(error),
        Ok(said) => bail!("expected a refusal with {words:?}, kubectl said {said:?}"),
    }
}

/// What the steps share.
struct Demo<'a> {
    lab: &'a Lab,
    steps: Steps,
}

impl Demo<'_> {
    async fn set_up(&self, options: &Options) -> Result<()> {
        let Self { lab, steps } = self;
        let mut topology = Topology::of_the_talk(DEVICES.len()).map_err(anyhow::Error::msg)?;
        topology.equip(options.runtime);
        let up = |(): &()| "three nodes are Ready".to_owned();
        let begun = lab.up(&topology, false);
        steps.step("three nodes are Ready", begun, up).await?;
        let installed = async {
            lab.load(&options.image).await?;
            lab.install(&[]).await?;
            self.devices().await
        };
        let words =
            |(): &()| "helm install: all pods Ready, each node's slice published".to_owned();
        let installed = steps.step("helm has installed netclaim", installed, words);
        if let Err(error) = installed.await {
            say(&lab.testimony().await)?;
            lab.down().await?;
            return Err(error.context("the demo failed"));
        }
        Ok(())
    }

    /// The talk's pods with traffic between them, in dra-top until its user leaves.
    async fn watch(&self) -> Result<()> {
        let Self { lab, steps } = self;
        let pods = self.roll_out(Sharing::Capacity).await?;
        lab.admit_reader().await?;
        let talk = pods.talk(lab);
        let words = |(): &()| "each pod pings the next until you leave".to_owned();
        steps.step("each pod pings the next", talk, words).await?;
        let mut dra_top = Command::from(lab.dra_top::<&str>(READER, &[])?);
        Screen::open(|| Ok(dra_top.spawn()?))?.left().await?;
        steps.done("you left dra-top")
    }

    /// Both forms of the talk, with another release in between, until nothing is left.
    async fn check(&self) -> Result<()> {
        let Self { lab, steps } = self;
        let words = |(): &()| {
            "a user of dra-top reaches no driver, a driver no other node's slices".to_owned()
        };
        steps
            .step("rights are as they should be", self.rights(), words)
            .await?;
        let pods = self.roll_out(Sharing::Capacity).await?;
        say(&format!("\n{}", self.compare(&pods).await?))?;
        let pods = self.scale(&pods).await?;
        self.compare(&pods).await?;
        let replaced = async {
            lab.install(&["driver.log=debug"]).await?;
            lab.roll_back().await
        };
        let words = |(): &()| "helm upgrade and rollback while they run".to_owned();
        let waits = "helm has replaced every driver twice";
        steps.step(waits, replaced, words).await?;
        self.compare(&pods).await?;
        self.take_away().await?;

        let label = "resource.kubernetes.io/admin-access=true";
        lab.ask(&["label", "namespace", "default", label]).await?;
        let pods = self.roll_out(Sharing::AdminAccess).await?;
        say(&format!("\n{}", self.compare(&pods).await?))?;
        self.uninstall().await?;
        let words = "each pod reached the next without a driver";
        let reached = pods.exchange(lab);
        let waits = "each pod has reached the next";
        steps
            .step(waits, reached, |(): &()| words.to_owned())
            .await?;
        let words = |(): &()| "helm install again: it goes on where it was".to_owned();
        let installed = async {
            lab.install(&[]).await?;
            // Their bindings went with the relay's namespace.
            lab.admit_reader().await
        };
        steps
            .step("helm has installed it", installed, words)
            .await?;
        self.compare(&pods).await?;
        self.take_away().await?;
        self.uninstall().await
    }

    /// To no pod, which leaves nothing of any, and back to all of them.
    async fn scale(&self, pods: &Pods) -> Result<Pods> {
        let lab = self.lab;
        let scale = async |replicas: usize| {
            let replicas = format!("--replicas={replicas}");
            lab.ask(&["scale", DEPLOYMENT, &replicas]).await.map(drop)
        };
        let gone = async {
            scale(0).await?;
            self.nothing_is_left().await
        };
        let words = |(): &()| "scaled to 0: nothing of the pods is left".to_owned();
        let waits = "nothing is left of the pods";
        self.steps.step(waits, gone, words).await?;
        let ready = async {
            scale(pods.len()).await?;
            lab.ask(&ROLLED_OUT).await?;
            Pods::of(lab).await
        };
        let words = |pods: &Pods| format!("scaled up again: {} pods are Ready", pods.len());
        let pods = self.steps.step("the pods are Ready", ready, words).await?;
        pods.exchange(lab).await?;
        Ok(pods)
    }

    /// Takes netclaim away; no socket of it is left on any node.
    async fn uninstall(&self) -> Result<()> {
        let gone = async {
            self.lab.uninstall().await?;
            for (node, _) in DEVICES {
                let left = left::sockets(&self.lab.path_on(node, "")?)?;
                ensure!(left.is_empty(), "on {node}: {left:?}");
            }
            Ok(())
        };
        let words = |(): &()| "helm uninstall: no socket of netclaim is left".to_owned();
        let waits = "helm has taken netclaim away";
        self.steps.step(waits, gone, words).await
    }

    /// Waits until each node's slice lists its links.
    async fn devices(&self) -> Result<()> {
        pods::until("the slices do not list every link", async || {
            let slices = self.lab.list(&["resourceslices"]).await?;
            for (node, expected) in DEVICES {
                let of_node = slices
                    .iter()
                    .filter(|slice| slice["spec"]["nodeName"] == *node);
                let devices = of_node.filter_map(|slice| slice["spec"]["devices"].as_array());
                let names = devices
                    .flatten()
                    .filter_map(|device| device["name"].as_str());
                let names: Vec<_> = names.collect();
                if names != *expected {
                    bail!("{node} offers {names:?} instead of {expected:?}");
                }
            }
            Ok(())
        })
        .await
    }

    /// The talk's pods, all of them Ready.
    async fn roll_out(&self, sharing: Sharing) -> Result<Pods> {
        let lab = self.lab;
        let ready = async {
            for manifest in [talk::CLASS, sharing.template(), talk::DEPLOYMENT] {
                lab.apply(manifest).await?;
            }
            lab.ask(&ROLLED_OUT).await?;
            Pods::of(lab).await
        };
        let words = |pods: &Pods| format!("{} pods are Ready, {}", pods.len(), sharing.words());
        let waits = "the talk's pods are Ready";
        let pods = self.steps.step(waits, ready, words).await?;
        pods.are_placed(NODE)?;
        let reached = |(): &()| "each pod reached the next over net1".to_owned();
        let waits = "each pod has reached the next";
        self.steps.step(waits, pods.exchange(lab), reached).await?;
        Ok(pods)
    }

    /// What claims say, what the driver counted by gRPC through the relay and by `/metrics`, and
    /// what the kernel has: the same.
    async fn compare(&self, pods: &Pods) -> Result<String> {
        let forward = Forward::to_relay(self.lab, NODE).await?;
        let table = pods.settled(self.lab, &forward).await?;
        self.steps.done(
            "by gRPC through the relay = scraped from /metrics = `ip -s link` in each pod; \
             statuses as in the talk",
        )?;
        pods.are_shown(self.lab, &forward).await?;
        let words = "dra-top -o json, by the API server and with a reader's rights, shows the same";
        self.steps.done(words)?;
        Ok(table)
    }

    /// Whose rights reach how far: those of a user of dra-top, and those of a node's driver.
    async fn rights(&self) -> Result<()> {
        let lab = self.lab;
        lab.admit_reader().await?;
        let reader = format!("--as={READER}");
        let driver = lab.pod_of(NAMESPACE, "driver", NODE).await?;
        let forward = format!("/api/v1/namespaces/{NAMESPACE}/pods/{driver}/portforward");
        let words = "cannot get resource \"pods/portforward\"";
        refused(lab.ask(&["get", &reader, "--raw", &forward]).await, words)?;

        lab.keeps_from_drivers().await?;

        let account = format!("--as=system:serviceaccount:{NAMESPACE}:netclaim-driver");
        let elsewhere = "--as-user-extra=authentication.kubernetes.io/node-name=kind-worker2";
        let slices = format!("--field-selector=spec.nodeName={NODE}");
        let delete = ["delete", "resourceslices", &slices, &account, elsewhere];
        let words = "the driver of node kind-worker2 may not write the slices of node kind-worker";
        refused(lab.ask(&delete).await, words)
    }

    /// Deletes the talk's objects, and waits until nothing of them is left on the node.
    async fn take_away(&self) -> Result<()> {
        let lab = self.lab;
        let gone = async {
            lab.ask(&["delete", DEPLOYMENT, "--cascade=foreground"])
                .await?;
            let template = "resourceclaimtemplate/macvlan-eth1-attachment";
            lab.ask(&["delete", template]).await?;
            self.nothing_is_left().await
        };
        let words =
            |(): &()| "deleted: no claim, interface, lease, pin or CNI result is left".to_owned();
        self.steps
            .step("nothing is left of the pods", gone, words)
            .await
    }

    async fn nothing_is_left(&self) -> Result<()> {
        let lab = self.lab;
        pods::until("something is left", async || {
            let claims = lab.list(&["resourceclaims"]).await?;
            let mut left = left::in_files(&lab.path_on(NODE, "")?)?;
            let claims = claims.iter();
            left.extend(claims.map(|claim| format!("ResourceClaim {}", claim["metadata"]["name"])));
            ensure!(left.is_empty(), "{}", left.join(", "));
            Ok(())
        })
        .await
    }
}
