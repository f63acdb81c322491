use std::{collections::BTreeMap, sync::Mutex};

use netclaim_core::{
    inventory::{Attribute, Device, LinkState, Mode},
    name::{DeviceName, DriverName, NodeName},
};
use serde_json::{Value, json};
use tokio::{sync::broadcast, task::JoinHandle};

use super::*;
use crate::api::fake::{Answer, Asked, Fake};

const SLICES: &str = "/apis/resource.k8s.io/v1/resourceslices";

/// The part of an API server that keeps slices.
#[derive(Clone)]
struct Store {
    slices: Arc<Mutex<BTreeMap<String, Value>>>,
    events: broadcast::Sender<Value>,
    /// Fields of a device that it does not keep.
    drops: &'static [&'static str],
}

impl Store {
    fn new(drops: &'static [&'static str]) -> Self {
        Self {
            slices: Arc::default(),
            events: broadcast::Sender::new(64),
            drops,
        }
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let name = asked.path.rsplit('/').next().unwrap_or_default();
        match asked.method.as_str() {
            "GET" if asked.path == "/api/v1/nodes/kind-worker" => {
                Answer::Json(200, json!({"metadata": {"name": name, "uid": "node-uid"}}))
            }
            "GET" if asked.query.contains("watch=true") => Answer::Watch(self.events.subscribe()),
            "GET" if asked.path == SLICES => {
                let items: Vec<Value> = self.slices.lock().unwrap().values().cloned().collect();
                Answer::Json(
                    200,
                    json!({"metadata": {"resourceVersion": "1"}, "items": items}),
                )
            }
            "GET" => match self.slices.lock().unwrap().get(name) {
                Some(slice) => Answer::Json(200, slice.clone()),
                None => Answer::Failure(404),
            },
            "POST" => self.keep(
                asked.body["metadata"]["name"].as_str().unwrap(),
                asked,
                "ADDED",
            ),
            "PUT" => self.keep(name, asked, "MODIFIED"),
            "DELETE" => self.delete(name),
            other => panic!("{other}"),
        }
    }

    fn keep(&self, name: &str, asked: &Asked, event: &str) -> Answer {
        let mut slices = self.slices.lock().unwrap();
        let known = slices
            .get(name)
            .map(|known| &known["metadata"]["resourceVersion"]);
        let asked_for = asked.body["metadata"].get("resourceVersion");
        if known != asked_for {
            return Answer::Failure(409);
        }
        let version = known.map_or(1, |known| known.as_str().unwrap().parse().unwrap()) + 1;
        let mut slice = asked.body.clone();
        slice["metadata"]["resourceVersion"] = Value::String(format!("{version}"));
        for device in slice["spec"]["devices"].as_array_mut().unwrap() {
            for field in self.drops {
                device.as_object_mut().unwrap().remove(*field);
            }
        }
        slices.insert(name.to_owned(), slice.clone());
        // Nobody may watch yet.
        let _ = self.events.send(json!({"type": event, "object": slice}));
        Answer::Json(200, slice)
    }

    fn delete(&self, name: &str) -> Answer {
        match self.slices.lock().unwrap().remove(name) {
            Some(slice) => {
                let _ = self
                    .events
                    .send(json!({"type": "DELETED", "object": slice}));
                Answer::Json(200, slice)
            }
            None => Answer::Failure(404),
        }
    }
}

