//! What the nodes' drivers say, by port-forward to the relay on each node.
//!
//! Owns which relays there are and who is listened to. It asks for nothing but ports of pods that
//! the relay's labels and namespace name.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, api::Portforwarder};
use netclaim_core::{
    cluster::{AgentState, Change, FlowsTold, Object, ObjectId, RelayRow, Watched},
    name::{NodeName, PodUid},
    snapshot::Snapshot,
};
use tokio::{
    io::DuplexStream,
    sync::{
        mpsc::{Receiver, Sender, channel},
        watch,
    },
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use super::{
    turns::{PLACES, Plan, Turns},
    watch::Closed,
    words,
};
use crate::source::observe::{Heard, Looks, Mute, Talk};

/// For a connection through the API server, a kubelet and a runtime.
const CONNECT: Duration = Duration::from_secs(10);
/// Between the end of a forwarded connection and the words that say why.
const WHY: Duration = Duration::from_millis(200);

/// The nodes that the screen wants to hear, most wanted first.
pub(crate) type Nodes = watch::Receiver<Arc<[NodeName]>>;

/// What the screen wants to hear.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Of which nodes.
    pub nodes: Nodes,
    /// Of whose flows.
    pub looks: Looks,
}

/// The relays of a cluster.
pub(super) struct Relays {
    client: Client,
    wanted: Wanted,
    into: Sender<Change>,
    pods: BTreeMap<NodeName, BTreeMap<PodUid, RelayRow>>,
    turns: Turns,
    calls: BTreeMap<NodeName, Call>,
    /// Ends with us, and all calls with it.
    tasks: JoinSet<()>,
    called: u64,
    reports: (Sender<Report>, Receiver<Report>),
}

/// A node that is listened to.
struct Call {
    number: u64,
    task: AbortHandle,
}

/// What comes of a call.
struct Report {
    node: NodeName,
    /// What an earlier call says late counts no more.
    call: Option<u64>,
    said: Said,
}

enum Said {
    Snapshot(Arc<Snapshot>),
    Flows(Watched, FlowsTold),
    Lost(String),
    /// The node of the last relay that went is gone, too.
    Gone,
}

impl Relays {
    /// Follows the relays that `pods` tells of.
    pub(super) fn start(
        client: Client,
        pods: Receiver<Change>,
        wanted: Wanted,
        into: Sender<Change>,
    ) {
        let relays = Self {
            client,
            wanted,
            into,
            pods: BTreeMap::new(),
            turns: Turns::default(),
            calls: BTreeMap::new(),
            tasks: JoinSet::new(),
            called: 0,
            reports: channel(PLACES),
        };
        tokio::spawn(relays.run(pods));
    }

    async fn run(mut self, mut pods: Receiver<Change>) -> Result<(), Closed> {
        // Nobody wants anything once the screen is gone, or where there is none.
        let mut wants = true;
        loop {
            let next = self.turns.next();
            let due = async move {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = pods.recv() => self.pod(change.ok_or(Closed)?).await?,
                Some(report) = self.reports.1.recv() => self.report(report).await?,
                changed = self.wanted.nodes.changed(), if wants => wants = changed.is_ok(),
                () = due => {}
            }
            let wanted = Arc::clone(&self.wanted.nodes.borrow_and_update());
            let plan = self.turns.plan(&wanted, Instant::now());
            self.follow(plan).await?;
        }
    }

    /// A relay's pod came, changed or went; or how the watch of them stands.
    async fn pod(&mut self, change: Change) -> Result<(), Closed> {
        let node = match &change {
            Change::Upserted {
                object: Object::Relay(relay),
            } => {
                let pods = self.pods.entry(relay.node.clone()).or_default();
                let before = pods.insert(relay.pod.uid.clone(), relay.clone());
                (before.as_ref() != Some(relay)).then(|| relay.node.clone())
            }
            Change::Removed {
                id: ObjectId::Relay(uid),
            } => {
                let mut nodes = self.pods.iter_mut();
                nodes.find_map(|(node, pods)| pods.remove(uid).map(|_| node.clone()))
            }
            _ => None,
        };
        self.send(change).await?;
        match node {
            Some(node) => self.settle(node).await,
            None => Ok(()),
        }
    }

    /// Takes in which relays a node has: one that runs is enough.
    async fn settle(&mut self, node: NodeName) -> Result<(), Closed> {
        let pods = self.pods.get(&node).into_iter().flat_map(BTreeMap::values);
        let stopped = pods.clone().find_map(|relay| {
            let why = relay.stopped.as_deref()?;
            let name = &relay.pod.name;
            Some(format!("its relay, pod {name}, does not run: {why}"))
        });
        if pods.clone().any(|relay| relay.stopped.is_none()) {
            let is_new = !self.turns.has(&node);
            self.turns.join(&node);
            if is_new {
                self.agent(&node, AgentState::Connecting).await?;
            }
            return Ok(());
        }
        let is_last = pods.count() == 0;
        self.turns.leave(&node);
        self.hang_up(&node);
        if is_last {
            self.pods.remove(&node);
            self.look_for(node.clone());
        }
        let why = stopped.unwrap_or_else(|| "no relay runs there any more".to_owned());
        self.lost(node, why).await
    }

