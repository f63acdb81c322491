use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn what_goes_in_comes_out_and_the_oldest_first(
        first in any::<[u64; 9]>(),
        rest in prop::collection::vec(any::<[u64; 9]>(), 0..20),
    ) {
        let mut kept = vec![sample(first)];
        let mut track = Track::new(sample(first));
        for numbers in rest {
            kept.push(sample(numbers));
            track.push(sample(numbers));
        }
        loop {
            prop_assert_eq!(track.samples().collect::<Vec<_>>(), kept.clone());
            prop_assert_eq!(track.len(), kept.len());
            prop_assert_eq!(track.newest(), kept[kept.len() - 1]);
            kept.remove(0);
            if !track.pop() {
                break;
            }
        }
        prop_assert!(kept.is_empty());
    }
}

#[test]
fn a_sample_takes_few_bytes() {
    let at_rest = |tick: u64| [tick * 10_000, 7, 7, 420, 0, 3, 3, 180, 0];
    assert_eq!(bytes_of(at_rest), 11);
    // 10 Gbit/s each way in segments of 1,500 bytes; the peak goes up and down.
    let busy = |tick: u64| {
        let (bytes, peak) = (tick * 12_500_000_000, 1_250_000_000 + tick % 2 * 90_000_000);
        let packets = bytes / 1_500;
        [
            tick * 10_000,
            packets,
            packets,
            bytes,
            peak,
            packets,
            packets,
            bytes,
            peak,
        ]
    };
    assert_eq!(bytes_of(busy), 37);
}

/// Of the second of two samples.
fn bytes_of(numbers: impl Fn(u64) -> [u64; 9]) -> usize {
    let mut track = Track::new(sample(numbers(1)));
    track.push(sample(numbers(2)));
    track.steps.len()
}
