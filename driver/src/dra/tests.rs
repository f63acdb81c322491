use std::{
    collections::BTreeMap, os::unix::net::UnixListener as StdListener, path::Path, time::Duration,
};

use netclaim_core::{
    failure::Step,
    inventory::{Device, LinkState, Mode},
};
use netclaim_proto::{
    dra::{v1, v1beta1},
    health, registration as pb,
};
use tempfile::TempDir;
use tokio::sync::{Barrier, Notify};
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::{api::ApiCounters, metrics};

const DRIVER: &str = "nic.example.org";
const POD: &str = "0f2b9c1e-7d3a-4b52-9e1c-6a0f5d2c8b44";

/// Refuses `refused`, holds `held` until told, breaks down over `broken`, and lets the `pair` go
/// only when both are there.
#[derive(Debug)]
struct Engine {
    release: Notify,
    held: Notify,
    pair: Barrier,
}

impl Prepare for Arc<Engine> {
    async fn prepare(&self, claim: ClaimRef) -> Result<Vec<Allocated>, Failure> {
        match claim.name.as_str() {
            "refused" => return Err(refusal()),
            "broken" => panic!("a defect"),
            "held" => {
                self.held.notify_one();
                self.release.notified().await;
            }
            name if name.starts_with("pair") => {
                self.pair.wait().await;
            }
            _ => {}
        }
        Ok(vec![Allocated {
            request: "nic/fast".parse().unwrap(),
            pool: "worker-1".parse().unwrap(),
            device: "eth1".parse().unwrap(),
            share_id: Some("share-7".parse().unwrap()),
            admin_access: false,
        }])
    }

    async fn unprepare(&self, claim: ClaimRef) -> Result<(), Failure> {
        match claim.name.as_str() {
            "refused" => Err(refusal()),
            _ => Ok(()),
        }
    }
}

fn refusal() -> Failure {
    Failure {
        step: Step::Prepare,
        reason: "NoSuchDevice".into(),
        code: "no_such_device".into(),
        message: "claim default/refused: no device eth9".to_owned(),
    }
}

/// A kubelet's folders, an engine, and the plugin between them.
struct Stage {
    _folder: TempDir,
    paths: Paths,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    inventory: watch::Sender<Arc<Inventory>>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            registry: folder.path().join("plugins_registry"),
            plugin: folder.path().join("plugins").join(DRIVER),
        };
        std::fs::create_dir(&paths.registry).unwrap();
        Self {
            _folder: folder,
            paths,
            engine: Arc::new(Engine {
                release: Notify::new(),
                held: Notify::new(),
                pair: Barrier::new(2),
            }),
            metrics: Arc::new(Metrics::new(ApiCounters::new())),
            inventory: watch::Sender::new(devices(LinkState::Up)),
        }
    }

    fn plugin(&self) -> Plugin<Arc<Engine>> {
        Plugin {
            paths: self.paths.clone(),
            driver: DRIVER.parse().unwrap(),
            pod_uid: Some(POD.parse().unwrap()),
            pool: "worker-1".parse().unwrap(),
            engine: Arc::clone(&self.engine),
            inventory: self.inventory.subscribe(),
            metrics: Arc::clone(&self.metrics),
        }
    }

    async fn start(&self) -> Running {
        self.plugin().start().await.unwrap()
    }

    fn registration(&self) -> PathBuf {
        let name = names::registration(&self.paths.registry, DRIVER, Some(POD));
        self.paths.registry.join(name)
    }

    fn dra(&self) -> PathBuf {
        self.paths.plugin.join(names::dra(Some(POD)))
    }

    async fn v1(&self) -> v1::dra_plugin_client::DraPluginClient<Channel> {
        v1::dra_plugin_client::DraPluginClient::new(channel(&self.dra()).await)
    }
}

async fn channel(path: &Path) -> Channel {
    let endpoint = Endpoint::try_from(format!("unix:{}", path.display())).unwrap();
    endpoint.connect().await.unwrap()
}

fn devices(state: LinkState) -> Arc<Inventory> {
    let eth1 = Device {
        name: "eth1".parse().unwrap(),
        link: "eth1".to_owned(),
        mode: Mode::Shared,
        state,
        max_virtual_devices: 64,
        held_by_node: false,
        attributes: BTreeMap::new(),
    };
    Arc::new(Inventory {
        devices: BTreeMap::from([(eth1.name.clone(), eth1)]),
        ..Inventory::default()
    })
}

fn claim(name: &str) -> v1::Claim {
    v1::Claim {
        namespace: "default".to_owned(),
        uid: format!("uid-{name}"),
        name: name.to_owned(),
    }
}

fn prepare(names: &[&str]) -> v1::NodePrepareResourcesRequest {
    v1::NodePrepareResourcesRequest {
        claims: names.iter().map(|name| claim(name)).collect(),
    }
}

