//! The talk's demo seen through the relays of three nodes.

use std::sync::Arc;

use netclaim_core::{
    claim::PodRef,
    cluster::{AgentState, Change, Object, Recorded, RelayRow},
    failure::{Failure, Step},
    name::NodeName,
    snapshot::{Awaited, Finding, Severity, Snapshot},
    time::Timestamp,
};

use super::{START, changes, pod_ref, suffix, whole};

/// The same from afar: kind-worker speaks, kind-worker2 may not be asked, kind-worker3 was heard a
/// while ago, and a second pod waits for a claim of kind-worker.
pub(crate) fn through_relays() -> Vec<Recorded> {
    let agent = |node: &str, state| Change::Agent {
        endpoint: format!("relay on {node}"),
        state,
    };
    let name = |node: &str| node.parse::<NodeName>().unwrap();
    let mut rested = whole(Timestamp(START), 0, 1);
    rested.node = name("kind-worker3");
    rested.claims.clear();
    rested.findings.clear();
    for interface in &mut rested.interfaces {
        interface.claim.uid = "c1a1d000-0000-4000-8000-000000000099".parse().unwrap();
        interface.pod.name = "resting-0".parse().unwrap();
    }
    let resting = AgentState::Resting {
        node: name("kind-worker3"),
    };
    let lost = AgentState::Lost {
        node: Some(name("kind-worker2")),
        why: "no right to create pods/portforward in namespace netclaim-relay: bind Role \
              netclaim-dra-top of that namespace"
            .to_owned(),
    };
    let connected = AgentState::Connected {
        node: name("kind-worker"),
    };
    let mut all = vec![
        Change::Snapshot {
            snapshot: Arc::new(rested),
        },
        agent("kind-worker", connected),
        agent("kind-worker2", lost),
        agent("kind-worker3", resting),
    ];
    for node in ["kind-worker", "kind-worker2", "kind-worker3"] {
        all.push(Change::Upserted {
            object: Object::Relay(relay(node)),
        });
    }
    let at = Timestamp(START);
    let mut told = all
        .into_iter()
        .map(|change| Recorded { at, change })
        .collect::<Vec<_>>();
    let of_unix = |change: &Recorded| matches!(change.change, Change::Agent { .. });
    told.extend(changes().into_iter().filter(|change| !of_unix(change)));
    for change in &mut told {
        let at = change.at;
        if let Change::Snapshot { snapshot } = &mut change.change {
            wait(Arc::make_mut(snapshot), at);
        }
    }
    told
}

fn relay(node: &str) -> RelayRow {
    RelayRow {
        pod: PodRef {
            namespace: "netclaim-relay".parse().unwrap(),
            name: format!("netclaim-relay-{}", suffix(node.len() as u64))
                .parse()
                .unwrap(),
            uid: format!("relay-of-{node}").parse().unwrap(),
        },
        node: node.parse().unwrap(),
        port: 10_477,
        stopped: None,
    }
}

/// A pod that has come for the claim of the first.
fn wait(snapshot: &mut Snapshot, at: Timestamp) {
    let Some(state) = snapshot.claims.first_mut() else {
        return;
    };
    let waiter = PodRef {
        name: "shared-second".parse().unwrap(),
        uid: "70d00000-0000-4000-8000-000000000077".parse().unwrap(),
        ..pod_ref(0)
    };
    let message = format!(
        "claim {}/{} already serves pod {}; give each pod its own with a ResourceClaimTemplate",
        state.claim.namespace,
        state.claim.name,
        pod_ref(0).name
    );
    let failure = Failure {
        step: Step::Plan,
        reason: "ClaimInUse".into(),
        code: "claim_in_use".into(),
        message,
    };
    snapshot.findings.push(Finding {
        rule: "claim_in_use".to_owned(),
        severity: Severity::Warning,
        subject: format!("claim/{}/{}", state.claim.namespace, state.claim.name),
        message: format!("shared-second waits for 7 s: {}", failure.message),
    });
    state.awaited = Some(Awaited {
        pods: vec![waiter],
        since: at,
        failure,
    });
}
