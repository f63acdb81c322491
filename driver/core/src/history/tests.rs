use super::*;

#[test]
fn a_quarter_of_an_hour_is_kept() {
    let mut history = History::default();
    let key = key("a");
    for tick in 0..200 {
        history.record(seconds(tick * 10), [(&key, bytes(tick), None)]);
    }
    let kept: Vec<_> = history
        .of(&key)
        .map(|sample| sample.counters.rx.bytes)
        .collect();
    assert_eq!(kept, (109..200).collect::<Vec<_>>());
}

#[test]
fn what_ended_keeps_its_samples_until_they_are_old() {
    let mut history = History::default();
    let key = key("a");
    history.record(seconds(0), [(&key, bytes(1), None)]);
    for tick in 1..=90 {
        history.record(seconds(tick * 10), [(&key, bytes(2), Some(seconds(7)))]);
    }
    let kept: Vec<_> = history.of(&key).map(|sample| sample.at).collect();
    assert_eq!(kept, [seconds(0), seconds(7)]);
    history.record(seconds(908), []);
    assert_eq!(history.keys().count(), 0);
}

#[test]
fn a_rate_is_what_passed_per_second() {
    let sample = |at, n| Sample {
        at: seconds(at),
        counters: bytes(n),
    };
    let rate = Rate::between(&sample(10, 100), &sample(20, 1_100)).unwrap();
    assert!((rate.rx.bytes - 100.0).abs() < 1e-9);
    assert!(rate.tx.bytes.abs() < 1e-9);
    // A counter that began again says nothing rather than something huge.
    let again = Rate::between(&sample(10, 100), &sample(20, 5)).unwrap();
    assert!(again.rx.bytes.abs() < 1e-9);
    assert_eq!(Rate::between(&sample(10, 100), &sample(10, 200)), None);
}

#[test]
fn each_reader_gets_the_highest_second_since_its_own_last_look() {
    let mut peaks = Peaks::default();
    assert_eq!(look(&mut peaks, "slow", 0, 1), 1);
    assert_eq!(look(&mut peaks, "fast", 0, 1), 1);
    see(&mut peaks, 1, 900);
    assert_eq!(look(&mut peaks, "fast", 2, 5), 900);
    see(&mut peaks, 3, 7);
    assert_eq!(look(&mut peaks, "fast", 4, 5), 7);
    assert_eq!(look(&mut peaks, "slow", 4, 5), 900);
    assert_eq!(look(&mut peaks, "slow", 5, 5), 5);
}

#[test]
fn a_reader_that_stays_away_costs_nothing() {
    let mut peaks = Peaks::default();
    look(&mut peaks, "gone", 0, 1);
    see(&mut peaks, 301, 900);
    assert_eq!(look(&mut peaks, "gone", 302, 1), 1);

    for reader in 0..200 {
        look(&mut peaks, &reader.to_string(), 303 + reader, 1);
    }
    see(&mut peaks, 510, 900);
    assert_eq!(look(&mut peaks, "0", 511, 1), 1);
    assert_eq!(look(&mut peaks, "199", 511, 1), 900);
}

fn see(peaks: &mut Peaks<String>, at: u64, peak: u64) {
    let key = key("a");
    peaks.observe(seconds(at), &[(&key, peak_of(peak))]);
}

fn look(peaks: &mut Peaks<String>, reader: &str, at: u64, peak: u64) -> u64 {
    let (key, mut counters) = (key("a"), peak_of(peak));
    peaks.read(
        &reader.to_owned(),
        seconds(at),
        [(&key, &mut counters)].into_iter(),
    );
    counters.rx.peak_bytes_per_second
}

fn key(sandbox: &str) -> Key {
    Key {
        sandbox: sandbox.parse().unwrap(),
        if_name: "net1".parse().unwrap(),
    }
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000)
}

fn bytes(bytes: u64) -> Counters {
    Counters {
        rx: Traffic {
            bytes,
            ..Traffic::default()
        },
        ..Counters::default()
    }
}

fn peak_of(peak_bytes_per_second: u64) -> Counters {
    let rx = Traffic {
        peak_bytes_per_second,
        ..Traffic::default()
    };
    Counters {
        rx,
        ..Counters::default()
    }
}
