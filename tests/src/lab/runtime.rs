//! The container runtimes of a lab's nodes: which node has which, where its programs are, and how
//! it is configured.

use std::{env, ffi::OsString, path::PathBuf};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::{image, service::CONTAINERD, topology::Topology};

/// Where containerd 1.7's programs are; they are called as containerd 2's.
const FOLDER_1_7: &str = "NETCLAIM_CONTAINERD_1_7";

/// What runs a node's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Runtime {
    /// NRI 0.12: an event for each step of a sandbox.
    Containerd2,
    /// NRI 0.8: one event, `StateChange`, for all of them.
    Containerd17,
}

/// Which nodes have which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtimes {
    /// containerd 2 on all.
    #[default]
    #[value(name = "containerd-2")]
    Containerd2,
    /// containerd 1.7 on all.
    #[value(name = "containerd-1.7")]
    Containerd17,
    /// containerd 1.7 on every second node, the talk's kind-worker among them.
    Mixed,
}

impl Topology {
    /// Gives each node its runtime.
    pub fn equip(&mut self, runtimes: Runtimes) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let old = match runtimes {
                Runtimes::Containerd2 => false,
                Runtimes::Containerd17 => true,
                Runtimes::Mixed => index % 2 == 1,
            };
            if old {
                node.runtime = Runtime::Containerd17;
            }
        }
    }
}

impl Runtime {
    /// The search path on which its programs come first.
    pub fn search_path(self) -> anyhow::Result<OsString> {
        let path = env::var_os("PATH").context("PATH is not set")?;
        if self == Self::Containerd2 {
            return Ok(path);
        }
        let folder = env::var_os(FOLDER_1_7).map(PathBuf::from);
        let folder = folder.with_context(|| {
            format!(
                "containerd 1.7 is not there: `cargo xtask cluster` builds it and sets {FOLDER_1_7}"
            )
        })?;
        ensure!(
            folder.join("containerd").is_file(),
            "no containerd in {} ({FOLDER_1_7}); `cargo xtask cluster up --runtime mixed` builds it",
            folder.display()
        );
        let folders = [folder].into_iter().chain(env::split_paths(&path));
        Ok(env::join_paths(folders)?)
    }

    /// Its configuration. Without `CAP_SYS_RESOURCE` nobody's out-of-memory score may be lowered,
    /// hence `restrict_oom_score_adj`. The newer one refuses containers whose pod asks for an NRI
    /// plugin that is not there; it has no plugin of its own to ask for.
    pub fn config(self) -> String {
        let pause = image::PAUSE;
        let plugins = match self {
            Self::Containerd2 => format!(
                r#"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/opt/cni/bin"]
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.nri.v1.nri".default_validator]
enable = true
"#
            ),
            Self::Containerd17 => format!(
                r#"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
"#
            ),
        };
        let version = match self {
            Self::Containerd2 => 3,
            Self::Containerd17 => 2,
        };
        format!(
            r#"version = {version}
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{CONTAINERD}"
{plugins}
[plugins."io.containerd.nri.v1.nri"]
disable = false
socket_path = "/run/nri/nri.sock"
"#
        )
    }
}
