use serde_json::json;

use super::*;
use crate::{attachment::PodSandbox, claim::PreparedClaim, fact::Fact, name::ClaimUid};

const SECOND: u64 = 1_000;

/// A node whose clock is turned by hand.
struct Node {
    survey: Survey,
    ledger: Ledger,
    links: Vec<Link>,
    pods: BTreeSet<i32>,
    now: u64,
    changes: u32,
    exclusive: bool,
}

impl Node {
    /// Two links that have lasted.
    fn new() -> Self {
        let mut node = Self {
            survey: Survey::default(),
            ledger: Ledger::default(),
            links: vec![link(1, "eth0"), link(2, "eth1")],
            pods: BTreeSet::new(),
            now: 1_000_000,
            changes: 0,
            exclusive: false,
        };
        node.look();
        node.pass(2);
        node.changes = 0;
        node
    }

    fn look(&mut self) {
        let seen = Seen {
            links: self.links.clone(),
            pod_namespaces: self.pods.clone(),
            ..Seen::default()
        };
        let exclusive = self.exclusive;
        let rules = Rules {
            exclude: &["cali*".to_owned()],
            filter: &|_| true,
            exclusive: &|_| exclusive,
            max_virtual_devices: 64,
        };
        let now = Timestamp(self.now);
        let before = self.survey.published().clone();
        self.survey.observe(now, &seen, &self.ledger, &rules);
        if self.survey.published().devices != before.devices {
            self.changes += 1;
        }
    }

    /// Lets time pass and looks whenever the survey asked for it, as the driver does.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + seconds * SECOND;
        while let Some(due) = self.survey.due().filter(|due| due.0 <= end) {
            assert!(due.0 > self.now, "looks again at once, for ever");
            self.now = due.0;
            self.look();
        }
        self.now = end;
    }

    fn link(&mut self, name: &str) -> &mut Link {
        self.links
            .iter_mut()
            .find(|link| link.name == name)
            .unwrap()
    }

    /// As slices say it.
    fn states(&self) -> String {
        states(self.survey.published())
    }

    /// As it is.
    fn is(&self) -> String {
        states(&self.survey.inventory())
    }

    fn device(&self, name: &str) -> &Device {
        let name = DeviceName::parse(name).unwrap();
        self.survey.published().device(&name).unwrap()
    }

    fn allocate(&mut self, device: &str, mode: &str) -> PreparedClaim {
        let claim: PreparedClaim = serde_json::from_value(json!({
            "claim": {"namespace": "default", "name": "c", "uid": "claim-1"},
            "pod": {"namespace": "default", "name": "p", "uid": "pod-1"},
            "devices": [{
                "allocated": {"request": "r", "pool": "node", "device": device},
                "link": device,
                "mode": mode,
                "if_name": "net1",
                "network": {"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "macvlan"}]},
            }],
        }))
        .unwrap();
        let at = Timestamp(self.now);
        self.ledger.apply(at, &Fact::Prepared(claim.clone()));
        claim
    }

    fn release(&mut self) {
        let claim = ClaimUid::parse("claim-1").unwrap();
        self.ledger
            .apply(Timestamp(self.now), &Fact::Unprepared { claim });
    }
}

fn states(inventory: &Inventory) -> String {
    let devices = inventory.devices.values();
    let words = devices.map(|device| format!("{}={:?}", device.name, device.state));
    words.collect::<Vec<_>>().join(" ")
}

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mac: Some(format!("02:00:00:00:00:{index:02x}")),
        ethernet: true,
        up: true,
        mtu: 1500,
        ..Link::default()
    }
}

#[test]
fn a_link_is_offered_once_it_has_lasted_two_seconds() {
    let mut node = Node::new();
    node.links.push(link(3, "eth2"));
    node.look();
    assert_eq!(node.states(), "eth0=Up eth1=Up");
    assert_eq!(node.survey.left_out()["eth2"], LeftOut::Young);
    node.pass(1);
    assert_eq!(node.states(), "eth0=Up eth1=Up");
    node.pass(1);
    assert_eq!(node.states(), "eth0=Up eth1=Up eth2=Up");
    assert_eq!(node.changes, 1);
}

