use super::*;

fn counters(rx: (u64, u64), tx: (u64, u64)) -> Counters {
    let traffic = |(packets, peak_bytes_per_second)| Traffic {
        packets,
        peak_bytes_per_second,
        ..Traffic::default()
    };
    Counters {
        rx: traffic(rx),
        tx: traffic(tx),
    }
}

fn check(samples: &[Counters], rx: u64, tx: u64) {
    let mut peaks = Peaks::default();
    for sample in samples {
        peaks.sample(sample);
    }
    assert_eq!(peaks.take(), Bursts { rx, tx }, "{samples:?}");
    assert_eq!(peaks.take(), Bursts::default(), "taken twice");
}

#[test]
fn the_highest_of_all_samples_is_taken_once() {
    check(&[], 0, 0);
    check(&[counters((1, 10), (1, 3))], 10, 3);
    check(
        &[counters((1, 10), (1, 3)), counters((2, 5), (2, 7))],
        10,
        7,
    );
}

#[test]
fn a_burst_of_an_idle_interface_is_not_seen_again() {
    let mut peaks = Peaks::default();
    peaks.sample(&counters((1, 10), (1, 3)));
    peaks.take();
    peaks.sample(&counters((1, 10), (2, 3)));
    assert_eq!(peaks.take(), Bursts { rx: 0, tx: 3 });
}

#[test]
fn two_readers_do_not_take_from_each_other() {
    let mut readers = [Peaks::default(); 2];
    readers[0].sample(&counters((1, 10), (0, 0)));
    readers[1].sample(&counters((1, 10), (0, 0)));
    assert_eq!(readers[0].take().rx, 10);
    assert_eq!(readers[1].take().rx, 10);
}
