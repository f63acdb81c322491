use netclaim_core::{
    attachment::{Attachment, ProbeMode, ProbeState},
    claim::{Allocated, ClaimRef, PodRef, PreparedClaim, PreparedDevice},
    cni::AddResult,
    counters::Traffic,
    drops::{Dropped, Drops},
    fact::Fact,
    flows::{self, Flow, FlowId, Passed},
    inventory::Mode,
    snapshot::Role,
};
use netclaim_proto::observe::{
    GetHistoryRequest, InterfaceKey, ListTimelineRequest, WatchFlowsRequest, WatchSnapshotsRequest,
    observe_service_client::ObserveServiceClient,
};
use tonic::{Code, transport::Endpoint};

use super::*;
use crate::{api::ApiCounters, metrics::Metrics};

#[test]
fn history_and_peaks_come_from_the_counters() {
    let stage = Stage::new();
    let view = stage.view();
    let (fast, slow) = (Reader::Stream(1), Reader::Stream(2));
    view.snapshot(&slow);
    stage.count(500);
    view.observe_peaks(clock::now());
    view.record(Timestamp(1));
    stage.count(7);
    view.record(Timestamp(10_001));

    assert_eq!(peak(&view.snapshot(&slow)), 500);
    assert_eq!(peak(&view.snapshot(&slow)), 7);
    assert_eq!(peak(&view.snapshot(&fast)), 7);
    let [(key, samples)] = view.history(None).try_into().unwrap();
    assert_eq!(key, stage.key);
    let bytes: Vec<_> = samples
        .iter()
        .map(|sample| sample.counters.rx.bytes)
        .collect();
    assert_eq!(bytes, [500, 7]);
    assert_eq!(view.history(Some(&key)).len(), 1);
}

#[test]
fn what_ended_keeps_its_last_sample_and_its_timeline() {
    let stage = Stage::new();
    let view = stage.view();
    stage.count(5);
    view.record(Timestamp(1_000));
    let last = Some(counters(6));
    stage.tell(
        2_000,
        &Fact::Detached {
            key: stage.key.clone(),
            last,
            drops: None,
            timings: vec![],
        },
    );
    view.record(Timestamp(11_000));
    view.record(Timestamp(21_000));

    let [(_, samples)] = view.history(None).try_into().unwrap();
    let bytes: Vec<_> = samples
        .iter()
        .map(|sample| sample.counters.rx.bytes)
        .collect();
    assert_eq!(bytes, [5, 6]);

    let states = |rows: Vec<Interface>| rows.iter().map(|row| row.state).collect::<Vec<_>>();
    assert_eq!(states(view.timeline(false)), [InterfaceState::Waiting]);
    let all = view.timeline(true);
    assert_eq!(all[0].timeline.last().unwrap().what, "detached");
    assert_eq!(
        states(all),
        [InterfaceState::Ended, InterfaceState::Waiting]
    );
}

#[test]
fn the_series_of_what_ended_end_two_minutes_later() {
    let stage = Stage::new();
    let uid = "claim-uid-1".parse().unwrap();
    let detached = Fact::Detached {
        key: stage.key.clone(),
        last: Some(counters(6)),
        drops: None,
        timings: vec![],
    };
    stage.tell(2_000, &detached);
    stage.tell(2_000, &Fact::Unprepared { claim: uid });
    let scraped = |at: u64| {
        let (node, ledger) = (&stage.view().node, stage.ledger.borrow());
        let snapshot = Snapshot::new(
            &ledger,
            &node.inventory.borrow(),
            &BTreeMap::new(),
            node.nri.borrow().clone(),
            node.identity.clone(),
            Timestamp(at),
        );
        let metrics = Metrics::new(ApiCounters::new());
        let text = metrics.scrape(snapshot).unwrap();
        let rows = text.lines().filter(|line| line.contains("claim-uid-1"));
        rows.map(str::to_owned).collect::<Vec<_>>()
    };
    let last = scraped(122_000);
    assert!(
        last.iter().any(
            |row| row.starts_with("netclaim_interface_receive_bytes_total{") && row.ends_with(" 6")
        ),
        "{last:?}"
    );
    assert_eq!(scraped(122_001), Vec::<String>::new());
}

