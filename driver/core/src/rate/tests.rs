use super::*;

fn bytes(rx: u64, tx: u64) -> Counters {
    let traffic = |bytes| Traffic {
        packets: bytes / 100,
        segments: bytes / 50,
        bytes,
        peak_bytes_per_second: 0,
    };
    Counters {
        rx: traffic(rx),
        tx: traffic(tx),
    }
}

#[test]
fn a_rate_is_what_passed_over_the_time_it_took() {
    let check = |old: (u64, Counters), new: (u64, Counters), expected: Option<(u64, u64)>| {
        let rates = Rates::between((Timestamp(old.0), &old.1), (Timestamp(new.0), &new.1));
        assert_eq!(rates.map(|r| (r.rx.bytes, r.tx.bytes)), expected);
    };
    let (zero, one) = (bytes(0, 0), bytes(1_000, 500));
    check((0, zero), (1_000, one), Some((1_000, 500)));
    check((0, zero), (500, one), Some((2_000, 1_000)));
    check((0, zero), (3_000, one), Some((333, 167)));
    check((5_000, one), (6_000, one), Some((0, 0)));
    // The driver's map was made anew.
    check((0, one), (1_000, zero), Some((0, 0)));
    // The clock went back, or the same reading came twice.
    check((1_000, zero), (1_000, one), None);
    check((2_000, zero), (1_000, one), None);
    check((0, zero), (1, bytes(u64::MAX, 1)), Some((u64::MAX, 1_000)));
}

#[test]
fn packets_and_segments_have_their_own_rates() {
    let rates = Rates::between(
        (Timestamp(0), &bytes(0, 0)),
        (Timestamp(2_000), &bytes(2_000, 4_000)),
    );
    let rates = rates.expect("time passed");
    assert_eq!((rates.rx.packets, rates.rx.segments), (10, 20));
    assert_eq!((rates.tx.packets, rates.tx.segments), (20, 40));
}
