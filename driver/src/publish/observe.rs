//! Keeps the inventory: what is seen on the node, over time, as devices.
//!
//! Needs no API server, so Prepare and health know the devices while it is away.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use netclaim_core::{
    inventory::{Attributes, Inventory, link::Seen, offer::Rules, survey::Survey},
    ledger::Ledger,
    name::DeviceName,
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::TICK;
use crate::{
    choice::Choice,
    clock,
    host::links::{self, Links},
};

/// How soon a listing that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

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
    /// Told once the inventory knows them.
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
    /// Who wants to know.
    pub inventory: watch::Sender<Arc<Inventory>>,
}

impl Observer {
    /// Observes until shutdown.
    pub(super) async fn run(
        mut self,
        mut adoptions: oneshot::Receiver<Adoption>,
        shutdown: CancellationToken,
    ) {
        let mut survey = Survey::default();
        let mut seen = None;
        let mut changes = None;
        let mut adopted = false;
        let mut tick = tokio::time::interval(TICK);
        loop {
            // Subscribed before the listing: a change in between is not lost.
            if changes.is_none() {
                changes = subscribe();
            }
            if seen.is_none() {
                seen = self.list().await;
            }
            let wait = match &seen {
                Some(seen) => {
                    self.observe(&mut survey, seen);
                    until_due(&survey)
                }
                None => RETRY,
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                change = next(&mut changes) => {
                    if change.is_none() {
                        changes = None;
                    }
                    seen = None;
                }
                Ok(()) = self.sandboxes.changed() => seen = None,
                // What is allocated changed, the links did not.
                Ok(()) = self.ledger.changed() => {}
                adoption = &mut adoptions, if !adopted => {
                    adopted = true;
                    if let Ok(adoption) = adoption {
                        self.adopt(&mut survey, seen.as_ref(), adoption);
                    }
                }
                () = tokio::time::sleep(wait) => {}
                _ = tick.tick() => seen = None,
            }
        }
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

    fn observe(&mut self, survey: &mut Survey, seen: &Seen) {
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
        if survey.observe(clock::now(), seen, &ledger, &rules) {
            let inventory = survey.inventory();
            tracing::info!(devices = %names(inventory), "the devices of this node changed");
            for (link, why) in survey.left_out() {
                tracing::debug!(link, "not offered: {why}");
            }
            self.inventory.send_replace(Arc::new(inventory.clone()));
        }
    }

    fn adopt(&mut self, survey: &mut Survey, seen: Option<&Seen>, adoption: Adoption) {
        survey.adopt(clock::now(), adoption.published);
        if let Some(seen) = seen {
            self.observe(survey, seen);
        }
        // The survey as it stands, also where looking again did not change it.
        let inventory = Arc::new(survey.inventory().clone());
        self.inventory.send_replace(inventory);
        // Nobody waits any more at shutdown.
        let _ = adoption.done.send(());
    }
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
