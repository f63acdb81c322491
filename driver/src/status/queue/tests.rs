use serde_json::json;

use super::*;

fn claim(uid: &str) -> ClaimRef {
    serde_json::from_value(json!({"namespace": "default", "name": "c", "uid": uid})).unwrap()
}

/// A status that is told from another by one word.
fn devices(word: &str) -> Vec<DeviceStatus> {
    let status = json!([{
        "driver": "d", "pool": "n", "device": "eth1",
        "conditions": [{"type": "Ready", "status": "True", "reason": word, "message": "",
            "lastTransitionTime": 0}],
    }]);
    serde_json::from_value(status).unwrap()
}

struct World {
    queue: Queue,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            queue: Queue::default(),
            now: Instant::now(),
        }
    }

    fn want(&mut self, all: &[(&str, &str)]) {
        let all = all.iter().map(|(uid, word)| (claim(uid), devices(word)));
        self.queue.want(all, self.now);
    }

    /// Starts the next write; its claim, its word, and whether it is the last one.
    fn next(&mut self) -> Option<(Job, String)> {
        let job = self.queue.next(self.now)?;
        let word = job
            .devices
            .first()
            .map_or("-", |device| device.conditions[0].reason.as_str());
        let last = if job.last { " last" } else { "" };
        let line = format!("{} {word}{last}", job.claim.uid);
        Some((job, line))
    }

    /// Carries out everything that is due.
    fn drain(&mut self, ending: Ending) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some((job, line)) = self.next() {
            self.queue.done(&job, ending, self.now);
            lines.push(line);
        }
        lines
    }
}

#[test]
fn what_is_written_is_not_written_again() {
    let mut world = World::new();
    world.want(&[("a", "One"), ("b", "One")]);
    assert_eq!(world.drain(Ending::Written), ["a One", "b One"]);
    world.want(&[("a", "One"), ("b", "Two")]);
    assert_eq!(world.drain(Ending::Written), ["b Two"]);
    world.want(&[("a", "One"), ("b", "Two")]);
    assert_eq!(world.drain(Ending::Written), [""; 0]);
}

#[test]
fn what_changes_during_a_write_is_written_once_after_it() {
    let mut world = World::new();
    world.want(&[("a", "One")]);
    let (job, _) = world.next().unwrap();
    world.want(&[("a", "Two")]);
    world.want(&[("a", "Three")]);
    assert!(world.next().is_none(), "one write per claim at a time");
    world.queue.done(&job, Ending::Written, world.now);
    assert_eq!(world.drain(Ending::Written), ["a Three"]);
}

#[test]
fn failures_are_tried_again_ever_more_slowly() {
    let mut world = World::new();
    world.want(&[("a", "One")]);
    let mut waits = Vec::new();
    for _ in 0..10 {
        assert_eq!(world.drain(Ending::Failed), ["a One"]);
        let due = world.queue.due(world.now).unwrap();
        waits.push((due - world.now).as_millis());
        world.now = due;
    }
    assert_eq!(
        waits,
        [
            500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000
        ]
    );
    assert_eq!(world.drain(Ending::Written), ["a One"]);
    assert_eq!(world.queue.due(world.now), None);
}

#[test]
fn a_claim_that_is_given_back_is_emptied_and_forgotten() {
    let mut world = World::new();
    world.want(&[("a", "One")]);
    world.drain(Ending::Written);
    world.want(&[]);
    assert_eq!(world.drain(Ending::Written), ["a - last"]);
    assert!(world.queue.entries.is_empty());
}

#[test]
fn a_claim_of_which_nothing_was_written_is_forgotten_in_silence() {
    let mut world = World::new();
    world.want(&[("a", "One")]);
    world.drain(Ending::Failed);
    world.want(&[]);
    assert!(world.queue.entries.is_empty());
}

#[test]
fn a_claim_given_back_during_its_write_is_emptied_after_it() {
    let mut world = World::new();
    world.want(&[("a", "One")]);
    let (job, _) = world.next().unwrap();
    world.want(&[]);
    world.queue.done(&job, Ending::Written, world.now);
    assert_eq!(world.drain(Ending::Written), ["a - last"]);
    assert!(world.queue.entries.is_empty());
}

#[test]
fn nothing_is_said_of_a_claim_that_is_gone() {
    let mut world = World::new();
    world.want(&[("a", "One")]);
    assert_eq!(world.drain(Ending::Gone), ["a One"]);
    world.want(&[("a", "Two")]);
    assert_eq!(world.drain(Ending::Gone), [""; 0]);
    world.want(&[]);
    assert!(world.queue.entries.is_empty());
}

#[test]
fn what_is_on_its_way_is_told_only_when_it_lasts() {
    let mut world = World::new();
    let start = world.now;
    world.want(&[("a", "WaitingForSandbox"), ("b", "WaitingForSandbox")]);
    assert_eq!(world.drain(Ending::Written), [""; 0]);
    let due = world.queue.due(world.now).unwrap();
    world.now += Duration::from_secs(1);
    world.want(&[("a", "Attaching"), ("b", "Attached")]);
    assert_eq!(world.drain(Ending::Written), ["b Attached"]);
    assert_eq!(
        world.queue.due(world.now),
        Some(due),
        "one step after another is one way"
    );
    world.now = due;
    assert_eq!(world.drain(Ending::Written), ["a Attaching"]);
    assert_eq!(due - start, PASSING);
    world.want(&[("a", "Attached"), ("b", "Detaching")]);
    assert_eq!(world.drain(Ending::Written), ["a Attached"]);
    world.want(&[("a", "Attached")]);
    assert_eq!(world.drain(Ending::Written), ["b - last"]);
}
