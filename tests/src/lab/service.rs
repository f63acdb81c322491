//! What runs on a node: the command lines and configurations of Kubernetes' own programs.
//!
//! Everything here is text; `supervisor` starts it.

use std::{fs, path::Path};

use anyhow::Context as _;
use serde_json::json;

use super::{
    pki::Pki,
    topology::{Node, Topology},
};

/// The container runtime's socket.
pub const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// The store's address; only the API server of the same node asks it.
const ETCD: &str = "http://127.0.0.1:2379";

/// A program that a node keeps running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Also the name of its log.
    pub name: &'static str,
    /// What it is started with.
    pub args: Vec<String>,
}

/// The store.
pub fn etcd() -> Service {
    let peers = "http://127.0.0.1:2380";
    service(
        "etcd",
        [
            "--data-dir=/var/lib/etcd".to_owned(),
            format!("--listen-client-urls={ETCD}"),
            format!("--advertise-client-urls={ETCD}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            // A lab does not outlive its machine.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ],
    )
}

/// The API server, with the old versions of the resource API that the talk's manifests use.
pub fn api_server(node: &Node, pki: &Pki) -> Service {
    let file = |flag: &str, name: &str| format!("--{flag}={}", pki.file(name));
    service(
        "kube-apiserver",
        [
            format!("--etcd-servers={ETCD}"),
            file("service-account-key-file", "sa.pub"),
            file("service-account-signing-key-file", "sa.key"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            file("client-ca-file", "ca.crt"),
            file("tls-cert-file", "apiserver.crt"),
            file("tls-private-key-file", "apiserver.key"),
            file("kubelet-client-certificate", "kubelet-client.crt"),
            file("kubelet-client-key", "kubelet-client.key"),
            file("kubelet-certificate-authority", "ca.crt"),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            // The port of the service, because there is no kube-proxy to translate it.
            "--secure-port=443".to_owned(),
            format!("--advertise-address={}", node.address()),
            "--runtime-config=resource.k8s.io/v1beta1=true,resource.k8s.io/v1beta2=true".to_owned(),
            "--profiling=false".to_owned(),
        ],
    )
}

/// The controllers; alone, so without an election.
pub fn controller_manager(pki: &Pki) -> Service {
    service(
        "kube-controller-manager",
        [
            format!("--kubeconfig={}", pki.kubeconfig("controller-manager")),
            format!("--service-account-private-key-file={}", pki.file("sa.key")),
            format!("--root-ca-file={}", pki.file("ca.crt")),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
        ],
    )
}

/// The scheduler; alone, so without an election.
pub fn scheduler(pki: &Pki) -> Service {
    service(
        "kube-scheduler",
        [
            format!("--kubeconfig={}", pki.kubeconfig("scheduler")),
            "--leader-elect=false".to_owned(),
        ],
    )
}

/// The container runtime.
pub fn containerd() -> Service {
    service(
        "containerd",
        ["--config=/etc/containerd/config.toml".to_owned()],
    )
}

/// The node agent.
pub fn kubelet(node: &Node, pki: &Pki) -> Service {
    service(
        "kubelet",
        [
            "--config=/etc/kubernetes/kubelet.json".to_owned(),
            format!("--kubeconfig={}", pki.kubeconfig(&node.name)),
            format!("--hostname-override={}", node.name),
            format!("--node-ip={}", node.address()),
            "--v=2".to_owned(),
        ],
    )
}

/// Writes the configurations; to be called inside the node.
pub fn configure(topology: &Topology, node: &Node, pki: &Pki) -> anyhow::Result<()> {
    write("/etc/containerd/config.toml", &node.runtime.config())?;
    write("/etc/cni/net.d/10-pods.conflist", &pod_network(node))?;
    let kubelet = kubelet_config(topology, node, pki);
    write("/etc/kubernetes/kubelet.json", &kubelet)
}

/// The grant that works round the Node authorizer's race.
pub fn claim_grant() -> String {
    let name = json!({"name": "lab-nodes-read-claims"});
    json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [{
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": name,
            "rules": [{
                "apiGroups": ["resource.k8s.io"],
                "resources": ["resourceclaims"],
                "verbs": ["get"],
            }],
        }, {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": name["name"],
            },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Group",
                "name": "system:nodes",
            }],
        }],
    })
    .to_string()
}

/// Pods get addresses from a bridge; nothing here knows of claims.
fn pod_network(node: &Node) -> String {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": node.pod_network()}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
    .to_string()
}

/// `KubeletInUserNamespace` lets the kubelet live without `CAP_SYS_RESOURCE`; the thresholds keep a
/// full disk of the machine from evicting the lab's pods.
fn kubelet_config(topology: &Topology, node: &Node, pki: &Pki) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.file("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        // Nobody answers there; without it every pod gets a warning of its own.
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
        "enforceNodeAllocatable": [],
        "evictionHard": {
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
            "memory.available": "50Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
        },
        "failCgroupV1": false,
        "failSwapOn": false,
        "featureGates": {"KubeletInUserNamespace": true},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
        "resolvConf": "",
        "syncFrequency": format!("{}s", topology.sync_seconds),
        "tlsCertFile": pki.file(&format!("{}.crt", node.name)),
        "tlsPrivateKeyFile": pki.file(&format!("{}.key", node.name)),
    })
    .to_string()
}

fn service<const N: usize>(name: &'static str, args: [String; N]) -> Service {
    Service {
        name,
        args: args.into(),
    }
}

fn write(file: &str, text: &str) -> anyhow::Result<()> {
    let file = Path::new(file);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text).with_context(|| file.display().to_string())
}
