use serde_json::json;

use super::super::offer::Offers;
use super::all_match;
use crate::world::apiserver::ApiServer;
use crate::world::apiserver::resource::SLICES;

#[tokio::test]
async fn the_talks_expressions() {
    let api = ApiServer::new().unwrap();
    let device = json!({"name": "eth1", "attributes": {"name": {"string": "eth1"},
        "mtu": {"int": 1500}, "resource.kubernetes.io/pciBusID": {"string": "0000:00:01.0"}}});
    let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "cni.dra.networking.x-k8s.io",
        "nodeName": "n", "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1},
        "devices": [device]}});
    api.store.create(SLICES, "", slice, "test").unwrap();
    for (expression, expected) in [
        (
            "device.driver == \"cni.dra.networking.x-k8s.io\"",
            Some(true),
        ),
        (
            "device.attributes[\"cni.dra.networking.x-k8s.io\"].name == \"eth1\"",
            Some(true),
        ),
        (
            "device.attributes[\"cni.dra.networking.x-k8s.io\"].name == \"eth0\"",
            Some(false),
        ),
        (
            "device.attributes[\"cni.dra.networking.x-k8s.io\"].mtu > 1400",
            Some(true),
        ),
        (
            "\"resource.kubernetes.io\" in device.attributes",
            Some(true),
        ),
        (
            "device.attributes[\"cni.dra.networking.x-k8s.io\"].speed > 1",
            None,
        ),
        ("device.driver", None),
    ] {
        let found = Offers::of_node(&api.store, "n")
            .take(&json!({}), |offer| all_match(&[expression], offer));
        assert_eq!(
            found.map(|found| found.is_some()).ok(),
            expected,
            "{expression}"
        );
    }
}
