//! The watch of one kind of object: each turned into a small row as soon as it arrives.

use std::{collections::BTreeSet, fmt::Debug, pin::pin};

use futures::StreamExt as _;
use kube::{
    Api, Resource,
    runtime::watcher::{self, Event, watcher},
};
use netclaim_core::cluster::{Change, Kind, Object, ObjectId, WatchState};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;

use super::{
    pause::{self, Pause},
    words,
};

/// Objects that are fetched at once: what is parsed and not yet a row stays small.
const PAGE: u32 = 250;

/// The watch of one kind.
pub(super) struct Watch<K> {
    kind: Kind,
    asked: Asked<K>,
    row: fn(K) -> Option<Object>,
    into: Sender<Change>,
    /// Objects that were given out: what a new list lacks was removed in the meantime.
    known: BTreeSet<ObjectId>,
    /// Objects of a list that is not complete yet.
    listed: BTreeSet<ObjectId>,
    pause: Pause,
}

/// Which objects are asked for.
pub(super) struct Asked<K> {
    /// Where they are.
    pub api: Api<K>,
    /// In words.
    pub scope: String,
    /// Only those with these labels, where there are any.
    pub labels: Option<String>,
}

/// Nobody looks any more.
pub(super) struct Closed;

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Begins to watch; it ends when nobody looks any more.
    pub(super) fn start(
        kind: Kind,
        asked: Asked<K>,
        row: fn(K) -> Option<Object>,
        into: &Sender<Change>,
    ) {
        let watch = Self {
            kind,
            asked,
            row,
            into: into.clone(),
            known: BTreeSet::new(),
            listed: BTreeSet::new(),
            pause: Pause::first(),
        };
        tokio::spawn(watch.run());
    }

    /// Lists and watches; after a failure it lists again, so that the state is exact.
    async fn run(mut self) -> Result<(), Closed> {
        loop {
            let mut config = watcher::Config::default().page_size(PAGE);
            if let Some(labels) = &self.asked.labels {
                config = config.labels(labels);
            }
            let mut events = pin!(watcher(self.asked.api.clone(), config));
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => self.event(event).await?,
                    Err(error) => match self.state(&error) {
                        Some(state) => {
                            self.send(self.watch(state)).await?;
                            break;
                        }
                        // The watcher goes on from where it was.
                        None => tokio::time::sleep(pause::FIRST).await,
                    },
                }
            }
            tokio::time::sleep(self.pause.take()).await;
        }
    }

    async fn event(&mut self, event: Event<K>) -> Result<(), Closed> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                if let Some(id) = self.upsert(object).await? {
                    self.listed.insert(id);
                }
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                for id in std::mem::replace(&mut self.known, listed) {
                    if !self.known.contains(&id) {
                        self.send(Change::Removed { id }).await?;
                    }
                }
                self.pause = Pause::first();
                self.send(self.watch(WatchState::Synced)).await?;
            }
            Event::Apply(object) => {
                if let Some(id) = self.upsert(object).await? {
                    self.known.insert(id);
                }
            }
            Event::Delete(object) => {
                if let Some(object) = (self.row)(object) {
                    let id = object.id();
                    self.known.remove(&id);
                    self.send(Change::Removed { id }).await?;
                }
            }
        }
        Ok(())
    }

    async fn upsert(&self, object: K) -> Result<Option<ObjectId>, Closed> {
        let Some(object) = (self.row)(object) else {
            return Ok(None);
        };
        let id = object.id();
        self.send(Change::Upserted { object }).await?;
        Ok(Some(id))
    }

    /// What a failure means for the user; none when the watcher recovers by itself.
    fn state(&self, error: &watcher::Error) -> Option<WatchState> {
        let (verb, cause) = match error {
            watcher::Error::InitialListFailed(cause) => ("list", cause),
            watcher::Error::WatchStartFailed(cause) => ("watch", cause),
            watcher::Error::WatchError(_)
            | watcher::Error::WatchFailed(_)
            | watcher::Error::NoResourceVersion => return None,
        };
        Some(words::unwatched(verb, self.kind, &self.asked.scope, cause))
    }

    fn watch(&self, state: WatchState) -> Change {
        Change::Watch {
            kind: self.kind,
            state,
        }
    }

    async fn send(&self, change: Change) -> Result<(), Closed> {
        self.into.send(change).await.map_err(|_| Closed)
    }
}
