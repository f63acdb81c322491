//! Claims of every shape, and whose configuration counts.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::{
    Scenario, Stage,
    manifest::{
        From::{Claim, Template},
        claim, configured, macvlan, pod, request, template,
    },
    readers::{Cause, Readers},
};
use crate::{lab::install::BOOT_ID, world::driver::NAME};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "claims: two requests, each with a network of its own",
        play: |stage| Box::pin(two_requests(stage)),
    },
    Scenario {
        name: "claims: a pod with two of them has two interfaces",
        play: |stage| Box::pin(two_claims(stage)),
    },
    Scenario {
        name: "claims: count: 2 gives net0 and net1",
        play: |stage| Box::pin(two_devices(stage)),
    },
    Scenario {
        name: "claims: firstAvailable takes what is there, and its own configuration",
        play: |stage| Box::pin(first_available(stage)),
    },
    Scenario {
        name: "claims: a second pod is refused in words, and served when the first is gone",
        play: |stage| Box::pin(second_pod(stage)),
    },
    Scenario {
        name: "claims: one that is named serves pod after pod, of the same name or another",
        play: |stage| Box::pin(pod_after_pod(stage)),
    },
    Scenario {
        name: "claims: an exclusive device is one pod's; the next is Pending until that is gone",
        play: |stage| Box::pin(exclusive(stage)),
    },
    Scenario {
        name: "claims: the class's configuration wins over the claim's",
        play: |stage| Box::pin(whose_configuration(stage)),
    },
];

const IN_USE: Cause = Cause {
    condition: "PodRefused",
    reason: "ClaimInUse",
    step: "plan",
    code: "claim_in_use",
};

/// A pod of each worker with a claim of this shape; waits until both are Ready.
async fn on_workers(stage: &Stage<'_>, claim: &Value) -> Result<[String; 2]> {
    let name = claim["metadata"]["name"].as_str().context("no name")?;
    let pods = Stage::WORKERS.map(|node| pod(node, node, &[Template(name)]));
    stage
        .apply(&[&[template(claim)][..], &pods].concat())
        .await?;
    stage.all_ready().await?;
    Ok(Stage::WORKERS.map(str::to_owned))
}

/// The configuration of some requests only.
fn configured_for(request: &str, interface: &str, network: &Value) -> Value {
    let mut config = configured(interface, network);
    config["requests"] = json!([request]);
    config
}

/// Waits until a pod has its interface with an address that begins so.
async fn attached_in(stage: &Stage<'_>, pod: &str, interface: &str, net: &str) -> Result<()> {
    let address = stage.attached(pod, interface).await?;
    ensure!(
        address.starts_with(net),
        "{interface} of {pod} has {address}"
    );
    Ok(())
}

/// The device of a pod's claim that is this interface.
async fn device_of(stage: &Stage<'_>, pod: &str, interface: &str) -> Result<String> {
    let claim = stage.claim_of(pod).await?;
    let mut devices = claim["status"]["devices"].as_array().into_iter().flatten();
    let device = devices.find(|device| device["networkData"]["interfaceName"] == interface);
    let device = device.and_then(|device| device["device"].as_str());
    let device = device.with_context(|| format!("the claim says {}", claim["status"]))?;
    Ok(device.to_owned())
}

async fn two_requests(stage: &Stage<'_>) -> Result<()> {
    let mut both = claim("both", "eth1", "net1", &Value::Null);
    both["spec"]["devices"] = json!({
        "requests": [request("first", "eth1"), request("second", "eth2")],
        "config": [
            configured_for("second", "net2", &macvlan("second", "10.20.2.0/24")),
            configured_for("first", "net1", &macvlan("first", "10.20.1.0/24")),
        ],
    });
    for pod in on_workers(stage, &both).await? {
        for (interface, device, net) in [("net1", "eth1", "10.20.1."), ("net2", "eth2", "10.20.2.")]
        {
            attached_in(stage, &pod, interface, net).await?;
            let found = device_of(stage, &pod, interface).await?;
            ensure!(found == device, "{interface} of {pod} is on {found}");
        }
    }
    Ok(())
}

