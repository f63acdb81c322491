use proptest::prelude::*;

use super::*;

fn owner() -> Owner {
    Owner {
        driver: DriverName::parse("cni.dra.networking.x-k8s.io").unwrap(),
        node: NodeName::parse("kind-worker").unwrap(),
    }
}

fn device(index: usize, mode: Mode, state: LinkState, mtu: i64) -> Device {
    let link = format!("eth{index}");
    let word = match mode {
        Mode::Shared => "shared",
        Mode::Exclusive => "exclusive",
    };
    let text = |text: &str| Attribute::String(text.to_owned());
    Device {
        name: DeviceName::parse(link.as_str()).unwrap(),
        attributes: BTreeMap::from([
            ("ifName".to_owned(), text(&link)),
            ("mode".to_owned(), text(word)),
            ("mtu".to_owned(), Attribute::Int(mtu)),
        ]),
        link,
        mode,
        state,
        max_virtual_devices: if mode == Mode::Shared { 64 } else { 1 },
        held_by_node: false,
    }
}

fn inventory(devices: impl IntoIterator<Item = Device>) -> Inventory {
    let named = devices
        .into_iter()
        .map(|device| (device.name.clone(), device));
    Inventory {
        devices: named.collect(),
        ..Inventory::default()
    }
}

fn shared(count: usize) -> Inventory {
    inventory((0..count).map(|index| device(index, Mode::Shared, LinkState::Up, 1500)))
}

/// The API server, as far as slices go.
fn store(stored: &mut Stored, writes: Vec<Write>) {
    let slices = &mut stored.slices;
    for write in writes {
        match write {
            Write::Create { name, spec } => assert!(slices.insert(name, spec).is_none()),
            Write::Update { name, spec } => assert!(slices.insert(name, spec).is_some()),
            Write::Delete { name } => assert!(slices.remove(&name).is_some()),
        }
    }
    let generations = slices.values().map(|spec| spec.pool.generation);
    stored.generation = generations.chain([stored.generation]).max().unwrap();
}

fn publish(inventory: &Inventory, stored: &mut Stored) {
    let writes = plan(&owner(), inventory, stored);
    store(stored, writes);
}

#[test]
fn a_slice_reads_as_the_api_wants_it() {
    let devices = inventory([
        device(0, Mode::Exclusive, LinkState::Down, 1500),
        device(1, Mode::Shared, LinkState::Up, 9000),
    ]);
    let writes = plan(&owner(), &devices, &Stored::default());
    let [Write::Create { name, spec }] = writes.as_slice() else {
        panic!("{writes:?}");
    };
    assert_eq!(name, "kind-worker-cni.dra.networking.x-k8s.io-839cf1c0-0");
    let expected = json!({
        "driver": "cni.dra.networking.x-k8s.io",
        "nodeName": "kind-worker",
        "pool": {"name": "kind-worker", "generation": 1, "resourceSliceCount": 1},
        "devices": [
            {
                "name": "eth0",
                "attributes": {
                    "ifName": {"string": "eth0"},
                    "mode": {"string": "exclusive"},
                    "mtu": {"int": 1500},
                },
                "taints": [{"key": "netclaim.dev/link", "value": "down", "effect": "NoSchedule"}],
            },
            {
                "name": "eth1",
                "attributes": {
                    "ifName": {"string": "eth1"},
                    "mode": {"string": "shared"},
                    "mtu": {"int": 9000},
                },
                "allowMultipleAllocations": true,
                "capacity": {
                    "maxVirtualDevices": {
                        "value": "64",
                        "requestPolicy": {"default": "1", "validValues": ["1"]},
                    },
                },
            },
        ],
    });
    assert_eq!(serde_json::to_value(spec).unwrap(), expected);
}

#[test]
fn names_are_valid_and_tell_all_pairs_apart() {
    let name = |node: &str, driver: &str| {
        let owner = Owner {
            driver: DriverName::parse(driver).unwrap(),
            node: NodeName::parse(node).unwrap(),
        };
        owner.slice_name(0)
    };
    assert_ne!(name("a", "b-c"), name("a-b", "c"));
    let long = name(&"n".repeat(253), &"d".repeat(253));
    assert!(long.len() <= 253, "{long}");
    let cut = name(&format!("{}.b", "a".repeat(99)), "d");
    assert!(!cut.contains(".-"), "{cut}");
}

#[test]
fn slices_are_cut_at_sixty_four_devices() {
    let check = |devices: usize, expected: &[usize]| {
        let mut stored = Stored::default();
        publish(&shared(devices), &mut stored);
        let mut sizes: Vec<usize> = stored
            .slices
            .values()
            .map(|spec| spec.devices.len())
            .collect();
        sizes.sort_by_key(|size| std::cmp::Reverse(*size));
        assert_eq!(sizes, expected);
        for spec in stored.slices.values() {
            assert_eq!(
                usize::try_from(spec.pool.resource_slice_count).unwrap(),
                expected.len()
            );
        }
    };
    check(0, &[]);
    check(1, &[1]);
    check(64, &[64]);
    check(65, &[64, 1]);
    check(200, &[64, 64, 64, 8]);
}

