//! Nodes that are heard in turns, that are lost, and that are gone; and pods that wait.

use super::*;

fn agent(state: AgentState) -> Change {
    let endpoint = "relay on worker".to_owned();
    Change::Agent { endpoint, state }
}

fn worker() -> NodeName {
    "worker".parse().unwrap()
}

fn readings() -> Vec<Change> {
    let reading = |taken, bytes| {
        let interface = interface(1, InterfaceState::Attached, Some(bytes));
        snapshot(node("worker", taken, &[1], vec![interface]))
    };
    let connected = AgentState::Connected { node: worker() };
    vec![
        agent(AgentState::Connecting),
        agent(connected),
        reading(0, 100),
        reading(2_000, 500),
    ]
}

#[test]
fn a_node_that_rests_keeps_its_rates_and_a_lost_one_has_none() {
    let check = |state, expected: Option<u64>| {
        let mut changes = readings();
        changes.push(agent(state));
        let cluster = cluster(changes);
        let line = cluster.interfaces().next().expect("one interface");
        let rates = line.rates(Timestamp(60_000));
        assert_eq!(rates.map(|rates| rates.rx.bytes), expected);
    };
    let (node, why) = (worker(), "no right".to_owned());
    check(AgentState::Resting { node }, Some(200));
    let node = Some(worker());
    check(AgentState::Lost { node, why }, None);
    check(AgentState::Connecting, None);
}

#[test]
fn a_node_that_is_gone_is_forgotten() {
    let mut changes = readings();
    changes.push(agent(AgentState::Resting { node: worker() }));
    changes.push(agent(AgentState::Gone { node: worker() }));
    assert_eq!(cluster(changes), Cluster::default());
}

#[test]
fn history_begins_anew_after_a_gap() {
    let reading = |taken: u64| {
        let interface = interface(1, InterfaceState::Attached, Some(taken));
        snapshot(node("worker", taken, &[1], vec![interface]))
    };
    let mut cluster = Cluster::default();
    for at in [0, 1_000, 2_000, 30_000] {
        cluster.apply(reading(at), Timestamp(at));
    }
    let line = cluster.interfaces().next().expect("one interface");
    let flow = line.seen.and_then(|seen| seen.flow).expect("a flow");
    assert_eq!(flow.history.len(), 1, "the mean over the gap");
}

#[test]
fn who_waits_is_said_by_the_node_or_else_by_the_claim() {
    let words = "claim demo/claim-1 already serves pod pod-1";
    let shared = |refused: bool| {
        let mut change = claim(1, Some(true), true);
        if let Change::Upserted {
            object: Object::Claim(row),
        } = &mut change
        {
            row.reserved_for = vec![pod_ref(1), pod_ref(2)];
            let status = row.devices[0].status.as_mut().unwrap();
            status.conditions.push(ConditionRow {
                kind: "PodRefused".into(),
                holds: Some(refused),
                reason: "ClaimInUse".into(),
                message: words.into(),
            });
        }
        change
    };
    let check = |changes: Vec<Change>, expected: Option<&str>| {
        let cluster = cluster(changes);
        let line = cluster.claim(&uid(1)).expect("known");
        assert_eq!(line.reason(&cluster).as_deref(), expected);
        assert_eq!(
            line.phase(),
            ClaimPhase::Ready,
            "for the pod that it serves"
        );
    };
    let said = format!("pod pod-2 waits: {words}");
    check(vec![shared(true)], Some(&said));
    check(vec![shared(false)], None);

    let seen = |awaited| {
        let attached = interface(1, InterfaceState::Attached, None);
        let mut node = node("worker", 0, &[1], vec![attached]);
        node.claims[0].awaited = awaited;
        snapshot(node)
    };
    let awaited = crate::snapshot::Awaited {
        pods: vec![pod_ref(2), pod_ref(3)],
        since: Timestamp(0),
        failure: Failure {
            step: Step::Plan,
            reason: "ClaimInUse".into(),
            code: "claim_in_use".into(),
            message: words.to_owned(),
        },
    };
    let said = format!("2 pods wait: {words}");
    check(vec![seen(Some(awaited))], Some(&said));
    // The node knows best that nobody waits any more.
    check(vec![shared(true), seen(None)], None);
}
