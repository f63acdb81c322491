use netclaim_core::inventory::{Device, LinkState, Mode};

use super::*;
use crate::host::links::tests::{alone, ip};

/// How long a fact may take to show: a link settles for 2 s, and is down after 5 s.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is known of the node, as it changes.
struct World {
    inventory: watch::Receiver<Arc<Inventory>>,
    slices: watch::Receiver<Arc<Inventory>>,
    adopt: oneshot::Sender<Adoption>,
    shutdown: CancellationToken,
}

impl World {
    fn start(links: Links) -> (Self, impl Future<Output = ()>) {
        let inventory = watch::Sender::new(Arc::default());
        let slices = watch::Sender::new(Arc::default());
        let (adopt, adoptions) = oneshot::channel();
        let world = Self {
            inventory: inventory.subscribe(),
            slices: slices.subscribe(),
            adopt,
            shutdown: CancellationToken::new(),
        };
        let observer = Observer {
            links,
            offer: Offer {
                exclude: vec!["peer*".to_owned()],
                filter: Some(Choice::parse("attributes.mtu < 9000").unwrap()),
                exclusive: Some(Choice::parse("attributes.ifName == 'eth2'").unwrap()),
                max_virtual_devices: 64,
            },
            ledger: watch::Sender::new(Arc::default()).subscribe(),
            sandboxes: watch::Sender::new(Arc::default()).subscribe(),
            inventory,
        };
        let run = observer.run(slices, adoptions, world.shutdown.clone());
        (world, run)
    }

    async fn until(&mut self, expected: &str) {
        let words = |inventory: &Inventory| {
            let devices = inventory.devices.values();
            let words = devices
                .map(|device| format!("{} {:?} {:?}", device.name, device.mode, device.state));
            words.collect::<Vec<_>>().join(", ")
        };
        let reached = self
            .inventory
            .wait_for(|inventory| words(inventory) == expected);
        let in_time = tokio::time::timeout(PATIENCE, reached).await.is_ok();
        let found = words(&self.inventory.borrow());
        assert!(in_time, "expected {expected}, found {found}");
    }
}

fn pair(name: &str, peer: &str, mtu: u32) {
    ip(&format!(
        "link add {name} mtu {mtu} type veth peer name {peer}"
    ));
    ip(&format!("link set {name} up"));
    ip(&format!("link set {peer} up"));
}

#[test]
fn links_become_devices_and_follow_the_kernel() {
    alone(async |links| {
        pair("eth1", "peer1", 1_500);
        pair("big1", "peer3", 9_000);
        let (mut world, run) = World::start(links);
        let test = async {
            world.until("eth1 Shared Up").await;
            pair("eth2", "peer2", 1_500);
            world.until("eth1 Shared Up, eth2 Exclusive Up").await;
            ip("link set peer1 down");
            world.until("eth1 Shared Down, eth2 Exclusive Up").await;
            world.shutdown.cancel();
        };
        tokio::join!(run, test);
    });
}

#[test]
fn what_was_published_before_is_taken_over_before_it_is_said_to_be() {
    alone(async |links| {
        let (world, run) = World::start(links);
        let device = Device {
            name: "eth7".parse().unwrap(),
            link: "eth7".to_owned(),
            mode: Mode::Shared,
            state: LinkState::Up,
            max_virtual_devices: 64,
            held_by_node: false,
            attributes: Attributes::new(),
        };
        let published = Inventory {
            devices: [(device.name.clone(), device)].into(),
            ..Inventory::default()
        };
        let test = async {
            let (done, taken) = oneshot::channel();
            let adoption = Adoption {
                published: published.clone(),
                done,
            };
            world.adopt.send(adoption).unwrap();
            taken.await.unwrap();
            assert_eq!(**world.slices.borrow(), published);
            world.shutdown.cancel();
        };
        tokio::join!(run, test);
    });
}
