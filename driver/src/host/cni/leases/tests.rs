use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::json;

use super::*;
use crate::host::cni::tests::real::plugin_dir;

/// Folders as the driver has them, with the reference plugin at work in them.
struct Node {
    folder: tempfile::TempDir,
    plugin: PathBuf,
}

impl Node {
    fn new() -> Option<Self> {
        Some(Self {
            plugin: plugin_dir(&["host-local"])?.join("host-local"),
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn leases(&self) -> Leases {
        Leases::new(self.folder.path())
    }

    fn network(&self) -> PathBuf {
        self.folder.path().join("ns-default/storage")
    }

    /// Runs host-local, and says whether that went well.
    fn host_local(&self, command: &str, sandbox: &str) -> bool {
        let config = json!({"cniVersion": "1.0.0", "name": "storage", "type": "macvlan", "ipam": {
            "type": "host-local", "dataDir": self.folder.path().join("ns-default"),
            "ranges": [[{"subnet": "10.10.1.0/29"}]]
        }});
        let mut plugin = Command::new(&self.plugin)
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", sandbox)
            // Its own would be refused, and it looks into none.
            .env("CNI_NETNS", "/run/netns/none")
            .env("CNI_IFNAME", "net1")
            .env("CNI_PATH", "/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = plugin.stdin.take().unwrap();
        stdin.write_all(config.to_string().as_bytes()).unwrap();
        drop(stdin);
        plugin.wait().unwrap().success()
    }

    async fn listed(&self) -> Vec<String> {
        let leases = self.leases().list().await;
        let mut words: Vec<String> = leases
            .iter()
            .map(|lease| format!("{lease} {}", lease.key))
            .collect();
        words.sort();
        words
    }
}

#[tokio::test]
async fn host_locals_own_leases_are_read_and_freed() {
    let Some(node) = Node::new() else { return };
    assert_eq!(node.listed().await, [""; 0]);
    assert!(node.host_local("ADD", "sandbox-a") && node.host_local("ADD", "sandbox-b"));
    fs::write(node.network().join("10.10.1.6"), "a note of somebody").unwrap();
    assert_eq!(
        node.listed().await,
        [
            "ns-default/storage/10.10.1.2 sandbox-a/net1",
            "ns-default/storage/10.10.1.3 sandbox-b/net1"
        ]
    );
    let all = node.leases().list().await;
    let of_a = all
        .iter()
        .find(|lease| lease.key.sandbox.as_str() == "sandbox-a");
    assert!(node.leases().free(of_a.unwrap()).await.unwrap());
    assert_eq!(
        node.listed().await,
        ["ns-default/storage/10.10.1.3 sandbox-b/net1"]
    );
    // Nothing to free is fine, for the plugin as for us.
    assert!(!node.leases().free(of_a.unwrap()).await.unwrap());
    assert!(node.host_local("DEL", "sandbox-a") && node.host_local("DEL", "sandbox-b"));
    assert_eq!(node.listed().await, [""; 0]);
}

#[tokio::test]
async fn a_plugin_at_work_is_not_disturbed() {
    let Some(node) = Node::new() else { return };
    assert!(node.host_local("ADD", "sandbox-a"));
    let lease = node.leases().list().await.remove(0);
    let held = lock(node.network().join("lock")).unwrap();
    let refused = node.leases().free(&lease).await.unwrap_err();
    assert!(matches!(refused, LeaseError::Busy { .. }), "{refused}");
    drop(held);
    assert_eq!(node.listed().await.len(), 1);
    assert!(node.leases().free(&lease).await.unwrap());
    assert_eq!(node.listed().await, [""; 0]);
}

#[tokio::test]
async fn an_address_that_was_given_again_is_another_lease() {
    let Some(node) = Node::new() else { return };
    assert!(node.host_local("ADD", "sandbox-a"));
    let lease = node.leases().list().await.remove(0);
    let before = Lease {
        written: Timestamp(lease.written.0 - 1),
        ..lease
    };
    assert!(!node.leases().free(&before).await.unwrap());
    assert_eq!(node.listed().await.len(), 1);
}