#[tokio::test]
async fn the_kubelet_learns_who_we_are_and_says_whether_it_took_us() {
    let stage = Stage::new();
    let running = stage.start().await;
    let channel = channel(&stage.registration()).await;
    let mut kubelet = pb::registration_client::RegistrationClient::new(channel);
    let info = kubelet
        .get_info(pb::InfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (info.r#type.as_str(), info.name.as_str()),
        ("DRAPlugin", DRIVER)
    );
    assert_eq!(Path::new(&info.endpoint), stage.dra());
    let served = [
        "v1.DRAPlugin",
        "v1beta1.DRAPlugin",
        "v1.DRAResourceHealth",
        "v1alpha1.DRAResourceHealth",
    ];
    assert_eq!(info.supported_versions, served);

    let mut said = running.registration();
    assert_eq!(*said.borrow_and_update(), Registration::Waiting);
    let mut say = async |plugin_registered, error: &str| {
        let error = error.to_owned();
        let status = pb::RegistrationStatus {
            plugin_registered,
            error,
        };
        kubelet.notify_registration_status(status).await.unwrap();
        said.changed().await.unwrap();
        said.borrow_and_update().clone()
    };
    assert_eq!(
        say(false, "no").await,
        Registration::Refused("no".to_owned())
    );
    assert_eq!(say(true, "").await, Registration::Registered);
    running.stop().await;
}

#[tokio::test]
async fn every_claim_has_an_entry_and_a_failure_of_its_own() {
    let stage = Stage::new();
    let running = stage.start().await;
    let mut kubelet = stage.v1().await;
    let mut request = prepare(&["good", "refused", "broken"]);
    request.claims.push(v1::Claim {
        uid: "../x".to_owned(),
        ..claim("bad")
    });
    let claims = kubelet
        .node_prepare_resources(request)
        .await
        .unwrap()
        .into_inner()
        .claims;
    assert_eq!(claims.len(), 4);
    assert_eq!(
        claims["uid-good"].devices,
        [v1::Device {
            request_names: vec!["nic".to_owned()],
            pool_name: "worker-1".to_owned(),
            device_name: "eth1".to_owned(),
            cdi_device_ids: vec![],
            share_id: Some("share-7".to_owned()),
        }]
    );
    assert_eq!(claims["uid-refused"].error, refusal().message);
    assert_eq!(claims["uid-refused"].devices, []);
    assert!(
        claims["uid-broken"]
            .error
            .starts_with("netclaim broke down")
    );
    let bad = &claims["../x"].error;
    assert!(
        bad.starts_with("the kubelet named a claim that cannot be: claim UID"),
        "{bad}"
    );
    running.stop().await;
}

#[tokio::test]
async fn v1beta1_is_the_same_without_the_share() {
    let stage = Stage::new();
    let running = stage.start().await;
    let channel = channel(&stage.dra()).await;
    let mut kubelet = v1beta1::dra_plugin_client::DraPluginClient::new(channel);
    let claims = vec![v1beta1::Claim {
        namespace: "default".to_owned(),
        uid: "uid-good".to_owned(),
        name: "good".to_owned(),
    }];
    let request = v1beta1::NodePrepareResourcesRequest {
        claims: claims.clone(),
    };
    let answer = kubelet
        .node_prepare_resources(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.claims["uid-good"].devices[0].device_name, "eth1");
    let request = v1beta1::NodeUnprepareResourcesRequest { claims };
    let answer = kubelet
        .node_unprepare_resources(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.claims["uid-good"].error, "");
    running.stop().await;
}

#[tokio::test]
async fn giving_back_what_is_not_known_succeeds() {
    let stage = Stage::new();
    let running = stage.start().await;
    let mut kubelet = stage.v1().await;
    let claims = vec![claim("unknown"), claim("refused")];
    let request = v1::NodeUnprepareResourcesRequest { claims };
    let claims = kubelet
        .node_unprepare_resources(request)
        .await
        .unwrap()
        .into_inner()
        .claims;
    assert_eq!(claims["uid-unknown"].error, "");
    assert_eq!(claims["uid-refused"].error, refusal().message);
    running.stop().await;
}

#[tokio::test]
async fn claims_of_one_request_do_not_wait_for_each_other() {
    let stage = Stage::new();
    let running = stage.start().await;
    let mut kubelet = stage.v1().await;
    let both = kubelet.node_prepare_resources(prepare(&["pair-1", "pair-2"]));
    let answer = tokio::time::timeout(Duration::from_secs(5), both).await;
    assert_eq!(
        answer
            .expect("both at once")
            .unwrap()
            .into_inner()
            .claims
            .len(),
        2
    );
    running.stop().await;
}

#[tokio::test]
async fn a_claim_is_finished_though_the_kubelet_hangs_up_and_we_are_told_to_stop() {
    let stage = Stage::new();
    let running = stage.start().await;
    let mut kubelet = stage.v1().await;
    tokio::select! {
        answer = kubelet.node_prepare_resources(prepare(&["held"])) => panic!("{answer:?}"),
        () = stage.engine.held.notified() => {}
    }
    drop(kubelet);
    let stopped = tokio::spawn(running.stop());
    until(|| !stage.registration().exists()).await;
    assert!(!stopped.is_finished());
    stage.engine.release.notify_one();
    stopped.await.unwrap();
    assert!(!stage.dra().exists());
    let scrape = stage.metrics.scrape(metrics::tests::snapshot()).unwrap();
    let counted = "netclaim_dra_requests_total{method=\"prepare\",code=\"ok\"} 1\n";
    assert!(scrape.contains(counted), "{scrape}");
}

#[tokio::test]
async fn health_is_told_at_once_and_on_each_change() {
    let stage = Stage::new();
    let running = stage.start().await;
    let channel = channel(&stage.dra()).await;
    let mut kubelet = health::v1::dra_resource_health_client::DraResourceHealthClient::new(channel);
    let lists = kubelet
        .node_watch_resources(health::v1::NodeWatchResourcesRequest {})
        .await;
    let mut lists = lists.unwrap().into_inner();
    let mut next = async || lists.message().await.unwrap().unwrap().devices.remove(0);

    let first = next().await;
    let device = first.device.unwrap();
    assert_eq!(
        (device.pool_name.as_str(), device.device_name.as_str()),
        ("worker-1", "eth1")
    );
    assert_eq!((first.health, first.health_check_timeout_seconds), (1, 30));
    assert!(first.last_updated_time > 1_700_000_000);

    stage.inventory.send_replace(devices(LinkState::Down));
    let down = next().await;
    assert_eq!(
        (down.health, down.message.as_str()),
        (2, "link eth1 is down or has no carrier")
    );

    stage.inventory.send_replace(devices(LinkState::Gone));
    assert_eq!(next().await.health, 2);

    drop(stage.inventory);
    assert_eq!(next().await.health, 0);
    // An endless stream does not keep us from stopping.
    running.stop().await;
}

#[tokio::test]
async fn v1alpha1_tells_the_same_health() {
    use health::v1alpha1::{
        NodeWatchResourcesRequest, dra_resource_health_client::DraResourceHealthClient,
    };
    let stage = Stage::new();
    let running = stage.start().await;
    let mut kubelet = DraResourceHealthClient::new(channel(&stage.dra()).await);
    let lists = kubelet
        .node_watch_resources(NodeWatchResourcesRequest {})
        .await;
    let first = lists
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.devices[0].health, 1);
    running.stop().await;
}

