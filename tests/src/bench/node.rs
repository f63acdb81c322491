//! A node with the driver and as many pods as a row needs, each with one macvlan interface.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

use crate::world::driver::{self, Driver};
use crate::world::{Options, Worker, World, controller, runtime, talk};

const LIMIT: Duration = Duration::from_secs(30);

/// The talk's subnet has addresses for 253 pods; this one has them for 4,000.
const SUBNETS: [&str; 2] = ["10.10.1.0/24", "10.10.0.0/20"];

/// A world whose pods are not started yet.
pub(super) struct Busy {
    pub(super) world: World,
    pub(super) driver: Driver,
    /// Unbound.
    pub(super) pods: Vec<Value>,
}

impl Busy {
    /// A node whose driver is registered, and `pods` pods that want an interface.
    pub(super) async fn with_pods(pods: usize) -> Result<Self> {
        let world = World::up(&Options {
            runtime: runtime::Options {
                cluster_network: false,
                ..runtime::Options::default()
            },
            ..Options::default()
        })?;
        let worker = &world.workers[0];
        let driver = Driver::start(worker, &driver::Options::default())?;
        let plugins = &worker.kubelet.plugins;
        if let Err(error) = plugins.registered(driver::NAME, LIMIT).await {
            return Err(anyhow!("{error:#}:\n{}", driver::last_words(worker)?));
        }
        let pods = pods_of(&world, pods)?;
        Ok(Self {
            world,
            driver,
            pods,
        })
    }

    pub(super) fn worker(&self) -> &Worker {
        &self.world.workers[0]
    }

    /// Starts one pod; its sandbox.
    pub(super) async fn run(&self, pod: &Value) -> Result<String> {
        let pod = self.world.run_pod(pod, LIMIT).await?;
        let sandbox = self.worker().kubelet.sandbox(&pod).await;
        sandbox.context("the pod has no sandbox")
    }
}

fn pods_of(world: &World, pods: usize) -> Result<Vec<Value>> {
    let store = &world.api.store;
    let [talks, larger] = SUBNETS;
    talk::apply(store, talk::CLASS)?;
    talk::apply(store, &talk::TEMPLATE.replace(talks, larger))?;
    let mut deployment: Value = serde_saphyr::from_str(talk::DEPLOYMENT)?;
    deployment["spec"]["replicas"] = json!(pods);
    let deployment = talk::create(store, deployment)?;
    controller::expand(store, &deployment)
}
