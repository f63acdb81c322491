//! The reference plugins themselves, in namespaces of the test.

use std::{collections::BTreeSet, env};

use netclaim_core::{
    claim::{
        config,
        object::Source,
        policy::{Policy, Target},
    },
    cni::{PodInterface, SpecVersion},
    inventory::{Mode, node::NodeAddresses},
};
use tokio::runtime::Builder;

use super::*;
use crate::host::netns::tests::TestNetns;

/// Where the reference plugins are; None has been said.
pub(in crate::host::cni) fn plugin_dir(needed: &[&str]) -> Option<PathBuf> {
    let path = env::var("CNI_PATH").unwrap_or_default();
    let dirs = path
        .split(':')
        .chain(["/opt/cni/bin", "/usr/lib/cni"])
        .filter(|dir| !dir.is_empty());
    let found = dirs
        .map(PathBuf::from)
        .find(|dir| needed.iter().all(|name| dir.join(name).is_file()));
    if found.is_none() {
        println!("skipped: no {needed:?} in CNI_PATH, /opt/cni/bin or /usr/lib/cni");
    }
    found
}

/// A node with one NIC, eth1.
struct Node {
    netns: TestNetns,
    plugins: Plugins,
    dir: TempDir,
}

impl Node {
    fn new(needed: &[&str]) -> Option<Self> {
        let bin = plugin_dir(needed)?;
        let netns = TestNetns::new()?;
        for command in [
            "add eth1 type veth peer name wire",
            "set eth1 up",
            "set wire up",
        ] {
            netns.ip(&format!("link {command}"));
        }
        let dir = tempfile::tempdir().unwrap();
        let plugins = Plugins::new(vec![bin], &dir.path().join("cache"), None);
        Some(Self {
            netns,
            plugins,
            dir,
        })
    }

    /// The talk's network.
    fn macvlan(&self) -> Value {
        json!([{"type": "macvlan", "master": "eth1", "mode": "bridge", "ipam": self.host_local()}])
    }

    fn host_local(&self) -> Value {
        let leases = self.dir.path().join("leases");
        json!({"type": "host-local", "dataDir": leases, "ranges": [[{"subnet": "10.10.1.0/29"}]]})
    }

    /// Addresses that are leased.
    fn leases(&self) -> BTreeSet<String> {
        let dir = self.dir.path().join("leases/storage");
        let names = fs::read_dir(dir).into_iter().flatten();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
            .collect()
    }

    /// Runs `f` as the driver runs: in the node's namespace.
    fn run<T: Send>(&self, f: impl AsyncFnOnce(&Plugins) -> T + Send) -> T {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        netns::inside(&self.netns.path(), || runtime().block_on(f(&self.plugins))).unwrap()
    }

    fn add(&self, subject: &Subject) -> AddResult {
        self.run(async |plugins| plugins.add(&subject.at(), soon()).await)
            .unwrap()
            .result
    }

    fn del(&self, subject: &Subject) {
        self.run(async |plugins| plugins.del(&subject.at(), soon()).await)
            .unwrap();
    }

    fn check(&self, subject: &Subject) -> Result<bool, ChainError> {
        self.run(async |plugins| plugins.check(&subject.at(), soon()).await)
    }

    #[track_caller]
    fn assert_empty(&self, pods: &[&TestNetns]) {
        for pod in pods {
            assert!(!pod.ip("-o link").contains("net1"), "{}", pod.ip("link"));
        }
        assert_eq!(self.leases(), BTreeSet::new());
        assert_eq!(
            self.run(async |plugins| plugins.attachments().await)
                .unwrap(),
            []
        );
    }
}

fn attachment(sandbox: &str, pod: &TestNetns, version: &str, plugins: &Value) -> Subject {
    let list = json!({"cniVersion": version, "name": "storage", "plugins": plugins});
    let mut subject = Subject::new(&list);
    subject.key.sandbox = SandboxId::parse(sandbox).unwrap();
    subject.netns = Some(pod.path().display().to_string());
    subject
}

fn interface<'a>(subject: &Subject, result: &'a AddResult) -> PodInterface<'a> {
    result
        .pod_interface(subject.netns.as_deref().unwrap(), "net1")
        .unwrap()
}

