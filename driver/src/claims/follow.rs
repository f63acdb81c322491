//! Follows the prepared claims that several pods may use, each by its name.
//!
//! A claim that its pod owns is not followed, and no other claim of the cluster is: the API server
//! has one watch for each claim that pods share on this node, and only few of them begin at a time,
//! also when it comes back and all begin anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use kube::{
    Client,
    api::{WatchEvent, WatchParams},
    core::Request,
    runtime::{utils::Backoff as _, watcher::DefaultBackoff},
};
use netclaim_core::{
    admission,
    claim::{ClaimRef, PodRef, object::ClaimObject},
    ledger::Ledger,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{api::ApiCounters, clock, engine::Engine, host::Host};

/// Watches that begin at once.
const AT_ONCE: usize = 4;

/// A watch that lasts longer is dead: `WatchParams` asks the API server to end it after 290 s.
const DEAD: Duration = Duration::from_mins(5);

/// Facts come in bursts, some per attach; what they change is looked at once.
const GATHER: Duration = Duration::from_millis(100);

/// Objects on their way to the engine; each is the whole truth, so that more would be old news.
const HEARD: usize = 16;

/// The task's ends.
pub struct Follower<H> {
    /// Who is told.
    pub engine: Arc<Engine<H>>,
    /// The API server.
    pub client: Client,
    /// Counts the requests.
    pub counters: Arc<ApiCounters>,
}

/// A claim that is followed.
struct Followed {
    _watch: AbortOnDropHandle<()>,
    /// As it was last heard, while pods wait for it.
    object: Option<ClaimObject>,
    /// Why it could not be passed on, as it was said.
    said: String,
}

impl<H: Host> Follower<H> {
    /// Follows what has to be followed until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let (heard, mut told) = mpsc::channel(HEARD);
        let watch = Arc::new(Watch {
            client: self.client.clone(),
            counters: Arc::clone(&self.counters),
            begin: Semaphore::new(AT_ONCE),
            heard,
            away: AtomicBool::new(false),
        });
        let mut ledger = self.engine.watch_ledger();
        let mut followed = BTreeMap::new();
        let mut look = Some(Instant::now());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = ledger.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    look.get_or_insert(Instant::now() + GATHER);
                }
                Some(object) = told.recv() => self.hear(&mut followed, object).await,
                () = clock::until(look) => {
                    look = None;
                    let now = Arc::clone(&ledger.borrow_and_update());
                    follow(&mut followed, &now, &watch);
                    self.pass_on(&mut followed, &now).await;
                }
            }
        }
    }

    async fn hear(&self, followed: &mut BTreeMap<ClaimRef, Followed>, object: ClaimObject) {
        if let Some(followed) = followed.get_mut(&object.claim()) {
            self.tell(&object, &mut followed.said).await;
            let waits = self.engine.ledger().waiting(&object.metadata.uid).is_some();
            followed.object = waits.then_some(object);
        }
    }

    /// The pod before may have given a claim up long before its interface was out.
    async fn pass_on(&self, followed: &mut BTreeMap<ClaimRef, Followed>, ledger: &Ledger) {
        for row in followed.values_mut() {
            let Some(object) = &row.object else { continue };
            let pods: Vec<PodRef> = object.pods().collect();
            let claim = ledger.claim(&object.metadata.uid);
            if claim.is_some_and(|claim| admission::is_free(ledger, claim, &pods)) {
                self.tell(object, &mut row.said).await;
            }
        }
    }

    async fn tell(&self, object: &ClaimObject, said: &mut String) {
        let told = self.engine.reserved(object).await;
        let words = told
            .err()
            .map_or_else(String::new, |failure| failure.message);
        if words != *said && !words.is_empty() {
            tracing::warn!(claim = %object.claim(), "not passed on: {words}");
        }
        *said = words;
    }
}

/// Begins and ends watches, so that there is one for each claim that pods share.
fn follow(followed: &mut BTreeMap<ClaimRef, Followed>, ledger: &Ledger, watch: &Arc<Watch>) {
    let shared = ledger.claims().filter(|claim| claim.is_shared());
    let shared: BTreeSet<&ClaimRef> = shared.map(|claim| &claim.claim).collect();
    followed.retain(|claim, _| shared.contains(claim));
    for claim in shared {
        if !followed.contains_key(claim) {
            let watching = Arc::clone(watch).keep(claim.clone());
            let row = Followed {
                _watch: AbortOnDropHandle::new(tokio::spawn(watching)),
                object: None,
                said: String::new(),
            };
            followed.insert(claim.clone(), row);
        }
    }
}

/// What all watches share.
struct Watch {
    client: Client,
    counters: Arc<ApiCounters>,
    begin: Semaphore,
    heard: mpsc::Sender<ClaimObject>,
    /// That the API server is away is said once, not for each claim.
    away: AtomicBool,
}

impl Watch {
    /// Watches one claim for ever.
    async fn keep(self: Arc<Self>, claim: ClaimRef) {
        let mut pauses = DefaultBackoff::default();
        loop {
            match tokio::time::timeout(DEAD, self.once(&claim)).await {
                Ok(Ok(())) => pauses.reset(),
                Ok(Err(error)) => self.failed(&claim, &error),
                Err(_) => tracing::debug!(%claim, "its watch is dead"),
            }
            tokio::time::sleep(pauses.next().unwrap_or(DEAD)).await;
        }
    }

    fn failed(&self, claim: &ClaimRef, error: &kube::Error) {
        let calls = &self.counters.claims;
        if self.away.swap(true, Ordering::Relaxed) {
            calls.failed_again(error);
        } else {
            calls.failed(&claim.to_string(), error);
        }
    }

    /// One watch, which begins with the claim as it is at this moment.
    async fn once(&self, claim: &ClaimRef) -> Result<(), kube::Error> {
        let folder = super::folder(claim.namespace.as_str());
        let one = WatchParams::default().fields(&format!("metadata.name={}", claim.name));
        let request = Request::new(folder).watch(&one, "");
        let request = request.map_err(kube::Error::BuildRequest)?;
        let turn = self.begin.acquire().await;
        let events = self.client.request_events::<ClaimObject>(request).await?;
        drop(turn);
        self.counters.claims.succeeded();
        self.away.store(false, Ordering::Relaxed);
        let mut events = events.boxed();
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    // Nobody listens any more: we end with it.
                    let _ = self.heard.send(object).await;
                }
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
            }
        }
        Ok(())
    }
}
