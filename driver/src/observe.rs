//! What this node shows of itself.
//!
//! Owns what was seen over time (history, peaks) and the making of a [`Snapshot`] out of what
//! others own. It changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use netclaim_core::{
    attachment::{Key, Slot},
    counters::Counters,
    diagnosis::{self, node::Noticed},
    drops::Known,
    flows::{Flows, Sampled, Watch},
    history::{EVERY, History, Peaks, Sample},
    inventory::Inventory,
    ledger::Ledger,
    snapshot::{Identity, Interface, InterfaceState, NriState, Snapshot},
    time::Timestamp,
};
use tokio::{sync::watch, time::interval};
use tokio_util::sync::CancellationToken;

use crate::{clock, mutex::locked};

pub mod server;

/// How often the peaks are looked at: as often as the kernel closes an epoch of them.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the counters of every slot that is in use.
pub type Counted = Arc<dyn Fn() -> BTreeMap<Slot, Counters> + Send + Sync>;

/// What the interfaces dropped, as far as that is known; asks nobody.
pub type Dropped = Arc<dyn Fn() -> Known + Send + Sync>;

/// Reads the flows of some slots; it takes system calls.
pub type Recorded = Arc<dyn Fn(&BTreeSet<Slot>) -> Sampled + Send + Sync>;

/// Where a view comes from.
pub struct Node {
    /// What was promised and done.
    pub ledger: watch::Receiver<Arc<Ledger>>,
    /// What is offered.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// The connection to the container runtime.
    pub nri: watch::Receiver<NriState>,
    /// What was noticed beside.
    pub noticed: watch::Receiver<Noticed>,
    /// The traffic.
    pub counted: Counted,
    /// What of it got nowhere.
    pub dropped: Dropped,
    /// With whom its pods talk.
    pub flows: Recorded,
    /// Who speaks.
    pub identity: Identity,
}

/// Who reads peaks: each has its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// Prometheus, or somebody with curl.
    Scraper(IpAddr),
    /// A stream of snapshots.
    Stream(u64),
}

/// A node as it is shown.
#[derive(Debug)]
pub struct NodeView {
    node: Node,
    history: Mutex<History>,
    peaks: Mutex<Peaks<Reader>>,
    streams: AtomicU64,
}

impl NodeView {
    /// A view with nothing seen yet.
    pub fn new(node: Node) -> Arc<Self> {
        Arc::new(Self {
            node,
            history: Mutex::default(),
            peaks: Mutex::default(),
            streams: AtomicU64::default(),
        })
    }

    /// The node at this moment, with the peaks since `reader` asked last.
    pub fn snapshot(&self, reader: &Reader) -> Snapshot {
        let mut snapshot = self.look();
        let rows = snapshot.interfaces.iter_mut();
        let counted = rows.filter_map(|row| Some((row.key.as_ref()?, row.counters.as_mut()?)));
        locked(&self.peaks).read(reader, snapshot.taken, counted);
        snapshot
    }

    /// The samples of one interface, or of all, oldest first.
    pub fn history(&self, key: Option<&Key>) -> Vec<(Key, Vec<Sample>)> {
        let history = locked(&self.history);
        history
            .keys()
            .filter(|known| key.is_none_or(|key| key == *known))
            .map(|known| (known.clone(), history.of(known).collect()))
            .collect()
    }

    /// The interfaces with all that happened to them, the newest first.
    pub fn timeline(&self, include_ended: bool) -> Vec<Interface> {
        let mut rows = self.look().interfaces;
        rows.retain(|row| row.state != InterfaceState::Ended);
        if include_ended {
            let ledger = Arc::clone(&self.node.ledger.borrow());
            let ended = Interface::all_ended(&ledger, &rows);
            rows.extend(ended);
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.since));
        rows
    }

    /// The ledger as of this moment.
    fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.node.ledger.borrow())
    }

    /// What somebody who watches flows sees next. It takes system calls.
    fn flows(&self, watch: &mut Watch) -> Flows {
        let before = self.ledger();
        let slots = watch.wanted().observed(&before);
        let sampled = (self.node.flows)(&slots.filter_map(|at| at.slot).collect());
        watch.next((&before, &self.ledger()), sampled, clock::now())
    }

    /// Keeps history and peaks until `stop`.
    pub async fn sample(&self, stop: CancellationToken) {
        let (mut look, mut sample) = (interval(LOOK), interval(EVERY));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => self.observe_peaks(clock::now()),
                _ = sample.tick() => self.record(clock::now()),
            }
        }
    }

    fn look(&self) -> Snapshot {
        // Cloned, so that no writer waits for us.
        let ledger = Arc::clone(&self.node.ledger.borrow());
        let inventory = Arc::clone(&self.node.inventory.borrow());
        let nri = self.node.nri.borrow().clone();
        let counted = (self.node.counted)();
        let identity = self.node.identity.clone();
        let mut snapshot =
            Snapshot::new(&ledger, &inventory, &counted, nri, identity, clock::now())
                .with_drops(&ledger, &(self.node.dropped)());
        snapshot.findings = diagnosis::node::findings(&snapshot, &self.node.noticed.borrow());
        snapshot
    }

    fn observe_peaks(&self, now: Timestamp) {
        let ledger = Arc::clone(&self.node.ledger.borrow());
        let counted = (self.node.counted)();
        let rows: Vec<_> = live(&ledger, &counted).collect();
        locked(&self.peaks).observe(now, &rows);
    }

    fn record(&self, now: Timestamp) {
        let ledger = Arc::clone(&self.node.ledger.borrow());
        let counted = (self.node.counted)();
        let live = live(&ledger, &counted).map(|(key, counters)| (key, counters, None));
        let ended = ledger
            .ended()
            .filter_map(|ended| Some((&ended.attachment.key, ended.last?, Some(ended.at))));
        locked(&self.history).record(now, live.chain(ended));
    }

    /// A reader for a stream of its own.
    fn new_stream(&self) -> Reader {
        Reader::Stream(self.streams.fetch_add(1, Ordering::Relaxed))
    }

    fn forget(&self, reader: &Reader) {
        locked(&self.peaks).forget(reader);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = &self.identity;
        f.debug_struct("Node")
            .field("identity", identity)
            .finish_non_exhaustive()
    }
}

/// What is counted at this moment.
fn live<'a>(
    ledger: &'a Ledger,
    counted: &'a BTreeMap<Slot, Counters>,
) -> impl Iterator<Item = (&'a Key, Counters)> {
    ledger
        .attachments()
        .filter_map(|held| Some((&held.attachment.key, held.counters(counted)?)))
}

#[cfg(test)]
pub(crate) mod tests;
