//! Keeps the inventory: what is seen on the node, over time, as devices.
//!
//! Needs no API server, so Prepare and health know the devices while it is away.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use netclaim_core::{
    inventory::{Attributes, Inventory, Mode, link::Seen, offer::Rules, survey::Survey},
    ledger::Ledger,
    name::DeviceName,
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    TICK,
    pace::{self, Pace},
};
use crate::{
    choice::Choice,
    clock,
    host::links::{self, Links},
};

/// How long a sandbox may be unknown here. At first it has its CNI plugins, which want the kernel too.
const NEW_SANDBOX: Duration = Duration::from_millis(200);

/// What the administrator decided about devices.
#[derive(Debug)]
pub struct Offer {
    /// Globs of links that are never offered.
    pub exclude: Vec<String>,
    /// What is offered; all when none.
    pub filter: Option<Choice>,
    /// What serves one pod at a time; nothing when none.
    pub exclusive: Option<Choice>,
    /// Most attachments at once on a shared device.
    pub max_virtual_devices: u32,
}

/// What an earlier instance published, to be taken over.
#[derive(Debug)]
pub(super) struct Adoption {
    /// Its devices.
    pub published: Inventory,
    /// Told once the devices to be published are complete.
    pub done: oneshot::Sender<()>,
}

/// The task's ends.
#[derive(Debug)]
pub struct Observer {
    /// Where links are looked up.
    pub links: Links,
    /// What may be offered.
    pub offer: Offer,
    /// What is allocated.
    pub ledger: watch::Receiver<Arc<Ledger>>,
    /// Paths of the network namespaces of the sandboxes that the runtime announced.
    pub sandboxes: watch::Receiver<Arc<BTreeSet<PathBuf>>>,
    /// Who wants to know the devices as they are.
    pub inventory: watch::Sender<Arc<Inventory>>,
}

/// Links that are, or are about to be, in pods themselves; and whether they are on their way.
type Moved = BTreeSet<(DeviceName, bool)>;

/// What the task remembers.
struct Memory {
    survey: Survey,
    /// The devices as slices are to say.
    slices: watch::Sender<Arc<Inventory>>,
    /// Who waits for them to be complete.
    adopting: Option<oneshot::Sender<()>>,
    /// As the ledger had them last.
    moved: Moved,
}

impl Observer {
    /// Observes until shutdown.
    pub(super) async fn run(
        mut self,
        slices: watch::Sender<Arc<Inventory>>,
        mut adoptions: oneshot::Receiver<Adoption>,
        shutdown: CancellationToken,
    ) {
        let mut memory = Memory {
            survey: Survey::default(),
            slices,
            adopting: None,
            moved: self.moved(),
        };
        let mut seen = None;
        let mut changes = None;
        let mut adopted = false;
        let mut tick = tokio::time::interval(TICK);
        // A listing asks about each pod on the node, and each pod that comes is several changes.
        let mut listing = Pace::new(Instant::now(), pace::EVERY);
        loop {
            // Subscribed before the listing: a change in between is not lost.
            if changes.is_none() {
                changes = subscribe();
            }
            let wait = seen.as_ref().map_or(TICK, |seen| {
                self.observe(&mut memory, seen);
                until_due(&memory.survey)
            });
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = clock::until(listing.due()) => {
                    seen = self.list().await;
                    listing.done(Instant::now(), seen.is_some());
                }
                change = next(&mut changes) => {
                    if change.is_none() {
                        changes = None;
                    }
                    listing.ask(Instant::now());
                }
                Ok(()) = self.sandboxes.changed() => listing.ask(Instant::now() + NEW_SANDBOX),
                Ok(()) = self.ledger.changed() => {
                    // What is allocated changed, and a link that had moved may be back.
                    let moved = self.moved();
                    if moved != memory.moved {
                        memory.moved = moved;
                        listing.hurry(Instant::now());
                    }
                }
                adoption = &mut adoptions, if !adopted => {
                    adopted = true;
                    if let Ok(adoption) = adoption {
                        memory.survey.adopt(clock::now(), adoption.published);
                        memory.adopting = Some(adoption.done);
                    }
                }
                () = tokio::time::sleep(wait) => {}
                _ = tick.tick() => listing.ask(Instant::now()),
            }
        }
    }

    fn moved(&self) -> Moved {
        let ledger = Arc::clone(&self.ledger.borrow());
        let held = ledger.attachments();
        held.filter(|held| held.attachment.device.mode == Mode::Exclusive)
            .map(|held| {
                let device = held.attachment.device.allocated.device.clone();
                (device, held.is_unfinished())
            })
            .collect()
    }

    async fn list(&self) -> Option<Seen> {
        let sandboxes = Arc::clone(&self.sandboxes.borrow());
        match self.links.list(&sandboxes).await {
            Ok(seen) => Some(seen),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        }
    }

    fn observe(&mut self, memory: &mut Memory, seen: &Seen) {
        let offer = &self.offer;
        let filter = |attributes: &Attributes| {
            let filter = offer.filter.as_ref();
            filter.is_none_or(|choice| choice.holds(attributes))
        };
        let exclusive = |attributes: &Attributes| {
            let exclusive = offer.exclusive.as_ref();
            exclusive.is_some_and(|choice| choice.holds(attributes))
        };
        let rules = Rules {
            exclude: &offer.exclude,
            filter: &filter,
            exclusive: &exclusive,
            max_virtual_devices: offer.max_virtual_devices,
        };
        let ledger = Arc::clone(&self.ledger.borrow_and_update());
        let now = clock::now();
        memory.survey.observe(now, seen, &ledger, &rules);
        self.tell(memory);
        if memory.survey.is_settled(now)
            && let Some(done) = memory.adopting.take()
        {
            // Nobody waits any more at shutdown.
            let _ = done.send(());
        }
    }

    /// Tells the devices, to each listener if they changed for it.
    fn tell(&self, memory: &Memory) {
        let survey = &memory.survey;
        tell(&memory.slices, survey.published().clone());
        if tell(&self.inventory, survey.inventory()) {
            let devices = names(survey.published());
            tracing::info!(%devices, "the devices of this node changed");
            for (link, why) in survey.left_out() {
                tracing::debug!(link, "not offered: {why}");
            }
        }
    }
}

/// Tells the listeners what is news to them, and says whether a device is.
fn tell(listeners: &watch::Sender<Arc<Inventory>>, inventory: Inventory) -> bool {
    let mut devices_changed = false;
    listeners.send_if_modified(|known| {
        devices_changed = known.devices != inventory.devices;
        let changed = **known != inventory;
        if changed {
            *known = Arc::new(inventory);
        }
        changed
    });
    devices_changed
}

fn subscribe() -> Option<impl Stream<Item = ()> + Send + Unpin> {
    let changes = links::changes();
    if let Err(error) = &changes {
        tracing::warn!("{error}; until then links are listed every {TICK:?}");
    }
    changes.ok()
}

/// The next change; never, while there is no subscription.
async fn next(changes: &mut Option<impl Stream<Item = ()> + Unpin>) -> Option<()> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

fn until_due(survey: &Survey) -> Duration {
    survey.due().map_or(TICK, |due| due.since(clock::now()))
}

fn names(inventory: &Inventory) -> String {
    let names: Vec<&str> = inventory.devices.keys().map(DeviceName::as_str).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests;
