//! The verbs of a claim's way: prepare, attach, detach, unprepare, recover.
//!
//! Owns the ledger and its journal: a fact is on disk before it is believed, and believed before it
//! is published. It never touches the kernel but through [`Host`], and inside a call of the container
//! runtime it asks the API server only about a pod that may have come for another's claim.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use netclaim_core::{
    attachment::{PodSandbox, Slot},
    claim::{PodRef, policy::Policy},
    counters::Counters,
    fact::Fact,
    failure::{Cause, Failure, Step},
    inventory::Inventory,
    ledger::Ledger,
    name::{DriverName, SandboxId},
    snapshot::NriState,
    time::Timestamp,
};
use tokio::sync::{Mutex, broadcast, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{attach::Occasion, prepare::Leaving};
use self::{consumers::Seen, lock::PodLocks};
use crate::{
    clock,
    host::Host,
    journal::{Journal, JournalError},
    metrics::Metrics,
    mutex::locked,
};

mod attach;
mod consumers;
mod detach;
mod lock;
mod log;
mod prepare;
mod recover;

/// How long a DEL may take in its own time, and an Unprepare in all: the kubelet gives it 45 s.
const UNDO_TIME: Duration = Duration::from_secs(20);

/// Facts that a slow listener may lag behind; it then misses the oldest ones.
const FACTS_BUFFERED: usize = 1_024;

/// What the administrator decided, from the options.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Ours.
    pub driver: DriverName,
    /// What claims may ask for.
    pub policy: Policy,
    /// Runtime handlers that get no interface, as globs.
    pub refused_handlers: Vec<String>,
    /// Interfaces that can be counted at once.
    pub max_interfaces: u32,
    /// For how long an address must be nobody's before it is freed.
    pub lease_patience: Duration,
}

/// Whom the engine asks.
#[derive(Clone)]
pub struct Sources {
    /// The API server.
    pub client: kube::Client,
    /// What is offered.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// Whether the runtime is connected.
    pub nri: watch::Receiver<NriState>,
    /// Where it is told how long pods waited.
    pub metrics: Arc<Metrics>,
}

/// A fact and when it became one.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When.
    pub at: Timestamp,
    /// What.
    pub fact: Fact,
    /// The ledger before it.
    pub before: Arc<Ledger>,
}

/// A sandbox that the runtime has announced and not ended.
struct Announced {
    sandbox: PodSandbox,
    /// A container has run in it.
    ran: bool,
    /// The API server has said which claims its pod uses.
    asked: bool,
}

/// Does what a claim needs on this node, and writes it down.
pub struct Engine<H> {
    host: H,
    rules: Rules,
    sources: Sources,
    // Held over one Prepare: what a claim takes, the next must see.
    preparing: Mutex<Seen>,
    // Held across the write to disk, so that facts reach it in order; never across a host verb.
    journal: Mutex<Journal>,
    ledger: watch::Sender<Arc<Ledger>>,
    facts: broadcast::Sender<Arc<Recorded>>,
    pods: PodLocks,
    // What goes on after its answer was given: the lock of the node is kept until it is over.
    tasks: TaskTracker,
    leaving: CancellationToken,
    // Until the runtime has told all of its sandboxes once, absence means nothing.
    synchronized: watch::Sender<bool>,
    // Never held across an await.
    sandboxes: std::sync::Mutex<BTreeMap<SandboxId, Announced>>,
    netns: watch::Sender<Arc<BTreeSet<PathBuf>>>,
}

impl<H: Host> Engine<H> {
    /// An engine that goes on from what the journal says.
    pub fn new(
        host: H,
        journal: Journal,
        ledger: Ledger,
        rules: Rules,
        sources: Sources,
    ) -> Arc<Self> {
        Arc::new(Self {
            host,
            rules,
            sources,
            preparing: Mutex::new(Seen::default()),
            journal: Mutex::new(journal),
            ledger: watch::Sender::new(Arc::new(ledger)),
            facts: broadcast::Sender::new(FACTS_BUFFERED),
            pods: PodLocks::default(),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
            synchronized: watch::Sender::new(false),
            sandboxes: std::sync::Mutex::default(),
            netns: watch::Sender::default(),
        })
    }

    /// Ends the wait of every Prepare: what it waits for may come after us.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Ends when nothing is being attached or detached any more.
    pub async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The node underneath.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// What each interface's slot has counted.
    pub fn counters(&self) -> BTreeMap<Slot, Counters> {
        self.host.counters(&self.ledger().slots())
    }

    /// What is offered, from here on.
    pub fn inventory(&self) -> watch::Receiver<Arc<Inventory>> {
        self.sources.inventory.clone()
    }

