//! Plugin registration: sockets that appear in the folder become plugins.
//!
//! Owns the plugin list. It must never register what a kubelet refuses; it tells the plugin why.
//! Source: kubelet `pkg/kubelet/pluginmanager`, `pkg/kubelet/cm/dra/plugin`.

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
use super::{Options, wipe_slices};
use crate::world::apiserver::store::Store;
use crate::world::node::Node;

const FOLDER: &str = "/var/lib/kubelet/plugins_registry";

/// How often the folder is looked at. The real kubelet is told of changes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long after a failure a socket is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

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
    sockets: Mutex<BTreeMap<Socket, Socketed>>,
}

/// A socket's file; one that was removed and made again is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    name: String,
    inode: u64,
}

/// What became of a socket.
#[derive(Clone, Debug)]
enum Socketed {
    Refused { why: String, again: Instant },
    Registered { plugin: Arc<Plugin>, at: Instant },
}

impl Plugins {
    pub(super) fn watch(node: Arc<Node>, store: Arc<Store>, options: Options) -> Self {
        let shared = Arc::new(Shared {
            node,
            store,
            options,
            sockets: Mutex::default(),
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
        let sockets = self.shared.sockets();
        let refused = sockets
            .iter()
            .filter_map(|(socket, socketed)| match socketed {
                Socketed::Refused { why, .. } => Some((socket.name.clone(), why.clone())),
                Socketed::Registered { .. } => None,
            });
        refused.collect()
    }

    /// Forgets all plugins, and finds them again.
    pub(super) fn rediscover(&self) {
        self.shared.sockets().clear();
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
    fn sockets(&self) -> MutexGuard<'_, BTreeMap<Socket, Socketed>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self, driver: &str) -> Option<Arc<Plugin>> {
        let sockets = self.sockets();
        let registered = sockets.values().filter_map(|socketed| match socketed {
            Socketed::Registered { plugin, at } if plugin.name == driver => Some((at, plugin)),
            _ => None,
        });
        let newest = registered.max_by_key(|(at, _)| **at);
        newest.map(|(_, plugin)| Arc::clone(plugin))
    }

    async fn look(self: &Arc<Self>) -> Result<()> {
        let present = self.node.place.run(sockets)??;
        self.deregister_gone(&present);
        for socket in present {
            let due = match self.sockets().get(&socket) {
                None => true,
                Some(Socketed::Refused { again, .. }) => *again <= Instant::now(),
                Some(Socketed::Registered { .. }) => false,
            };
            if due {
                let socketed = self.register(&socket).await;
                self.sockets().insert(socket, socketed);
            }
        }
        Ok(())
    }

    fn deregister_gone(self: &Arc<Self>, present: &[Socket]) {
        let mut gone = Vec::new();
        self.sockets().retain(|socket, socketed| {
            let stays = present.contains(socket);
            if let (false, Socketed::Registered { plugin, .. }) = (stays, socketed) {
                gone.push(plugin.name.clone());
            }
            stays
        });
        for driver in gone {
            tokio::spawn(Arc::clone(self).wipe_unless_back(driver));
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

    async fn register(&self, socket: &Socket) -> Socketed {
        let path = format!("{FOLDER}/{}", socket.name);
        let channel = self.node.channel(path);
        let registered = timeout(ANSWER_WITHIN, self.try_register(channel, socket)).await;
        let registered = registered.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
        let at = Instant::now();
        match registered {
            Ok(plugin) => Socketed::Registered { plugin, at },
            Err(error) => Socketed::Refused {
                why: format!("{error:#}"),
                again: at + TRY_AGAIN,
            },
        }
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
