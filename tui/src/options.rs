//! The command line, parsed once.

use std::{fmt, path::PathBuf};

use clap::{Args, Parser, ValueEnum};

use crate::{theme::Theme, view::View};

/// Where a driver listens unless it is told otherwise.
const DEFAULT_SOCKET: &str = "/run/netclaim/observe.sock";

/// Shows which pod got which network device, by which claim, and what passes through it.
///
/// Reads from a node's driver (--node), from the API server (--kubeconfig), or both.
/// It never writes.
#[derive(Debug, Parser)]
#[command(name = "dra-top", version, after_help = AFTER_HELP)]
pub struct Options {
    /// What to show first.
    #[arg(value_enum, default_value_t = ViewName::Interfaces)]
    pub view: ViewName,

    /// A node's driver, as unix:PATH; may be given several times.
    #[arg(
        long,
        value_name = "unix:PATH",
        env = "DRA_TOP_NODE",
        value_delimiter = ','
    )]
    pub node: Vec<String>,

    /// The API server.
    #[command(flatten)]
    pub cluster: ClusterOptions,

    /// Print once and leave, without a terminal.
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub output: Option<Form>,

    /// Longest wait for every node's answer, with --output. A rate takes a second, and many nodes
    /// are asked in turns.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub wait: u64,

    /// Write everything that arrives to a file.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Play what --record wrote.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["node", "kubeconfig", "context", "record"])]
    pub input_file: Option<PathBuf>,

    /// Colours; `NO_COLOR` in the environment means mono.
    #[arg(long, value_enum, default_value_t = ThemeName::Auto)]
    pub theme: ThemeName,

    /// Draw with ASCII only; the default where the locale is not UTF-8.
    #[arg(long)]
    pub ascii: bool,
}

/// Which API server, and how much of it.
#[derive(Clone, Debug, Args)]
pub struct ClusterOptions {
    /// Path of a kubeconfig; default: $KUBECONFIG, then ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Only this namespace.
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// All namespaces: the default.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Namespace of the relays, through which the nodes' drivers are heard.
    #[arg(long, value_name = "NAME", default_value = "netclaim-relay")]
    pub relay_namespace: String,
    /// Labels of the relays' pods; the default is the chart's.
    #[arg(
        long,
        value_name = "LABELS",
        default_value = "app.kubernetes.io/name=netclaim,app.kubernetes.io/component=relay"
    )]
    pub relay_selector: String,
}

const AFTER_HELP: &str = "\
Examples:
  dra-top --node unix:/run/netclaim/observe.sock    on a node
  dra-top -n demo claims                            from a laptop
  dra-top -o json interfaces | jq .                 for a script";

/// A view by name, as kubectl would shorten it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ViewName {
    /// Claims, their pods and why they wait.
    #[value(aliases = ["claim", "rc", "resourceclaims"])]
    Claims,
    /// Devices that are offered, and how much of them is used.
    #[value(aliases = ["slice", "rs", "resourceslices", "devices"])]
    Slices,
    /// Interfaces in pods, and what passes through them.
    #[value(aliases = ["interface", "if", "ifaces"])]
    Interfaces,
}

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Columns for people.
    Table,
    /// A list of objects for programs: plain numbers, null for what is not known.
    Json,
}

/// Colours by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThemeName {
    /// The terminal's 16 colours, unless `NO_COLOR` is set.
    Auto,
    /// The terminal's 16 colours.
    Colour,
    /// None: bold, dim and reverse only.
    Mono,
}

/// Where changes come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file.
    Recording(PathBuf),
    /// Nodes, an API server, or both.
    Live {
        /// Paths of drivers' sockets.
        node: Vec<PathBuf>,
        /// The API server, if one is asked for.
        cluster: Option<ClusterOptions>,
    },
}

/// An option that does not say what it has to.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A node that is not a unix socket.
    #[error(
        "--node {found}: expected unix:PATH, the driver's socket (by default unix:{DEFAULT_SOCKET})"
    )]
    Node {
        /// What was given.
        found: String,
    },
    /// Nothing to read from.
    #[error(
        "nothing to show: found neither a driver at {DEFAULT_SOCKET} nor a kubeconfig; \
         on a node give --node unix:PATH, from afar --kubeconfig FILE"
    )]
    NoOrigin,
}

impl Options {
    /// Where to read from: what was asked for, else what is found.
    pub fn origin(&self) -> Result<Origin, OptionsError> {
        if let Some(file) = &self.input_file {
            return Ok(Origin::Recording(file.clone()));
        }
        let node = self.node.iter().map(|node| socket(node));
        let mut node = node.collect::<Result<Vec<_>, _>>()?;
        let cluster = self.cluster.is_named().then(|| self.cluster.clone());
        if node.is_empty() && cluster.is_none() {
            let found = PathBuf::from(DEFAULT_SOCKET);
            node.extend(found.exists().then_some(found));
            let cluster = has_kubeconfig().then(|| self.cluster.clone());
            if node.is_empty() && cluster.is_none() {
                return Err(OptionsError::NoOrigin);
            }
            return Ok(Origin::Live { node, cluster });
        }
        Ok(Origin::Live { node, cluster })
    }

    /// How to draw.
    pub fn theme(&self) -> Theme {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Theme {
            colour: match self.theme {
                ThemeName::Auto => !no_color,
                ThemeName::Colour => true,
                ThemeName::Mono => false,
            },
            ascii: self.ascii || !is_utf8(locale().as_deref()),
        }
    }
}

impl ClusterOptions {
    fn is_named(&self) -> bool {
        let Self {
            kubeconfig,
            context,
            namespace,
            all_namespaces,
            relay_namespace: _,
            relay_selector: _,
        } = self;
        kubeconfig.is_some() || context.is_some() || namespace.is_some() || *all_namespaces
    }
}

impl From<ViewName> for View {
    fn from(name: ViewName) -> Self {
        match name {
            ViewName::Claims => Self::Claims,
            ViewName::Slices => Self::Slices,
            ViewName::Interfaces => Self::Interfaces,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recording(file) => write!(f, "{}", file.display()),
            Self::Live { node, cluster } => {
                let nodes = node.iter().map(|path| format!("unix:{}", path.display()));
                let api = cluster.iter().map(|_| "the API server".to_owned());
                f.write_str(&nodes.chain(api).collect::<Vec<_>>().join(" and "))
            }
        }
    }
}

fn socket(node: &str) -> Result<PathBuf, OptionsError> {
    match node.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => {
            let path = path.strip_prefix("//").unwrap_or(path);
            Ok(PathBuf::from(path))
        }
        _ => Err(OptionsError::Node {
            found: node.to_owned(),
        }),
    }
}

/// The first that is set, as setlocale(3) asks for them.
fn locale() -> Option<String> {
    let variables = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
    let mut set = variables.filter_map(|name| std::env::var(name).ok());
    set.find(|locale| !locale.is_empty())
}

/// Where nothing is set, as in most containers, the terminal beyond speaks UTF-8 all the same.
fn is_utf8(locale: Option<&str>) -> bool {
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

fn has_kubeconfig() -> bool {
    let home = || std::env::home_dir().map(|home| home.join(".kube/config"));
    std::env::var_os("KUBECONFIG").is_some()
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || home().is_some_and(|config| config.exists())
}

#[cfg(test)]
mod tests;
