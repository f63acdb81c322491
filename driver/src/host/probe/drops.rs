//! Counts what the kernel drops on the pods' interfaces, by its own reason.
//!
//! Owns one program on the tracepoint where packets end that got nowhere, and its two maps: which
//! interfaces are ours, and what they dropped. All of it is pinned beside the counters, so totals
//! outlive the driver. A kernel that does not take it harms nothing else. It hangs on the
//! tracepoint from the first interface on: a node without any pays nothing.
//!
//! What the kernel lays to an interface: the device that a packet is on when it is dropped, or, for
//! what TCP drops (since Linux 6.11), the one that it came in by. A packet that is dropped before it
//! has a device, for want of a route, is nobody's.

use std::{
    error::Error,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, IterableMap as _, Map, MapData},
    programs::{RawTracePoint, links::FdLink, loaded_programs},
};
use netclaim_core::{
    attachment::Slot,
    drops::{Dropped, Drops, Reasons},
};
use netclaim_ebpf::drops::{COUNT_DROP, Cause, DROPS, LOST, PLACES, Place, TRACEPOINT};

pub use self::error::DropsError;
use super::{
    batch,
    error::{ProbeError, chain},
    hook::open_link,
    pins::{self, Pins},
};
use crate::mutex::locked;

mod error;
mod kernel;
pub(super) mod object;
mod place;

pub(super) use self::kernel::BTF;

/// The drops of up to a fixed number of interfaces.
#[derive(Debug)]
pub(super) struct DropProbe {
    pins: Pins,
    ebpf: Mutex<Ebpf>,
    places: Mutex<HashMap<MapData, Place, u32>>,
    counts: Mutex<HashMap<MapData, Cause, u64>>,
    reasons: Reasons,
    /// Whether the program hangs on its tracepoint; tried once.
    installed: OnceLock<Result<(), DropsError>>,
    /// What was read last. Readers wait for no system call.
    sampled: Mutex<Option<Arc<Dropped>>>,
}

impl DropProbe {
    /// Loads the program for the kernel that `btf` describes, with room for this many slots. Takes
    /// over the maps that are pinned already.
    pub(super) fn open(pins: &Pins, slots: u32, btf: &Path) -> Result<Self, DropsError> {
        let kernel = kernel::read(btf)?;
        let mut ebpf = object::load(pins, slots, &kernel)?;
        let (places, counts) = (take(&mut ebpf, PLACES)?, take(&mut ebpf, DROPS)?);
        let mut counts: HashMap<_, Cause, u64> = hash(counts, DROPS)?;
        // The program can only add to it: there may be no room once it is needed.
        if counts.get(&LOST, 0).is_err() {
            let made = counts.insert(LOST, 0, 0);
            made.map_err(|error| ProbeError::from_program("making room for drops", &error))?;
        }
        Ok(Self {
            pins: pins.clone(),
            ebpf: Mutex::new(ebpf),
            places: Mutex::new(hash(places, PLACES)?),
            counts: Mutex::new(counts),
            reasons: kernel.reasons,
            installed: OnceLock::new(),
            sampled: Mutex::default(),
        })
    }

    /// Why nothing is counted, once that was tried.
    pub(super) fn refused(&self) -> Option<&DropsError> {
        self.installed.get()?.as_ref().err()
    }

    /// Counts for `slot` what is dropped on the interface of this name in the thread's namespace.
    /// A fresh slot starts from nothing, any other goes on.
    pub(super) fn attach(&self, slot: Slot, if_name: &str, fresh: bool) -> Result<(), ProbeError> {
        if fresh {
            self.clear(slot)?;
        }
        if self.installed.get_or_init(|| self.install()).is_err() {
            return Ok(());
        }
        let place = place::here(if_name)?;
        locked(&self.places)
            .insert(place, slot.0, 0)
            .map_err(|error| ProbeError::from_program("counting an interface's drops", &error))
    }

    /// Stops to count for `slot`. What it counted stays until the slot is used again.
    pub(super) fn detach(&self, slot: Slot) -> Result<(), ProbeError> {
        let mut places = locked(&self.places);
        for (place, _) in entries(&places)?.iter().filter(|(_, of)| *of == slot.0) {
            places
                .remove(place)
                .map_err(|error| ProbeError::from_program("forgetting an interface", &error))?;
        }
        Ok(())
    }

    /// What `slot` dropped so far, read at this moment.
    pub(super) fn of(&self, slot: Slot) -> Result<Drops, ProbeError> {
        let counted = entries(&locked(&self.counts))?;
        let own = counted.iter().filter(|(cause, _)| cause.slot == slot.0);
        Ok(own
            .map(|(cause, n)| (self.reasons.name(cause.reason), *n))
            .collect())
    }

