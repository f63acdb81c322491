use super::*;

fn talk(nodes: usize) -> Topology {
    Topology::of_the_talk(nodes).unwrap()
}

#[test]
fn the_talks_cluster_has_eth1_on_one_node_only() {
    let topology = talk(3);
    let links: Vec<(&str, Vec<&str>)> = topology
        .nodes
        .iter()
        .map(|node| {
            let links = node.links.iter().map(|link| link.name.as_str());
            (node.name.as_str(), links.collect())
        })
        .collect();
    assert_eq!(
        links,
        [
            ("kind-control-plane", vec!["eth0"]),
            ("kind-worker", vec!["eth0", "eth1"]),
            ("kind-worker2", vec!["eth0"]),
        ]
    );
    assert_eq!(topology.lans(), ["br0", "br1"]);
}

#[test]
fn nodes_differ_in_name_address_and_pod_network() {
    let topology = talk(MOST_NODES);
    let mut seen = std::collections::BTreeSet::new();
    for node in &topology.nodes {
        let facts = [
            node.name.clone(),
            node.address().to_string(),
            node.pod_network(),
        ];
        for fact in facts {
            assert!(seen.insert(fact.clone()), "{fact} twice");
        }
    }
    assert_eq!(topology.control_plane().unwrap().name, "kind-control-plane");
}

#[test]
fn a_lab_of_no_nodes_or_too_many_is_refused() {
    for nodes in [0, MOST_NODES + 1] {
        let refusal = Topology::of_the_talk(nodes).unwrap_err();
        assert!(
            refusal.contains(&format!("{nodes} were asked for")),
            "{refusal}"
        );
    }
}

#[test]
fn one_labs_namespaces_are_never_anothers() {
    let owned_by = |lab: &str, namespace: &str| {
        let lab: LabName = lab.parse().unwrap();
        lab.owns_namespace(namespace)
    };
    let a: LabName = "a".parse().unwrap();
    assert!(owned_by("a", &a.namespace("kind-worker")));
    assert!(!owned_by("a", "a-b.kind-worker"));
    assert!(!owned_by("a-b", "a.kind-worker"));
    assert!(!owned_by("a", "a"));
}

#[test]
fn names_that_could_leave_their_folder_are_refused() {
    let long = "a".repeat(33);
    for name in ["", "..", "a/b", "a.b", "A", long.as_str()] {
        let refusal = name.parse::<LabName>().unwrap_err();
        assert!(
            refusal.contains("expected 1 to 32 of a-z, 0-9 and -"),
            "{refusal}"
        );
    }
}

#[test]
fn more_links_are_plugged_into_nodes_that_exist() {
    let mut topology = talk(3);
    let mut plug = |text: &str| {
        text.parse::<ExtraLink>()
            .and_then(|link| topology.plug(link))
    };
    assert_eq!(plug("kind-worker2:eth1:br2"), Ok(()));
    assert_eq!(
        plug("kind-worker2:eth1:br1"),
        Err("kind-worker2 has a eth1 already".to_owned())
    );
    assert_eq!(
        plug("nobody:eth1:br1"),
        Err("there is no node \"nobody\" to plug a link into".to_owned())
    );
    assert!(plug("kind-worker2:eth1").is_err());
    assert_eq!(topology.lans(), ["br0", "br1", "br2"]);
}

#[test]
fn a_mixed_lab_has_the_old_runtime_where_the_talk_runs() {
    use super::super::runtime::Runtimes;
    let mut topology = talk(3);
    topology.equip(Runtimes::Mixed);
    let old = |node: &&Node| node.runtime == Runtime::Containerd17;
    let old: Vec<_> = topology.nodes.iter().filter(old).collect();
    assert_eq!(old.len(), 1);
    assert_eq!(old[0].name, "kind-worker");
}