#[test]
fn fifty_pods_come_and_go_and_nothing_changes() {
    let mut node = Node::new();
    for pod in 10..60 {
        let namespace = i32::try_from(pod).unwrap();
        node.links.push(Link {
            kind: Some("veth".to_owned()),
            ..link(pod, &format!("veth{pod}"))
        });
        node.look();
        node.pass(1);
        // The runtime moves the other end, and the namespace becomes known a little later.
        node.links.last_mut().unwrap().peer_namespace = Some(namespace);
        node.pods.insert(namespace);
        node.look();
        node.pass(3);
    }
    assert_eq!(node.survey.left_out().len(), 50);
    for _ in 0..50 {
        // The namespace loses its name before its links end, and may last for long.
        node.pods.pop_last();
        node.look();
        node.pass(3);
        node.links.pop();
        node.look();
        node.pass(1);
    }
    node.pass(200);
    assert_eq!(node.states(), "eth0=Up eth1=Up");
    assert_eq!(node.changes, 0);
}

#[test]
fn down_is_believed_after_five_seconds_and_up_at_once() {
    let mut node = Node::new();
    node.link("eth1").up = false;
    node.look();
    node.pass(4);
    assert_eq!(node.states(), "eth0=Up eth1=Up");
    node.pass(1);
    assert_eq!(node.states(), "eth0=Up eth1=Down");
    node.pass(60);
    node.link("eth1").up = true;
    node.look();
    assert_eq!(node.states(), "eth0=Up eth1=Up");
}

#[test]
fn a_short_interruption_is_not_believed() {
    let mut node = Node::new();
    node.link("eth1").up = false;
    node.look();
    node.pass(4);
    node.link("eth1").up = true;
    node.look();
    node.pass(100);
    assert_eq!(node.changes, 0);
}

#[test]
fn a_flapping_link_changes_once_a_minute_and_ends_right() {
    let mut node = Node::new();
    for _ in 0..30 {
        node.link("eth1").up = false;
        node.look();
        node.pass(6);
        node.link("eth1").up = true;
        node.look();
        node.pass(4);
    }
    // 300 s: one change at once and one for each full minute.
    assert!(node.changes >= 2 && node.changes <= 6, "{}", node.changes);
    node.pass(61);
    assert_eq!(node.states(), "eth0=Up eth1=Up");
}

#[test]
fn addresses_that_come_and_go_change_once_a_minute() {
    let mut node = Node::new();
    for second in 0..120_u8 {
        let address = format!("10.0.0.{second}/24").parse().unwrap();
        node.link("eth1").addresses = vec![address];
        node.look();
        node.pass(1);
    }
    // At once, and after each full minute.
    assert!(node.changes >= 2 && node.changes <= 3, "{}", node.changes);
}

#[test]
fn a_link_that_is_gone_is_tainted_and_then_forgotten() {
    let mut node = Node::new();
    node.links.pop();
    node.look();
    node.pass(5);
    assert_eq!(node.states(), "eth0=Up eth1=Gone");
    node.pass(59);
    assert_eq!(node.states(), "eth0=Up eth1=Gone");
    node.pass(1);
    assert_eq!(node.states(), "eth0=Up");
}

#[test]
fn what_is_allocated_stays_whatever_happens() {
    let mut node = Node::new();
    node.allocate("eth1", "shared");
    node.link("eth1").master = Some(9);
    node.look();
    assert_eq!(node.states(), "eth0=Up eth1=Up");
    node.links.pop();
    node.look();
    node.pass(3_600);
    assert_eq!(node.states(), "eth0=Up eth1=Gone");
    node.release();
    node.look();
    assert_eq!(node.states(), "eth0=Up");
}