#[test]
fn a_deleted_slice_comes_back_as_it_was() {
    let devices = shared(100);
    let mut stored = Stored::default();
    publish(&devices, &mut stored);
    let whole = stored.clone();
    stored.slices.remove(&owner().slice_name(1));
    let writes = plan(&owner(), &devices, &stored);
    assert!(
        matches!(writes.as_slice(), [Write::Create { .. }]),
        "{writes:?}"
    );
    store(&mut stored, writes);
    assert_eq!(stored, whole);
}

#[test]
fn the_generation_never_goes_back() {
    let mut stored = Stored {
        generation: 7,
        ..Stored::default()
    };
    publish(&shared(1), &mut stored);
    assert_eq!(stored.generation, 7);
    publish(&shared(2), &mut stored);
    stored.slices.clear();
    publish(&shared(2), &mut stored);
    assert!(stored.slices.values().all(|spec| spec.pool.generation == 8));
}

#[test]
fn a_change_raises_the_generation_of_every_slice() {
    let mut stored = Stored::default();
    publish(&shared(100), &mut stored);
    let mut devices = shared(100);
    let first = devices.devices.values_mut().next().unwrap();
    first.state = LinkState::Gone;
    let writes = plan(&owner(), &devices, &stored);
    assert_eq!(writes.len(), 2);
    store(&mut stored, writes);
    assert!(stored.slices.values().all(|spec| spec.pool.generation == 2));
}

#[test]
fn slices_too_many_go_last() {
    let mut stored = Stored::default();
    publish(&shared(100), &mut stored);
    let writes = plan(&owner(), &shared(1), &stored);
    let name = owner().slice_name(1);
    assert!(matches!(
        writes.as_slice(),
        [Write::Update { .. }, Write::Delete { .. }]
    ));
    assert_eq!(writes[1], Write::Delete { name });
}

#[test]
fn the_time_of_a_taint_is_the_servers_and_is_kept() {
    let down = |mtu| inventory([device(0, Mode::Shared, LinkState::Down, mtu)]);
    let mut stored = Stored::default();
    publish(&down(1500), &mut stored);
    let time = "2026-01-01T00:00:00Z";
    let spec = stored.slices.values_mut().next().unwrap();
    spec.devices[0].taints[0].time_added = Some(time.to_owned());
    assert_eq!(plan(&owner(), &down(1500), &stored), []);
    let writes = plan(&owner(), &down(9000), &stored);
    let [Write::Update { spec, .. }] = writes.as_slice() else {
        panic!("{writes:?}");
    };
    assert_eq!(spec.devices[0].taints[0].time_added.as_deref(), Some(time));
}

#[test]
fn dropped_fields_are_named_and_not_fought_for() {
    let devices = inventory([device(0, Mode::Shared, LinkState::Down, 1500)]);
    let mut stored = Stored::default();
    publish(&devices, &mut stored);
    let sent = stored.slices.values().next().unwrap().clone();
    let row = &mut stored.slices.values_mut().next().unwrap().devices[0];
    row.taints.clear();
    row.allow_multiple_allocations = None;
    row.capacity.get_mut(CAPACITY).unwrap().request_policy = None;
    let found = dropped(&sent, stored.slices.values().next().unwrap());
    assert_eq!(found, [Dropped::Sharing, Dropped::Taints].into());
    assert_eq!(dropped(&sent, &sent), BTreeSet::new());
    assert_eq!(plan(&owner(), &devices, &stored).len(), 1);
    stored.dropped = found;
    assert_eq!(plan(&owner(), &devices, &stored), []);
}

#[test]
fn a_row_that_is_not_ours_is_not_read() {
    let odd = Row {
        name: "eth0".to_owned(),
        ..Row::default()
    };
    let spec = SliceSpec {
        devices: vec![odd],
        ..SliceSpec::default()
    };
    assert_eq!(read(&[("a".to_owned(), spec)].into()), Inventory::default());
}

fn any_device() -> impl Strategy<Value = Device> {
    let mode = prop_oneof![Just(Mode::Shared), Just(Mode::Exclusive)];
    let state = prop_oneof![
        Just(LinkState::Up),
        Just(LinkState::Down),
        Just(LinkState::Gone)
    ];
    (0..200_usize, mode, state, 68..9000_i64)
        .prop_map(|(i, mode, state, mtu)| device(i, mode, state, mtu))
}

proptest! {
    /// From any stored state, one plan reaches what is wanted, and a second one has nothing to do.
    #[test]
    fn a_plan_carried_out_leaves_nothing_to_plan(
        was in prop::collection::vec(any_device(), 0..150),
        is in prop::collection::vec(any_device(), 0..150),
        lost in any::<prop::sample::Index>(),
    ) {
        let (was, is) = (inventory(was), inventory(is));
        let mut stored = Stored::default();
        publish(&was, &mut stored);
        if !stored.slices.is_empty() {
            let name = stored.slices.keys().nth(lost.index(stored.slices.len())).unwrap().clone();
            stored.slices.remove(&name);
        }
        publish(&is, &mut stored);
        prop_assert_eq!(plan(&owner(), &is, &stored), []);
        prop_assert_eq!(read(&stored.slices), is.clone());

        let slices = is.devices.len().div_ceil(MAX_DEVICES);
        prop_assert_eq!(stored.slices.len(), slices);
        let generations: BTreeSet<i64> = stored.slices.values().map(|spec| spec.pool.generation).collect();
        prop_assert!(generations.len() <= 1);
    }
}
