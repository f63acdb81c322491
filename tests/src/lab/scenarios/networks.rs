//! Networks that bear one name, and pods with namespaces of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    Scenario, Stage,
    claims::class_with,
    manifest::{
        From::{Claim, Template},
        claim, configured, macvlan, pod, template,
    },
    skip,
};

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "networks: one name and subnet in two namespaces; leases apart, or in one class",
        play: |stage| Box::pin(two_namespaces(stage)),
    },
    Scenario {
        name: "networks: one that bears the cluster network's name leaves that network's leases",
        play: |stage| Box::pin(the_clusters_name(stage)),
    },
    Scenario {
        name: "networks: a pod with a user namespace has its interface",
        play: |stage| Box::pin(user_namespace(stage)),
    },
];

/// The cluster network of the lab, and where host-local keeps its leases.
const CLUSTER_NETWORK: &str = "pods";
const CLUSTER_LEASES: &str = "/var/lib/cni/networks/pods";

/// What the kubelet says where the runtime found the kernel unable to.
const UNABLE: &str = "runtime does not support user namespaces";

/// Where the driver has host-local keep its own.
const LEASES: &str = "/var/lib/netclaim/ipam";

async fn two_namespaces(stage: &Stage<'_>) -> Result<()> {
    let other = Stage::open(stage.lab, format!("{}-other", stage.namespace)).await?;
    let subnet = "10.20.7.0/24";
    let class = format!("{}-network", stage.namespace);
    let network = configured("net1", &macvlan("in-class", subnet));
    let mut of_class = claim("of-class", "eth1", "net1", &Value::Null);
    of_class["spec"]["devices"]["config"] = json!([]);
    of_class["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] = json!(class);
    let own = claim("own", "eth2", "net1", &macvlan("own", subnet));

    stage.apply(&[class_with(&class, &network)]).await?;
    for place in [stage, &other] {
        let mut objects = vec![template(&of_class), template(&own)];
        for node in Stage::WORKERS {
            for name in ["of-class", "own"] {
                objects.push(pod(&format!("{node}-{name}"), node, &[Template(name)]));
            }
        }
        place.apply(&objects).await?;
    }
    for place in [stage, &other] {
        place.all_ready().await?;
    }
    for node in Stage::WORKERS {
        let (one, two) = addresses(stage, &other, &format!("{node}-of-class")).await?;
        ensure!(one != two, "the class gave {one} twice on {node}");
        let ping = ["ping", "-c", "1", &two];
        stage.exec(&format!("{node}-of-class"), &ping).await?;
        let class = leases(stage, node, &format!("{LEASES}/class/in-class"))?;
        ensure!(class.contains_key(&one) && class.contains_key(&two));

        let (one, two) = addresses(stage, &other, &format!("{node}-own")).await?;
        ensure!(
            one == two,
            "each namespace begins anew, and has {one} and {two}"
        );
        for place in [stage, &other] {
            let folder = format!("{LEASES}/ns-{}/own", place.namespace);
            let own = leases(stage, node, &folder)?;
            ensure!(own.contains_key(&one), "in {folder} are {own:?}");
        }
    }
    other.close().await
}

/// What the pod of this name has in each of two namespaces.
async fn addresses(one: &Stage<'_>, other: &Stage<'_>, pod: &str) -> Result<(String, String)> {
    let one = one.attached(pod, "net1").await?;
    Ok((one, other.attached(pod, "net1").await?))
}

async fn the_clusters_name(stage: &Stage<'_>) -> Result<()> {
    let network = macvlan(CLUSTER_NETWORK, "10.20.8.0/24");
    let same = template(&claim("same", "eth1", "net1", &network));
    let mut objects = vec![same];
    for node in Stage::WORKERS {
        objects.push(pod(&format!("{node}-stays"), node, &[]));
        objects.push(pod(&format!("{node}-same"), node, &[Template("same")]));
    }
    stage.apply(&objects).await?;
    stage.all_ready().await?;
    let mut kept = Vec::new();
    for node in Stage::WORKERS {
        let net1 = stage.attached(&format!("{node}-same"), "net1").await?;
        let folder = format!("{LEASES}/ns-{}/{CLUSTER_NETWORK}", stage.namespace);
        let own = leases(stage, node, &folder)?;
        ensure!(own.contains_key(&net1), "in {folder} are {own:?}");
        let cluster = leases(stage, node, CLUSTER_LEASES)?;
        let interfaces: BTreeSet<_> = cluster.values().map(|lease| lease.1.as_str()).collect();
        ensure!(interfaces == ["eth0"].into(), "the cluster has {cluster:?}");
        kept.push((node, eth0(stage, &format!("{node}-stays")).await?, cluster));
    }
    let same = Stage::WORKERS.map(|node| format!("{node}-same"));
    stage.delete(&["pods", &same[0], &same[1]]).await?;
    for (node, stays, before) in kept {
        let after = leases(stage, node, CLUSTER_LEASES)?;
        ensure!(
            after.contains_key(&stays) && after.get(&stays) == before.get(&stays),
            "{stays} of the pod that stays was {:?}, and is {:?}",
            before.get(&stays),
            after.get(&stays)
        );
        let gone = before
            .iter()
            .filter(|(address, _)| !after.contains_key(*address));
        ensure!(gone.count() == 1, "of {before:?} are left {after:?}");
    }
    Ok(())
}

/// A pod's address in the cluster network.
async fn eth0(stage: &Stage<'_>, pod: &str) -> Result<String> {
    let pod = stage.pod(pod).await?.object;
    let address = pod["status"]["podIP"].as_str().context("no address")?;
    Ok(address.to_owned())
}

/// host-local's leases in a folder of a node: sandbox and interface by address.
fn leases(
    stage: &Stage<'_>,
    node: &str,
    folder: &str,
) -> Result<BTreeMap<String, (String, String)>> {
    let folder = stage.lab.path_on(node, folder)?;
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut leases = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            let lease = fs::read_to_string(entry.path())?;
            let mut lines = lease.lines().map(str::to_owned);
            let sandbox = lines.next().unwrap_or_default();
            leases.insert(name, (sandbox, lines.next().unwrap_or_default()));
        }
    }
    Ok(leases)
}

