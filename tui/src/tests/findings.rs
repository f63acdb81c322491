//! The page of what is wrong, by what the driver shows.

use std::sync::Arc;

use netclaim_core::{
    cluster::{Change, Recorded},
    inventory::LinkState,
    snapshot::{InterfaceState, Snapshot},
};

use super::{frame, model, press, talk};

/// Two attached interfaces of the talk, and the devices; nothing is wrong with any.
fn well() -> Snapshot {
    let mut snapshot = talk::snapshot(0);
    snapshot.findings.clear();
    snapshot
        .interfaces
        .retain(|interface| interface.state == InterfaceState::Attached);
    snapshot.interfaces.truncate(2);
    snapshot.claims.clear();
    snapshot
}

fn page(snapshot: Snapshot) -> String {
    let mut model = model(vec![Recorded {
        at: snapshot.taken,
        change: Change::Snapshot {
            snapshot: Arc::new(snapshot),
        },
    }]);
    press(&mut model, "!");
    frame(&mut model, 120, 24)
}

#[test]
fn nothing_is_found_where_all_is_well() {
    let page = page(well());
    assert!(page.contains("Nothing was found"), "{page}");
}

#[test]
fn what_the_marks_count_is_told_and_once_for_all_that_share_it() {
    let mut snapshot = well();
    let mut names = Vec::new();
    for interface in &mut snapshot.interfaces {
        interface.late = true;
        names.push(format!("pod/demo/{} net1", interface.pod.name));
    }
    snapshot.devices[1].device.state = LinkState::Down;
    let page = page(snapshot);
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let late = format!(
        "▲ {} and {}: a container had already run when the interface came",
        names[0], names[1]
    );
    assert!(words.contains(&late), "expected {late:?} in {page}");
    let down = "✖ device/kind-worker/eth1: its link is down";
    assert!(words.contains(down), "expected {down:?} in {page}");
    assert!(!words.contains("Nothing was found"), "{page}");
}