    /// Reads what all interfaces dropped: a system call for every few hundred rows.
    pub(super) fn sample(&self) -> Result<(), ProbeError> {
        // Held all the time: a slot that is cleared meanwhile must not come back.
        let mut sampled = locked(&self.sampled);
        if !matches!(self.installed.get(), Some(Ok(()))) {
            return Ok(());
        }
        let slots = entries(&locked(&self.places))?
            .into_iter()
            .map(|(_, slot)| Slot(slot));
        let mut dropped = Dropped {
            by_slot: slots.map(|slot| (slot, Drops::default())).collect(),
            lost: 0,
        };
        for (cause, packets) in entries(&locked(&self.counts))? {
            if cause == LOST {
                dropped.lost = packets;
            } else if let Some(drops) = dropped.by_slot.get_mut(&Slot(cause.slot)) {
                drops.add(self.reasons.name(cause.reason), packets);
            }
        }
        *sampled = Some(Arc::new(dropped));
        Ok(())
    }

    /// What was sampled last; nothing before the first interface.
    pub(super) fn sampled(&self) -> Option<Arc<Dropped>> {
        locked(&self.sampled).clone()
    }

    /// Makes `slot` start from nothing.
    fn clear(&self, slot: Slot) -> Result<(), ProbeError> {
        let mut sampled = locked(&self.sampled);
        self.detach(slot)?;
        let mut counts = locked(&self.counts);
        for (cause, _) in entries(&counts)?
            .iter()
            .filter(|(cause, _)| cause.slot == slot.0)
        {
            counts
                .remove(cause)
                .map_err(|error| ProbeError::from_program("clearing a slot's drops", &error))?;
        }
        if let Some(sampled) = sampled.as_mut() {
            Arc::make_mut(sampled).by_slot.remove(&slot);
        }
        Ok(())
    }

    /// Hangs the program on its tracepoint, unless it is there: of an earlier life, and the same.
    fn install(&self) -> Result<(), DropsError> {
        let pin = self.pins.drops_link();
        let mut ebpf = locked(&self.ebpf);
        let program = object::program(&mut ebpf)?;
        let own = program
            .info()
            .map_err(|error| ProbeError::from_program("reading a program's tag", &error))?
            .tag();
        if let Some(link) = open_link(&pin)? {
            if tag(&link)? == Some(own) {
                return Ok(());
            }
            // Such a link takes no other program, and a drop that two count is worse than one that
            // none does.
            pins::remove(&pin)?;
        }
        self.hang(program).inspect_err(|error| {
            tracing::warn!(%error, "drops are not counted");
        })
    }

    fn hang(&self, program: &mut RawTracePoint) -> Result<(), DropsError> {
        let failed = |error: &(dyn Error + 'static)| {
            ProbeError::from_program(format!("attaching {COUNT_DROP}"), error)
        };
        let link = program
            .attach(TRACEPOINT)
            .and_then(|id| program.take_link(id))
            .map_err(|error| failed(&error))?;
        FdLink::from(link)
            .pin(self.pins.drops_link())
            .map_err(|error| failed(&error))?;
        Ok(())
    }
}

/// The identity of the instructions that a link runs; nothing if its program is gone.
fn tag(link: &FdLink) -> Result<Option<u64>, ProbeError> {
    let failed = |error: &(dyn Error + 'static)| {
        ProbeError::from_program("reading the link of drops", error)
    };
    let id = link.info().map_err(|error| failed(&error))?.program_id();
    let found = loaded_programs().find(|program| {
        let program = program.as_ref();
        program.map_or(true, |program| program.id() == id)
    });
    let found = found.transpose().map_err(|error| failed(&error))?;
    Ok(found.map(|program| program.tag()))
}

fn entries<K: Pod + Default, V: Pod + Default>(
    map: &HashMap<MapData, K, V>,
) -> Result<Vec<(K, V)>, ProbeError> {
    batch::entries(map.map()).map_err(|error| ProbeError::from_io("BPF_MAP_LOOKUP_BATCH", error))
}

fn hash<K: Pod, V: Pod>(map: MapData, name: &str) -> Result<HashMap<MapData, K, V>, ProbeError> {
    HashMap::try_from(Map::HashMap(map))
        .map_err(|error| ProbeError::Object(format!("{name}: {}", chain(&error))))
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<MapData, ProbeError> {
    match ebpf.take_map(name) {
        Some(Map::HashMap(map)) => Ok(map),
        _ => Err(ProbeError::Object(format!("no hash map {name}"))),
    }
}