async fn two_claims(stage: &Stage<'_>) -> Result<()> {
    let mut objects = Vec::new();
    for node in Stage::WORKERS {
        let names = [format!("{node}-one"), format!("{node}-two")];
        for (name, device, interface, network) in [
            (&names[0], "eth1", "net1", macvlan("first", "10.20.1.0/24")),
            (&names[1], "eth2", "net2", macvlan("second", "10.20.2.0/24")),
        ] {
            objects.push(claim(name, device, interface, &network));
        }
        objects.push(pod(node, node, &[Claim(&names[0]), Claim(&names[1])]));
    }
    stage.apply(&objects).await?;
    stage.all_ready().await?;
    for node in Stage::WORKERS {
        let (one, two) = (format!("{node}-one"), format!("{node}-two"));
        stage.attached_by(node, &one, "net1").await?;
        stage.attached_by(node, &two, "net2").await?;
    }
    Ok(())
}

async fn two_devices(stage: &Stage<'_>) -> Result<()> {
    let network = macvlan("pair", "10.20.1.0/24");
    let mut pair = claim("pair", "eth1", "net%d", &network);
    let name = format!("device.attributes[\"{NAME}\"].name");
    // One request never gets one device twice, shared or not.
    let either = format!("{name} == \"eth1\" || {name} == \"eth2\"");
    let exactly = &mut pair["spec"]["devices"]["requests"][0]["exactly"];
    exactly["selectors"] = json!([{"cel": {"expression": either}}]);
    exactly["count"] = json!(2);
    for pod in on_workers(stage, &pair).await? {
        let first = stage.attached(&pod, "net0").await?;
        let second = stage.attached(&pod, "net1").await?;
        ensure!(first != second, "both interfaces of {pod} have {first}");
    }
    Ok(())
}

async fn first_available(stage: &Stage<'_>) -> Result<()> {
    let choice = |name: &str, device: &str| {
        let mut choice = request(name, device)["exactly"].take();
        choice["name"] = json!(name);
        choice
    };
    let mut either = claim("either", "eth1", "net1", &Value::Null);
    either["spec"]["devices"] = json!({
        "requests": [{
            "name": "nic",
            "firstAvailable": [choice("fast", "eth9"), choice("slow", "eth2")],
        }],
        "config": [
            configured_for("nic/fast", "fast0", &macvlan("fast", "10.20.9.0/24")),
            configured_for("nic/slow", "slow0", &macvlan("slow", "10.20.2.0/24")),
        ],
    });
    for pod in on_workers(stage, &either).await? {
        attached_in(stage, &pod, "slow0", "10.20.2.").await?;
        let device = device_of(stage, &pod, "slow0").await?;
        ensure!(device == "eth2", "slow0 of {pod} is on {device}");
        let other = stage.interface(&stage.pod(&pod).await?, "fast0");
        ensure!(other.is_err(), "{pod} also has fast0: {other:?}");
    }
    Ok(())
}

async fn second_pod(stage: &Stage<'_>) -> Result<()> {
    let readers = Readers::of(stage)?;
    let network = macvlan("shared", "10.20.1.0/24");
    let shared = |node| format!("{node}-shared");
    let all = |name: &str| Stage::WORKERS.map(|node| format!("{node}-{name}"));
    let pods = |name: &str| {
        Stage::WORKERS.map(|node| pod(&format!("{node}-{name}"), node, &[Claim(&shared(node))]))
    };
    let claims = Stage::WORKERS.map(|node| claim(&shared(node), "eth1", "net1", &network));
    stage.apply(&[claims, pods("first")].concat()).await?;
    stage.all_ready().await?;
    stage.apply(&pods("second")).await?;
    try_join_all(Stage::WORKERS.map(|node| {
        let readers = &readers;
        async move {
            let (namespace, second) = (&stage.namespace, format!("{node}-second"));
            let serves = format!(
                "claim {namespace}/{node}-shared already serves pod {namespace}/{node}-first"
            );
            let words = [&*serves, "ResourceClaimTemplate"];
            readers.agree(&second, IN_USE, &words).await
        }
    }))
    .await?;
    for first in all("first") {
        stage.attached(&first, "net1").await?;
    }
    let [one, other] = all("first");
    stage.delete(&["pods", &one, &other]).await?;
    for second in all("second") {
        stage.ready(&[&second]).await?;
        stage.attached(&second, "net1").await?;
        stage
            .until("nobody to be refused", async || {
                let claim = stage.claim_of(&second).await?;
                let device = &claim["status"]["devices"][0];
                let refused = super::condition(device, "PodRefused");
                ensure!(refused.is_err(), "the claim says {device}");
                Ok(())
            })
            .await?;
    }
    Ok(())
}