#[tokio::test]
async fn a_client_sees_snapshots_history_and_timeline() {
    let stage = Stage::new();
    let (path, running) = stage.serve().await;
    let mut client = ObserveServiceClient::new(channel(&path).await);

    let interval = Some(duration(0, 100_000_000));
    let stream = client
        .watch_snapshots(WatchSnapshotsRequest { interval })
        .await;
    let mut stream = stream.unwrap().into_inner();
    let mut next = async || {
        Snapshot::try_from(stream.message().await.unwrap().unwrap().snapshot.unwrap()).unwrap()
    };
    let first = next().await;
    assert_eq!(first.node.as_str(), "worker-1");
    let drops = first.interfaces[0].drops.as_ref().unwrap();
    assert_eq!(drops.most_first(), [("NO_SOCKET", 7)]);
    assert_eq!(first.interfaces[0].state, InterfaceState::Attached);
    stage.count(42);
    assert_eq!(next().await.interfaces[0].counters.unwrap().rx.bytes, 42);

    stage.view().record(Timestamp(1));
    let all = client
        .get_history(GetHistoryRequest { key: None })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(all.histories.len(), 0);
    let rows = client
        .list_timeline(ListTimelineRequest {
            include_ended: true,
        })
        .await;
    assert_eq!(rows.unwrap().into_inner().interfaces[0].name, "net1");
    // An endless stream does not keep us from stopping.
    running.stop().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_skips() {
    let stage = Stage::new();
    let (path, running) = stage.serve().await;
    // With room for nothing: a snapshot is under way at most.
    let endpoint = Endpoint::try_from(format!("unix:{}", path.display())).unwrap();
    let narrow = endpoint.initial_stream_window_size(256);
    let mut client = ObserveServiceClient::new(narrow.connect().await.unwrap());
    let interval = Some(duration(0, 100_000_000));
    let stream = client
        .watch_snapshots(WatchSnapshotsRequest { interval })
        .await;
    let mut stream = stream.unwrap().into_inner();
    let mut next = async || {
        let snapshot = stream.message().await.unwrap().unwrap().snapshot.unwrap();
        let snapshot = Snapshot::try_from(snapshot).unwrap();
        snapshot.interfaces[0].counters.unwrap().rx.bytes
    };
    next().await;
    // It has to be slow for a while: there would be ten.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.count(42);
    let under_way = [next().await, next().await];
    assert_eq!(next().await, 42, "after {under_way:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_bad_request_is_refused_in_words() {
    let stage = Stage::new();
    let (path, running) = stage.serve().await;
    let mut client = ObserveServiceClient::new(channel(&path).await);
    for interval in [duration(0, 1), duration(61, 0), duration(-1, 0)] {
        let refused = client
            .watch_snapshots(WatchSnapshotsRequest {
                interval: Some(interval),
            })
            .await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    let key = Some(InterfaceKey {
        sandbox: "s".to_owned(),
        interface: "eth0".to_owned(),
    });
    let refused = client
        .get_history(GetHistoryRequest { key })
        .await
        .unwrap_err();
    assert!(
        refused
            .message()
            .starts_with("key.interface: interface name `eth0`"),
        "{refused}"
    );
    running.stop().await;
}

/// Another pod, whose claim does not ask for flows.
fn silent() -> [Fact; 3] {
    let key = Key {
        sandbox: "sandbox-2".parse().unwrap(),
        if_name: "net1".parse().unwrap(),
    };
    let mut facts = attached(&key);
    if let Fact::Attaching(attachment) = &mut facts[1] {
        attachment.claim.name = "claim-2".parse().unwrap();
        attachment.claim.uid = "claim-uid-2".parse().unwrap();
        attachment.device.observe_flows = false;
        attachment.slot = Some(Slot(1));
    }
    facts
}

fn flows_of(claim: Option<&str>, interface: Option<&str>, limit: Option<u32>) -> WatchFlowsRequest {
    WatchFlowsRequest {
        claim_uid: claim.map(str::to_owned),
        interface: interface.map(str::to_owned),
        limit,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_the_flows_of_those_who_ask_whole_and_cut() {
    let stage = Stage::new();
    silent()[1..].iter().for_each(|fact| stage.tell(1, fact));
    let (path, running) = stage.serve().await;
    let mut client = ObserveServiceClient::new(channel(&path).await);
    for (request, expected) in [
        (flows_of(None, None, None), (2, 0)),
        (flows_of(Some("claim-uid-1"), Some("net1"), Some(1)), (1, 1)),
    ] {
        let mut stream = client.watch_flows(request).await.unwrap().into_inner();
        let mut next = async || Flows::try_from(stream.message().await.unwrap().unwrap()).unwrap();
        for first in [true, false] {
            let flows = next().await;
            assert_eq!(flows.interval.is_none(), first, "{flows:?}");
            let [row] = flows.interfaces.as_slice() else {
                panic!("{flows:?}")
            };
            assert_eq!(row.claim.uid.as_str(), "claim-uid-1");
            let Some(flows::Recorded::Observed { flows, more }) = &row.recorded else {
                panic!("{row:?}")
            };
            assert_eq!((flows.len(), *more), expected);
            assert_eq!(flows[0].id, FlowId::Link { ethertype: 0x88cc });
            assert_eq!(flows[0].speed.is_none(), first);
        }
    }
    // An endless stream does not keep us from stopping.
    running.stop().await;
}

#[tokio::test]
async fn flows_that_nobody_records_are_refused_in_words() {
    let stage = Stage::new();
    silent()[1..].iter().for_each(|fact| stage.tell(1, fact));
    let (path, running) = stage.serve().await;
    let mut client = ObserveServiceClient::new(channel(&path).await);
    for (request, code, words) in [
        (
            flows_of(Some("claim-uid-2"), None, None),
            Code::FailedPrecondition,
            "claim default/claim-2 does not ask for them; write `observe: {flows: true}`",
        ),
        (
            flows_of(Some("claim-uid-3"), None, None),
            Code::NotFound,
            "no pod of this node has an interface of the claim with UID claim-uid-3",
        ),
        (
            flows_of(None, Some("net9"), None),
            Code::NotFound,
            "no pod of this node has an interface net9",
        ),
        (
            flows_of(None, Some("eth0"), None),
            Code::InvalidArgument,
            "interface: interface name `eth0`",
        ),
        (
            flows_of(None, None, Some(0)),
            Code::InvalidArgument,
            "limit: found 0, expected 1 to",
        ),
    ] {
        let refused = client.watch_flows(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(words), "{refused}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_skips_flows_too() {
    let stage = Stage::new();
    let read = Arc::new(AtomicU64::default());
    let mut view = stage.node();
    let counted = Arc::clone(&read);
    view.flows = Arc::new(move |slots| {
        // More than a narrow window holds.
        let at = counted.fetch_add(1, Ordering::Relaxed);
        let mut sampled = sampled(slots);
        for recording in sampled.by_slot.values_mut() {
            let flows = recording.as_mut().unwrap();
            let flow = Flow {
                rx: Passed {
                    packets: at,
                    bytes: at,
                },
                tx: Passed::default(),
                first: Timestamp(1),
                last: Timestamp(2),
            };
            flows.extend((0..200).map(|ethertype| (FlowId::Link { ethertype }, flow)));
        }
        sampled
    });
    let (path, running) = stage.serve_view(NodeView::new(view)).await;
    let endpoint = Endpoint::try_from(format!("unix:{}", path.display())).unwrap();
    let narrow = endpoint.initial_stream_window_size(256);
    let mut client = ObserveServiceClient::new(narrow.connect().await.unwrap());
    let stream = client.watch_flows(flows_of(None, None, None)).await;
    let mut stream = stream.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    // It has to be slow for a while: four would have come.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert!(
        read.load(Ordering::Relaxed) <= 3,
        "{read:?} were made for nobody"
    );
    drop((stream, client));
    running.stop().await;
}

#[tokio::test]
async fn grpc_health_and_reflection_are_served() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let stage = Stage::new();
    let (path, running) = stage.serve().await;
    let channel = channel(&path).await;

    let service = "netclaim.observe.v1.ObserveService".to_owned();
    let asked = HealthCheckRequest {
        service: service.clone(),
    };
    let health = HealthClient::new(channel.clone())
        .check(asked)
        .await
        .unwrap();
    assert_eq!(health.into_inner().status, 1);

    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let answers = client
        .server_reflection_info(tokio_stream::iter([asked]))
        .await;
    let answer = answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        panic!("{answer:?}")
    };
    assert!(
        listed.service.iter().any(|found| found.name == service),
        "{listed:?}"
    );
    running.stop().await;
}

/// A node with one attached interface.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
    key: Key,
    ledger: watch::Sender<Arc<Ledger>>,
    inventory: watch::Sender<Arc<Inventory>>,
    nri: watch::Sender<NriState>,
    bytes: Arc<AtomicU64>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let nri = NriState {
            connected: true,
            since: Timestamp(0),
            runtime: None,
        };
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            key: Key {
                sandbox: "sandbox-1".parse().unwrap(),
                if_name: "net1".parse().unwrap(),
            },
            ledger: watch::Sender::default(),
            inventory: watch::Sender::default(),
            nri: watch::Sender::new(nri),
            bytes: Arc::default(),
        };
        for fact in attached(&stage.key) {
            stage.tell(1, &fact);
        }
        stage
    }

    fn tell(&self, at: u64, fact: &Fact) {
        self.ledger
            .send_modify(|ledger| Arc::make_mut(ledger).apply(Timestamp(at), fact));
    }

    fn count(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn view(&self) -> Arc<NodeView> {
        NodeView::new(self.node())
    }

    fn node(&self) -> Node {
        let bytes = Arc::clone(&self.bytes);
        Node {
            ledger: self.ledger.subscribe(),
            inventory: self.inventory.subscribe(),
            nri: self.nri.subscribe(),
            noticed: watch::Sender::default().subscribe(),
            counted: Arc::new(move || {
                BTreeMap::from([(Slot(0), counters(bytes.load(Ordering::Relaxed)))])
            }),
            dropped: Arc::new(|| {
                let drops = Drops::from_iter([("NO_SOCKET".into(), 7)]);
                let by_slot = BTreeMap::from([(Slot(0), drops)]);
                Ok(Some(Arc::new(Dropped { by_slot, lost: 0 })))
            }),
            flows: Arc::new(sampled),
            identity: Identity {
                node: "worker-1".parse().unwrap(),
                driver: "nic.example.org".parse().unwrap(),
                version: "0.1.0".to_owned(),
                started: Timestamp(0),
                role: Role::Active,
            },
        }
    }

    async fn serve(&self) -> (std::path::PathBuf, server::Running) {
        self.serve_view(self.view()).await
    }

    async fn serve_view(&self, view: Arc<NodeView>) -> (std::path::PathBuf, server::Running) {
        let path = self.folder.path().join("observe.sock");
        let running = server::start(&path, view).await.unwrap();
        (path, running)
    }
}

fn duration(seconds: i64, nanos: i32) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos }
}

