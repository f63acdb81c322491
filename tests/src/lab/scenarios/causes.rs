//! Pods that fail first: the cause is said everywhere in the same words, and what heals them heals.
//!
//! What a user cannot change is made anew: a claim and a template are immutable, and a class's
//! configuration was copied when the claim was allocated. What changes outside of the claim heals
//! the pod as it is.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::{
    Scenario, Stage,
    claims::class_with,
    manifest::{From::Template, claim, configured, macvlan, pod, template},
    readers::{Cause, Readers},
};
use crate::lab::wait;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "causes: a wrong plugin, master or MTU is said everywhere; another claim heals it",
        play: |stage| Box::pin(wrong_configuration(stage)),
    },
    Scenario {
        name: "causes: a pod of the node's network is refused; one of its own is served",
        play: |stage| Box::pin(network_of_the_node(stage)),
    },
    Scenario {
        name: "causes: a class that is corrected counts for the next claim",
        play: |stage| Box::pin(wrong_class(stage)),
    },
    Scenario {
        name: "causes: a free address, the missing plugin or an empty link heal the pod as it is",
        play: |stage| Box::pin(heals_by_itself(stage)),
    },
];

/// A kubelet's back-off, after some tries, and its look at a pod that nothing happened to.
const RETRY: Duration = Duration::from_secs(150);

/// A plugin that a node lacks for a while.
const SBR: &str = "/opt/cni/bin/sbr";
const AWAY: &str = "/opt/cni/bin/sbr.away";

/// What the plugin says on a kernel without it.
const NO_IPVLAN: &str = "failed to create ipvlan: operation not supported";

const fn refused(reason: &'static str, code: &'static str) -> Cause {
    Cause {
        condition: "Ready",
        reason,
        step: "prepare",
        code,
    }
}

const fn failed(reason: &'static str, code: &'static str) -> Cause {
    Cause {
        step: "cni_add",
        ..refused(reason, code)
    }
}

