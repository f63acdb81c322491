//! Runs CNI plugins: walks a chain, keeps its result, ends what does not end.
//!
//! Owns the processes, the result cache and what is left of leases. Which plugins and fields a tenant may use was settled
//! before; what a plugin's output means is settled in [`netclaim_core::cni`]. It never undoes an
//! ADD on its own (the caller does, with `del`), and never touches libcni's own cache.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use netclaim_core::{
    claim::policy::catalogue::{self, Role},
    cni::{
        AddResult, CachedAttachment, CniError, Command, ConfList, Fault, Invocation, PluginConf,
        PluginFailure, Supported, ValidAttachment, environment, is_name, read_result,
        read_versions, request,
    },
    failure::{Cause, Timing},
    reconcile::Lease,
};
use serde_json::Value;
use tokio::time::Instant;
use tracing::warn;

use self::{cache::Cache, chain::Chain, leases::Leases, start::Program};
use super::netns;

mod cache;
mod chain;
mod exec;
mod leases;
mod start;

pub use self::{cache::CacheError, leases::LeaseError};

/// The plugins of a node.
#[derive(Clone, Debug)]
pub struct Plugins {
    dirs: Arc<[PathBuf]>,
    host_root: Option<Arc<Path>>,
    cache: Cache,
    leases: Option<Leases>,
}

/// An ADD that went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The last plugin's result.
    pub result: AddResult,
    /// How long each plugin took.
    pub timings: Vec<Timing>,
}

/// A chain that stopped.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct ChainFailure {
    /// Where and why.
    pub cause: ChainError,
    /// How long each plugin took; the last is the one that failed.
    pub timings: Vec<Timing>,
}

/// Why a chain stopped.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A plugin failed.
    #[error("{0}")]
    Plugin(#[from] PluginFailure),
    /// The result could not be kept, so that DEL would not have it.
    #[error("{0}")]
    Cache(#[from] CacheError),
    /// Only DEL goes without a namespace.
    #[error(
        "CNI {command} for network `{network}`: the sandbox has no network namespace; remove \
         hostNetwork or the claim from the pod"
    )]
    NoNetns {
        /// What was asked.
        command: Command,
        /// The network.
        network: String,
    },
}

impl Cause for ChainError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Plugin(failure) => failure.reason(),
            Self::Cache(_) => "CNICacheFailed",
            Self::NoNetns { .. } => "NoNetworkNamespace",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Plugin(failure) => failure.code(),
            Self::Cache(_) => "cni_cache_failed",
            Self::NoNetns { .. } => "no_network_namespace",
        }
    }
}

impl Plugins {
    /// Plugins are searched in `dirs`, in order. Results are kept in `cache_dir`, which belongs to
    /// one driver alone: whoever shares it could be told to delete another's interfaces. With a
    /// `host_root` plugins run chrooted into it, and `dirs` are paths inside it.
    pub fn new(dirs: Vec<PathBuf>, cache_dir: &Path, host_root: Option<&Path>) -> Self {
        Self {
            dirs: dirs.into(),
            host_root: host_root.map(Arc::from),
            cache: Cache::new(cache_dir),
            leases: None,
        }
    }

    /// Looks after the leases that host-local keeps below `folder`, a path that plugins use too.
    #[must_use]
    pub fn with_leases(mut self, folder: &Path) -> Self {
        self.leases = Some(Leases::new(&self.on_node(folder)));
        self
    }

    /// Makes an interface. At `deadline` the plugin that still runs is killed. After a failure the
    /// caller must [`del`](Self::del): the spec wants it "even if the add fails".
    pub async fn add(&self, at: &Invocation<'_>, deadline: Instant) -> Result<Added, ChainFailure> {
        let mut chain = Chain::new(self, Command::Add, *at, deadline);
        match self.add_by(&mut chain).await {
            Ok(result) => Ok(Added {
                result,
                timings: chain.timings,
            }),
            Err(cause) => Err(ChainFailure {
                cause,
                timings: chain.timings,
            }),
        }
    }

    /// Takes an interface out, and forgets its result once that went through. Nothing to take out
    /// is a success; a namespace that is gone is left out of the request.
    pub async fn del(
        &self,
        at: &Invocation<'_>,
        deadline: Instant,
    ) -> Result<Vec<Timing>, ChainFailure> {
        let at = Invocation {
            netns: at.netns.filter(|path| self.reaches(path)),
            ..*at
        };
        let mut chain = Chain::new(self, Command::Del, at, deadline);
        match self.del_by(&mut chain).await {
            Ok(()) => Ok(chain.timings),
            Err(cause) => Err(ChainFailure {
                cause,
                timings: chain.timings,
            }),
        }
    }