/// A publisher at work.
struct World {
    store: Store,
    fake: Fake,
    inventory: watch::Sender<Arc<Inventory>>,
    noticed: watch::Receiver<Noticed>,
    registered: watch::Sender<bool>,
    counters: Arc<ApiCounters>,
    adopted: JoinHandle<Inventory>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl World {
    fn start(store: Store, devices: Inventory) -> Self {
        let world = Self::unregistered(store, devices);
        world.registered.send_replace(true);
        world
    }

    /// Before the kubelet has called back.
    fn unregistered(store: Store, devices: Inventory) -> Self {
        let fake = {
            let store = store.clone();
            Fake::new(move |asked| store.answer(asked))
        };
        let inventory = watch::Sender::new(Arc::new(devices));
        let noticed = watch::Sender::new(Noticed::default());
        let registered = watch::Sender::new(false);
        let counters = ApiCounters::new();
        let publisher = Publisher {
            client: fake.client(),
            owner: Owner {
                driver: DriverName::parse("cni.dra.networking.x-k8s.io").unwrap(),
                node: NodeName::parse("kind-worker").unwrap(),
            },
            counters: Arc::clone(&counters),
            noticed: noticed.clone(),
            registered: registered.subscribe(),
        };
        let (adopt, adoption) = oneshot::channel::<Adoption>();
        let shutdown = CancellationToken::new();
        let pool = Pool::new(publisher, inventory.subscribe());
        Self {
            task: tokio::spawn(pool.run(adopt, shutdown.clone())),
            adopted: tokio::spawn(async {
                let adoption = adoption.await.unwrap();
                adoption.done.send(()).unwrap();
                adoption.published
            }),
            store,
            fake,
            inventory,
            noticed: noticed.subscribe(),
            registered,
            counters,
            shutdown,
        }
    }

    async fn writes(&self, count: usize) -> Vec<String> {
        let is_write = |asked: &&Asked| asked.method != "GET";
        let what = format!("{count} writes");
        self.fake
            .until(&what, |asked| {
                asked.iter().filter(is_write).count() >= count
            })
            .await;
        self.fake.writes().iter().map(Asked::line).collect()
    }
}

fn eth1(state: LinkState) -> Inventory {
    let text = |text: &str| Attribute::String(text.to_owned());
    let name = DeviceName::parse("eth1").unwrap();
    let device = Device {
        name: name.clone(),
        link: "eth1".to_owned(),
        mode: Mode::Shared,
        state,
        max_virtual_devices: 64,
        held_by_node: false,
        attributes: [
            ("ifName".to_owned(), text("eth1")),
            ("mode".to_owned(), text("shared")),
        ]
        .into(),
    };
    Inventory {
        devices: [(name, device)].into(),
        ..Inventory::default()
    }
}

fn name() -> String {
    "kind-worker-cni.dra.networking.x-k8s.io-839cf1c0-0".to_owned()
}

#[tokio::test]
async fn nothing_is_offered_before_the_kubelet_knows_us() {
    let world = World::unregistered(Store::new(&[]), eth1(LinkState::Up));
    let early = Duration::from_millis(300);
    let early = tokio::time::timeout(early, world.writes(1)).await;
    assert!(early.is_err(), "{early:?}");
    assert!(
        world.adopted.is_finished(),
        "what is published was taken over"
    );
    world.registered.send_replace(true);
    assert_eq!(world.writes(1).await, [format!("POST {SLICES}")]);
}

#[tokio::test]
async fn the_slice_follows_the_inventory_and_comes_back_when_it_is_deleted() {
    let world = World::start(Store::new(&[]), eth1(LinkState::Up));
    assert_eq!(world.writes(1).await, [format!("POST {SLICES}")]);
    let first = &world.fake.writes()[0].body;
    assert_eq!(first["apiVersion"], "resource.k8s.io/v1");
    assert_eq!(first["kind"], "ResourceSlice");
    assert_eq!(first["metadata"]["name"], name());
    assert_eq!(
        first["metadata"]["ownerReferences"],
        json!([{"apiVersion": "v1", "kind": "Node", "name": "kind-worker", "uid": "node-uid",
            "controller": true}])
    );
    assert_eq!(first["spec"]["pool"]["generation"], 1);

    world
        .inventory
        .send_replace(Arc::new(eth1(LinkState::Down)));
    assert_eq!(world.writes(2).await[1], format!("PUT {SLICES}/{}", name()));
    let second = &world.fake.writes()[1].body;
    assert_eq!(second["spec"]["pool"]["generation"], 2);
    assert_eq!(second["spec"]["devices"][0]["taints"][0]["value"], "down");

    // As the kubelet does.
    world.store.delete(&name());
    let deleted = Instant::now();
    assert_eq!(world.writes(3).await[2], format!("POST {SLICES}"));
    assert!(
        deleted.elapsed() < Duration::from_secs(2),
        "{:?}",
        deleted.elapsed()
    );
    assert_eq!(world.fake.writes()[2].body["spec"], second["spec"]);

    world.shutdown.cancel();
    world.task.await.unwrap();
    assert_eq!(world.fake.writes().len(), 3, "shutdown deletes nothing");
    assert_eq!(world.counters.slices.counts().next(), Some(("ok", 3)));
    assert_eq!(world.noticed.borrow().dropped.len(), 0);
}

#[tokio::test]
async fn what_an_earlier_instance_published_is_taken_over_and_not_written_again() {
    let store = Store::new(&[]);
    let before = World::start(store.clone(), eth1(LinkState::Up));
    before.writes(1).await;
    before.shutdown.cancel();
    before.task.await.unwrap();

    let mut world = World::start(store, eth1(LinkState::Up));
    assert_eq!((&mut world.adopted).await.unwrap(), eth1(LinkState::Up));
    world
        .inventory
        .send_replace(Arc::new(eth1(LinkState::Gone)));
    assert_eq!(world.writes(1).await, [format!("PUT {SLICES}/{}", name())]);
    assert_eq!(world.fake.writes()[0].body["spec"]["pool"]["generation"], 2);
}

#[tokio::test]
async fn a_server_that_drops_fields_is_noticed_and_not_fought() {
    let store = Store::new(&["allowMultipleAllocations"]);
    let mut world = World::start(store, eth1(LinkState::Up));
    world.noticed.changed().await.unwrap();
    let dropped = world.noticed.borrow_and_update().dropped.clone();
    assert_eq!(dropped, [Dropped::Sharing].into());
    // A change shows that a full round has passed since.
    world
        .inventory
        .send_replace(Arc::new(eth1(LinkState::Down)));
    assert_eq!(world.writes(2).await.len(), 2);
    assert_eq!(world.fake.writes()[1].method, "PUT");
}

#[tokio::test]
async fn a_conflict_is_solved_by_looking() {
    let world = World::start(Store::new(&[]), eth1(LinkState::Up));
    world.writes(1).await;
    {
        // Somebody writes, and the watch does not tell.
        let mut slices = world.store.slices.lock().unwrap();
        slices.get_mut(&name()).unwrap()["metadata"]["resourceVersion"] = json!("77");
    }
    world
        .inventory
        .send_replace(Arc::new(eth1(LinkState::Down)));
    let writes = world.writes(3).await;
    assert_eq!(writes[1], writes[2]);
    assert_eq!(
        world.fake.writes()[2].body["metadata"]["resourceVersion"],
        "77"
    );
    let conflicts = world
        .counters
        .slices
        .counts()
        .find(|(code, _)| *code == "conflict");
    assert_eq!(conflicts, Some(("conflict", 1)));
}
