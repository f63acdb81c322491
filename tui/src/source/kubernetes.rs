//! The API server: watches of objects, and the nodes' drivers through their relays.
//!
//! It lists, watches and forwards ports; it writes nothing.

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::{
    core::v1::Pod,
    resource::v1::{DeviceClass, ResourceClaim, ResourceSlice},
};
use kube::{
    Api, Client, Config, Resource,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use netclaim_core::cluster::{Change, Kind, Recorded};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;

use self::{
    relays::Relays,
    watch::{Asked, Watch},
};
use super::Source;
use crate::{clock::wall, options::ClusterOptions};

mod pause;
mod relays;
mod rows;
mod turns;
mod watch;
mod words;

pub(crate) use relays::Wanted;

/// A kubeconfig that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The one that was named.
    #[error("cannot use the kubeconfig: {0}; name one with --kubeconfig and --context")]
    Kubeconfig(#[from] KubeconfigError),
    /// None was named and none was found.
    #[error(
        "found no kubeconfig: {0}; name one with --kubeconfig, or a node with --node unix:PATH"
    )]
    Infer(#[from] InferConfigError),
    /// Its client cannot be made.
    #[error("cannot make a client from the kubeconfig: {0}")]
    Client(#[from] kube::Error),
}

/// An API server, or one namespace of it.
pub(crate) struct Kubernetes {
    client: Client,
    options: ClusterOptions,
    wanted: Wanted,
}

impl Kubernetes {
    /// Reads the kubeconfig. Nothing is asked of the server yet.
    pub(crate) async fn connect(
        options: &ClusterOptions,
        wanted: Wanted,
    ) -> Result<Self, ConnectError> {
        let ClusterOptions {
            kubeconfig,
            context,
            ..
        } = options;
        let chosen = KubeConfigOptions {
            context: context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match (kubeconfig, context) {
            (Some(file), _) => {
                let file = Kubeconfig::read_from(file)?;
                Config::from_custom_kubeconfig(file, &chosen).await?
            }
            (None, Some(_)) => Config::from_kubeconfig(&chosen).await?,
            (None, None) => Config::infer().await?,
        };
        Ok(Self {
            client: Client::try_from(config)?,
            options: options.clone(),
            wanted,
        })
    }

    /// Claims and pods: of the namespace, if there is one.
    fn namespaced<K>(&self) -> Asked<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        let client = self.client.clone();
        match &self.options.namespace {
            Some(namespace) => Asked {
                api: Api::namespaced(client, namespace),
                scope: format!("in namespace {namespace}"),
                labels: None,
            },
            None => Asked {
                api: Api::all(client),
                scope: "in all namespaces (for one: -n NAMESPACE)".to_owned(),
                labels: None,
            },
        }
    }

    fn of_cluster<K>(&self) -> Asked<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>,
    {
        Asked {
            api: Api::all(self.client.clone()),
            scope: "in the cluster".to_owned(),
            labels: None,
        }
    }

    /// Watches the relays, and listens to what is behind them.
    fn relays(&self, into: &Sender<Change>) {
        let namespace = &self.options.relay_namespace;
        let asked = Asked {
            api: Api::namespaced(self.client.clone(), namespace),
            scope: format!("in namespace {namespace}"),
            labels: Some(self.options.relay_selector.clone()),
        };
        let (pods, from) = mpsc::channel(1);
        Watch::start(Kind::Relays, asked, rows::relay, &pods);
        Relays::start(self.client.clone(), from, self.wanted.clone(), into.clone());
    }
}

impl Source for Kubernetes {
    fn changes(self) -> impl Stream<Item = Recorded> + Send + 'static {
        let (into, from) = mpsc::channel(1);
        let slices = self.of_cluster::<ResourceSlice>();
        Watch::start(Kind::ResourceSlices, slices, rows::slice, &into);
        let classes = self.of_cluster::<DeviceClass>();
        Watch::start(Kind::DeviceClasses, classes, rows::class, &into);
        let claims = self.namespaced::<ResourceClaim>();
        Watch::start(Kind::ResourceClaims, claims, rows::claim, &into);
        let pods = self.namespaced::<Pod>();
        Watch::start(Kind::Pods, pods, rows::pod, &into);
        self.relays(&into);
        ReceiverStream::new(from).map(|change| Recorded { at: wall(), change })
    }
}
