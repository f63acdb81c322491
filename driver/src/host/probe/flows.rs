//! Records who talks with a pod, where its claim asks for that.
//!
//! Owns two programs for each such interface and the table that all of them share. Nothing of it is
//! pinned where others see it: it lives as long as the driver, and a crash leaves nothing. It is
//! loaded with the first interface that asks, so that a node where none does pays nothing. A kernel
//! that does not take it harms nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aya::maps::{Array, HashMap, MapData, MapError};
use netclaim_core::{
    attachment::Slot,
    failure::{Failure, Step},
    flows::{FlowId, Passed, Raw, Recording, Sampled, Table},
    time::Timestamp,
};
use netclaim_ebpf::flows::{self as layout, BEGUN, Flow, Key, LOST};
use nix::time::{ClockId, clock_gettime};

pub use self::error::FlowsError;
use self::{
    object::{Baked, Maps, Object},
    pair::Pair,
};
use super::{Both, batch, error::ProbeError};
use crate::{clock, mutex::locked};

mod error;
pub(super) mod object;
mod pair;
mod room;

/// The flows of those interfaces whose claims ask for them.
#[derive(Debug)]
pub(super) struct FlowProbe {
    cpus: u32,
    /// Tried once, with the first interface.
    loaded: OnceLock<Result<Loaded, Failure>>,
    recorded: Mutex<BTreeMap<Slot, Result<Pair, Failure>>>,
    /// What was said last: what keeps one interface from it keeps all.
    said: Mutex<String>,
}

/// The table, and what fills it.
struct Loaded {
    object: Object,
    flows: Mutex<HashMap<MapData, Key, Flow>>,
    table: Array<MapData, u64>,
    /// Flows that we took out ourselves.
    cleared: AtomicU64,
}

/// What programs are told that are tried and hang nowhere.
static NOTHING: u32 = 0;

