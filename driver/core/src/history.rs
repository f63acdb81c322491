//! Traffic over time: quarter of an hour of samples, rates, and each reader's own peak.
//!
//! Owns what was seen of the counters, never the counters. Memory is bounded by time and by the
//! attachments that are alive or still explained: 91 samples each, of some 11 bytes at rest and 40
//! at 10 Gbit/s.

use std::{collections::BTreeMap, time::Duration};

use self::track::Track;

use crate::{
    attachment::Key,
    counters::{Counters, Traffic},
    time::Timestamp,
};

mod peaks;
mod track;

pub use peaks::Peaks;

/// How far back the samples reach.
pub const KEPT: Duration = Duration::from_mins(15);

/// Time between two samples.
pub const EVERY: Duration = Duration::from_secs(10);

/// Both ends of 15 minutes in steps of 10 s.
const SAMPLES: usize = 91;

/// The counters of one interface at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Totals since the interface was attached.
    pub counters: Counters,
}

/// Samples of every interface that was counted in the last 15 minutes.
#[derive(Debug, Default)]
pub struct History {
    samples: BTreeMap<Key, Track>,
}

/// Traffic in one direction per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrafficRate {
    /// Packets per second.
    pub packets: f64,
    /// Segments per second.
    pub segments: f64,
    /// Bytes per second.
    pub bytes: f64,
}

/// Traffic of one interface per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// What the pod receives.
    pub rx: TrafficRate,
    /// What the pod sends.
    pub tx: TrafficRate,
}

impl History {
    /// Takes in one sample of each of these, and forgets what is older than [`KEPT`].
    ///
    /// What is over gives its final counters again and again: those are kept once.
    pub fn record<'a>(
        &mut self,
        at: Timestamp,
        counted: impl IntoIterator<Item = (&'a Key, Counters, Option<Timestamp>)>,
    ) {
        for (key, counters, ended) in counted {
            let at = ended.unwrap_or(at);
            let sample = Sample { at, counters };
            match self.samples.get_mut(key) {
                Some(track) if track.newest().at >= at => {}
                Some(track) => track.push(sample),
                None => {
                    self.samples.insert(key.clone(), Track::new(sample));
                }
            }
        }
        self.samples.retain(|_, track| {
            let is_old = |track: &Track| at.since(track.oldest().at) > KEPT;
            while track.len() > SAMPLES || is_old(track) {
                if !track.pop() {
                    return false;
                }
            }
            true
        });
    }

    /// The samples of one interface, oldest first.
    pub fn of(&self, key: &Key) -> impl Iterator<Item = Sample> {
        self.samples.get(key).into_iter().flat_map(Track::samples)
    }

    /// The interfaces that have samples.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.samples.keys()
    }
}

impl Rate {
    /// The rate between two samples; none when no time passed between them.
    pub fn between(earlier: &Sample, later: &Sample) -> Option<Self> {
        let seconds = later.at.since(earlier.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let passed = later.counters.since(&earlier.counters);
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53rd bit")]
        let rate = |traffic: Traffic| TrafficRate {
            packets: traffic.packets as f64 / seconds,
            segments: traffic.segments as f64 / seconds,
            bytes: traffic.bytes as f64 / seconds,
        };
        Some(Self {
            rx: rate(passed.rx),
            tx: rate(passed.tx),
        })
    }
}

#[cfg(test)]
mod tests;
