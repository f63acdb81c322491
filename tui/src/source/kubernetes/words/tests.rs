use netclaim_core::claim::PodRef;

use super::*;

fn relay() -> RelayRow {
    RelayRow {
        pod: PodRef {
            namespace: "netclaim-relay".parse().unwrap(),
            name: "netclaim-relay-x4k2p".parse().unwrap(),
            uid: "u".parse().unwrap(),
        },
        node: "kind-worker".parse().unwrap(),
        port: 10_477,
        stopped: None,
    }
}

fn said(code: u16, message: &str) -> kube::Error {
    let status = kube::core::Status {
        code,
        message: message.to_owned(),
        ..kube::core::Status::default()
    };
    kube::Error::Api(Box::new(status))
}

#[test]
fn a_refused_forward_names_the_right_that_is_missing() {
    let check = |code, message: &str, expected: &str| {
        assert_eq!(unforwarded(&relay(), &said(code, message)), expected);
    };
    let forbidden = |verb: &str| {
        format!(
            "pods \"netclaim-relay-x4k2p\" is forbidden: User \"reader\" cannot {verb} resource \
             \"pods/portforward\" in API group \"\" in the namespace \"netclaim-relay\""
        )
    };
    let right = |verb: &str| {
        format!(
            "no right to {verb} pods/portforward in namespace netclaim-relay: bind Role \
             netclaim-dra-top of that namespace"
        )
    };
    check(403, &forbidden("get"), &right("get"));
    check(403, &forbidden("create"), &right("create"));
    check(403, "no", &right("get and create"));
    check(
        404,
        "pods \"netclaim-relay-x4k2p\" not found",
        "its relay, pod netclaim-relay-x4k2p, is gone",
    );
    check(
        502,
        "error dialing backend: connection refused",
        "the API server does not reach its relay, pod netclaim-relay-x4k2p: error dialing \
         backend: connection refused",
    );
}

#[test]
fn a_refused_watch_names_the_role_that_has_the_right() {
    let check = |kind, scope, expected: &str| {
        let state = unwatched("list", kind, scope, &said(403, "no"));
        let missing = expected.to_owned();
        assert_eq!(state, WatchState::Denied { missing });
    };
    check(
        Kind::Pods,
        "in namespace demo",
        "list pods in namespace demo: bind ClusterRole netclaim-dra-top",
    );
    check(
        Kind::Relays,
        "in namespace netclaim-relay",
        "list pods in namespace netclaim-relay: bind Role netclaim-dra-top of that namespace",
    );
}