async fn user_namespace(stage: &Stage<'_>) -> Result<()> {
    let mut newer = Stage::WORKERS.into_iter();
    let newer = newer.find(|node| stage.runs_containerd_2(node).unwrap_or_default());
    let Some(node) = newer else {
        return Err(skip("containerd 1.7 gives pods no user namespaces"));
    };
    let mut mapped = pod("mapped", node, &[Claim("mapped")]);
    mapped["spec"]["hostUsers"] = json!(false);
    let network = macvlan("mapped", "10.20.1.0/24");
    let claim = claim("mapped", "eth1", "net1", &network);
    stage.apply(&[claim, mapped]).await?;
    let answer = stage
        .until("the pod to run or to be refused", async || {
            let events = stage.events("mapped").await?;
            let unable = events.iter().find(|event| event.contains(UNABLE));
            if let Some(unable) = unable {
                return Ok(Err(unable.clone()));
            }
            let ready = stage.pod("mapped").await?.object["status"]["conditions"].take();
            let mut ready = ready.as_array().into_iter().flatten();
            let is_ready = ready.any(|one| one["type"] == "Ready" && one["status"] == "True");
            ensure!(is_ready, "said was {events:?}");
            Ok(Ok(()))
        })
        .await?;
    if let Err(unable) = answer {
        tracing::info!("{unable}");
        return Err(skip("the runtime cannot give pods user namespaces here"));
    }
    stage.attached("mapped", "net1").await?;
    let users = stage.exec("mapped", &["cat", "/proc/self/uid_map"]).await?;
    ensure!(
        !users.contains("4294967295"),
        "it has the node's users: {users}"
    );
    Ok(())
}
