//! Watches: the changes that a selector sees.
//!
//! Owns the translation of changes into events. An object that a change moves out of the
//! selection is deleted for this watcher, and one that moves in is added.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::failure::Failure;
use super::resource::Resource;
use super::select::Selector;
use super::store::{Change, Store};

/// What a watcher asks for.
#[derive(Debug)]
pub struct Watch {
    /// Of what.
    pub resource: &'static Resource,
    /// Which of them.
    pub selector: Selector,
    /// The version that it has seen; none to begin with all that is.
    pub since: Option<u64>,
    /// Whether it wants bookmarks.
    pub bookmarks: bool,
    /// Whether a bookmark must mark the end of the objects that were there.
    pub marks_initial: bool,
}

struct Watcher {
    store: Arc<Store>,
    watch: Watch,
    seen: u64,
    waiting: VecDeque<Value>,
    versions: watch::Receiver<u64>,
    /// The version of the last bookmark.
    marked: u64,
    expired: bool,
}

/// Versions between two bookmarks; a real server counts a minute.
const BOOKMARK_EVERY: u64 = 100;

/// The events of `watch`, a JSON object a line, for ever.
pub fn events(
    store: Arc<Store>,
    watch: Watch,
) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send, Failure> {
    let versions = store.versions();
    let mut waiting = VecDeque::new();
    let seen = if let Some(since) = watch.since {
        store.changes(watch.resource, since)?;
        since
    } else {
        let (objects, version) = store.list(watch.resource, &watch.selector);
        let added = objects.into_iter().map(|object| event("ADDED", &object));
        waiting.extend(added);
        version
    };
    if watch.marks_initial {
        waiting.push_back(bookmark(watch.resource, seen, true));
    }
    let watcher = Watcher {
        store,
        watch,
        seen,
        waiting,
        versions,
        marked: seen,
        expired: false,
    };
    Ok(stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((Ok(Bytes::from(format!("{line}\n"))), watcher))
    }))
}

impl Watcher {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.expired {
                return None;
            }
            self.versions.borrow_and_update();
            self.fetch();
            if self.waiting.is_empty() {
                self.versions.changed().await.ok()?;
            }
        }
    }

    fn fetch(&mut self) {
        match self.store.changes(self.watch.resource, self.seen) {
            Ok((changes, version)) => {
                let events = changes.iter().filter_map(|change| self.see(change));
                let events: Vec<Value> = events.collect();
                self.waiting.extend(events);
                self.seen = version;
                if self.watch.bookmarks && version >= self.marked + BOOKMARK_EVERY {
                    self.marked = version;
                    self.waiting
                        .push_back(bookmark(self.watch.resource, version, false));
                }
            }
            Err(failure) => {
                self.expired = true;
                self.waiting.push_back(event("ERROR", &failure.to_status()));
            }
        }
    }

    fn see(&self, change: &Change) -> Option<Value> {
        let selected = |object: &&Value| self.watch.selector.matches(object);
        let old = change.old.as_ref().filter(selected);
        match (old, change.new.as_ref().filter(selected)) {
            (None, Some(new)) => Some(event("ADDED", new)),
            (Some(_), Some(new)) => Some(event("MODIFIED", new)),
            (Some(old), None) => {
                let mut last = old.clone();
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                Some(event("DELETED", &last))
            }
            (None, None) => None,
        }
    }
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(resource: &Resource, version: u64, ends_initial: bool) -> Value {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if ends_initial {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({
        "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata,
    });
    event("BOOKMARK", &object)
}
