//! The command line, also by environment, checked once: what is wrong ends the process before it
//! takes a lock or a socket.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use netclaim_core::{
    claim::policy::{self, Policy},
    cni,
    name::{DriverName, NodeName, PodUid},
};

use crate::choice::Choice;

/// The talk's driver name, so that its manifests run as they stand.
pub const DRIVER_NAME: &str = "cni.dra.networking.x-k8s.io";

/// Version, and the revision that it was built from.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("NETCLAIM_REVISION"),
    ")"
);

/// Links that are never offered: those of cluster networks and container runtimes.
const EXCLUDE: &str = "cni*,cali*,lxc*,cilium_*,flannel*,docker*,kube-*,tunl*,vxlan*,nodelocaldns";

// Not NETCLAIM_PORT: that is what Kubernetes sets for a Service of the name netclaim.
const ENVIRONMENT: &str = "Options can be set by environment: --max-interfaces as \
    NETCLAIM_MAX_INTERFACES, and so on; --node-name, --pod-uid and --kubeconfig as NODE_NAME, POD_UID \
    and KUBECONFIG, --port as NETCLAIM_RELAY_PORT. --filename and --ready are said at each call.";

/// Attaches network interfaces to pods from ResourceClaims, counts their traffic, and says why not.
#[derive(Debug, Parser)]
#[command(name = "netclaim", version = VERSION, max_term_width = 100, after_help = ENVIRONMENT)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve this node: kubelet plugin, NRI plugin, CNI runtime, counters, metrics.
    Run(Box<Options>),
    /// Ask the instance on this node whether it is healthy.
    Health(HealthOptions),
    /// Check the network configurations of a manifest offline, in the driver's words.
    ///
    /// Ends with 0 if all are taken, 1 if one is refused, 2 if a file cannot be read.
    Validate(ValidateOptions),
    /// Bring the observe socket of this node to the loopback of this pod, for port-forward.
    Relay(RelayOptions),
}

/// Where the health of an instance is asked.
#[derive(Debug, Args)]
pub struct HealthOptions {
    /// Socket of the instance.
    #[arg(
        long,
        env = "NETCLAIM_HEALTH_SOCKET",
        default_value = "/run/netclaim/health.sock"
    )]
    pub health_socket: PathBuf,
    /// Ask whether it is ready rather than alive.
    #[arg(long)]
    pub ready: bool,
}

/// What to check.
#[derive(Debug, Args)]
pub struct ValidateOptions {
    /// Manifests with ResourceClaims, templates or DeviceClasses; - reads standard input.
    #[arg(short, long, value_name = "FILE", num_args = 1.., required = true)]
    pub filename: Vec<PathBuf>,
    /// Name of the driver whose configurations are checked.
    #[arg(long, env = "NETCLAIM_DRIVER_NAME", default_value = DRIVER_NAME)]
    pub driver_name: DriverName,
    /// Our folder on the nodes.
    #[arg(
        long,
        env = "NETCLAIM_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/netclaim"
    )]
    pub state_dir: PathBuf,
    /// What is allowed.
    #[command(flatten)]
    pub policy: PolicyOptions,
}

/// What is forwarded where.
#[derive(Clone, Debug, Args)]
pub struct RelayOptions {
    /// Unix socket of the driver on this node.
    #[arg(
        long,
        env = "NETCLAIM_OBSERVE_SOCKET",
        value_name = "PATH",
        default_value = "/run/netclaim/observe.sock"
    )]
    pub observe_socket: PathBuf,
    /// Port on 127.0.0.1: nobody but a port-forward to this pod reaches it.
    #[arg(
        long,
        env = "NETCLAIM_RELAY_PORT",
        value_name = "PORT",
        default_value_t = 10_477
    )]
    pub port: u16,
    /// Connections at once; more are closed.
    #[arg(
        long,
        env = "NETCLAIM_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub max_connections: u16,
    /// How it is logged.
    #[command(flatten)]
    pub log: LogOptions,
}