/// A mistake, its cause and words of it.
type Mistake = (&'static str, fn(&mut Value), Cause, &'static [&'static str]);

const MISTAKES: &[Mistake] = &[
    (
        "plugin",
        |network| network["plugins"][0]["type"] = json!("bridge"),
        refused("PluginTypeRefused", "plugin_type_refused"),
        &["config.plugins[0].type", "bridge", "macvlan"],
    ),
    (
        "master",
        |network| network["plugins"][0]["master"] = json!("eth9"),
        refused("OtherDevice", "other_device"),
        &["config.plugins[0].master", "eth9", "eth1"],
    ),
    (
        "mtu",
        |network| network["plugins"][0]["mtu"] = json!(9000),
        failed("PluginReportedError", "plugin_reported_error"),
        &["macvlan", "invalid MTU 9000"],
    ),
];

async fn wrong_configuration(stage: &Stage<'_>) -> Result<()> {
    let readers = Readers::of(stage)?;
    let right = macvlan("right", "10.20.1.0/24");
    let (mut wrong, mut corrected) = (Vec::new(), Vec::new());
    for (name, change, ..) in MISTAKES {
        let mut network = right.clone();
        change(&mut network);
        wrong.push(template(&claim(name, "eth1", "net1", &network)));
        corrected.push(template(&claim(name, "eth1", "net1", &right)));
    }
    let pods = pods_of_workers(&["plugin", "master", "mtu"]);
    stage.apply(&[&wrong[..], &pods].concat()).await?;
    let says = |node: &'static str| {
        let readers = &readers;
        MISTAKES
            .iter()
            .map(move |(name, _, cause, words)| async move {
                readers
                    .agree(&format!("{node}-{name}"), *cause, words)
                    .await
            })
    };
    try_join_all(Stage::WORKERS.into_iter().flat_map(says)).await?;

    // As a user does: the template anew, and the pods that have claims of the old one.
    stage.delete(&["resourceclaimtemplates", "--all"]).await?;
    stage.delete(&["pods", "--all"]).await?;
    stage.apply(&[&corrected[..], &pods].concat()).await?;
    settled(stage, &pods).await
}

async fn network_of_the_node(stage: &Stage<'_>) -> Result<()> {
    let readers = Readers::of(stage)?;
    let net1 = claim("net1", "eth1", "net1", &macvlan("right", "10.20.1.0/24"));
    let right = pods_of_workers(&["net1"]);
    let mut wrong = right.clone();
    for pod in &mut wrong {
        pod["spec"]["hostNetwork"] = json!(true);
    }
    stage
        .apply(&[&[template(&net1)][..], &wrong].concat())
        .await?;
    let cause = Cause {
        step: "plan",
        ..refused("HostNetwork", "host_network")
    };
    let words = ["uses the node's network", "hostNetwork"];
    let said = wrong
        .iter()
        .map(|pod| readers.agree(name_of(pod), cause, &words));
    try_join_all(said).await?;
    stage.delete(&["pods", "--all"]).await?;
    stage.apply(&right).await?;
    settled(stage, &right).await
}

async fn wrong_class(stage: &Stage<'_>) -> Result<()> {
    let readers = Readers::of(stage)?;
    let class = format!("{}-class", stage.namespace);
    let right = macvlan("right", "10.20.1.0/24");
    let mut wrong = right.clone();
    wrong["plugins"][0]["mode"] = json!("bridged");
    let mut bare = claim("bare", "eth1", "net1", &Value::Null);
    bare["spec"]["devices"]["config"] = json!([]);
    bare["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] = json!(class);
    let of_class = |network| class_with(&class, &configured("net1", network));
    let pods = pods_of_workers(&["bare"]);
    stage
        .apply(&[&[of_class(&wrong), template(&bare)][..], &pods].concat())
        .await?;
    let cause = refused("InvalidValue", "invalid_value");
    let words = ["the DeviceClass's configuration", "mode", "bridged"];
    let all = Stage::WORKERS.map(|node| format!("{node}-bare"));
    try_join_all(all.iter().map(|pod| readers.agree(pod, cause, &words))).await?;

    stage.apply(&[of_class(&right)]).await?;
    stage.delete(&["pods", "--all"]).await?;
    stage.apply(&pods).await?;
    settled(stage, &pods).await
}

async fn heals_by_itself(stage: &Stage<'_>) -> Result<()> {
    let readers = Readers::of(stage)?;
    let mut single = macvlan("single", "10.20.3.0/24");
    let range =
        json!({"subnet": "10.20.3.0/24", "rangeStart": "10.20.3.9", "rangeEnd": "10.20.3.9"});
    single["plugins"][0]["ipam"]["ranges"] = json!([[range]]);
    let mut chained = macvlan("chained", "10.20.1.0/24");
    chained["plugins"]
        .as_array_mut()
        .context("no list")?
        .push(json!({"type": "sbr"}));
    let mut child = macvlan("child", "10.20.4.0/24");
    child["plugins"][0]["type"] = json!("ipvlan");
    child["plugins"][0]["mode"] = json!("l2");
    let templates = [
        claim("address", "eth1", "net1", &single),
        claim("plugin", "eth1", "net1", &chained),
        claim("holder", "eth2", "net1", &macvlan("holder", "10.20.2.0/24")),
        claim("child", "eth2", "net1", &child),
    ];
    let holders = pods_of_workers(&["holder"]);
    let mut first = pods_of_workers(&["address"]);
    for pod in &mut first {
        pod["metadata"]["name"] = json!(format!("{}-first", name_of(pod)));
    }
    let templates = templates.each_ref().map(template);
    stage
        .apply(&[&templates[..], &holders, &first].concat())
        .await?;
    stage.all_ready().await?;
    for node in Stage::WORKERS {
        stage.on_node(node, &["mv", SBR, AWAY]).await?;
    }
    let pods = pods_of_workers(&["address", "plugin", "child"]);
    stage.apply(&pods).await?;
    let says = |node: &'static str| {
        let readers = &readers;
        FAILURES.iter().map(move |(name, cause, words)| async move {
            readers
                .agree(&format!("{node}-{name}"), *cause, words)
                .await
        })
    };
    try_join_all(Stage::WORKERS.into_iter().flat_map(says)).await?;

    for node in Stage::WORKERS {
        stage.on_node(node, &["mv", AWAY, SBR]).await?;
    }
    let gone: Vec<_> = holders.iter().chain(&first).map(name_of).collect();
    stage.delete(&[&["pods"][..], &gone].concat()).await?;
    let (children, others): (Vec<_>, _) = pods
        .into_iter()
        .partition(|pod| name_of(pod).ends_with("child"));
    settled(stage, &others).await?;
    let admitted = children.iter().map(|pod| admitted(stage, name_of(pod)));
    try_join_all(admitted).await.map(drop)
}

/// Waits until a pod has the ipvlan that it was refused, or the kernel was asked for it in vain: not
/// every kernel has that kind.
async fn admitted(stage: &Stage<'_>, pod: &str) -> Result<()> {
    stage
        .until(&format!("{pod} to be admitted"), async || {
            let claim = stage.claim_of(pod).await?;
            let device = &claim["status"]["devices"][0];
            let vain = device["conditions"].to_string().contains(NO_IPVLAN);
            ensure!(
                vain || super::condition(device, "Ready")? == "True",
                "the claim says {device}"
            );
            Ok(())
        })
        .await
}

const FAILURES: &[(&str, Cause, &[&str])] = &[
    (
        "address",
        failed("PluginReportedError", "plugin_reported_error"),
        &["no IP addresses available", "10.20.3.9"],
    ),
    (
        "plugin",
        failed("PluginNotFound", "plugin_not_found"),
        &["sbr"],
    ),
    (
        "child",
        refused("OtherChildKind", "other_child_kind"),
        &["ipvlan", "eth2", "macvlan"],
    ),
];

/// A pod of each worker for each of these templates: `kind-worker-NAME` and so on.
fn pods_of_workers(templates: &[&str]) -> Vec<Value> {
    let of_node = |node: &'static str| {
        templates
            .iter()
            .map(move |name| pod(&format!("{node}-{name}"), node, &[Template(name)]))
    };
    Stage::WORKERS.into_iter().flat_map(of_node).collect()
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Waits until each of these pods is Ready and has its net1, for as long as a kubelet may back off.
async fn settled(stage: &Stage<'_>, pods: &[Value]) -> Result<()> {
    let names: Vec<_> = pods.iter().map(name_of).collect();
    wait::until("the pods to be Ready", RETRY, async || {
        stage.ready(&names).await
    })
    .await?;
    let attached = names.iter().map(|pod| stage.attached(pod, "net1"));
    try_join_all(attached).await.map(drop)
}
