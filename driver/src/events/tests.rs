use std::borrow::Cow;

use netclaim_core::{
    attachment::{Key, PodSandbox},
    fact::Refused,
    failure::Step,
};
use serde_json::Value;

use super::*;
use crate::api::fake::{Answer, Asked, Fake};

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn failure(message: &str) -> Failure {
    Failure {
        step: Step::Prepare,
        reason: Cow::Borrowed("DeviceBusy"),
        code: Cow::Borrowed("device_busy"),
        message: message.to_owned(),
    }
}

fn refused(pod: &str, message: &str) -> Fact {
    let pod = json!({"namespace": "default", "name": pod, "uid": format!("uid-{pod}")});
    Fact::Refused(Refused {
        claim: serde_json::from_value(json!({"namespace": "default", "name": "c", "uid": "u"}))
            .unwrap(),
        pod: Some(serde_json::from_value(pod).unwrap()),
        devices: Vec::new(),
        failure: failure(message),
    })
}

struct World {
    fake: Fake,
    events: Events,
    counters: Arc<ApiCounters>,
}

impl World {
    fn start(answer: impl FnMut(&Asked) -> Answer + Send + 'static) -> (Self, EventWriter) {
        let fake = Fake::new(answer);
        let counters = ApiCounters::new();
        let driver = DriverName::parse("cni.dra.networking.x-k8s.io").unwrap();
        let node = NodeName::parse("kind-worker").unwrap();
        let (events, writer) = channel(fake.client(), driver, node, &counters);
        let world = Self {
            fake,
            events,
            counters,
        };
        (world, writer)
    }

    fn say(&self, fact: &Fact) {
        self.events.observe(&Ledger::default(), fact);
    }

    async fn writes(&self, count: usize) -> Vec<Asked> {
        let what = format!("{count} writes");
        self.fake.until(&what, |asked| asked.len() >= count).await;
        self.fake.writes()
    }
}

/// Keeps what it is given.
fn kept(asked: &Asked) -> Answer {
    Answer::Json(
        200,
        json!({"metadata": {"name": "e"}, "eventTime": Value::Null, "note": asked.body["note"]}),
    )
}

#[tokio::test]
async fn an_event_says_the_failures_own_words() {
    let (world, task) = World::start(kept);
    tokio::spawn(task.run(CancellationToken::new()));
    world.say(&refused("p", "device eth1 is busy"));
    let writes = world.writes(1).await;
    assert_eq!(writes[0].line(), format!("POST {EVENTS}"));
    let mut body = writes[0].body.clone();
    let name = body["metadata"]["name"].take();
    assert!(name.as_str().unwrap().starts_with("p."), "{name}");
    assert!(body["eventTime"].take().is_string());
    assert_eq!(
        body,
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": null, "namespace": "default"},
            "eventTime": null,
            "type": "Warning",
            "reason": "DeviceBusy",
            "note": "device eth1 is busy",
            "action": "Prepare",
            "reportingController": "cni.dra.networking.x-k8s.io",
            "reportingInstance": "kind-worker",
            "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "p",
                "uid": "uid-p"},
        })
    );
}

#[tokio::test]
async fn the_same_words_about_the_same_pod_are_counted_up() {
    let (world, task) = World::start(kept);
    tokio::spawn(task.run(CancellationToken::new()));
    for fact in [
        refused("p", "a"),
        refused("p", "a"),
        refused("p", "b"),
        refused("q", "a"),
        refused("p", "a"),
    ] {
        world.say(&fact);
    }
    let writes = world.writes(5).await;
    let methods: Vec<&str> = writes.iter().map(|asked| asked.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST", "POST", "PATCH"]);
    let name = writes[0].body["metadata"]["name"].as_str().unwrap();
    assert_eq!(writes[4].path, format!("{EVENTS}/{name}"));
    assert_eq!(writes[4].content_type, "application/merge-patch+json");
    assert_eq!(writes[1].body["series"]["count"], 2);
    assert_eq!(writes[4].body["series"]["count"], 3);
}

#[tokio::test]
async fn an_event_that_expired_is_written_anew() {
    let (world, task) = World::start(|asked| match asked.method.as_str() {
        "PATCH" => Answer::Failure(404),
        _ => kept(asked),
    });
    tokio::spawn(task.run(CancellationToken::new()));
    for _ in 0..3 {
        world.say(&refused("p", "a"));
    }
    let methods: Vec<String> = world
        .writes(3)
        .await
        .into_iter()
        .map(|asked| asked.method)
        .collect();
    assert_eq!(methods, ["POST", "PATCH", "POST"]);
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted() {
    let (world, _task) = World::start(kept);
    for pod in 0..WAITING + 3 {
        world.say(&refused(&format!("p{pod}"), "a"));
    }
    assert_eq!(world.counters.events_dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn long_words_are_cut_between_characters() {
    let check = |message: &str, bytes: usize| assert_eq!(note(&failure(message)).len(), bytes);
    check("short", 5);
    check(&"x".repeat(1_025), 1_024);
    check(&"ä".repeat(600), 1_024);
    check(&format!("x{}", "ä".repeat(600)), 1_023);
}

#[test]
fn a_failed_attach_is_said_of_the_pod_that_waits() {
    let mut ledger = Ledger::default();
    let claim = serde_json::from_value(json!({
        "claim": {"namespace": "default", "name": "c", "uid": "u"},
        "pod": {"namespace": "default", "name": "p", "uid": "uid-p"},
        "devices": [{
            "allocated": {"request": "r", "pool": "node", "device": "eth1"},
            "link": "eth1",
            "mode": "shared",
            "if_name": "net1",
            "network": {"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "macvlan"}]},
        }],
    }));
    let claim: netclaim_core::claim::PreparedClaim = claim.unwrap();
    let pod = claim.pod.clone();
    let at = crate::clock::now();
    ledger.apply(at, &Fact::Prepared(claim));
    let sandbox = PodSandbox {
        id: "s".parse().unwrap(),
        pod: pod.clone(),
        netns: Some("/run/netns/a".to_owned()),
        runtime_handler: String::new(),
    };
    let attachment = ledger.plan_attach(&sandbox, "/run/netns/a").remove(0);
    let key = attachment.key.clone();
    ledger.apply(at, &Fact::Attaching(attachment));
    let failed = |key: Key| Fact::AttachFailed {
        key,
        failure: failure("no"),
        timings: Vec::new(),
    };
    let found = said(&ledger, &failed(key.clone())).unwrap();
    assert_eq!((found.pod, found.action), (pod, "Attach"));
    assert_eq!(said(&Ledger::default(), &failed(key.clone())), None);
    assert_eq!(said(&ledger, &Fact::Detaching { key }), None);
}
