//! The samples of one interface, small: what each adds to the one before, in as few bytes as that
//! takes.
//!
//! Nine numbers a sample, 72 bytes as a [`Sample`]: an interface at rest needs 11 of them, one at
//! 10 Gbit/s about 40.

use std::collections::VecDeque;

use super::Sample;
use crate::{
    counters::{Counters, Traffic},
    time::Timestamp,
};

/// Samples in the order in which they were taken; never empty.
#[derive(Debug)]
pub(super) struct Track {
    oldest: Sample,
    newest: Sample,
    steps: VecDeque<u8>,
    len: usize,
}

impl Track {
    pub(super) fn new(first: Sample) -> Self {
        Self {
            oldest: first,
            newest: first,
            steps: VecDeque::new(),
            len: 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn oldest(&self) -> Sample {
        self.oldest
    }

    pub(super) fn newest(&self) -> Sample {
        self.newest
    }

    pub(super) fn push(&mut self, sample: Sample) {
        let before = numbers(&self.newest);
        for (before, after) in before.into_iter().zip(numbers(&sample)) {
            write(&mut self.steps, zigzag(before, after));
        }
        self.newest = sample;
        self.len += 1;
    }

    /// Forgets the oldest sample; false if it is the only one.
    pub(super) fn pop(&mut self) -> bool {
        let mut bytes = self.steps.iter().copied();
        let Some(oldest) = step(&self.oldest, &mut bytes) else {
            return false;
        };
        let left = bytes.len();
        self.steps.drain(..self.steps.len() - left);
        self.oldest = oldest;
        self.len -= 1;
        true
    }

    /// Oldest first.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> {
        let mut bytes = self.steps.iter().copied();
        std::iter::successors(Some(self.oldest), move |before| step(before, &mut bytes))
    }
}

/// The sample after `before`.
fn step(before: &Sample, bytes: &mut impl Iterator<Item = u8>) -> Option<Sample> {
    let mut numbers = numbers(before);
    for number in &mut numbers {
        *number = unzigzag(*number, read(bytes)?);
    }
    Some(sample(numbers))
}

fn numbers(sample: &Sample) -> [u64; 9] {
    let Counters { rx, tx } = sample.counters;
    [
        sample.at.0,
        rx.packets,
        rx.segments,
        rx.bytes,
        rx.peak_bytes_per_second,
        tx.packets,
        tx.segments,
        tx.bytes,
        tx.peak_bytes_per_second,
    ]
}

fn sample([at, rx @ .., packets, segments, bytes, peak]: [u64; 9]) -> Sample {
    let traffic = |[packets, segments, bytes, peak_bytes_per_second]: [u64; 4]| Traffic {
        packets,
        segments,
        bytes,
        peak_bytes_per_second,
    };
    Sample {
        at: Timestamp(at),
        counters: Counters {
            rx: traffic(rx),
            tx: traffic([packets, segments, bytes, peak]),
        },
    }
}

/// What leads from one number to another, small where they are near: peaks go down as well as up,
/// and a counter may begin again.
fn zigzag(before: u64, after: u64) -> u64 {
    let step = after.wrapping_sub(before).cast_signed();
    ((step << 1) ^ (step >> 63)).cast_unsigned()
}

fn unzigzag(before: u64, step: u64) -> u64 {
    let sign = (step & 1).wrapping_neg();
    before.wrapping_add((step >> 1) ^ sign)
}

/// Seven bits a byte, the lowest first; the top bit says that more follow (LEB128).
fn write(bytes: &mut VecDeque<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push_back(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push_back(number.to_le_bytes()[0]);
}

fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests;