    async fn report(&mut self, report: Report) -> Result<(), Closed> {
        let Report { node, call, said } = report;
        if call.is_some() && self.calls.get(&node).map(|call| call.number) != call {
            return Ok(());
        }
        match said {
            Said::Snapshot(snapshot) => {
                if self.turns.heard(&node) {
                    let connected = AgentState::Connected { node: node.clone() };
                    self.agent(&node, connected).await?;
                }
                self.send(Change::Snapshot { snapshot }).await
            }
            Said::Flows(of, told) => self.send(Change::Flows { of, told }).await,
            Said::Lost(why) => {
                self.hang_up(&node);
                self.turns.failed(&node, Instant::now());
                self.lost(node, why).await
            }
            Said::Gone if self.pods.contains_key(&node) => Ok(()),
            Said::Gone => {
                let gone = AgentState::Gone { node: node.clone() };
                self.agent(&node, gone).await
            }
        }
    }

    async fn follow(&mut self, plan: Plan) -> Result<(), Closed> {
        for node in plan.hang_up {
            self.hang_up(&node);
            let resting = AgentState::Resting { node: node.clone() };
            self.agent(&node, resting).await?;
        }
        for node in plan.call {
            self.call(node);
        }
        Ok(())
    }

    fn call(&mut self, node: NodeName) {
        let mut pods = self.pods.get(&node).into_iter().flat_map(BTreeMap::values);
        let Some(relay) = pods.find(|relay| relay.stopped.is_none()).cloned() else {
            return;
        };
        self.called += 1;
        let number = self.called;
        let api = Api::namespaced(self.client.clone(), relay.pod.namespace.as_str());
        let reports = self.reports.0.clone();
        let listener = Listener {
            api,
            relay,
            call: Some(number),
            looks: self.wanted.looks.clone(),
            reports,
        };
        let task = self.tasks.spawn(listener.run());
        while self.tasks.try_join_next().is_some() {}
        self.calls.insert(node, Call { number, task });
    }

    fn hang_up(&mut self, node: &NodeName) {
        if let Some(call) = self.calls.remove(node) {
            call.task.abort();
        }
    }

    /// Finds out whether a node without a relay is still there.
    fn look_for(&mut self, node: NodeName) {
        let api = Api::<Node>::all(self.client.clone());
        let reports = self.reports.0.clone();
        self.tasks.spawn(async move {
            if let Ok(None) = api.get_metadata_opt(node.as_str()).await {
                let (call, said) = (None, Said::Gone);
                // Without a reader the task is about to end.
                let _closed = reports.send(Report { node, call, said }).await;
            }
        });
    }

    async fn lost(&self, node: NodeName, why: String) -> Result<(), Closed> {
        let lost = AgentState::Lost {
            node: Some(node.clone()),
            why,
        };
        self.agent(&node, lost).await
    }

    async fn agent(&self, node: &NodeName, state: AgentState) -> Result<(), Closed> {
        let endpoint = format!("relay on {node}");
        self.send(Change::Agent { endpoint, state }).await
    }

    async fn send(&self, change: Change) -> Result<(), Closed> {
        self.into.send(change).await.map_err(|_| Closed)
    }
}

/// Listens to one node for the length of a call.
struct Listener {
    api: Api<Pod>,
    relay: RelayRow,
    call: Option<u64>,
    looks: Looks,
    reports: Sender<Report>,
}

impl Listener {
    async fn run(self) {
        let Err(why) = self.listen().await;
        self.say(Said::Lost(why)).await;
    }

    /// Until it fails; why, in words.
    async fn listen(&self) -> Result<Infallible, String> {
        let relay = &self.relay;
        let ports = [relay.port];
        let forward = self.api.portforward(relay.pod.name.as_str(), &ports);
        let forward = timeout(CONNECT, forward).await;
        let forward = forward.map_err(|_| "the API server does not answer".to_owned())?;
        let mut forward = Forward(forward.map_err(|error| words::unforwarded(relay, &error))?);
        let stream = forward.0.take_stream(relay.port);
        let closed = forward.0.take_error(relay.port);
        let Some((stream, closed)) = stream.zip(closed) else {
            return Err("the port was not forwarded".to_owned());
        };
        let mut spoke = false;
        let Err(mute) = self.talk(stream, &mut spoke).await;
        match timeout(WHY, closed).await {
            Ok(Some(said)) => Err(words::closed(relay, &said)),
            Ok(None) | Err(_) => Err(words::mute(&mute, spoke)),
        }
    }

    async fn talk(&self, stream: DuplexStream, spoke: &mut bool) -> Result<Infallible, Mute> {
        let mut talk = Talk::over(stream, self.looks.clone()).await?;
        loop {
            let said = match talk.next().await? {
                Heard::Snapshot(snapshot) => Said::Snapshot(snapshot),
                Heard::Flows(of, told) => Said::Flows(of, told),
            };
            *spoke = true;
            self.say(said).await;
        }
    }

    async fn say(&self, said: Said) {
        let (node, call) = (self.relay.node.clone(), self.call);
        // Without a reader the task is about to end.
        let _closed = self.reports.send(Report { node, call, said }).await;
    }
}

/// A connection that ends when this is dropped.
struct Forward(Portforwarder);

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}