/// Two flows of each slot that is recorded.
fn sampled(slots: &BTreeSet<Slot>) -> Sampled {
    let flow = |bytes| Flow {
        rx: Passed { packets: 1, bytes },
        tx: Passed::default(),
        first: Timestamp(1),
        last: Timestamp(2),
    };
    let flows = [(0x0806, 60), (0x88cc, 200)];
    let flows = flows.map(|(ethertype, bytes)| (FlowId::Link { ethertype }, flow(bytes)));
    let recording = |slot: &Slot| (*slot, Ok(BTreeMap::from(flows)));
    Sampled {
        by_slot: slots.iter().map(recording).collect(),
        table: None,
    }
}

async fn channel(path: &std::path::Path) -> tonic::transport::Channel {
    let endpoint = Endpoint::try_from(format!("unix:{}", path.display())).unwrap();
    endpoint.connect().await.unwrap()
}

fn peak(snapshot: &Snapshot) -> u64 {
    snapshot.interfaces[0]
        .counters
        .unwrap()
        .rx
        .peak_bytes_per_second
}

fn counters(bytes: u64) -> Counters {
    let rx = Traffic {
        bytes,
        peak_bytes_per_second: bytes,
        ..Traffic::default()
    };
    Counters {
        rx,
        tx: Traffic::default(),
    }
}

