//! One walk down a chain: asks plugin after plugin and notes how long each took.

use netclaim_core::{
    cni::{AddResult, Command, Fault, Invocation, PluginConf, PluginFailure, request},
    failure::{Step, Timing},
};
use tokio::time::Instant;

use super::{Call, ChainError, Plugins};

/// A walk that has begun.
pub(super) struct Chain<'a> {
    plugins: &'a Plugins,
    command: Command,
    /// When it must be over.
    pub(super) deadline: Instant,
    /// What the walk is about.
    pub(super) at: Invocation<'a>,
    /// The plugins that were asked so far.
    pub(super) timings: Vec<Timing>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(
        plugins: &'a Plugins,
        command: Command,
        at: Invocation<'a>,
        deadline: Instant,
    ) -> Self {
        Self {
            plugins,
            command,
            deadline,
            at,
            timings: Vec::new(),
        }
    }

    pub(super) fn require_netns(&self) -> Result<(), ChainError> {
        match self.at.netns {
            Some(_) => Ok(()),
            None => Err(ChainError::NoNetns {
                command: self.command,
                network: self.at.network.name().to_owned(),
            }),
        }
    }

    /// What it means for the network that a plugin has this fault.
    pub(super) fn failure(&self, plugin: &PluginConf, fault: Fault) -> PluginFailure {
        PluginFailure {
            network: Some(self.at.network.name().to_owned()),
            plugin: plugin.plugin_type().to_owned(),
            command: self.command,
            fault,
        }
    }

    /// Asks the next plugin.
    pub(super) async fn step<T>(
        &mut self,
        plugin: &PluginConf,
        prev: Option<&AddResult>,
        decode: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<T, PluginFailure> {
        let network = self.at.network;
        let call = Call {
            command: self.command,
            network: Some(network),
            at: Some(&self.at),
            plugin: plugin.plugin_type(),
            config: request::for_interface(network, plugin, self.at.runtime_config, prev),
        };
        let started = Instant::now();
        let answer = self.plugins.ask(call, self.deadline, decode).await;
        self.timings.push(Timing {
            step: if self.command == Command::Del {
                Step::CniDel
            } else {
                Step::CniAdd
            },
            plugin: Some(plugin.plugin_type().to_owned()),
            micros: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            ok: answer.is_ok(),
        });
        answer
    }
}
