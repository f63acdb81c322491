use netclaim_core::claim::object::ClaimObject;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::fake::{Answer, Asked, Fake},
    claims,
};

/// An API server with the claim `claim`, and pods that use it, but for those called `stranger`.
#[derive(Clone)]
struct Cluster {
    state: Arc<StdMutex<State>>,
    fake: Fake,
}

#[derive(Debug)]
struct State {
    reserved: Vec<&'static str>,
    version: u64,
    up: bool,
    asked: usize,
}

impl Cluster {
    fn new() -> Self {
        let state = Arc::new(StdMutex::new(State {
            reserved: vec![],
            version: 1,
            up: true,
            asked: 0,
        }));
        let answering = Arc::clone(&state);
        let fake = Fake::new(move |asked| answering.lock().unwrap().answer(asked));
        Self { state, fake }
    }

    fn start(&self, folder: &Path, node: &Arc<Node>) -> Arc<Engine<Arc<Node>>> {
        start_with(folder, node, sources_of(self.fake.client()))
    }

    fn reserve(&self, pods: &[&'static str]) -> ClaimObject {
        let mut state = self.state.lock().unwrap();
        state.reserved = pods.to_vec();
        state.version += 1;
        serde_json::from_value(state.claim()).unwrap()
    }

    fn set_up(&self, up: bool) {
        self.state.lock().unwrap().up = up;
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.asked += 1;
        let name = asked.path.rsplit('/').next().unwrap();
        match (self.up, asked.path.contains("/resourceclaims/")) {
            (false, _) => Answer::Failure(503),
            (true, true) if name == "own" => Answer::Json(200, own()),
            (true, true) => Answer::Json(200, self.claim()),
            (true, false) => Answer::Json(200, pod_object(name)),
        }
    }

    fn claim(&self) -> Value {
        let mut claim = claim_object("net1");
        claim["metadata"]["resourceVersion"] = self.version.to_string().into();
        let consumers = self.reserved.iter().map(|pod| consumer(pod));
        claim["status"]["reservedFor"] = consumers.collect();
        claim
    }
}

/// A claim that `second` has for itself.
fn own() -> Value {
    let mut claim = claim_object("net2");
    claim["metadata"] = json!({"namespace": "default", "name": "own", "uid": "own-uid"});
    claim["status"]["reservedFor"] = json!([consumer("second")]);
    claim
}

fn consumer(pod: &str) -> Value {
    json!({"resource": "pods", "name": pod, "uid": format!("{pod}-uid")})
}

fn pod_object(name: &str) -> Value {
    let used = match name {
        "stranger" => json!([]),
        _ => json!([{"name": "c", "resourceClaimName": "claim"}]),
    };
    json!({"metadata": {"namespace": "default", "name": name, "uid": format!("{name}-uid")},
        "spec": {"containers": [], "resourceClaims": used}})
}

/// The sandbox of a pod.
fn of(pod: &str) -> PodSandbox {
    let mut sandbox = sandbox(&format!("sandbox-{pod}"));
    sandbox.pod.name = pod.parse().unwrap();
    sandbox.pod.uid = format!("{pod}-uid").parse().unwrap();
    sandbox
}

async fn run(engine: &Arc<Engine<Arc<Node>>>, pod: &str) -> Result<(), String> {
    let attached = engine.attach(&of(pod), soon(), Occasion::Start).await;
    attached.map_err(|failure| format!("{}: {}", failure.reason, failure.message))
}

const IN_USE: &str = "ClaimInUse: claim default/claim already serves pod default/first; give each \
                      pod its own with a ResourceClaimTemplate";

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pod_is_refused_in_words_and_served_once_the_first_is_gone() {
    let (folder, node, cluster) = (tempfile::tempdir().unwrap(), Node::new(), Cluster::new());
    let engine = cluster.start(folder.path(), &node);
    cluster.reserve(&["first"]);
    engine.prepare(&claim(&[]).claim).await.unwrap();
    run(&engine, "first").await.unwrap();

    cluster.reserve(&["first", "second"]);
    assert_eq!(run(&engine, "second").await, Err(IN_USE.to_owned()));
    engine.detach(&of("first"), soon()).await;
    assert_eq!(run(&engine, "second").await, Err(IN_USE.to_owned()));
    assert!(node.is_empty(), "{node:?}");
    cluster.reserve(&["second"]);
    run(&engine, "second").await.unwrap();
    let key = node.interfaces.lock().unwrap().first().cloned();
    assert_eq!(key.unwrap().sandbox, of("second").id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_gone_from_the_claim_keeps_it_until_its_interface_is_out() {
    let (folder, node, cluster) = (tempfile::tempdir().unwrap(), Node::new(), Cluster::new());
    let engine = cluster.start(folder.path(), &node);
    cluster.reserve(&["first"]);
    engine.prepare(&claim(&[]).claim).await.unwrap();
    run(&engine, "first").await.unwrap();
    engine
        .reserved(&cluster.reserve(&["second"]))
        .await
        .unwrap();
    assert_eq!(run(&engine, "second").await, Err(IN_USE.to_owned()));
    engine.detach(&of("first"), soon()).await;
    run(&engine, "second").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pods_that_come_together_the_first_is_served() {
    let (folder, node, cluster) = (tempfile::tempdir().unwrap(), Node::new(), Cluster::new());
    let engine = cluster.start(folder.path(), &node);
    cluster.reserve(&["first", "second"]);
    engine.prepare(&claim(&[]).claim).await.unwrap();
    cluster.set_up(false);
    assert_eq!(run(&engine, "second").await, Err(IN_USE.to_owned()));
    run(&engine, "first").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_asked_once_about_a_pod_that_may_use_such_a_claim_and_of_no_other() {
    let (folder, node, cluster) = (tempfile::tempdir().unwrap(), Node::new(), Cluster::new());
    let engine = cluster.start(folder.path(), &node);
    cluster.reserve(&["first"]);
    run(&engine, "stranger").await.unwrap();
    assert_eq!(cluster.asked(), 0);
    engine.prepare(&claim(&[]).claim).await.unwrap();
    run(&engine, "first").await.unwrap();
    let mut elsewhere = of("second");
    elsewhere.pod.namespace = "other".parse().unwrap();
    let attached = engine.attach(&elsewhere, soon(), Occasion::Start).await;
    attached.unwrap();
    assert_eq!(cluster.asked(), 1);
    for _ in 0..2 {
        run(&engine, "stranger").await.unwrap();
        assert_eq!(cluster.asked(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_away_a_pod_that_may_be_bare_does_not_start_and_says_so() {
    let (folder, node, cluster) = (tempfile::tempdir().unwrap(), Node::new(), Cluster::new());
    let engine = cluster.start(folder.path(), &node);
    cluster.reserve(&["first"]);
    engine.prepare(&claim(&[]).claim).await.unwrap();
    cluster.set_up(false);
    let mut facts = engine.facts();
    let refused = run(&engine, "stranger").await.unwrap_err();
    assert!(
        refused
            .starts_with("APIServerUnreachable: the API server did not give pod default/stranger"),
        "{refused}"
    );
    let Fact::Refused(said) = facts.recv().await.unwrap().fact.clone() else {
        panic!("not said");
    };
    assert_eq!(said.pod.unwrap().name.as_str(), "stranger");
    assert_eq!(
        engine.ledger().refused().count(),
        0,
        "of the claim nothing is wrong"
    );
    run(&engine, "first").await.unwrap();
    cluster.set_up(true);
    run(&engine, "stranger").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_outlives_a_restart() {
    let (folder, node, cluster) = (tempfile::tempdir().unwrap(), Node::new(), Cluster::new());
    let engine = cluster.start(folder.path(), &node);
    cluster.reserve(&["first", "second"]);
    engine.prepare(&claim(&[]).claim).await.unwrap();
    cluster.set_up(false);
    let engine = cluster.start(folder.path(), &node);
    assert_eq!(run(&engine, "second").await, Err(IN_USE.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_look_at_a_claim_changes_nothing() {
    let (folder, node, cluster) = (tempfile::tempdir().unwrap(), Node::new(), Cluster::new());
    let engine = cluster.start(folder.path(), &node);
    let old = cluster.reserve(&["first"]);
    engine.prepare(&claim(&[]).claim).await.unwrap();
    engine
        .reserved(&cluster.reserve(&["second"]))
        .await
        .unwrap();
    let uid = claim(&[]).claim.uid;
    let served = || engine.ledger().claim(&uid).unwrap().pod.name.to_string();
    assert_eq!(served(), "second");
    engine.reserved(&old).await.unwrap();
    assert_eq!(served(), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_started_bare_while_nobody_looked_is_told_and_served_late() {
    let (folder, node, cluster) = (tempfile::tempdir().unwrap(), Node::new(), Cluster::new());
    let engine = cluster.start(folder.path(), &node);
    cluster.reserve(&["first"]);
    engine.prepare(&claim(&[]).claim).await.unwrap();
    let bare = of("second");
    engine.synchronize(vec![bare.clone()], &BTreeSet::from([bare.id.clone()]));
    let mut facts = engine.facts();
    let both = cluster.reserve(&["first", "second"]);
    engine.reserved(&both).await.unwrap();
    while !matches!(facts.recv().await.unwrap().fact, Fact::Refused(_)) {}
    let alone = cluster.reserve(&["second"]);
    engine.reserved(&alone).await.unwrap();
    let late = loop {
        if let Fact::Attached { late, .. } = facts.recv().await.unwrap().fact {
            break late;
        }
    };
    assert!(late);
    assert!(engine.ledger().is_complete(&bare));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_a_claim_of_its_own_is_asked_about_when_that_is_prepared() {
    let (folder, node, cluster) = (tempfile::tempdir().unwrap(), Node::new(), Cluster::new());
    let engine = cluster.start(folder.path(), &node);
    cluster.reserve(&["first"]);
    engine.prepare(&claim(&[]).claim).await.unwrap();
    cluster.reserve(&["first", "second"]);
    let own: ClaimObject = serde_json::from_value(own()).unwrap();
    engine.prepare(&own.claim()).await.unwrap();
    cluster.set_up(false);
    assert_eq!(run(&engine, "second").await, Err(IN_USE.to_owned()));
    assert!(node.is_empty(), "{node:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_the_one_claim_tells_who_waits_and_ends_with_it() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let cluster = Cluster::new();
    let first = cluster.reserve(&["first"]);
    let (told, _) = broadcast::channel(4);
    let events = told.clone();
    let fake = Fake::new(move |asked| {
        if asked.query.contains("watch=") {
            Answer::Watch(events.subscribe())
        } else {
            Answer::Json(200, claim_object("net1"))
        }
    });
    let engine = start_with(folder.path(), &node, sources_of(fake.client()));
    let follower = claims::follow::Follower {
        engine: Arc::clone(&engine),
        client: fake.client(),
        counters: crate::api::ApiCounters::new(),
    };
    let stop = CancellationToken::new();
    let following = tokio::spawn(follower.run(stop.clone()));
    engine.prepare(&first.claim()).await.unwrap();
    fake.until("one watch of the claim by its name", |asked| {
        let watches: Vec<_> = asked
            .iter()
            .filter(|asked| asked.query.contains("watch="))
            .collect();
        watches.len() == 1
            && watches[0]
                .query
                .contains("fieldSelector=metadata.name%3Dclaim")
    })
    .await;
    let mut object = claim_object("net1");
    object["status"]["reservedFor"] = json!([consumer("pod"), consumer("second")]);
    told.send(json!({"type": "MODIFIED", "object": object}))
        .unwrap();
    let mut ledger = engine.watch_ledger();
    let waits = ledger.wait_for(|ledger| ledger.awaited_by(&of("second").pod.uid).count() == 1);
    tokio::time::timeout(SOON, waits).await.unwrap().unwrap();
    engine.unprepare(&first.metadata.uid).await.unwrap();
    let ended = async {
        while told.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, ended).await.unwrap();
    stop.cancel();
    following.await.unwrap();
}

/// A watch that never says anything, and how many of them began at once.
#[derive(Debug, Default)]
struct Begun {
    all: AtomicUsize,
    at_once: AtomicUsize,
    most: AtomicUsize,
}

impl Begun {
    async fn watch(self: Arc<Self>) -> http::Response<axum::body::Body> {
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(at_once, Ordering::SeqCst);
        // Whoever may begin beside us has begun by then.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        self.all.fetch_add(1, Ordering::SeqCst);
        let silence = futures::stream::pending::<Result<bytes::Bytes, std::convert::Infallible>>();
        http::Response::new(axum::body::Body::from_stream(silence))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_full_of_claims_begins_few_watches_at_once_and_none_of_claims_that_pods_own() {
    const CLAIMS: usize = 60;
    let (folder, node) = (tempfile::tempdir().unwrap(), Node::new());
    let begun = Arc::new(Begun::default());
    let counting = Arc::clone(&begun);
    let server = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        let watching = Arc::clone(&counting).watch();
        async move { Ok::<_, std::convert::Infallible>(watching.await) }
    });
    let client = kube::Client::new(server, "default");
    let engine = start_with(folder.path(), &node, sources_of(client.clone()));
    for number in 0..CLAIMS {
        let mut claim = claim_of(number);
        claim.owned = number % 3 == 0;
        engine.record(Fact::Prepared(claim)).await;
    }
    let follower = claims::follow::Follower {
        engine,
        client,
        counters: crate::api::ApiCounters::new(),
    };
    let stop = CancellationToken::new();
    let following = tokio::spawn(follower.run(stop.clone()));
    let all = async {
        while begun.all.load(Ordering::SeqCst) < CLAIMS * 2 / 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, all).await.unwrap();
    stop.cancel();
    following.await.unwrap();
    assert_eq!(begun.all.load(Ordering::SeqCst), CLAIMS * 2 / 3);
    let most = begun.most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most}");
}