    /// Asks whether what ADD made is still as it made it. `Ok(false)`: the list forbids the
    /// question, or is older than it.
    pub async fn check(&self, at: &Invocation<'_>, deadline: Instant) -> Result<bool, ChainError> {
        let network = at.network;
        if network.disable_check || !network.version().has(Command::Check) {
            return Ok(false);
        }
        let mut chain = Chain::new(self, Command::Check, *at, deadline);
        chain.require_netns()?;
        let cached = self
            .cache
            .get(network, at.key)
            .await?
            .map(|cached| cached.result);
        for plugin in request::order(network, Command::Check) {
            chain.step(plugin, cached.as_ref(), |_| Ok(())).await?;
        }
        Ok(true)
    }

    /// Asks whether the chain could serve an ADD; informational. `Ok(false)`: the list is older
    /// than the question.
    pub async fn status(&self, network: &ConfList, deadline: Instant) -> Result<bool, ChainError> {
        if !network.version().has(Command::Status) {
            return Ok(false);
        }
        for plugin in request::order(network, Command::Status) {
            let config = request::for_status(network, plugin);
            let call = Call::of_network(Command::Status, network, plugin, config);
            self.ask(call, deadline, |_| Ok(())).await?;
        }
        Ok(true)
    }

    /// Frees what belongs to no `valid` attachment of the network: first by DEL of those that the
    /// cache knows, then by GC. Goes on after errors and returns them. Must not overlap with
    /// another call for the same network (spec §2, "GC").
    pub async fn gc(
        &self,
        network: &ConfList,
        valid: &[ValidAttachment],
        deadline: Instant,
    ) -> Vec<ChainError> {
        if network.disable_gc {
            return Vec::new();
        }
        let mut errors = Vec::new();
        match self.cache.attachments(network.name()).await {
            Ok(cached) => {
                for stale in cached.iter().filter(|cached| !valid.contains(&cached.id())) {
                    let deleted = self.del(&stale.invocation(), deadline).await;
                    errors.extend(deleted.err().map(|failure| failure.cause));
                }
            }
            Err(error) => errors.push(error.into()),
        }
        if network.version().has(Command::Gc) {
            for plugin in request::order(network, Command::Gc) {
                let config = request::for_gc(network, plugin, valid);
                let call = Call::of_network(Command::Gc, network, plugin, config);
                errors.extend(
                    self.ask(call, deadline, |_| Ok(()))
                        .await
                        .err()
                        .map(Into::into),
                );
            }
        }
        errors
    }

    /// Asks a plugin which versions it speaks, which also proves that it can run here.
    pub async fn versions(
        &self,
        plugin: &str,
        deadline: Instant,
    ) -> Result<Supported, PluginFailure> {
        let call = Call {
            command: Command::Version,
            network: None,
            at: None,
            plugin,
            config: request::for_version(),
        };
        self.ask(call, deadline, read_versions).await
    }

    /// The ADDs that were not undone, of every network.
    pub async fn attachments(&self) -> Result<Vec<CachedAttachment>, CacheError> {
        self.cache.all().await
    }

    /// The addresses that host-local keeps.
    pub async fn leases(&self) -> Vec<Lease> {
        match &self.leases {
            Some(leases) => leases.list().await,
            None => Vec::new(),
        }
    }

    /// Frees an address of host-local; whether it was as it was listed. Else it is left alone.
    pub async fn free(&self, lease: &Lease) -> Result<bool, LeaseError> {
        match &self.leases {
            Some(leases) => leases.free(lease).await,
            None => Ok(false),
        }
    }

    async fn add_by(&self, chain: &mut Chain<'_>) -> Result<AddResult, ChainError> {
        chain.require_netns()?;
        let at = chain.at;
        // A plugin that is missing is no reason to run those before it.
        for plugin in at.network.plugins() {
            self.find(plugin.plugin_type())
                .map_err(|fault| chain.failure(plugin, fault))?;
        }
        let mut prev = None;
        for plugin in request::order(at.network, Command::Add) {
            prev = Some(chain.step(plugin, prev.as_ref(), read_result).await?);
        }
        let result = prev.unwrap_or_default();
        self.cache
            .put(CachedAttachment::new(&at, &result), chain.deadline)
            .await?;
        Ok(result)
    }

