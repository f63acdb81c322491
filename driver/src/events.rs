//! Kubernetes Events on pods: why an interface was refused, or could not be attached.
//!
//! Owns the deduplication. Nothing waits for an Event: when too many wait to be written, the newest
//! is dropped and counted. What they say is the failure's own words, and never more.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use netclaim_core::{
    claim::PodRef,
    fact::Fact,
    failure::Failure,
    ledger::Ledger,
    name::{DriverName, NodeName},
};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::api::{ApiCounters, Outcome};

/// Events that may wait: a node's pods failing all at once, twice over.
const WAITING: usize = 256;

/// Time within which the same words about the same pod are one Event.
const SAME_FOR: Duration = Duration::from_mins(5);

/// Longest note that the API takes, in bytes.
const MAX_NOTE: usize = 1_024;

/// Longest start of a pod's name in the name of its Event: 253 minus a dot and 16 digits.
const MAX_POD: usize = 236;

/// Something to be said about a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    pod: PodRef,
    reason: String,
    note: String,
    action: &'static str,
}

/// Where Events are handed in.
#[derive(Clone, Debug)]
pub struct Events {
    waiting: mpsc::Sender<Said>,
    counters: Arc<ApiCounters>,
}

/// Writes the Events that are handed in.
pub struct EventWriter {
    client: Client,
    driver: DriverName,
    node: NodeName,
    waiting: mpsc::Receiver<Said>,
    counters: Arc<ApiCounters>,
    written: BTreeMap<Said, Written>,
}

/// An Event that is still counted up.
#[derive(Clone, Debug)]
struct Written {
    name: String,
    count: i32,
    first: Instant,
}

/// Makes both ends.
pub fn channel(
    client: Client,
    driver: DriverName,
    node: NodeName,
    counters: &Arc<ApiCounters>,
) -> (Events, EventWriter) {
    let (sender, waiting) = mpsc::channel(WAITING);
    let events = Events {
        waiting: sender,
        counters: Arc::clone(counters),
    };
    let writer = EventWriter {
        client,
        driver,
        node,
        waiting,
        counters: Arc::clone(counters),
        written: BTreeMap::new(),
    };
    (events, writer)
}

impl Events {
    /// Says what a fact means for a pod, if it is a refusal or a failure; `ledger` is the one
    /// before the fact. Never waits.
    pub fn observe(&self, ledger: &Ledger, fact: &Fact) {
        let Some(said) = said(ledger, fact) else {
            return;
        };
        if self.waiting.try_send(said).is_err() {
            self.counters.events_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a fact has to say about a pod.
fn said(ledger: &Ledger, fact: &Fact) -> Option<Said> {
    let (pod, failure, action) = match fact {
        Fact::Refused(refused) => (refused.pod.as_ref()?, &refused.failure, "Prepare"),
        Fact::AttachFailed { key, failure, .. } => {
            (&ledger.held(key)?.attachment.pod, failure, "Attach")
        }
        _ => return None,
    };
    Some(Said {
        pod: pod.clone(),
        reason: failure.reason.to_string(),
        note: note(failure),
        action,
    })
}

/// The failure's words, as many as the API takes.
fn note(failure: &Failure) -> String {
    let message = &failure.message;
    message[..message.floor_char_boundary(MAX_NOTE)].to_owned()
}

impl EventWriter {
    /// Writes until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                said = self.waiting.recv() => match said {
                    Some(said) => self.write(said).await,
                    None => return,
                },
            }
        }
    }

    /// Writes one Event, or counts up the one that says the same. It is not tried again: the
    /// kubelet repeats what failed, and so the Event comes again.
    async fn write(&mut self, said: Said) {
        self.written
            .retain(|_, written| written.first.elapsed() < SAME_FOR);
        let namespace = said.pod.namespace.as_str();
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let known = self.written.get(&said).cloned();
        let answer = match &known {
            Some(known) => count_up(&events, known).await,
            None => self.create(&events, &said).await,
        };
        match answer {
            Ok(written) => {
                self.counters.events.succeeded();
                self.written.insert(said, written);
            }
            Err(error) => {
                let object = format!("{namespace}/{}", said.pod.name);
                // Events expire; the next one is a new one.
                if self.counters.events.failed(&object, &error) == Outcome::Missing {
                    self.written.remove(&said);
                }
            }
        }
    }

    async fn create(&self, events: &Api<Event>, said: &Said) -> Result<Written, kube::Error> {
        let event = self.event(said, Timestamp::now());
        events.create(&PostParams::default(), &event).await?;
        Ok(Written {
            name: event.metadata.name.unwrap_or_default(),
            count: 1,
            first: Instant::now(),
        })
    }

    fn event(&self, said: &Said, now: Timestamp) -> Event {
        let pod = &said.pod;
        let start: String = pod.name.as_str().chars().take(MAX_POD).collect();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{start}.{:x}", now.as_nanosecond())),
                namespace: Some(pod.namespace.to_string()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some("Warning".to_owned()),
            reason: Some(said.reason.clone()),
            note: Some(said.note.clone()),
            action: Some(said.action.to_owned()),
            reporting_controller: Some(self.driver.to_string()),
            reporting_instance: Some(instance(&self.node)),
            regarding: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(pod.namespace.to_string()),
                name: Some(pod.name.to_string()),
                uid: Some(pod.uid.to_string()),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }
}

/// The node, as far as the API takes it: 128 bytes.
fn instance(node: &NodeName) -> String {
    node.as_str().chars().take(128).collect()
}

async fn count_up(events: &Api<Event>, known: &Written) -> Result<Written, kube::Error> {
    let count = known.count + 1;
    let series = EventSeries {
        count,
        last_observed_time: MicroTime(Timestamp::now()),
    };
    let patch = json!({"series": series});
    events
        .patch(&known.name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(Written {
        count,
        ..known.clone()
    })
}

#[cfg(test)]
mod tests;
