//! Our side of the kubelet, which in an update knows us before we can answer.
//!
//! Owns the registration. A claim that comes before there is an engine waits for it, as long as the
//! kubelet does.

use std::sync::Arc;

use netclaim_core::{
    claim::{Allocated, ClaimRef},
    failure::{Failure, Step},
    inventory::Inventory,
    name::PoolName,
};
use tokio::sync::watch;

use crate::{
    dra::{self, DraError, Paths, Plugin, Registration},
    engine::{Engine, Leaving},
    health::Health,
    host::Linux,
    instance::Taken,
    metrics::Metrics,
    options::Options,
};

/// The part of our health that the kubelet decides.
const PART: &str = "kubelet";

/// What the kubelet is told of us, and whom it asks.
pub(super) struct Kubelet {
    plugin: Plugin<Late>,
    engine: watch::Sender<Option<Arc<Engine<Linux>>>>,
    running: Option<dra::Running>,
}

/// The engine, once there is one.
#[derive(Clone)]
struct Late(watch::Receiver<Option<Arc<Engine<Linux>>>>);

impl Kubelet {
    /// A kubelet that knows nothing of us yet.
    pub(super) fn new(
        options: &Options,
        inventory: watch::Receiver<Arc<Inventory>>,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let engine = watch::Sender::new(None);
        let plugin = Plugin {
            paths: Paths {
                registry: options.registry_dir(),
                plugin: options.plugin_dir(),
            },
            driver: options.driver_name.clone(),
            pod_uid: options.pod_uid.clone(),
            // Our pool is the node.
            pool: PoolName::parse(options.node_name.as_str())?,
            engine: Late(engine.subscribe()),
            inventory,
            metrics: Arc::clone(metrics),
        };
        Ok(Self {
            plugin,
            engine,
            running: None,
        })
    }

    /// Makes us known while another instance still answers, and lets go of `standby` once the kubelet
    /// took us.
    ///
    /// Without a pod UID our sockets would have the names of the other's: then it hears of us when
    /// that one is gone.
    pub(super) async fn register_early(&mut self, standby: Taken) {
        if self.plugin.pod_uid.is_none() {
            return;
        }
        match self.plugin.start().await {
            Ok(running) => {
                let mut said = self.running.insert(running).registration();
                tokio::spawn(async move {
                    let taken = said.wait_for(|said| *said == Registration::Registered);
                    let _ = taken.await;
                    drop(standby);
                });
            }
            // Tried again when we are to answer, which fails for good.
            Err(error) => tracing::warn!(%error, "the kubelet does not know us yet"),
        }
    }

    /// Answers the kubelet, after making us known to it if that was not done.
    pub(super) async fn answer(
        self,
        engine: &Arc<Engine<Linux>>,
    ) -> Result<dra::Running, DraError> {
        self.engine.send_replace(Some(Arc::clone(engine)));
        match self.running {
            Some(running) => Ok(running),
            None => self.plugin.start().await,
        }
    }
}

impl Late {
    /// Fails if we end before there is one.
    async fn engine(&self) -> Result<Arc<Engine<Linux>>, Failure> {
        let mut engine = self.0.clone();
        let there = engine.wait_for(Option::is_some).await;
        there
            .ok()
            .and_then(|there| there.clone())
            .ok_or_else(|| Failure::new(Step::Prepare, &Leaving))
    }
}

impl dra::Prepare for Late {
    async fn prepare(&self, claim: ClaimRef) -> Result<Vec<Allocated>, Failure> {
        self.engine().await?.prepare(&claim).await
    }

    async fn unprepare(&self, claim: ClaimRef) -> Result<(), Failure> {
        self.engine().await?.unprepare(&claim.uid).await
    }
}

/// Says in our health that the kubelet is waited for; a standby does not wait for it.
pub(super) fn expect(health: &Health) {
    health.set(PART, Err("has not called back yet".to_owned()));
}

/// Says in our health, and to the publisher, whether the kubelet knows us.
pub(super) async fn watch(
    mut registration: watch::Receiver<Registration>,
    health: Arc<Health>,
    registered: watch::Sender<bool>,
) {
    loop {
        let state = match &*registration.borrow_and_update() {
            Registration::Registered => Ok(()),
            Registration::Waiting => Err("has not called back yet".to_owned()),
            Registration::Refused(words) => Err(format!("refused us: {words}")),
        };
        registered.send_replace(state.is_ok());
        health.set(PART, state);
        if registration.changed().await.is_err() {
            return;
        }
    }
}