#[test]
fn macvlan_comes_is_checked_and_goes() {
    let Some(node) = Node::new(&["macvlan", "host-local"]) else {
        return;
    };
    let pods = [TestNetns::new().unwrap(), TestNetns::new().unwrap()];
    let subjects = [
        attachment("sandbox-a", &pods[0], "1.1.0", &node.macvlan()),
        attachment("sandbox-b", &pods[1], "1.1.0", &node.macvlan()),
    ];
    for (pod, subject) in pods.iter().zip(&subjects) {
        let result = node.add(subject);
        let made = interface(subject, &result);
        let seen = pod.ip("addr show net1");
        assert!(seen.contains(made.mac.unwrap()), "{made:?}: {seen}");
        assert!(seen.contains(&made.ips[0].to_string()), "{made:?}: {seen}");
        assert!(made.mtu.is_none(), "macvlan says no MTU");
        assert!(node.check(subject).unwrap());
    }
    assert_eq!(
        node.leases(),
        ["10.10.1.2", "10.10.1.3"].map(str::to_owned).into()
    );
    pods[1].ip("link del net1");
    let missing = node.check(&subjects[1]).unwrap_err();
    assert_eq!(missing.code(), "plugin_reported_error", "{missing}");
    for subject in &subjects {
        node.del(subject);
        node.del(subject);
    }
    node.assert_empty(&[&pods[0], &pods[1]]);
}

#[test]
fn a_namespace_that_went_first_leaves_no_lease() {
    let Some(node) = Node::new(&["macvlan", "host-local"]) else {
        return;
    };
    let pod = TestNetns::new().unwrap();
    let subject = attachment("sandbox-a", &pod, "1.0.0", &node.macvlan());
    node.add(&subject);
    assert_eq!(node.leases().len(), 1);
    drop(pod);
    node.del(&subject);
    node.assert_empty(&[]);
}

#[test]
fn what_only_changed_the_namespace_keeps_no_lease_without_it() {
    let Some(node) = Node::new(&["macvlan", "host-local", "sbr", "tuning"]) else {
        return;
    };
    let pod = TestNetns::new().unwrap();
    let mut chain = node.macvlan();
    let chained = [
        json!({"type": "tuning", "mtu": 1400}),
        json!({"type": "sbr"}),
    ];
    chain.as_array_mut().unwrap().extend(chained);
    let subject = attachment("sandbox-a", &pod, "1.1.0", &chain);
    node.add(&subject);
    assert_eq!(node.leases().len(), 1);
    drop(pod);
    node.del(&subject);
    node.assert_empty(&[]);
}

#[test]
fn addresses_of_the_node_are_not_handed_out() {
    let Some(node) = Node::new(&["macvlan", "host-local"]) else {
        return;
    };
    let own = ["10.10.1.2", "10.10.1.5"].map(|own| (own.parse().unwrap(), "eth1".to_owned()));
    let addresses = NodeAddresses {
        own: own.into(),
        ..NodeAddresses::default()
    };
    let target = Target {
        source: Source::Claim,
        namespace: &"default".parse().unwrap(),
        link: Some("eth1"),
        mode: Some(Mode::Shared),
        held_by_node: true,
        admin_access: false,
        node: Some(&addresses),
    };
    let policy = Policy {
        state_dir: node.dir.path().display().to_string(),
        ..Policy::default()
    };
    let parameters = json!({
        "apiVersion": "cni.networking.x-k8s.io/v1alpha1", "kind": "CNI", "ifName": "net1",
        "config": {"cniVersion": "1.1.0", "name": "storage", "plugins": [
            {"type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.10.1.0/29"}}
        ]}
    });
    let network = config::parse(&parameters, &policy, &target)
        .unwrap()
        .network;
    let pods: Vec<TestNetns> = (0..4).map(|_| TestNetns::new().unwrap()).collect();
    let added = pods.iter().enumerate().map(|(at, pod)| {
        let mut subject = attachment(&format!("sandbox-{at}"), pod, "1.1.0", &node.macvlan());
        subject.network = network.clone();
        let result = node.run(async |plugins| plugins.add(&subject.at(), soon()).await);
        match result {
            Ok(added) => interface(&subject, &added.result).ips[0].to_string(),
            Err(error) => error.to_string(),
        }
    });
    let added: Vec<String> = added.collect();
    assert_eq!(added[..3], ["10.10.1.3/29", "10.10.1.4/29", "10.10.1.6/29"]);
    assert!(
        added[3].contains("no IP addresses available"),
        "{}",
        added[3]
    );
}

#[test]
fn every_version_is_spoken() {
    let Some(node) = Node::new(&["macvlan", "host-local"]) else {
        return;
    };
    let pod = TestNetns::new().unwrap();
    for version in SpecVersion::ALL {
        let subject = attachment("sandbox-a", &pod, version.as_str(), &node.macvlan());
        let result = node.add(&subject);
        assert_eq!(interface(&subject, &result).ips.len(), 1, "{version}");
        assert_eq!(node.check(&subject).unwrap(), version.has(Command::Check));
        node.del(&subject);
        node.assert_empty(&[&pod]);
    }
}

