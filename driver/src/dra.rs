//! The kubelet's side of us: registration, claims, and the health of devices.
//!
//! Owns the two sockets in the kubelet's folders and the translation of its protocols. It decides
//! nothing about a claim: that is [`Prepare`]'s.

use std::{path::PathBuf, sync::Arc};

use netclaim_core::{
    claim::{Allocated, ClaimRef},
    failure::Failure,
    inventory::Inventory,
    name::{DriverName, PodUid, PoolName},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use self::{claims::Claims, health::Health, registration::Service};
use crate::{
    metrics::Metrics,
    socket::{Server, Socket, SocketError, unlink_dead},
};

mod claims;
mod health;
mod names;
mod registration;

pub use registration::Registration;

/// Only the kubelet, which is root, talks to us here.
const MODE: u32 = 0o600;

/// What the kubelet asks for.
///
/// Both verbs may come again and may come at once for several claims; giving back a claim that is
/// not known succeeds. Cloned for each claim, so it is best an [`Arc`].
pub trait Prepare: Clone + Send + Sync + 'static {
    /// Makes sure that the claim's devices of ours can be attached; returns all of them.
    fn prepare(
        &self,
        claim: ClaimRef,
    ) -> impl Future<Output = Result<Vec<Allocated>, Failure>> + Send;

    /// Takes out what the claim still has in a pod, and forgets it.
    fn unprepare(&self, claim: ClaimRef) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The kubelet's folders.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Where it looks for plugins: `/var/lib/kubelet/plugins_registry`.
    pub registry: PathBuf,
    /// Ours among the plugins' folders: `/var/lib/kubelet/plugins/<driver>`.
    pub plugin: PathBuf,
}

/// A kubelet plugin, not yet started.
#[derive(Debug)]
pub struct Plugin<P> {
    /// The kubelet's folders.
    pub paths: Paths,
    /// Name of the driver.
    pub driver: DriverName,
    /// UID of our own pod: two instances have different sockets during a rolling update.
    pub pod_uid: Option<PodUid>,
    /// Pool of our devices.
    pub pool: PoolName,
    /// Who prepares.
    pub engine: P,
    /// The devices and whether they work.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
}

/// Why the kubelet plugin did not start.
#[derive(Debug, thiserror::Error)]
pub enum DraError {
    /// The kubelet makes this folder when it starts.
    #[error(
        "the kubelet's folder {} is not there: is the kubelet running, is --kubelet-root right, \
         and is the folder mounted?",
        path.display()
    )]
    NoRegistry {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of our own sockets cannot be made.
    #[error(
        "cannot make the plugin's folder {}: {source}; mount the kubelet's plugins folder for \
         netclaim to write, and check --kubelet-root",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A socket cannot be served.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// A kubelet plugin that serves.
#[derive(Debug)]
pub struct Running {
    registration: Server,
    dra: Server,
    claims: TaskTracker,
    registered: watch::Receiver<Registration>,
}

impl<P: Prepare> Plugin<P> {
    /// Serves claims, then tells the kubelet where: it calls back at once.
    pub async fn start(&self) -> Result<Running, DraError> {
        self.prepare_folders().await?;
        let uid = self.pod_uid.as_ref().map(PodUid::as_str);
        let endpoint = self.paths.plugin.join(names::dra(uid));
        let registry = &self.paths.registry;
        let registry = registry.join(names::registration(registry, self.driver.as_str(), uid));

        let claims = TaskTracker::new();
        let (listener, socket) = Socket::listen(&endpoint, MODE).await?;
        let stop = CancellationToken::new();
        let dra = Server::start(listener, socket, self.routes(&claims, &stop), stop);

        let (service, registered) = Service::new(&self.driver, &endpoint);
        let (listener, socket) = match Socket::listen(&registry, MODE).await {
            Ok(listening) => listening,
            Err(error) => {
                dra.stop().await;
                return Err(error.into());
            }
        };
        let routes = Routes::new(service.into_server());
        let registration = Server::start(listener, socket, routes, CancellationToken::new());
        tracing::info!(driver = %self.driver, endpoint = %endpoint.display(), "kubelet plugin ready");
        Ok(Running {
            registration,
            dra,
            claims,
            registered,
        })
    }

    /// Makes our folder, and removes sockets that an instance left when it was killed: the kubelet
    /// would dial them at each of its starts.
    async fn prepare_folders(&self) -> Result<(), DraError> {
        let path = self.paths.registry.clone();
        if !path.is_dir() {
            return Err(DraError::NoRegistry { path });
        }
        let path = self.paths.plugin.clone();
        std::fs::create_dir_all(&path).map_err(|source| DraError::Folder { path, source })?;
        let driver = self.driver.as_str();
        for name in file_names(&self.paths.registry) {
            if names::is_registration_of(driver, &name) {
                remove_dead(self.paths.registry.join(name)).await;
            }
        }
        for name in file_names(&self.paths.plugin) {
            if names::is_dra(&name) {
                remove_dead(self.paths.plugin.join(name)).await;
            }
        }
        Ok(())
    }

    fn routes(&self, running: &TaskTracker, stop: &CancellationToken) -> Routes {
        let claims = Claims::new(self.engine.clone(), running, &self.metrics);
        let health = Health::new(self.pool.clone(), self.inventory.clone(), stop.clone());
        Routes::new(claims.clone().into_v1())
            .add_service(claims.into_v1beta1())
            .add_service(health.clone().into_v1())
            .add_service(health.into_v1alpha1())
    }
}

impl Running {
    /// What the kubelet said to our registration.
    pub fn registration(&self) -> watch::Receiver<Registration> {
        self.registered.clone()
    }

    /// Leaves the kubelet, then finishes the claims that it has asked for.
    ///
    /// The registration socket goes first: from then on the kubelet asks nothing more. The claims
    /// go on even if the kubelet has hung up; the caller sets the deadline.
    pub async fn stop(self) {
        self.registration.stop().await;
        self.claims.close();
        self.claims.wait().await;
        self.dra.stop().await;
    }
}

fn file_names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

async fn remove_dead(path: PathBuf) {
    match unlink_dead(&path).await {
        Ok(true) => tracing::info!(path = %path.display(), "removed a socket that nobody serves"),
        Ok(false) => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "old socket not removed"),
    }
}

#[cfg(test)]
mod tests;