fn attached(key: &Key) -> [Fact; 3] {
    let claim = ClaimRef {
        namespace: "default".parse().unwrap(),
        name: "claim-1".parse().unwrap(),
        uid: "claim-uid-1".parse().unwrap(),
    };
    let pod = PodRef {
        namespace: "default".parse().unwrap(),
        name: "pod-1".parse().unwrap(),
        uid: "pod-uid-1".parse().unwrap(),
    };
    let network = serde_json::json!({
        "cniVersion": "1.0.0", "name": "macvlan-eth1", "plugins": [{"type": "macvlan"}]
    });
    let device = PreparedDevice {
        allocated: Allocated {
            request: "nic".parse().unwrap(),
            pool: "worker-1".parse().unwrap(),
            device: "eth1".parse().unwrap(),
            share_id: None,
            admin_access: false,
        },
        link: "eth1".to_owned(),
        mode: Mode::Shared,
        if_name: key.if_name.clone(),
        network: serde_json::from_value(network).unwrap(),
        runtime_config: serde_json::Map::new(),
        observe_flows: true,
    };
    [
        Fact::Prepared(PreparedClaim {
            claim: claim.clone(),
            pod: pod.clone(),
            owned: true,
            devices: vec![device.clone()],
        }),
        Fact::Attaching(Attachment {
            key: key.clone(),
            claim,
            pod,
            netns: "/run/netns/cni-1".to_owned(),
            device,
            slot: Some(Slot(0)),
        }),
        Fact::Attached {
            key: key.clone(),
            result: AddResult::default(),
            probe: Some(ProbeState::Counting {
                mode: ProbeMode::Tcx,
                base: Counters::default(),
                uncertain_packets: 0,
            }),
            late: false,
            timings: vec![],
        },
    ]
}