#[test]
fn identity_is_frozen_while_allocated() {
    let mut node = Node::new();
    node.allocate("eth1", "shared");
    let before = node.device("eth1").attributes["mac"].clone();
    node.exclusive = true;
    let link = node.link("eth1");
    link.mac = Some("02:ff:ff:ff:ff:ff".to_owned());
    link.mtu = 9000;
    node.look();
    assert_eq!(node.device("eth1").attributes["mac"], before);
    assert_eq!(node.device("eth1").mode, Mode::Shared);
    assert_eq!(node.device("eth1").attributes["mtu"], Attribute::Int(9000));
    assert_eq!(node.device("eth0").mode, Mode::Exclusive);
    node.release();
    node.pass(60);
    node.look();
    let after = node.device("eth1");
    assert_eq!(after.mode, Mode::Exclusive);
    assert_eq!(
        after.attributes["mac"],
        Attribute::String("02:ff:ff:ff:ff:ff".to_owned())
    );
}

#[test]
fn an_allocated_link_that_is_renamed_stays_the_same_device() {
    let mut node = Node::new();
    node.allocate("eth1", "shared");
    node.look();
    node.link("eth1").name = "lan0".to_owned();
    node.look();
    node.pass(100);
    assert_eq!(node.states(), "eth0=Up eth1=Up");
    assert_eq!(node.device("eth1").link, "lan0");
    assert_eq!(
        node.device("eth1").attributes["ifName"],
        Attribute::String("eth1".to_owned())
    );
}

#[test]
fn a_link_that_moved_into_its_pod_is_well() {
    let mut node = Node::new();
    node.exclusive = true;
    let claim = node.allocate("eth1", "exclusive");
    let sandbox = PodSandbox {
        id: "sandbox-1".parse().unwrap(),
        pod: claim.pod,
        netns: Some("/run/netns/a".to_owned()),
        runtime_handler: String::new(),
    };
    let planned = node.ledger.plan_attach(&sandbox, "/run/netns/a").remove(0);
    let key = planned.key.clone();
    node.ledger
        .apply(Timestamp(node.now), &Fact::Attaching(planned));
    node.links.pop();
    node.look();
    node.pass(600);
    assert_eq!(node.device("eth1").state, LinkState::Up);
    let detached = Fact::Detached {
        key,
        last: None,
        drops: None,
        timings: Vec::new(),
    };
    node.ledger.apply(Timestamp(node.now), &detached);
    node.look();
    node.pass(5);
    assert_eq!(node.device("eth1").state, LinkState::Gone);
}

#[test]
fn an_allocated_device_that_nobody_saw_since_the_start_is_published_as_gone() {
    let mut node = Node::new();
    node.allocate("eth7", "shared");
    node.look();
    assert_eq!(node.states(), "eth0=Up eth1=Up eth7=Gone");
    assert_eq!(
        node.device("eth7").attributes["name"],
        Attribute::String("eth7".to_owned())
    );
}

/// A driver that starts again on the same node, and what it would publish after `adopt`.
fn restart(before: &Node, published: Inventory) -> Node {
    let mut node = Node {
        survey: Survey::default(),
        ledger: before.ledger.clone(),
        links: before.links.clone(),
        pods: before.pods.clone(),
        ..*before
    };
    node.changes = 0;
    // Links are listed before the API server has answered.
    node.look();
    node.survey.adopt(Timestamp(node.now), published);
    node.look();
    node
}

#[test]
fn a_restart_changes_nothing() {
    let mut before = Node::new();
    before.allocate("eth1", "shared");
    before.link("eth1").mac = Some("02:ff:ff:ff:ff:ff".to_owned());
    before.look();
    let published = before.survey.published().clone();
    let node = restart(&before, published);
    assert_eq!(node.survey.published(), before.survey.published());
    assert!(node.survey.is_settled(Timestamp(node.now)));
    let mut node = node;
    node.pass(120);
    assert_eq!(node.survey.published(), before.survey.published());
}