/// Serve this node.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Name of this node.
    #[arg(
        long,
        env = "NODE_NAME",
        value_name = "NAME",
        help_heading = "Identity"
    )]
    pub node_name: NodeName,
    /// Name under which claims ask for us.
    #[arg(long, env = "NETCLAIM_DRIVER_NAME", value_name = "NAME", default_value = DRIVER_NAME,
        help_heading = "Identity")]
    pub driver_name: DriverName,
    /// UID of our own pod, for socket names during a rolling update.
    #[arg(long, env = "POD_UID", value_name = "UID", help_heading = "Identity")]
    pub pod_uid: Option<PodUid>,
    /// Kubeconfig; in a cluster the service account is used.
    #[arg(
        long,
        env = "KUBECONFIG",
        value_name = "FILE",
        help_heading = "Identity"
    )]
    pub kubeconfig: Option<PathBuf>,

    /// Folder of the kubelet.
    #[arg(
        long,
        env = "NETCLAIM_KUBELET_ROOT",
        value_name = "DIR",
        default_value = "/var/lib/kubelet",
        help_heading = "Node"
    )]
    pub kubelet_root: PathBuf,
    /// Socket of the container runtime's NRI.
    #[arg(long, env = "NETCLAIM_NRI_SOCKET", value_name = "PATH",
        default_value = nri_client::DEFAULT_SOCKET, help_heading = "Node")]
    pub nri_socket: PathBuf,
    /// Folders of CNI plugins.
    #[arg(
        long,
        env = "NETCLAIM_CNI_PATH",
        value_name = "DIR[:DIR]",
        default_value = "/opt/cni/bin",
        value_delimiter = ':',
        help_heading = "Node"
    )]
    pub cni_path: Vec<PathBuf>,
    /// Root of the node: plugins run chrooted into it, and --cni-path lies inside it.
    #[arg(
        long,
        env = "NETCLAIM_HOST_ROOT",
        value_name = "DIR",
        help_heading = "Node"
    )]
    pub host_root: Option<PathBuf>,
    /// Our journal, CNI results and address leases.
    #[arg(
        long,
        env = "NETCLAIM_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/netclaim",
        help_heading = "Node"
    )]
    pub state_dir: PathBuf,
    /// A mounted bpffs, for counters that outlive us.
    #[arg(
        long,
        env = "NETCLAIM_BPFFS",
        value_name = "DIR",
        default_value = "/sys/fs/bpf",
        help_heading = "Node"
    )]
    pub bpffs: PathBuf,
    /// What tells one boot of the node from the next.
    #[arg(
        long,
        env = "NETCLAIM_BOOT_ID_FILE",
        value_name = "FILE",
        default_value = "/proc/sys/kernel/random/boot_id",
        help_heading = "Node"
    )]
    pub boot_id_file: PathBuf,
    /// Interfaces that can be counted at once.
    #[arg(
        long,
        env = "NETCLAIM_MAX_INTERFACES",
        value_name = "N",
        default_value_t = 1_024,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Node"
    )]
    pub max_interfaces: u32,
    /// Seconds for which an address of host-local must be nobody's before it is freed.
    #[arg(
        long,
        env = "NETCLAIM_LEASE_PATIENCE",
        value_name = "SECONDS",
        default_value_t = 60,
        help_heading = "Node"
    )]
    pub lease_patience: u16,

    /// What is offered.
    #[command(flatten)]
    pub devices: DeviceOptions,
    /// What is allowed.
    #[command(flatten)]
    pub policy: PolicyOptions,
    /// What is exposed.
    #[command(flatten)]
    pub expose: ExposeOptions,
}

/// What is offered in slices.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Devices")]
pub struct DeviceOptions {
    /// Links that are never offered, as globs.
    #[arg(long, env = "NETCLAIM_EXCLUDE", value_name = "GLOBS", value_delimiter = ',',
        default_value = EXCLUDE, hide_default_value = true)]
    pub exclude: Vec<String>,
    /// CEL expression over a device's attributes: only what it holds for is offered.
    #[arg(long, env = "NETCLAIM_DEVICE_FILTER", value_name = "CEL", value_parser = Choice::parse)]
    pub device_filter: Option<Choice>,
    /// CEL expression: these devices serve one pod at a time and may move into it.
    #[arg(long, env = "NETCLAIM_EXCLUSIVE_DEVICES", value_name = "CEL", value_parser = Choice::parse)]
    pub exclusive_devices: Option<Choice>,
}

