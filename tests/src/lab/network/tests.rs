use super::*;

fn talk() -> (LabName, Topology) {
    ("l".parse().unwrap(), Topology::of_the_talk(2).unwrap())
}

#[test]
fn the_switch_joins_every_link_to_its_lan() {
    let (lab, topology) = talk();
    insta::assert_snapshot!(switch_batch(&lab, &topology), @"");
}

#[test]
fn a_worker_reaches_pods_and_the_api_through_their_nodes() {
    let (_, topology) = talk();
    insta::assert_snapshot!(node_batch(&topology, &topology.nodes[1]), @"");
}

#[test]
fn the_control_plane_is_the_api_service() {
    let (_, topology) = talk();
    insta::assert_snapshot!(node_batch(&topology, &topology.nodes[0]), @"");
}