    async fn del_by(&self, chain: &mut Chain<'_>) -> Result<(), ChainError> {
        let at = chain.at;
        let prev = self.added(&at).await;
        // ADD runs nothing before all plugins are there: one that is not has nothing to undo.
        let cached = self.cache.get(at.network, at.key).await;
        let never_added = cached.is_ok_and(|cached| cached.is_none());
        for plugin in request::order(at.network, Command::Del) {
            if at.netns.is_none() && changes_what_is_there(plugin) {
                continue;
            }
            match chain.step(plugin, prev.as_ref(), |_| Ok(())).await {
                Err(failure) if never_added && matches!(failure.fault, Fault::NotFound { .. }) => {}
                deleted => deleted.or_else(nothing_to_undo)?,
            }
        }
        Ok(self.cache.remove(at.network, at.key).await?)
    }

    /// The result of ADD, for the versions whose DEL takes one. A record that cannot be read must
    /// not keep an interface alive: DEL copes without.
    async fn added(&self, at: &Invocation<'_>) -> Option<AddResult> {
        if !at.network.version().del_has_prev_result() {
            return None;
        }
        match self.cache.get(at.network, at.key).await {
            Ok(cached) => cached.map(|cached| cached.result),
            Err(error) => {
                warn!(%error, "DEL goes without the result of ADD");
                None
            }
        }
    }

    /// Whether plugins would find a namespace at `path`.
    pub fn reaches(&self, path: &str) -> bool {
        netns::exists(&self.on_node(Path::new(path)))
    }

    /// Where the driver finds what plugins find at `path`.
    fn on_node(&self, path: &Path) -> PathBuf {
        match &self.host_root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// Runs one plugin and reads its answer.
    async fn ask<T>(
        &self,
        call: Call<'_>,
        deadline: Instant,
        decode: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<T, PluginFailure> {
        let answer = match self.run(&call, deadline).await {
            Ok(stdout) => decode(&stdout),
            Err(fault) => Err(fault),
        };
        answer.map_err(|fault| PluginFailure {
            network: call.network.map(|network| network.name().to_owned()),
            plugin: call.plugin.to_owned(),
            command: call.command,
            fault,
        })
    }

    async fn run(&self, call: &Call<'_>, deadline: Instant) -> Result<Vec<u8>, Fault> {
        let program = self.find(call.plugin)?;
        let environment = environment(call.command, call.at, &self.searched(":"));
        exec::run(&program, &environment, call.config.to_string(), deadline)
            .await?
            .success()
    }

    fn find(&self, plugin: &str) -> Result<Program, Fault> {
        let candidates = self.dirs.iter().map(|dir| dir.join(plugin));
        let found = candidates.filter(|_| is_name(plugin)).find_map(|path| {
            let on_node = self.on_node(&path);
            let root = self.host_root.clone();
            on_node.is_file().then_some(Program {
                path,
                on_node,
                root,
            })
        });
        found.ok_or_else(|| Fault::NotFound {
            searched: self.searched(", "),
        })
    }

    fn searched(&self, separator: &str) -> String {
        let dirs: Vec<_> = self.dirs.iter().map(|dir| dir.to_string_lossy()).collect();
        dirs.join(separator)
    }
}

/// One run of one plugin.
struct Call<'a> {
    command: Command,
    network: Option<&'a ConfList>,
    at: Option<&'a Invocation<'a>>,
    plugin: &'a str,
    config: Value,
}

impl<'a> Call<'a> {
    fn of_network(
        command: Command,
        network: &'a ConfList,
        plugin: &'a PluginConf,
        config: Value,
    ) -> Self {
        Self {
            command,
            network: Some(network),
            at: None,
            plugin: plugin.plugin_type(),
            config,
        }
    }
}

/// Whether a plugin only changed what was in the namespace, and what went with it. Some, as sbr,
/// cannot run without one, and what stands before them in the chain would never be undone.
fn changes_what_is_there(plugin: &PluginConf) -> bool {
    let row = catalogue::plugin(plugin.plugin_type());
    row.is_some_and(|row| row.role == Role::Chained)
}

/// A container that the plugin does not know needs no undoing (spec §5, code 3).
fn nothing_to_undo(failure: PluginFailure) -> Result<(), PluginFailure> {
    match failure.fault {
        Fault::Reported { error } if error.code == CniError::UNKNOWN_CONTAINER => Ok(()),
        _ => Err(failure),
    }
}

#[cfg(test)]
mod tests;
