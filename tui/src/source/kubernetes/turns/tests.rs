//! Few nodes are all listened to; of many each has its turn, and the screen's keep their places.

use std::collections::BTreeSet;

use std::time::Duration;

use super::*;

fn node(n: usize) -> NodeName {
    format!("node-{n:02}").parse().unwrap()
}

fn turns(count: usize) -> Turns {
    let mut turns = Turns::default();
    (0..count).for_each(|n| turns.join(&node(n)));
    turns
}

/// Everybody who is listened to speaks once.
fn speak(turns: &mut Turns) {
    let speaking = turns.listening().map(|(node, _)| node.clone());
    for node in speaking.collect::<Vec<_>>() {
        turns.heard(&node);
    }
}

fn listening(turns: &Turns) -> BTreeSet<NodeName> {
    turns.listening().map(|(node, _)| node.clone()).collect()
}

#[test]
fn few_nodes_are_listened_to_for_good() {
    let (mut turns, now) = (turns(PLACES), Instant::now());
    let plan = turns.plan(&[], now);
    assert_eq!(plan.call.len(), PLACES);
    for _ in 0..5 {
        speak(&mut turns);
        assert_eq!(turns.plan(&[node(3)], now), Plan::default());
    }
}

#[test]
fn of_many_nodes_each_has_its_turn() {
    let (mut turns, now) = (turns(20), Instant::now());
    let mut heard = BTreeSet::new();
    // Twice as many snapshots as make a turn of each node, eight at once.
    for round in 0..6 {
        turns.plan(&[], now + Duration::from_secs(round));
        let at_once = listening(&turns);
        assert_eq!(at_once.len(), PLACES);
        heard.extend(at_once);
        speak(&mut turns);
    }
    assert_eq!(heard.len(), 20);
}

#[test]
fn what_the_screen_shows_keeps_its_places_and_one_goes_round() {
    let (mut turns, now) = (turns(20), Instant::now());
    let wanted = (0..10).rev().map(node).collect::<Vec<_>>();
    let kept = wanted[..KEPT].iter().cloned().collect::<BTreeSet<_>>();
    let mut heard = BTreeSet::new();
    for round in 0..40 {
        turns.plan(&wanted, now + Duration::from_secs(round));
        let at_once = listening(&turns);
        assert!(at_once.is_superset(&kept), "round {round}: {at_once:?}");
        assert_eq!(at_once.len(), PLACES);
        heard.extend(at_once);
        speak(&mut turns);
    }
    assert_eq!(heard.len(), 20, "nobody is forgotten");
}

#[test]
fn a_node_that_comes_into_view_is_next() {
    let (mut turns, now) = (turns(20), Instant::now());
    turns.plan(&[], now);
    speak(&mut turns);
    speak(&mut turns);
    let plan = turns.plan(&[node(19)], now);
    assert_eq!(plan.call.first(), Some(&node(19)));
    assert_eq!(plan.hang_up.len(), plan.call.len(), "turns were over");
}

#[test]
fn who_fails_waits_longer_each_time_and_holds_no_place() {
    let (mut turns, mut now) = (turns(20), Instant::now());
    let failing = node(0);
    let wanted = std::slice::from_ref(&failing);
    turns.plan(wanted, now);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        turns.failed(&failing, now);
        let plan = turns.plan(wanted, now);
        assert!(!plan.call.contains(&failing));
        assert_eq!(listening(&turns).len(), PLACES, "another has the place");
        let again = turns.next().unwrap();
        pauses.push((again - now).as_millis());
        now = again;
        speak(&mut turns);
        speak(&mut turns);
        assert!(turns.plan(wanted, now).call.contains(&failing));
    }
    assert_eq!(
        pauses,
        [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
    );
    turns.failed(&failing, now);
    turns.join(&failing);
    speak(&mut turns);
    speak(&mut turns);
    let plan = turns.plan(wanted, now);
    assert!(plan.call.contains(&failing), "a new relay is tried at once");
}
