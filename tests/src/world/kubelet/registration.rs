//! Plugin registration: sockets that appear in the folder become plugins.
//!
//! Owns the plugin list. It must never register what a kubelet refuses; it tells the plugin why. A
//! socket that failed is tried again ever more slowly, by its path. Source: kubelet
//! `pkg/kubelet/pluginmanager`, `pkg/util/goroutinemap`, `pkg/kubelet/cm/dra/plugin`.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use netclaim_proto::registration::registration_client::RegistrationClient;
use netclaim_proto::registration::{InfoRequest, PluginInfo, RegistrationStatus};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tonic::transport::Channel;

use super::plugin::{Plugin, Version};
use super::{Options, dial, wipe_slices};
use crate::world::apiserver::store::Store;
use crate::world::node::Node;

const FOLDER: &str = "/var/lib/kubelet/plugins_registry";

/// How often the folder is looked at. The real kubelet is told of changes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The longest wait until a socket that failed is tried again.
const MAX_WAIT: Duration = Duration::from_mins(2);

/// How long a plugin may take for an answer about itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The plugins of a node.
#[derive(Debug)]
pub struct Plugins {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    node: Arc<Node>,
    store: Arc<Store>,
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    registered: BTreeMap<Socket, Registered>,
    /// By name: a socket that is made anew waits for what its predecessor did.
    failed: BTreeMap<String, Failed>,
}

/// A socket's file; one that was removed and made again is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    name: String,
    inode: u64,
}

#[derive(Debug)]
struct Registered {
    plugin: Arc<Plugin>,
    at: Instant,
}

#[derive(Debug)]
struct Failed {
    why: String,
    again: Instant,
    /// How long was waited for that; the next time it is twice as long.
    wait: Duration,
}