    fn inventory_now(&self) -> Arc<Inventory> {
        Arc::clone(&self.sources.inventory.borrow())
    }

    /// The ledger as of this moment.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger.borrow())
    }

    /// The ledger from here on.
    pub fn watch_ledger(&self) -> watch::Receiver<Arc<Ledger>> {
        self.ledger.subscribe()
    }

    /// The facts from here on.
    pub fn facts(&self) -> broadcast::Receiver<Arc<Recorded>> {
        self.facts.subscribe()
    }

    /// The network namespaces of the sandboxes that the runtime knows, from here on.
    pub fn watch_netns(&self) -> watch::Receiver<Arc<BTreeSet<PathBuf>>> {
        self.netns.subscribe()
    }

    /// Takes in a fact that has already happened: memory follows even if the disk does not.
    async fn record(&self, fact: Fact) {
        self.record_of(|_| Some(fact)).await;
    }

    /// The same for a fact that depends on the ledger it is added to, where it still is one.
    async fn record_of(&self, fact: impl FnOnce(&Ledger) -> Option<Fact>) {
        if let Err((error, ledger, recorded)) = self.write(fact).await {
            tracing::error!(%error, "a fact did not reach the disk; a restart may repeat its work");
            self.believe(ledger, recorded);
        }
    }

    /// Takes in a fact that may only come true once it is on disk.
    async fn promise(&self, fact: Fact) -> Result<(), Failure> {
        self.promise_of(|_| fact).await
    }

    /// The same for a fact that depends on the ledger it is added to.
    async fn promise_of(&self, fact: impl FnOnce(&Ledger) -> Fact) -> Result<(), Failure> {
        self.write(|ledger| Some(fact(ledger)))
            .await
            .map_err(|(error, ..)| Failure::new(Step::Journal, &error))
    }

    async fn write(
        &self,
        fact: impl FnOnce(&Ledger) -> Option<Fact>,
    ) -> Result<(), (JournalError, Arc<Ledger>, Recorded)> {
        let mut journal = self.journal.lock().await;
        let before = self.ledger();
        let Some(fact) = fact(&before) else {
            return Ok(());
        };
        let recorded = Recorded {
            at: clock::now(),
            fact,
            before: Arc::clone(&before),
        };
        let mut ledger = Arc::unwrap_or_clone(before);
        ledger.apply(recorded.at, &recorded.fact);
        let ledger = Arc::new(ledger);
        // A disk sync takes about a millisecond; the other tasks of this thread wait with it.
        let written =
            tokio::task::block_in_place(|| journal.append(recorded.at, &recorded.fact, &ledger));
        if let Err(error) = written {
            return Err((error, ledger, recorded));
        }
        self.believe(ledger, recorded);
        Ok(())
    }

    fn believe(&self, ledger: Arc<Ledger>, recorded: Recorded) {
        log::log(&recorded);
        self.ledger.send_replace(ledger);
        // Nobody listening is fine.
        let _ = self.facts.send(Arc::new(recorded));
    }

    /// Looks at what is known of sandboxes, or marks it; none comes, goes or gets another namespace.
    fn with_sandboxes<T>(&self, f: impl FnOnce(&mut BTreeMap<SandboxId, Announced>) -> T) -> T {
        f(&mut locked(&self.sandboxes))
    }

    /// Changes which sandboxes there are, and tells their namespaces.
    fn change_sandboxes(&self, f: impl FnOnce(&mut BTreeMap<SandboxId, Announced>)) {
        self.with_sandboxes(|known| {
            f(known);
            let netns = known
                .values()
                .filter_map(|known| known.sandbox.netns.as_ref());
            let netns: BTreeSet<PathBuf> = netns.map(PathBuf::from).collect();
            self.netns.send_if_modified(|before| {
                let changed = **before != netns;
                if changed {
                    *before = Arc::new(netns);
                }
                changed
            });
        });
    }
}

impl Announced {
    fn new(sandbox: PodSandbox) -> Self {
        Self {
            sandbox,
            ran: false,
            asked: false,
        }
    }
}

/// A pod whose earlier attach or detach did not end in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "pod {pod} is still busy with an earlier attach or detach; the kubelet tries again, and the \
     timeline in dra-top shows which CNI plugin is slow"
)]
struct PodBusy {
    pod: PodRef,
}

impl Cause for PodBusy {
    fn reason(&self) -> &'static str {
        "PodBusy"
    }

    fn code(&self) -> &'static str {
        "pod_busy"
    }
}

fn busy(pod: &PodRef) -> Failure {
    let pod = pod.clone();
    Failure::new(Step::Plan, &PodBusy { pod })
}

fn in_time(until: Instant) -> tokio::time::Instant {
    tokio::time::Instant::from_std(until)
}

#[cfg(test)]
mod tests;
