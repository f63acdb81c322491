//! Keeps our `ResourceSlices` equal to what this node offers.
//!
//! Owns two tasks: one turns links into the inventory, one makes the API server say the same. Only
//! these slices are ever written, and none is deleted at shutdown: a driver that restarts must not
//! take the node's devices away. The kubelet deletes them when it starts, and after 30 s without us;
//! the watch then brings them back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    core::{ApiResource, GroupVersionKind, NotUsed, Object},
    runtime::{WatchStreamExt as _, watcher},
};
use netclaim_core::{
    diagnosis::node::{Noticed, dropped_fields},
    inventory::Inventory,
    slice::{self, Dropped, Owner, SliceSpec, Write},
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

mod observe;
mod pace;
mod published;

pub use observe::{Observer, Offer};

use self::{observe::Adoption, pace::Pace, published::Published};
use crate::{
    api::{ApiCounters, Outcome},
    clock,
};

/// A `ResourceSlice` with the fields that we write.
type SliceObject = Object<SliceSpec, NotUsed>;

/// How often everything is compared, whether or not something was heard.
const TICK: Duration = Duration::from_mins(1);

/// Longest time until the API server is tried again.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The publishing task's ends.
pub struct Publisher {
    /// The API server.
    pub client: Client,
    /// Whose slices.
    pub owner: Owner,
    /// Counts the requests.
    pub counters: Arc<ApiCounters>,
    /// Where what the API server does not keep is told.
    pub noticed: watch::Sender<Noticed>,
    /// Whether the kubelet knows us.
    pub registered: watch::Receiver<bool>,
}

impl Publisher {
    /// Waits for the kubelet: a pod that is placed before it knows us fails to prepare, and the
    /// kubelet tries again only after a minute or more.
    async fn known_to_the_kubelet(&mut self) {
        // Without anybody who could tell, nobody waits.
        let _ = self.registered.wait_for(|registered| *registered).await;
    }
}

/// Observes and publishes until shutdown.
pub async fn run(observer: Observer, publisher: Publisher, shutdown: CancellationToken) {
    let slices = watch::Sender::default();
    let (adopt, adoptions) = oneshot::channel();
    let pool = Pool::new(publisher, slices.subscribe());
    tokio::join!(
        observer.run(slices, adoptions, shutdown.clone()),
        pool.run(adopt, shutdown),
    );
}

/// Why a write did not do what it should.
#[derive(Debug)]
enum Undone {
    /// The request failed; it was counted and logged.
    Failed,
    /// The server keeps something else than was sent, for a reason that is not ours.
    Altered,
}

/// Our pool: what it should say and what it says.
struct Pool {
    publisher: Publisher,
    api: Api<SliceObject>,
    resource: ApiResource,
    inventory: watch::Receiver<Arc<Inventory>>,
    published: Published,
    dropped: BTreeSet<Dropped>,
    node: Option<OwnerReference>,
}

impl Pool {
    fn new(publisher: Publisher, inventory: watch::Receiver<Arc<Inventory>>) -> Self {
        let kind = GroupVersionKind::gvk("resource.k8s.io", "v1", "ResourceSlice");
        let resource = ApiResource::from_gvk_with_plural(&kind, "resourceslices");
        Self {
            api: Api::all_with(publisher.client.clone(), &resource),
            publisher,
            resource,
            inventory,
            published: Published::default(),
            dropped: BTreeSet::new(),
            node: None,
        }
    }

    async fn run(mut self, adopt: oneshot::Sender<Adoption>, shutdown: CancellationToken) {
        let ours = format!(
            "spec.nodeName={},spec.driver={}",
            self.publisher.owner.node, self.publisher.owner.driver
        );
        let selected = watcher::Config::default().fields(&ours);
        let mut told = watcher(self.api.clone(), selected)
            .default_backoff()
            .boxed();
        let mut adopt = Some(adopt);
        let mut pace = Pace::new(Instant::now(), MAX_BACKOFF);
        let mut tick = tokio::time::interval(TICK);
        loop {
            let due = pace.due().filter(|_| self.published.is_synced());
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = told.try_next() => self.hear(event),
                Ok(()) = self.inventory.changed() => {}
                _ = tick.tick() => {}
                () = clock::until(due) => {
                    if let Some(adopt) = adopt.take() {
                        self.adopt(adopt).await;
                        tokio::select! {
                            () = shutdown.cancelled() => return,
                            () = self.publisher.known_to_the_kubelet() => {}
                        }
                    }
                    let done = self.publish().await;
                    pace.done(Instant::now(), done.is_ok());
                    continue;
                }
            }
            pace.ask(Instant::now());
        }
    }

    fn hear(&mut self, event: Result<Option<watcher::Event<SliceObject>>, watcher::Error>) {
        use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
        match event {
            Ok(event) => event
                .into_iter()
                .for_each(|event| self.published.hear(event)),
            Err(InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error)) => {
                self.publisher.counters.slices.failed("watch", &error);
            }
            Err(other) => tracing::debug!("the watch of our slices starts again: {other}"),
        }
    }

    /// Hands what an earlier instance published to the observer, and waits until it is taken over
    /// and the links had the time to be offered: otherwise the first publish would take away what
    /// has not been seen yet, or list some of the devices only.
    async fn adopt(&self, adopt: oneshot::Sender<Adoption>) {
        let (done, taken) = oneshot::channel();
        let published = slice::read(&self.published.stored(&self.dropped).slices);
        if adopt.send(Adoption { published, done }).is_ok() {
            // An error means that the observer has ended, and we will.
            let _ = taken.await;
        }
    }

    /// Makes the published slices say what the inventory says.
    async fn publish(&mut self) -> Result<(), Undone> {
        let inventory = Arc::clone(&self.inventory.borrow_and_update());
        let writes = self.plan(&inventory);
        if writes.is_empty() {
            return Ok(());
        }
        let mut dropped = BTreeSet::new();
        for write in writes {
            match write {
                Write::Create { name, spec } => {
                    dropped.extend(self.create(&name, spec).await?);
                }
                Write::Update { name, spec } => {
                    dropped.extend(self.update(&name, spec).await?);
                }
                Write::Delete { name } => self.delete(&name).await?,
            }
        }
        self.find(dropped);
        tracing::info!(devices = inventory.devices.len(), "slices published");
        if self.plan(&inventory).is_empty() {
            return Ok(());
        }
        tracing::warn!(
            "the API server keeps something else in our slices than was written: look for an \
             admission webhook that changes ResourceSlices"
        );
        Err(Undone::Altered)
    }

    fn plan(&self, inventory: &Inventory) -> Vec<Write> {
        let stored = self.published.stored(&self.dropped);
        slice::plan(&self.publisher.owner, inventory, &stored)
    }

    async fn create(&mut self, name: &str, spec: SliceSpec) -> Result<BTreeSet<Dropped>, Undone> {
        let mut slice = Object::new(name, &self.resource, spec);
        slice.metadata.owner_references = self.node().await?.map(|node| vec![node]);
        let answer = self.api.create(&PostParams::default(), &slice).await;
        self.keep(name, &slice.spec, answer).await
    }

    async fn update(&mut self, name: &str, spec: SliceSpec) -> Result<BTreeSet<Dropped>, Undone> {
        let Some(known) = self.published.get(name) else {
            return Err(Undone::Failed);
        };
        let slice = Object {
            spec,
            types: Object::<(), NotUsed>::new(name, &self.resource, ()).types,
            ..known.clone()
        };
        let answer = self.api.replace(name, &PostParams::default(), &slice).await;
        self.keep(name, &slice.spec, answer).await
    }

    async fn delete(&mut self, name: &str) -> Result<(), Undone> {
        let answer = self.api.delete(name, &DeleteParams::default()).await;
        match answer {
            Ok(_) => self.publisher.counters.slices.succeeded(),
            Err(error) => match self.publisher.counters.slices.failed(name, &error) {
                Outcome::Missing => {}
                _ => return Err(Undone::Failed),
            },
        }
        self.published.forget(name);
        Ok(())
    }

    /// Keeps what the server answered to a write, and says what it dropped.
    async fn keep(
        &mut self,
        name: &str,
        sent: &SliceSpec,
        answer: Result<SliceObject, kube::Error>,
    ) -> Result<BTreeSet<Dropped>, Undone> {
        let error = match answer {
            Ok(stored) => {
                self.publisher.counters.slices.succeeded();
                let dropped = slice::dropped(sent, &stored.spec);
                self.published.set(stored);
                return Ok(dropped);
            }
            Err(error) => error,
        };
        match self.publisher.counters.slices.failed(name, &error) {
            // The watch lags behind: look for ourselves before the next try.
            Outcome::Conflict => match self.api.get_opt(name).await {
                Ok(Some(stored)) => self.published.set(stored),
                Ok(None) => self.published.forget(name),
                Err(error) => {
                    self.publisher.counters.slices.failed(name, &error);
                }
            },
            Outcome::Missing => self.published.forget(name),
            _ => {}
        }
        Err(Undone::Failed)
    }

    fn find(&mut self, dropped: BTreeSet<Dropped>) {
        if dropped == self.dropped {
            return;
        }
        let Owner { driver, node } = &self.publisher.owner;
        for dropped in &dropped {
            let finding = dropped_fields::finding(*dropped, driver, node);
            tracing::warn!("{}", finding.message);
        }
        let noticed = |noticed: &mut Noticed| noticed.dropped.clone_from(&dropped);
        self.publisher.noticed.send_modify(noticed);
        self.dropped = dropped;
    }

    /// Our node as the owner of its slices: they go when it goes.
    ///
    /// A node that is not there, or that we may not read, owns nothing.
    async fn node(&mut self) -> Result<Option<OwnerReference>, Undone> {
        if self.node.is_some() {
            return Ok(self.node.clone());
        }
        let name = self.publisher.owner.node.as_str();
        let nodes: Api<Node> = Api::all(self.publisher.client.clone());
        match nodes.get_metadata(name).await {
            Ok(node) => {
                self.node = node.metadata.uid.map(|uid| OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Node".to_owned(),
                    name: name.to_owned(),
                    uid,
                    controller: Some(true),
                    ..OwnerReference::default()
                });
                Ok(self.node.clone())
            }
            Err(error) => match self.publisher.counters.slices.failed(name, &error) {
                Outcome::Denied | Outcome::Missing => Ok(None),
                _ => Err(Undone::Failed),
            },
        }
    }
}

#[cfg(test)]
mod tests;