#[tokio::test]
async fn only_our_own_dead_sockets_are_removed() {
    let stage = Stage::new();
    std::fs::create_dir_all(&stage.paths.plugin).unwrap();
    let dead = |path: PathBuf| {
        drop(StdListener::bind(&path).unwrap());
        path
    };
    let ours = [
        dead(
            stage
                .paths
                .registry
                .join(format!("{DRIVER}-11111111-reg.sock")),
        ),
        dead(stage.paths.registry.join(format!("{DRIVER}-reg.sock"))),
        dead(stage.paths.plugin.join("dra-11111111.sock")),
    ];
    let foreign = dead(stage.paths.registry.join("gpu.example.org-reg.sock"));
    let longer = dead(stage.paths.registry.join(format!("{DRIVER}-gpu-reg.sock")));
    let served = stage
        .paths
        .registry
        .join(format!("{DRIVER}-22222222-reg.sock"));
    let _other = StdListener::bind(&served).unwrap();

    let running = stage.start().await;
    for path in ours {
        assert!(!path.exists(), "{}", path.display());
    }
    for path in [&foreign, &longer, &served] {
        assert!(path.exists(), "{}", path.display());
    }
    running.stop().await;
    assert!(!stage.registration().exists() && !stage.dra().exists());
}

#[tokio::test]
async fn a_kubelet_that_is_not_there_is_named() {
    let stage = Stage::new();
    std::fs::remove_dir(&stage.paths.registry).unwrap();
    let error = stage.plugin().start().await.unwrap_err().to_string();
    assert!(
        error.contains("is the kubelet running, is --kubelet-root right"),
        "{error}"
    );
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_socket() {
    let stage = Stage::new();
    let _other = StdListener::bind(stage.registration()).unwrap();
    let error = stage.plugin().start().await.unwrap_err();
    assert!(
        matches!(error, DraError::Socket(SocketError::InUse { .. })),
        "{error}"
    );
    assert!(!stage.dra().exists());
}

/// Waits for a fact.
async fn until(fact: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !fact() {
        assert!(tokio::time::Instant::now() < deadline, "it never came");
        tokio::task::yield_now().await;
    }
}
