//! The API server: four watches, each object turned into a small row as soon as it arrives.
//!
//! It only lists and watches.

use std::{collections::BTreeSet, fmt::Debug, pin::pin, time::Duration};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::{
    core::v1::Pod,
    resource::v1::{DeviceClass, ResourceClaim, ResourceSlice},
};
use kube::{
    Api, Client, Config, Resource,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
    runtime::watcher::{self, Event, watcher},
};
use netclaim_core::cluster::{Change, Kind, Object, ObjectId, Recorded, WatchState};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;

use super::Source;
use crate::{clock::wall, options::ClusterOptions};

mod rows;

/// Times between tries of a watch that fails.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Objects that are fetched at once: what is parsed and not yet a row stays small.
const PAGE: u32 = 250;

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
    namespace: Option<String>,
}

impl Kubernetes {
    /// Reads the kubeconfig. Nothing is asked of the server yet.
    pub(crate) async fn connect(options: &ClusterOptions) -> Result<Self, ConnectError> {
        let ClusterOptions {
            kubeconfig,
            context,
            namespace,
            all_namespaces: _,
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
            namespace: namespace.clone(),
        })
    }

    /// Claims and pods: of the namespace, if there is one.
    fn namespaced<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

impl Source for Kubernetes {
    fn changes(self) -> impl Stream<Item = Recorded> + Send + 'static {
        let (into, from) = mpsc::channel(1);
        let scope = match &self.namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in all namespaces (for one: -n NAMESPACE)".to_owned(),
        };
        let cluster = "in the cluster".to_owned();
        let slices = Api::<ResourceSlice>::all(self.client.clone());
        let classes = Api::<DeviceClass>::all(self.client.clone());
        Watch::start(
            Kind::ResourceSlices,
            cluster.clone(),
            slices,
            rows::slice,
            &into,
        );
        Watch::start(Kind::DeviceClasses, cluster, classes, rows::class, &into);
        let claims = self.namespaced::<ResourceClaim>();
        Watch::start(
            Kind::ResourceClaims,
            scope.clone(),
            claims,
            rows::claim,
            &into,
        );
        Watch::start(
            Kind::Pods,
            scope,
            self.namespaced::<Pod>(),
            rows::pod,
            &into,
        );
        ReceiverStream::new(from).map(|change| Recorded { at: wall(), change })
    }
}

/// The watch of one kind.
struct Watch<K> {
    kind: Kind,
    scope: String,
    api: Api<K>,
    row: fn(K) -> Option<Object>,
    into: Sender<Change>,
    /// Objects that were given out: what a new list lacks was removed in the meantime.
    known: BTreeSet<ObjectId>,
    /// Objects of a list that is not complete yet.
    listed: BTreeSet<ObjectId>,
    pause: Duration,
}

/// Nobody looks any more.
struct Closed;

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    fn start(
        kind: Kind,
        scope: String,
        api: Api<K>,
        row: fn(K) -> Option<Object>,
        into: &Sender<Change>,
    ) {
        let watch = Self {
            kind,
            scope,
            api,
            row,
            into: into.clone(),
            known: BTreeSet::new(),
            listed: BTreeSet::new(),
            pause: FIRST_PAUSE,
        };
        tokio::spawn(watch.run());
    }

    /// Lists and watches; after a failure it lists again, so that the state is exact.
    async fn run(mut self) -> Result<(), Closed> {
        loop {
            let config = watcher::Config::default().page_size(PAGE);
            let mut events = pin!(watcher(self.api.clone(), config));
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => self.event(event).await?,
                    Err(error) => match self.state(&error) {
                        Some(state) => {
                            self.send(self.watch(state)).await?;
                            break;
                        }
                        // The watcher goes on from where it was.
                        None => tokio::time::sleep(FIRST_PAUSE).await,
                    },
                }
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn event(&mut self, event: Event<K>) -> Result<(), Closed> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                if let Some(id) = self.upsert(object).await? {
                    self.listed.insert(id);
                }
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                for id in std::mem::replace(&mut self.known, listed) {
                    if !self.known.contains(&id) {
                        self.send(Change::Removed { id }).await?;
                    }
                }
                self.pause = FIRST_PAUSE;
                self.send(self.watch(WatchState::Synced)).await?;
            }
            Event::Apply(object) => {
                if let Some(id) = self.upsert(object).await? {
                    self.known.insert(id);
                }
            }
            Event::Delete(object) => {
                if let Some(object) = (self.row)(object) {
                    let id = object.id();
                    self.known.remove(&id);
                    self.send(Change::Removed { id }).await?;
                }
            }
        }
        Ok(())
    }

    async fn upsert(&self, object: K) -> Result<Option<ObjectId>, Closed> {
        let Some(object) = (self.row)(object) else {
            return Ok(None);
        };
        let id = object.id();
        self.send(Change::Upserted { object }).await?;
        Ok(Some(id))
    }

    /// What a failure means for the user; none when the watcher recovers by itself.
    fn state(&self, error: &watcher::Error) -> Option<WatchState> {
        let (verb, cause) = match error {
            watcher::Error::InitialListFailed(cause) => ("list", cause),
            watcher::Error::WatchStartFailed(cause) => ("watch", cause),
            watcher::Error::WatchError(_)
            | watcher::Error::WatchFailed(_)
            | watcher::Error::NoResourceVersion => return None,
        };
        Some(match cause {
            kube::Error::Api(status) if status.code == 403 => WatchState::Denied {
                missing: format!("{verb} {} {}", self.kind, self.scope),
            },
            kube::Error::Api(status) if status.code == 404 => WatchState::Stale {
                why: format!(
                    "the server has no {} in resource.k8s.io/v1; it is in Kubernetes 1.34 and later",
                    self.kind
                ),
            },
            kube::Error::Api(status) => WatchState::Stale {
                why: format!("the server said {}: {}", status.code, status.message),
            },
            other => WatchState::Stale { why: root(other) },
        })
    }

    fn watch(&self, state: WatchState) -> Change {
        Change::Watch {
            kind: self.kind,
            state,
        }
    }

    async fn send(&self, change: Change) -> Result<(), Closed> {
        self.into.send(change).await.map_err(|_| Closed)
    }
}

/// The innermost cause: the others only say that there is one.
fn root(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
