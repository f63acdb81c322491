use std::cell::Cell;

use super::*;

const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
net1: 4200 30 1 2 0 0 0 7 9000 60 0 4 0 0 0 0
net1.5:100 2 0 0 0 0 0 0 300 4 0 0 0 0 0 0
";

fn rx(packets: u64) -> Counters {
    let rx = Traffic {
        packets,
        segments: packets,
        bytes: 100 * packets,
        ..Traffic::default()
    };
    Counters {
        rx,
        ..Counters::default()
    }
}

#[test]
fn the_line_of_a_link_is_read_whole() {
    let read = counters(line_of(DEV, "net1").unwrap()).unwrap();
    assert_eq!(
        (read.rx.packets, read.rx.bytes, read.rx.segments),
        (30, 4200, 30)
    );
    assert_eq!(
        (read.tx.packets, read.tx.bytes, read.tx.segments),
        (64, 9000, 64)
    );
    assert_eq!(
        counters(line_of(DEV, "net1.5").unwrap())
            .unwrap()
            .tx
            .packets,
        4
    );
    assert_eq!(line_of(DEV, "net"), None);
    assert_eq!(counters(" 1 2 3"), None);
    assert_eq!(counters(" a b"), None);
}

#[test]
fn a_quiet_link_has_an_exact_base() {
    let base = settle(|| rx(3), || Ok(rx(10))).unwrap();
    assert_eq!(
        base,
        Base {
            counters: rx(7),
            uncertain_packets: 0
        }
    );
}

#[test]
fn a_packet_between_the_readings_means_reading_again() {
    let ours = [3, 4, 4, 4].map(rx);
    let at = Cell::new(0);
    let next = || {
        at.set(at.get() + 1);
        ours[at.get() - 1]
    };
    let base = settle(next, || Ok(rx(10))).unwrap();
    assert_eq!(
        base,
        Base {
            counters: rx(6),
            uncertain_packets: 0
        }
    );
}

#[test]
fn a_link_that_never_rests_says_how_wrong_the_base_may_be() {
    let at = Cell::new(0);
    let ours = || {
        at.set(at.get() + 2);
        rx(at.get())
    };
    let base = settle(ours, || Ok(rx(1000 + at.get()))).unwrap();
    assert_eq!(
        base,
        Base {
            counters: rx(1000),
            uncertain_packets: 2
        }
    );
}

#[test]
fn without_a_reading_of_the_kernel_there_is_no_base() {
    let error = settle(Counters::default, || {
        Err(ProbeError::from_io("x", io::Error::other("y")))
    });
    assert!(error.is_err());
}
