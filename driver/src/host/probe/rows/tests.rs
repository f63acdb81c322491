use super::*;

const HZ: u64 = 250;

fn row(epoch: u64, peak: u64, last_peak: u64) -> Row {
    Row {
        packets: 1,
        segments: 2,
        bytes: 3,
        epoch,
        peak,
        last_peak,
        ..Row::default()
    }
}

fn check(rows: &[Row], expected_peak: u64) {
    let traffic = sum(rows.iter().copied(), HZ);
    assert_eq!(traffic.packets, rows.len() as u64);
    assert_eq!(traffic.segments, 2 * rows.len() as u64);
    assert_eq!(traffic.bytes, 3 * rows.len() as u64);
    assert_eq!(traffic.peak_bytes_per_second, expected_peak, "{rows:?}");
}

#[test]
fn cpus_add_up_and_old_bursts_do_not() {
    check(&[], 0);
    check(&[row(1000, 40, 7)], 40 * HZ);
    check(&[row(1000, 7, 40)], 40 * HZ);
    check(&[row(1000, 40, 0), row(1000 + HZ, 2, 0)], 42 * HZ);
    check(&[row(1000, 40, 0), row(1000 + 2 * HZ - 1, 2, 0)], 42 * HZ);
    check(&[row(1000, 40, 0), row(1000 + 2 * HZ, 2, 0)], 2 * HZ);
}
