use super::*;

fn talk() -> (LabName, Topology) {
    ("l".parse().unwrap(), Topology::of_the_talk(2).unwrap())
}

#[test]
fn the_switch_joins_every_link_to_its_lan() {
    let (lab, topology) = talk();
    insta::assert_snapshot!(switch_batch(&lab, &topology), @r"
    link set lo up
    link add br0 type bridge
    link set br0 up
    link add br1 type bridge
    link set br1 up
    addr add 10.89.0.1/24 dev br0
    link add p10-eth0 type veth peer name eth0 netns l.kind-control-plane
    link set p10-eth0 master br0 up
    link add p11-eth0 type veth peer name eth0 netns l.kind-worker
    link set p11-eth0 master br0 up
    link add p11-eth1 type veth peer name eth1 netns l.kind-worker
    link set p11-eth1 master br1 up
    ");
}

#[test]
fn a_worker_reaches_pods_and_the_api_through_their_nodes() {
    let (_, topology) = talk();
    insta::assert_snapshot!(node_batch(&topology, &topology.nodes[1]), @r"
    link set lo up
    link set eth0 up
    link set eth1 up
    addr add 10.89.0.11/24 dev eth0
    route add default via 10.89.0.1
    route add 10.244.10.0/24 via 10.89.0.10
    route add 10.96.0.1 via 10.89.0.10
    ");
}

#[test]
fn the_control_plane_is_the_api_service() {
    let (_, topology) = talk();
    insta::assert_snapshot!(node_batch(&topology, &topology.nodes[0]), @r"
    link set lo up
    link set eth0 up
    addr add 10.89.0.10/24 dev eth0
    route add default via 10.89.0.1
    route add 10.244.11.0/24 via 10.89.0.11
    addr add 10.96.0.1/32 dev lo
    ");
}