async fn pod_after_pod(stage: &Stage<'_>) -> Result<()> {
    let network = macvlan("kept", "10.20.1.0/24");
    let kept = |node| format!("{node}-kept");
    let claims = Stage::WORKERS.map(|node| claim(&kept(node), "eth1", "net1", &network));
    stage.apply(&claims).await?;
    let mut seen = BTreeSet::new();
    for name in ["one", "one", "other"] {
        let name = |node| format!("{node}-{name}");
        let pods = Stage::WORKERS.map(|node| pod(&name(node), node, &[Claim(&kept(node))]));
        stage.apply(&pods).await?;
        stage.all_ready().await?;
        for node in Stage::WORKERS {
            stage.attached(&name(node), "net1").await?;
            seen.insert(stage.pod(&name(node)).await?.uid);
        }
        stage.delete(&["pods", "--all"]).await?;
    }
    ensure!(seen.len() == 6, "{} pods were there", seen.len());
    Ok(())
}

async fn exclusive(stage: &Stage<'_>) -> Result<()> {
    let values = [
        BOOT_ID,
        &["driver.devices.exclusive=attributes.name == 'eth2'"],
    ]
    .concat();
    stage.lab.install(&values).await?;
    let played = async {
        let network = macvlan("alone", "10.20.2.0/24");
        let alone = template(&claim("alone", "eth2", "net1", &network));
        let pods = |name: &str| {
            Stage::WORKERS.map(|node| pod(&format!("{node}-{name}"), node, &[Template("alone")]))
        };
        stage
            .apply(&[&[alone][..], &pods("first")].concat())
            .await?;
        stage.all_ready().await?;
        stage.apply(&pods("next")).await?;
        let [one, other] = Stage::WORKERS.map(|node| format!("{node}-next"));
        for next in [&one, &other] {
            stage.said(next, "cannot allocate all claims").await?;
        }
        let firsts = Stage::WORKERS.map(|node| format!("{node}-first"));
        stage.delete(&["pods", &firsts[0], &firsts[1]]).await?;
        stage.settled(&[one, other]).await?;
        stage.delete(&["pods", "--all"]).await
    };
    let played = played.await;
    stage.lab.install(BOOT_ID).await?;
    played
}

async fn whose_configuration(stage: &Stage<'_>) -> Result<()> {
    let class = format!("{}-configured", stage.namespace);
    let of_class = class_with(
        &class,
        &configured("class0", &macvlan("class", "10.20.5.0/24")),
    );
    let plain = claim("plain", "eth1", "claim0", &macvlan("claim", "10.20.6.0/24"));
    let in_class = |name: &str| {
        let mut claim = plain.clone();
        claim["metadata"]["name"] = json!(name);
        claim["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] = json!(class);
        claim
    };
    let both = in_class("both");
    let mut bare = in_class("bare");
    bare["spec"]["devices"]["config"] = json!([]);

    let mut objects = vec![of_class];
    objects.extend([&plain, &bare, &both].map(template));
    let mut expected = Vec::new();
    for node in Stage::WORKERS {
        for (name, interface, net) in [
            ("plain", "claim0", "10.20.6."),
            ("bare", "class0", "10.20.5."),
            ("both", "class0", "10.20.5."),
        ] {
            let name_of_pod = format!("{node}-{name}");
            objects.push(pod(&name_of_pod, node, &[Template(name)]));
            expected.push((name_of_pod, interface, net));
        }
    }
    stage.apply(&objects).await?;
    stage.all_ready().await?;
    for (pod, interface, net) in expected {
        attached_in(stage, &pod, interface, net).await?;
    }
    Ok(())
}

/// A class of our devices with a configuration.
pub(super) fn class_with(name: &str, config: &Value) -> Value {
    let ours = format!("device.driver == \"{NAME}\"");
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {
            "selectors": [{"cel": {"expression": ours}}],
            "config": [config],
        },
    })
}
