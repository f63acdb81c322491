//! What the active instance does besides following pods.

use std::{collections::BTreeSet, fs, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::{
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use netclaim_core::{
    diagnosis::node::Noticed,
    inventory::Inventory,
    reconcile::{Lease, Orphans},
    slice::Owner,
    snapshot::{Identity, Role},
};
use tokio::{
    net::TcpListener,
    sync::{broadcast::error::RecvError, watch},
    task::JoinHandle,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::limit::ConcurrencyLimitLayer;

use super::{
    kubelet::{self, Kubelet},
    plugins,
};
use crate::{
    api::ApiCounters,
    claims::follow::Follower,
    clock, dra,
    engine::{Engine, Rules, Sources},
    events,
    health::Health,
    host::{Linux, heap, links::Links},
    journal::{Journal, Opened},
    metrics::{self, Metrics},
    nri::Pods,
    observe::{self, Node, NodeView},
    options::Options,
    publish::{self, Observer, Offer, Publisher},
    status::StatusWriter,
};

/// The part of our health that the ledger decides, where it was lost.
const LEDGER: &str = "ledger";

/// Requests to the API server at once. Each has a connection, which holds some 35 KiB and stays for a
/// while: a hundred pods that come together must not open a hundred of them.
const REQUESTS: usize = 8;

/// How often probes, flows, leftovers and vanished sandboxes are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// How old what is shown of drops may be.
const SAMPLE: Duration = Duration::from_secs(1);

/// How often memory is given back.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// A plugin says its versions in milliseconds; on a node that starts, everything takes longer.
const PLUGIN_PATIENCE: Duration = Duration::from_secs(10);

/// How soon a plugin that has come is found.
const PLUGINS_AGAIN: Duration = Duration::from_mins(1);

/// Links are offered once they are 2 s old; a Prepare before that would find no device.
const FIRST_DEVICES: Duration = Duration::from_secs(4);

/// Most interfaces on one shared device at once: macvlan's own limit is far above.
const MAX_VIRTUAL_DEVICES: u32 = 1_024;

/// The running parts.
pub(super) struct Active {
    engine: Arc<Engine<Linux>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    follower: Following,
    plugin: dra::Running,
    observe: observe::server::Running,
}

/// The follower of shared claims, which sets the engine to work by itself.
struct Following {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Active {
    /// Leaves the kubelet, finishes what runs, and ends.
    pub(super) async fn stop(self, pods: &Pods<Linux>, patience: Duration) {
        let stop = self.stop.clone();
        let end = async {
            leave_kubelet(self.plugin, &self.engine, patience / 2).await;
            // Whoever comes next reads the journal: nothing may be half done by then.
            self.follower.stop().await;
            pods.retire();
            self.engine.idle().await;
            self.stop.cancel();
            self.observe.stop().await;
            self.tasks.close();
            self.tasks.wait().await;
        };
        if tokio::time::timeout(patience, end).await.is_err() {
            tracing::warn!(?patience, "some tasks did not end in time");
            pods.retire();
            stop.cancel();
        }
    }
}

impl Following {
    async fn stop(self) {
        self.stop.cancel();
        // What it was at is in the ledger, even if it broke down.
        let _ = self.task.await;
    }
}

/// What the kubelet's side shares with the active instance, which comes later.
pub(super) struct Shown {
    inventory: watch::Sender<Arc<Inventory>>,
    counters: Arc<ApiCounters>,
    metrics: Arc<Metrics>,
}

impl Shown {
    /// No device yet, and nothing counted.
    pub(super) fn new() -> Self {
        let counters = ApiCounters::new();
        Self {
            inventory: watch::Sender::default(),
            metrics: Arc::new(Metrics::new(Arc::clone(&counters))),
            counters,
        }
    }

    /// A kubelet that is shown them.
    pub(super) fn kubelet(&self, options: &Options) -> anyhow::Result<Kubelet> {
        Kubelet::new(options, self.inventory.subscribe(), &self.metrics)
    }
}

/// An active instance that starts: what its parts share.
pub(super) struct Starting<'a> {
    options: &'a Options,
    health: &'a Arc<Health>,
    pods: &'a Arc<Pods<Linux>>,
    engine: Arc<Engine<Linux>>,
    client: kube::Client,
    counters: Arc<ApiCounters>,
    metrics: Arc<Metrics>,
    noticed: watch::Sender<Noticed>,
    registered: watch::Sender<bool>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<'a> Starting<'a> {
    /// Goes on from the journal. Nobody is served yet.
    pub(super) async fn open(
        options: &'a Options,
        host: Linux,
        pods: &'a Arc<Pods<Linux>>,
        health: &'a Arc<Health>,
        shown: Shown,
    ) -> anyhow::Result<Self> {
        kubelet::expect(health);
        let client = client(options).await?;
        let Shown {
            inventory,
            counters,
            metrics,
        } = shown;
        let sources = Sources {
            client: client.clone(),
            inventory: inventory.subscribe(),
            nri: pods.watch_state(),
            metrics: Arc::clone(&metrics),
        };
        let engine = open(options, host, sources).await?;
        let starting = Self {
            options,
            health,
            pods,
            client,
            counters,
            metrics,
            registered: watch::Sender::new(false),
            noticed: watch::Sender::new(Noticed {
                uncounted: engine.host().uncounted().cloned(),
                ..Noticed::default()
            }),
            engine,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        starting.publish(inventory);
        starting.tell();
        Ok(starting)
    }

    /// Makes a ledger that was lost anew, before pods are handed to the engine: those of which it
    /// did not know would start bare. Waits for the API server as long as it takes.
    pub(super) async fn rebuild(&self) {
        if !self.engine.ledger().is_lost() {
            return;
        }
        let waits = "is made anew, which waits for the API server";
        self.health.set(LEDGER, Err(waits.to_owned()));
        self.devices().await;
        self.engine.rebuild(&self.options.node_name).await;
        self.health.set(LEDGER, Ok(()));
    }

    /// Serves the pods, then whoever looks, and offers itself to the kubelet last of all. `join`
    /// connects to the runtime, if that was not done yet.
    pub(super) async fn serve(
        self,
        kubelet: Kubelet,
        join: impl FnOnce(),
    ) -> anyhow::Result<Active> {
        self.pods.activate(&self.engine);
        join();
        let follower = self.follow();
        self.look_after();
        self.sample_drops();
        self.stay_small();
        self.ask_plugins();
        let view = self.view();
        self.serve_metrics(&view);
        let observe = observe::server::start(&self.options.expose.observe_socket, view).await?;
        let plugin = self.offer(kubelet).await?;
        Ok(Active {
            engine: self.engine,
            tasks: self.tasks,
            stop: self.stop,
            follower,
            plugin,
            observe,
        })
    }

    fn view(&self) -> Arc<NodeView> {
        let (engine, host) = (Arc::clone(&self.engine), Arc::clone(&self.engine));
        let recorder = Arc::clone(&self.engine);
        let view = NodeView::new(Node {
            ledger: self.engine.watch_ledger(),
            inventory: self.engine.inventory(),
            nri: self.pods.watch_state(),
            noticed: self.noticed.subscribe(),
            counted: Arc::new(move || engine.counters()),
            dropped: Arc::new(move || host.host().drops()),
            flows: Arc::new(move |slots| recorder.host().flows(slots)),
            identity: Identity {
                node: self.options.node_name.clone(),
                driver: self.options.driver_name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: clock::now(),
                role: Role::Active,
            },
        });
        let (sampled, stop) = (Arc::clone(&view), self.stop.clone());
        self.tasks.spawn(async move { sampled.sample(stop).await });
        view
    }

    /// Reads what the interfaces dropped, so that whoever looks at them has to wait for nothing.
    fn sample_drops(&self) {
        let engine = Arc::clone(&self.engine);
        self.each(SAMPLE, move || engine.host().sample_drops());
    }

    /// Gives memory back that nobody uses. Apart from what may wait for a pod: a burst of them needs
    /// most.
    fn stay_small(&self) {
        self.each(GIVE_BACK, heap::give_back);
    }

    /// Does something brief over and over.
    fn each(&self, period: Duration, work: impl Fn() + Send + 'static) {
        let working = self.stop.clone().run_until_cancelled_owned(async move {
            let mut tick = ticks(period);
            loop {
                tick.tick().await;
                work();
            }
        });
        self.tasks.spawn(working);
    }

    /// Keeps our slices equal to the links.
    fn publish(&self, inventory: watch::Sender<Arc<Inventory>>) {
        let devices = &self.options.devices;
        let observer = Observer {
            links: Links::default(),
            offer: Offer {
                exclude: devices.exclude.clone(),
                filter: devices.device_filter.clone(),
                exclusive: devices.exclusive_devices.clone(),
                max_virtual_devices: MAX_VIRTUAL_DEVICES,
            },
            ledger: self.engine.watch_ledger(),
            sandboxes: self.engine.watch_netns(),
            inventory,
        };
        let publisher = Publisher {
            client: self.client.clone(),
            owner: Owner {
                driver: self.options.driver_name.clone(),
                node: self.options.node_name.clone(),
            },
            counters: Arc::clone(&self.counters),
            noticed: self.noticed.clone(),
            registered: self.registered.subscribe(),
        };
        self.tasks
            .spawn(publish::run(observer, publisher, self.stop.clone()));
    }

    /// Tells claims, pods and metrics what happened.
    fn tell(&self) {
        let status = StatusWriter {
            client: self.client.clone(),
            driver: self.options.driver_name.clone(),
            ledger: self.engine.watch_ledger(),
            counters: Arc::clone(&self.counters),
            noticed: self.noticed.clone(),
            node: self.options.node_name.clone(),
        };
        self.tasks.spawn(status.run(self.stop.clone()));
        let (events, writer) = events::channel(
            self.client.clone(),
            self.options.driver_name.clone(),
            self.options.node_name.clone(),
            &self.counters,
        );
        self.tasks.spawn(writer.run(self.stop.clone()));
        let (mut facts, metrics) = (self.engine.facts(), Arc::clone(&self.metrics));
        let told = self.stop.clone().run_until_cancelled_owned(async move {
            loop {
                match facts.recv().await {
                    Ok(recorded) => {
                        events.observe(&recorded.before, &recorded.fact);
                        if let Some(failure) = recorded.fact.failure() {
                            metrics.failure(failure);
                        }
                        recorded
                            .fact
                            .timings()
                            .iter()
                            .for_each(|timing| metrics.step(timing));
                    }
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "facts came too fast for Events and histograms");
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
        self.tasks.spawn(told);
    }

    /// Learns which pods come for claims that others have.
    fn follow(&self) -> Following {
        let follower = Follower {
            engine: Arc::clone(&self.engine),
            client: self.client.clone(),
            counters: Arc::clone(&self.counters),
        };
        let stop = self.stop.child_token();
        Following {
            task: self.tasks.spawn(follower.run(stop.clone())),
            stop,
        }
    }

    /// Looks after what no event tells: what a former life left, lost probes, vanished sandboxes,
    /// leftovers.
    fn look_after(&self) {
        let engine = Arc::clone(&self.engine);
        let recovering = async move { engine.recover().await };
        self.tasks
            .spawn(self.stop.clone().run_until_cancelled_owned(recovering));
        let (engine, noticed) = (Arc::clone(&self.engine), self.noticed.clone());
        let looking = self.stop.clone().run_until_cancelled_owned(async move {
            let (mut gone, mut orphans) = (BTreeSet::new(), Orphans::default());
            let mut look = ticks(LOOK);
            loop {
                look.tick().await;
                engine.verify().await;
                engine.keep_flows().await;
                gone = engine.sweep(&gone).await;
                orphans = engine.sweep_orphans(&orphans).await;
                let leases: Vec<Lease> = orphans.leases.keys().cloned().collect();
                noticed.send_modify(|noticed| noticed.leases = leases);
                engine.retry_leftovers().await;
            }
        });
        self.tasks.spawn(looking);
    }

    /// Finds out which of the allowed plugins run here, before a claim does.
    fn ask_plugins(&self) {
        let policy = self.options.policy.policy(&self.options.state_dir);
        let allowed: Vec<String> = policy.plugins().map(str::to_owned).collect();
        let (engine, metrics) = (Arc::clone(&self.engine), Arc::clone(&self.metrics));
        let noticed = self.noticed.clone();
        let asking = self.stop.clone().run_until_cancelled_owned(async move {
            let unusable_of = |plugins: Vec<String>| {
                let engine = &engine;
                async move {
                    let plugins = plugins.iter().map(String::as_str);
                    engine.host().unusable(plugins, PLUGIN_PATIENCE).await
                }
            };
            plugins::ask(allowed, PLUGINS_AGAIN, unusable_of, &metrics, &noticed).await;
        });
        self.tasks.spawn(asking);
    }

    /// Serves metrics; a port that an older instance still holds is tried again.
    fn serve_metrics(&self, view: &Arc<NodeView>) {
        let address = self.options.expose.metrics_address;
        let (metrics, view) = (Arc::clone(&self.metrics), Arc::clone(view));
        let (health, stop) = (Arc::clone(self.health), self.stop.clone());
        let serving = async move {
            let listener = listener(address).await;
            if let Err(error) = metrics::server::serve(listener, metrics, view, health, stop).await
            {
                tracing::error!(%address, %error, "metrics are not served any more");
            }
        };
        self.tasks
            .spawn(self.stop.clone().run_until_cancelled_owned(serving));
    }

    /// Waits for devices; a node without any is served as well.
    async fn devices(&self) {
        let mut inventory = self.engine.inventory();
        let devices = inventory.wait_for(|inventory| !inventory.devices.is_empty());
        let _ = tokio::time::timeout(FIRST_DEVICES, devices).await;
    }

    /// Answers the kubelet once there are devices to prepare.
    async fn offer(&self, kubelet: Kubelet) -> anyhow::Result<dra::Running> {
        self.devices().await;
        let running = kubelet.answer(&self.engine).await?;
        let (health, told) = (Arc::clone(self.health), self.registered.clone());
        let registered = kubelet::watch(running.registration(), health, told);
        self.tasks
            .spawn(self.stop.clone().run_until_cancelled_owned(registered));
        Ok(running)
    }
}

async fn client(options: &Options) -> anyhow::Result<kube::Client> {
    let config = match &options.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("--kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => kube::Config::incluster()
            .context("no --kubeconfig, and no service account of a cluster: give one of them")?,
    };
    let limit = ConcurrencyLimitLayer::new(REQUESTS);
    Ok(ClientBuilder::try_from(config)?.with_layer(&limit).build())
}

/// The engine, with the probes of its former life up to date. What else that left is undone once
/// pods can be served.
async fn open(
    options: &Options,
    host: Linux,
    sources: Sources,
) -> anyhow::Result<Arc<Engine<Linux>>> {
    let path = &options.boot_id_file;
    let boot_id = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let Opened {
        journal,
        ledger,
        rebooted,
        dropped,
    } = Journal::open(&options.journal_dir(), boot_id.trim())?;
    if dropped > 0 {
        tracing::warn!(
            bytes = dropped,
            "the journal's last line was cut short and is dropped"
        );
    }
    if rebooted {
        tracing::info!("the node has booted: what was in its pods is undone");
    }
    let rules = Rules {
        driver: options.driver_name.clone(),
        policy: options.policy.policy(&options.state_dir),
        refused_handlers: options.policy.refuse_runtime_handlers.clone(),
        max_interfaces: options.max_interfaces,
        lease_patience: Duration::from_secs(options.lease_patience.into()),
    };
    let engine = Engine::new(host, journal, ledger, rules, sources);
    engine.adopt().await;
    Ok(engine)
}

/// Listens as soon as the address can be had: an older instance may still hold it.
async fn listener(address: SocketAddr) -> TcpListener {
    let (mut retry, mut said) = (ticks(Duration::from_secs(1)), false);
    loop {
        retry.tick().await;
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if said => tracing::debug!(%address, %error, "metrics are not served yet"),
            Err(error) => {
                tracing::warn!(
                    "metrics are not served at {address} for the moment: {error}; it is tried \
                     again, and another instance may hold it until then; --metrics-address names \
                     another one"
                );
                said = true;
            }
        }
    }
}

/// Finishes what the kubelet has asked for; a claim that still waits after `patience` is given up.
async fn leave_kubelet(plugin: dra::Running, engine: &Engine<Linux>, patience: Duration) {
    let mut left = std::pin::pin!(plugin.stop());
    if tokio::time::timeout(patience, &mut left).await.is_err() {
        engine.leave();
        left.await;
    }
}

/// Ticks that are not made up for when one was missed.
pub(super) fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