impl FlowProbe {
    /// Nothing is loaded yet. Possible CPUs are `cpus`.
    pub(super) fn new(cpus: u32) -> Self {
        Self {
            cpus,
            loaded: OnceLock::new(),
            recorded: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// Records for `slot` what passes the interface of this name in the thread's namespace, unless
    /// that is done. It begins with nothing. Programs with the ids `counting` count there.
    pub(super) fn attach(
        &self,
        (slot, baked): (Slot, &'static u32),
        if_name: &str,
        counting: Both<Option<u32>>,
    ) {
        let taken_off = {
            let mut recorded = locked(&self.recorded);
            match recorded.get(&slot) {
                Some(Ok(pair)) if pair.is_on(if_name) => return,
                Some(Ok(_)) => recorded.remove(&slot),
                Some(Err(_)) | None => None,
            }
        };
        // Where somebody took one off, the other ends as well.
        drop(taken_off);
        let tried = self.loaded().and_then(|loaded| {
            loaded
                .hang((slot, baked), if_name, counting)
                .map_err(|error| failed(&error))
        });
        self.note(slot, tried);
    }

    /// That flows cannot be recorded for `slot`, because its interface is not there.
    pub(super) fn miss(&self, slot: Slot, error: ProbeError) {
        self.note(slot, Err(failed(&error.into())));
    }

    /// Ends it for `slot`, and forgets its flows. Safe to repeat; the interface may be gone.
    pub(super) fn detach(&self, slot: Slot) {
        let Some(before) = locked(&self.recorded).remove(&slot) else {
            return;
        };
        // Its programs run nowhere from here on.
        drop(before);
        if let Some(Ok(loaded)) = self.loaded.get()
            && let Err(error) = loaded.clear(slot)
        {
            // No reason to keep a pod from going: whoever gets the slot next clears it first.
            tracing::warn!(slot = slot.0, %error, "the flows of an interface that goes stay for now");
        }
    }

    /// What is recorded for these slots now, and why for others of them not.
    pub(super) fn sample(&self, slots: &BTreeSet<Slot>) -> Sampled {
        let mut by_slot: BTreeMap<Slot, Recording> = locked(&self.recorded)
            .iter()
            .filter(|(slot, _)| slots.contains(slot))
            .map(|(slot, pair)| {
                let recording = pair.as_ref().map(|_| BTreeMap::new());
                (*slot, recording.map_err(Failure::clone))
            })
            .collect();
        let Some(Ok(loaded)) = self.loaded.get() else {
            return Sampled {
                by_slot,
                table: None,
            };
        };
        match loaded.read(&mut by_slot) {
            Ok(table) => Sampled {
                by_slot,
                table: Some(table),
            },
            Err(error) => {
                let failure = failed(&error.into());
                for recording in by_slot.values_mut() {
                    *recording = Err(failure.clone());
                }
                Sampled {
                    by_slot,
                    table: None,
                }
            }
        }
    }

    fn loaded(&self) -> Result<&Loaded, Failure> {
        let loaded = self
            .loaded
            .get_or_init(|| Loaded::new(self.cpus).map_err(|error| failed(&error)));
        loaded.as_ref().map_err(Failure::clone)
    }

    /// Takes in how it stands with a slot, and says why not, once.
    fn note(&self, slot: Slot, tried: Result<Pair, Failure>) {
        if let Err(failure) = &tried {
            let mut said = locked(&self.said);
            if *said != failure.message {
                tracing::warn!(
                    slot = slot.0, reason = %failure.reason,
                    "flows are not recorded, all else is counted: {}", failure.message
                );
                said.clone_from(&failure.message);
            }
        }
        locked(&self.recorded).insert(slot, tried);
    }
}

impl Loaded {
    fn new(cpus: u32) -> Result<Self, FlowsError> {
        let object = Object::new(cpus)?;
        // The first load makes the maps; whether the programs are taken is known from here on.
        let mut ebpf = object.load(Baked {
            slot: &NOTHING,
            link_header: &NOTHING,
        })?;
        let Maps { flows, table } = object::maps(&mut ebpf)?;
        Ok(Self {
            object,
            flows: Mutex::new(flows),
            table,
            cleared: AtomicU64::new(0),
        })
    }

    fn hang(
        &self,
        (slot, baked): (Slot, &'static u32),
        if_name: &str,
        counting: Both<Option<u32>>,
    ) -> Result<Pair, FlowsError> {
        self.clear(slot)?;
        let programs = self.object.load(Baked {
            slot: baked,
            link_header: pair::link_header(if_name)?,
        })?;
        Pair::hang(programs, if_name, counting)
    }

    /// Forgets the flows of a slot, for which no program records any more.
    fn clear(&self, slot: Slot) -> Result<(), ProbeError> {
        let mut flows = locked(&self.flows);
        let mut found = Vec::new();
        each(&flows, |key, _| {
            if key.slot == slot.0 {
                found.push(*key);
            }
        })?;
        for key in found {
            match flows.remove(&key) {
                Ok(()) => {
                    self.cleared.fetch_add(1, Ordering::Relaxed);
                }
                // It was forgotten meanwhile.
                Err(MapError::KeyNotFound | MapError::ElementNotFound) => {}
                Err(error) => {
                    return Err(ProbeError::from_program("clearing a slot's flows", &error));
                }
            }
        }
        Ok(())
    }

    /// Reads the flows of those slots that are recorded: a system call for every few hundred.
    fn read(&self, by_slot: &mut BTreeMap<Slot, Recording>) -> Result<Table, ProbeError> {
        // Held all the time: nothing is cleared between the figures.
        let flows = locked(&self.flows);
        let noted = |what| {
            let number = self.table.get(&what, 0);
            number.map_err(|error| ProbeError::from_program("reading about flows", &error))
        };
        // Before the flows, of which more may begin meanwhile.
        let (begun, lost) = (noted(BEGUN)?, noted(LOST)?);
        let clock = Clock::read();
        let mut used = 0_u32;
        each(&flows, |key, flow| {
            used += 1;
            if let Some(Ok(found)) = by_slot.get_mut(&Slot(key.slot)) {
                found.insert(id(key), clock.flow(flow));
            }
        })?;
        let there = self.cleared.load(Ordering::Relaxed) + u64::from(used);
        Ok(Table {
            room: self.object.entries(),
            used,
            forgotten: begun.saturating_sub(there),
            lost,
        })
    }
}

/// The kernel's clock and ours, read together.
struct Clock {
    kernel: Duration,
    ours: Timestamp,
}

impl Clock {
    fn read() -> Self {
        let kernel = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
        Self {
            kernel: kernel.map_or(Duration::ZERO, Into::into),
            ours: clock::now(),
        }
    }

    fn flow(&self, flow: &Flow) -> netclaim_core::flows::Flow {
        let passed = |passed: layout::Passed| Passed {
            packets: passed.packets,
            bytes: passed.bytes,
        };
        netclaim_core::flows::Flow {
            rx: passed(flow.rx),
            tx: passed(flow.tx),
            first: self.time(flow.first),
            last: self.time(flow.last),
        }
    }

    fn time(&self, nanoseconds: u64) -> Timestamp {
        let age = self
            .kernel
            .saturating_sub(Duration::from_nanos(nanoseconds));
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.ours.0.saturating_sub(age))
    }
}

fn id(key: &Key) -> FlowId {
    let bytes = |words: [u32; 4]| {
        let mut bytes = [0; 16];
        for (four, word) in bytes.chunks_exact_mut(4).zip(words) {
            four.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    };
    FlowId::from(Raw {
        ethertype: key.ethertype,
        protocol: key.protocol,
        local: bytes(key.local),
        remote: bytes(key.remote),
        local_port: u16::from_be(key.local_port),
        remote_port: u16::from_be(key.remote_port),
    })
}

fn each(
    flows: &HashMap<MapData, Key, Flow>,
    with: impl FnMut(&Key, &Flow),
) -> Result<(), ProbeError> {
    use aya::maps::IterableMap as _;
    batch::each(flows.map(), with)
        .map_err(|error| ProbeError::from_io("BPF_MAP_LOOKUP_BATCH", error))
}

fn failed(error: &FlowsError) -> Failure {
    Failure::new(Step::Probe, error)
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("entries", &self.object.entries())
            .finish_non_exhaustive()
    }
}