/// What claims may ask for.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Policy")]
pub struct PolicyOptions {
    /// CNI plugins that a DeviceClass may use besides the built-in list.
    #[arg(
        long,
        env = "NETCLAIM_CNI_TYPES",
        value_name = "TYPES",
        value_delimiter = ',',
        value_parser = plugin_type
    )]
    pub cni_types: Vec<String>,
    /// Whose configuration counts.
    #[arg(long, env = "NETCLAIM_CONFIG_SOURCE", value_name = "SOURCE", value_enum,
        default_value_t = ConfigSource::ClassAndClaim)]
    pub config_source: ConfigSource,
    /// Runtime handlers whose guests read their links before we come, as globs.
    #[arg(
        long,
        env = "NETCLAIM_REFUSE_RUNTIME_HANDLERS",
        value_name = "GLOBS",
        value_delimiter = ',',
        default_value = "kata*,gvisor,runsc"
    )]
    pub refuse_runtime_handlers: Vec<String>,
}

impl PolicyOptions {
    /// The policy in the core's words; `state_dir` is where leases are kept.
    pub fn policy(&self, state_dir: &Path) -> Policy {
        Policy {
            cni_types: self.cni_types.clone(),
            config_source: match self.config_source {
                ConfigSource::ClassAndClaim => policy::ConfigSource::Any,
                ConfigSource::Class => policy::ConfigSource::Class,
            },
            state_dir: state_dir.to_string_lossy().into_owned(),
        }
    }
}

/// Whose configuration counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfigSource {
    /// The administrator's first, then the claim's.
    ClassAndClaim,
    /// Only the administrator's.
    Class,
}

/// What is exposed, and how it is said.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Exposure")]
pub struct ExposeOptions {
    /// Address of /metrics, /healthz and /readyz.
    #[arg(
        long,
        env = "NETCLAIM_METRICS_ADDRESS",
        value_name = "ADDR",
        default_value = "0.0.0.0:10476"
    )]
    pub metrics_address: SocketAddr,
    /// Unix socket of the gRPC service that dra-top reads.
    #[arg(
        long,
        env = "NETCLAIM_OBSERVE_SOCKET",
        value_name = "PATH",
        default_value = "/run/netclaim/observe.sock"
    )]
    pub observe_socket: PathBuf,
    /// Unix socket of this instance's health.
    #[arg(
        long,
        env = "NETCLAIM_HEALTH_SOCKET",
        value_name = "PATH",
        default_value = "/run/netclaim/health.sock"
    )]
    pub health_socket: PathBuf,
    /// How it is logged.
    #[command(flatten)]
    pub log: LogOptions,
}

/// How it is logged.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Exposure")]
pub struct LogOptions {
    /// Form of the log.
    #[arg(long, env = "NETCLAIM_LOG_FORMAT", value_name = "FORMAT", value_enum,
        default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged: a level, and levels of modules, as `info,netclaim=debug`.
    #[arg(
        long,
        env = "NETCLAIM_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

impl Cli {
    /// Parses the command line of this process, or ends it with what is wrong.
    pub fn from_command_line() -> Self {
        // One sentence at the end instead of `[env: …]` on every line keeps the help on a screen.
        let quiet = |command: clap::Command| {
            command
                .mut_args(|arg| arg.hide_env(true))
                .after_help(ENVIRONMENT)
        };
        let matches = Self::command().mut_subcommands(quiet).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// A type is a file's name in one of the folders of CNI plugins.
fn plugin_type(name: &str) -> Result<String, &'static str> {
    let words = "expected the file name of a CNI plugin: letters, digits, _ . or -, a letter or digit \
                 first";
    cni::is_name(name).then(|| name.to_owned()).ok_or(words)
}

impl Options {
    /// The kubelet's folder for our sockets and our lock.
    pub fn plugin_dir(&self) -> PathBuf {
        self.kubelet_root
            .join("plugins")
            .join(self.driver_name.as_str())
    }

    /// Where the kubelet looks for plugins.
    pub fn registry_dir(&self) -> PathBuf {
        self.kubelet_root.join("plugins_registry")
    }

    /// Our journal.
    pub fn journal_dir(&self) -> PathBuf {
        self.state_dir.join(self.driver_name.as_str())
    }
}

#[cfg(test)]
mod tests;