impl Plugins {
    pub(super) fn watch(node: Arc<Node>, store: Arc<Store>, options: Options) -> Self {
        let shared = Arc::new(Shared {
            node,
            store,
            options,
            state: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(keep_looking(Arc::clone(&shared)));
        Self {
            shared,
            _tasks: tasks,
        }
    }

    /// The plugin of `driver` that registered last.
    pub fn get(&self, driver: &str) -> Result<Arc<Plugin>> {
        self.shared
            .newest(driver)
            .with_context(|| format!("DRA driver {driver} is not registered"))
    }

    /// Waits until `driver` is registered.
    pub async fn registered(&self, driver: &str, limit: Duration) -> Result<Arc<Plugin>> {
        let wait = async {
            loop {
                if let Ok(plugin) = self.get(driver) {
                    return plugin;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(limit, wait)
            .await
            .with_context(|| format!("{driver} is not registered: {:?}", self.refusals()))
    }

    /// Why sockets are not registered, by name.
    pub fn refusals(&self) -> BTreeMap<String, String> {
        let state = self.shared.state();
        let failed = state.failed.iter();
        failed
            .map(|(name, failed)| (name.clone(), failed.why.clone()))
            .collect()
    }

    /// How long a socket that failed is not tried.
    pub fn wait(&self, socket: &str) -> Option<Duration> {
        let state = self.shared.state();
        state.failed.get(socket).map(|failed| failed.wait)
    }

    /// Forgets all plugins, and finds them again.
    pub(super) fn rediscover(&self) {
        *self.shared.state() = State::default();
    }
}

async fn keep_looking(shared: Arc<Shared>) {
    let mut ticks = interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = shared.look().await {
            tracing::warn!("cannot look at {FOLDER}: {error:#}");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self, driver: &str) -> Option<Arc<Plugin>> {
        let state = self.state();
        let of_driver = state.registered.values();
        let of_driver = of_driver.filter(|registered| registered.plugin.name == driver);
        let newest = of_driver.max_by_key(|registered| registered.at)?;
        Some(Arc::clone(&newest.plugin))
    }

    async fn look(self: &Arc<Self>) -> Result<()> {
        let present = self.node.place.run(sockets)??;
        self.deregister_gone(&present);
        for socket in present {
            if !self.state().is_due(&socket) {
                continue;
            }
            let registered = self.register(&socket).await;
            self.state()
                .tried(socket, registered, self.options.first_retry);
        }
        Ok(())
    }

    fn deregister_gone(self: &Arc<Self>, present: &[Socket]) {
        let gone = |socket: &Socket, _: &mut Registered| !present.contains(socket);
        let gone: Vec<Registered> = {
            let mut state = self.state();
            let gone = state.registered.extract_if(.., gone);
            gone.map(|(_, registered)| registered).collect()
        };
        for Registered { plugin, .. } in gone {
            tokio::spawn(Arc::clone(self).wipe_unless_back(plugin.name.clone()));
        }
    }

    async fn wipe_unless_back(self: Arc<Self>, driver: String) {
        sleep(self.options.wipe_after).await;
        if self.newest(&driver).is_none()
            && let Err(error) = wipe_slices(&self.store, &self.node.name, Some(&driver))
        {
            tracing::warn!("cannot delete the slices of {driver}: {error:#}");
        }
    }

    async fn register(&self, socket: &Socket) -> Result<Arc<Plugin>> {
        let channel = dial::channel(&self.node, format!("{FOLDER}/{}", socket.name));
        let registering = timeout(ANSWER_WITHIN, self.try_register(channel, socket));
        registering.await.context("no answer in time")?
    }

    async fn try_register(&self, channel: Channel, socket: &Socket) -> Result<Arc<Plugin>> {
        let mut client = RegistrationClient::new(channel);
        let info = client.get_info(InfoRequest {}).await?.into_inner();
        let validated = validate(&info, self.options.version, socket);
        let status = RegistrationStatus {
            plugin_registered: validated.is_ok(),
            error: match &validated {
                Ok(_) => String::new(),
                Err(error) => format!("{error:#}"),
            },
        };
        let version = match validated {
            Ok(version) => version,
            Err(error) => {
                client.notify_registration_status(status).await?;
                return Err(error);
            }
        };
        let plugin = Plugin::new(
            &self.node,
            info.name,
            info.endpoint,
            version,
            &info.supported_versions,
        );
        client.notify_registration_status(status).await?;
        Ok(Arc::new(plugin))
    }
}

impl State {
    fn is_due(&self, socket: &Socket) -> bool {
        let waits = self.failed.get(&socket.name);
        !self.registered.contains_key(socket)
            && waits.is_none_or(|failed| failed.again <= Instant::now())
    }

    fn tried(&mut self, socket: Socket, tried: Result<Arc<Plugin>>, first_wait: Duration) {
        let at = Instant::now();
        let before = self.failed.remove(&socket.name);
        match tried {
            Ok(plugin) => {
                self.registered.insert(socket, Registered { plugin, at });
            }
            Err(error) => {
                let wait = before.map_or(first_wait, |before| (before.wait * 2).min(MAX_WAIT));
                let failed = Failed {
                    why: format!("{error:#}"),
                    again: at + wait,
                    wait,
                };
                self.failed.insert(socket.name, failed);
            }
        }
    }
}

fn sockets() -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(FOLDER)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Gone again, or no socket: nothing for the kubelet.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.file_type().is_socket() && !name.starts_with('.') {
            let inode = metadata.ino();
            sockets.push(Socket { name, inode });
        }
    }
    Ok(sockets)
}

fn validate(info: &PluginInfo, most: Version, socket: &Socket) -> Result<Version> {
    ensure!(
        info.r#type == "DRAPlugin",
        "no handler registered for plugin type: {} at socket {}",
        info.r#type,
        socket.name
    );
    ensure!(!info.name.is_empty(), "DRA plugin name is empty");
    ensure!(
        info.endpoint.starts_with('/'),
        "DRA plugin {} has the endpoint {:?}, which is no absolute path",
        info.name,
        info.endpoint
    );
    ensure!(
        !info.supported_versions.is_empty(),
        "empty list for supported gRPC services of the plugin {:?}",
        info.name
    );
    Version::choose(most, &info.supported_versions).with_context(|| {
        format!(
            "none of the DRA gRPC services {:?} supported by the plugin {:?} is supported by the \
             kubelet",
            info.supported_versions, info.name
        )
    })
}