#[test]
fn a_restart_without_slices_is_settled_once_all_links_are_offered() {
    let mut before = Node::new();
    before.allocate("eth1", "shared");
    let mut node = restart(&before, Inventory::default());
    assert_eq!(node.states(), "eth1=Up");
    assert!(!node.survey.is_settled(Timestamp(node.now)));
    node.pass(2);
    assert!(node.survey.is_settled(Timestamp(node.now)));
    assert_eq!(node.survey.published(), before.survey.published());
}

#[test]
fn what_only_the_ledger_knew_is_described_once_it_is_seen() {
    let mut node = Node::new();
    let described = node.device("eth1").clone();
    node.survey = Survey::default();
    node.allocate("eth1", "shared");
    let eth1 = node.links.pop().unwrap();
    node.look();
    assert_eq!(node.states(), "eth1=Gone");
    node.links.push(eth1);
    node.look();
    assert_eq!(*node.device("eth1"), described);
}

#[test]
fn the_pace_holds_back_only_what_is_published() {
    let mut node = Node::new();
    let eth1 = node.links.pop().unwrap();
    node.look();
    assert_eq!(
        (node.states(), node.is()),
        both("eth0=Up eth1=Up", "eth0=Up eth1=Gone")
    );
    node.pass(5);
    assert_eq!(
        (node.states(), node.is()),
        both("eth0=Up eth1=Gone", "eth0=Up eth1=Gone")
    );
    node.links.push(Link { up: false, ..eth1 });
    node.look();
    assert_eq!(
        (node.states(), node.is()),
        both("eth0=Up eth1=Gone", "eth0=Up eth1=Down")
    );
    node.link("eth1").up = true;
    node.look();
    assert_eq!(
        (node.states(), node.is()),
        both("eth0=Up eth1=Gone", "eth0=Up eth1=Up")
    );
    node.link("eth1").up = false;
    node.look();
    node.pass(4);
    assert_eq!(
        (node.states(), node.is()),
        both("eth0=Up eth1=Gone", "eth0=Up eth1=Up")
    );
    node.pass(1);
    assert_eq!(
        (node.states(), node.is()),
        both("eth0=Up eth1=Gone", "eth0=Up eth1=Down")
    );
    node.pass(60);
    assert_eq!(
        (node.states(), node.is()),
        both("eth0=Up eth1=Down", "eth0=Up eth1=Down")
    );
}

#[test]
fn what_is_down_again_is_known_while_the_slices_never_heard_of_the_link_being_up() {
    let mut node = Node::new();
    node.link("eth1").up = false;
    node.look();
    node.pass(5);
    node.link("eth1").up = true;
    node.look();
    assert_eq!(
        (node.states(), node.is()),
        both("eth0=Up eth1=Down", "eth0=Up eth1=Up")
    );
    node.link("eth1").up = false;
    node.look();
    node.pass(5);
    assert_eq!(
        (node.states(), node.is()),
        both("eth0=Up eth1=Down", "eth0=Up eth1=Down")
    );
}

fn both(published: &str, is: &str) -> (String, String) {
    (published.to_owned(), is.to_owned())
}

#[test]
fn the_speed_outlives_the_carrier() {
    let mut node = Node::new();
    node.link("eth1").hardware.speed = Some(10_000);
    node.look();
    node.pass(60);
    node.link("eth1").hardware.speed = None;
    node.look();
    assert_eq!(
        node.device("eth1").attributes["speed"],
        Attribute::Int(10_000)
    );
}

#[test]
fn what_holds_the_node_is_known_at_once() {
    let mut node = Node::new();
    node.link("eth0").default_route = true;
    node.link("eth0").addresses = vec!["172.18.0.2/16".parse().unwrap()];
    node.look();
    let owner = |address: &str| node.survey.inventory().node.owner(address.parse().unwrap());
    assert!(owner("172.18.0.2").is_some() && owner("172.18.0.3").is_none());
    assert!(node.device("eth0").held_by_node);
    assert!(!node.device("eth1").held_by_node);
}