#[test]
fn chains_of_the_reference_plugins_leave_nothing() {
    let Some(node) = Node::new(&[
        "macvlan",
        "static",
        "tuning",
        "sbr",
        "bridge",
        "host-device",
    ]) else {
        return;
    };
    let pod = TestNetns::new().unwrap();
    let address = json!({"type": "static", "addresses": [{"address": "10.9.0.2/24"}]});
    for chain in [
        json!([
            {"type": "macvlan", "master": "eth1", "ipam": address},
            {"type": "tuning", "capabilities": {"mac": true}, "mtu": 1400,
             "sysctl": {"net.ipv4.conf.net1.arp_filter": "1"}},
            {"type": "sbr"},
        ]),
        json!([{"type": "bridge", "bridge": "br-cni", "ipam": node.host_local()}]),
        json!([{"type": "host-device", "device": "wire", "ipam": address}]),
    ] {
        let mut subject = attachment("sandbox-a", &pod, "1.1.0", &chain);
        let tuned = chain[1]["type"] == "tuning";
        // sbr moves the routes that macvlan's CHECK then misses.
        subject.network.disable_check = tuned;
        subject
            .runtime_config
            .insert("mac".into(), "02:00:00:00:00:07".into());
        let result = node.add(&subject);
        assert_eq!(interface(&subject, &result).ips.len(), 1, "{chain}");
        let seen = pod.ip("link show net1");
        assert_eq!(
            seen.contains("mtu 1400") && seen.contains("02:00:00:00:00:07"),
            tuned,
            "{seen}"
        );
        assert_eq!(node.check(&subject).unwrap(), !tuned, "{chain}");
        node.del(&subject);
        node.assert_empty(&[&pod]);
    }
    assert!(
        node.netns.ip("-o link").contains("wire"),
        "the moved device is back"
    );
    assert_eq!(pod.ip("rule").lines().count(), 3, "{}", pod.ip("rule"));
}

#[test]
fn a_full_range_is_told_in_the_plugins_words() {
    let Some(node) = Node::new(&["macvlan", "host-local"]) else {
        return;
    };
    let pods: Vec<TestNetns> = (0..6).map(|_| TestNetns::new().unwrap()).collect();
    let subjects: Vec<Subject> = pods
        .iter()
        .enumerate()
        .map(|(at, pod)| attachment(&format!("sandbox-{at}"), pod, "1.1.0", &node.macvlan()))
        .collect();
    for subject in &subjects[..5] {
        node.add(subject);
    }
    let full = node
        .run(async |plugins| plugins.add(&subjects[5].at(), soon()).await)
        .unwrap_err();
    assert!(
        full.to_string()
            .contains("no IP addresses available in range set"),
        "{full}"
    );
    // What the caller does after a failed ADD.
    node.del(&subjects[5]);
    let valid = subjects[..2].iter().map(|subject| ValidAttachment {
        container_id: subject.key.sandbox.to_string(),
        if_name: subject.key.if_name.to_string(),
    });
    let valid: Vec<_> = valid.collect();
    let errors = node.run(async |plugins| plugins.gc(&subjects[0].network, &valid, soon()).await);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(node.leases().len(), 2);
    assert!(node.check(&subjects[0]).unwrap());
    for subject in &subjects[..2] {
        node.del(subject);
    }
    node.assert_empty(&pods.iter().collect::<Vec<_>>());
}

#[test]
fn status_and_versions_are_answered() {
    let Some(node) = Node::new(&["macvlan", "host-local"]) else {
        return;
    };
    let pod = TestNetns::new().unwrap();
    let subject = attachment("sandbox-a", &pod, "1.1.0", &node.macvlan());
    assert!(
        node.run(async |plugins| plugins.status(&subject.network, soon()).await)
            .unwrap()
    );
    for plugin in ["macvlan", "host-local"] {
        let supported = node
            .run(async |plugins| plugins.versions(plugin, soon()).await)
            .unwrap();
        let ours = supported
            .versions
            .iter()
            .filter_map(|version| SpecVersion::parse(version));
        assert_eq!(
            ours.collect::<BTreeSet<_>>(),
            SpecVersion::ALL.into(),
            "{plugin}"
        );
    }
}

#[tokio::test]
async fn plugins_run_in_the_nodes_root() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: chroot needs root");
        return;
    }
    let Some(bin) = plugin_dir(&["static"]) else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("bin")).unwrap();
    fs::copy(bin.join("static"), root.path().join("bin/static")).unwrap();
    let cwd = env::current_dir().unwrap();
    let plugins = |root: &Path| Plugins::new(vec!["/bin".into()], &root.join("cache"), Some(root));
    let supported = plugins(root.path())
        .versions("static", soon())
        .await
        .unwrap();
    assert!(supported.versions.contains(&"1.0.0".to_owned()));
    assert_eq!(env::current_dir().unwrap(), cwd);
    assert!(
        Path::new("/proc/self/exe").exists(),
        "the driver keeps its own root"
    );
    // A script needs /bin/sh, which that root does not have.
    let script = root.path().join("bin/script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let failure = plugins(root.path())
        .versions("script", soon())
        .await
        .unwrap_err();
    let loader = Some("/bin/sh".to_owned());
    assert_eq!(
        failure.fault,
        Fault::NoLoader {
            path: "/bin/script".into(),
            loader
        }
    );
}
