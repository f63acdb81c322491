//! The highest second since each reader's last look.
//!
//! The kernel's row says how much passed in the current and in the last second; whoever looks
//! every ten seconds or every minute must not miss the burst between two looks, and must not
//! reset it for the others.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    attachment::Key,
    counters::{Counters, Traffic},
    time::Timestamp,
};

/// A reader that has not come for so long is forgotten: five scrapes at a minute's interval.
const FORGOTTEN: Duration = Duration::from_mins(5);

/// Most readers at once; beyond, the one that has been away for longest is forgotten.
const READERS: usize = 64;

/// Highest seconds by reader and interface.
#[derive(Debug)]
pub struct Peaks<R> {
    readers: BTreeMap<R, Reader>,
}

#[derive(Debug)]
struct Reader {
    read: Timestamp,
    highest: BTreeMap<Key, Peak>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    rx: u64,
    tx: u64,
}

impl<R> Default for Peaks<R> {
    fn default() -> Self {
        Self {
            readers: BTreeMap::new(),
        }
    }
}

impl<R: Ord + Clone> Peaks<R> {
    /// Takes in what the counters show; once a second, so that no second is missed.
    pub fn observe(&mut self, now: Timestamp, counted: &[(&Key, Counters)]) {
        self.readers
            .retain(|_, reader| now.since(reader.read) <= FORGOTTEN);
        for reader in self.readers.values_mut() {
            for (key, counters) in counted {
                let seen = Peak::of(counters);
                match reader.highest.get_mut(*key) {
                    Some(peak) => *peak = peak.max(seen),
                    None => {
                        reader.highest.insert((*key).clone(), seen);
                    }
                }
            }
        }
    }

    /// Raises the peaks in `counted` to the highest since `reader` called last, and starts anew
    /// for this reader only.
    pub fn read<'a>(
        &mut self,
        reader: &R,
        now: Timestamp,
        counted: impl Iterator<Item = (&'a Key, &'a mut Counters)>,
    ) {
        let known = self.readers.remove(reader);
        let highest = known.map(|reader| reader.highest).unwrap_or_default();
        for (key, counters) in counted {
            if let Some(peak) = highest.get(key) {
                raise(&mut counters.rx, peak.rx);
                raise(&mut counters.tx, peak.tx);
            }
        }
        if self.readers.len() >= READERS {
            let away = self.readers.iter().min_by_key(|(_, reader)| reader.read);
            if let Some(away) = away.map(|(name, _)| name.clone()) {
                self.readers.remove(&away);
            }
        }
        let anew = Reader {
            read: now,
            highest: BTreeMap::new(),
        };
        self.readers.insert(reader.clone(), anew);
    }

    /// Forgets a reader that will not come again.
    pub fn forget(&mut self, reader: &R) {
        self.readers.remove(reader);
    }
}

impl Peak {
    fn of(counters: &Counters) -> Self {
        Self {
            rx: counters.rx.peak_bytes_per_second,
            tx: counters.tx.peak_bytes_per_second,
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            rx: self.rx.max(other.rx),
            tx: self.tx.max(other.tx),
        }
    }
}

fn raise(traffic: &mut Traffic, peak: u64) {
    traffic.peak_bytes_per_second = traffic.peak_bytes_per_second.max(peak);
}
