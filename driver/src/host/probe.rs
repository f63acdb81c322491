//! Counts the traffic of the pods' interfaces.
//!
//! Owns the counters map, the programs and their links. All of it is pinned (see [`folder`]), so it
//! outlives the driver, and nothing but the pins says what is there. It must never decide about a
//! packet, delete a qdisc, or enter a namespace on a thread of the runtime. Every call blocks.
//!
//! # What is counted
//! Our programs run first on ingress and last on egress of the pod's own device. `packets` are
//! socket buffers and `bytes` their length with the Ethernet header. Where that differs from
//! `ip -s link`, measured on 6.18:
//!
//! | kind | rx | tx |
//! |---|---|---|
//! | veth | equal | equal while the device segments (TSO on, the default); with TSO off the kernel counts after segmentation: its packets are our `segments`. What the peer cannot take is `tx_dropped` there and a packet here |
//! | macvlan | equal | the kernel counts what the parent took and `tx_dropped` what it did not; here both are packets |

use std::{collections::BTreeSet, fs, path::Path};

use netclaim_core::{
    attachment::{ProbeMode, Slot},
    counters::Counters,
};
use netclaim_ebpf::{DIRECTIONS, Direction};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    time::{ClockId, clock_getres},
};

use self::{
    hook::{Hook, Installed},
    object::{Node, Object, Programs},
    pins::Pins,
    rows::Rows,
};
pub use self::{
    base::Base,
    error::ProbeError,
    hook::Place,
    pins::folder,
};
use super::netns::{self, NetnsError};

mod base;
mod error;
mod hook;
mod link;
mod object;
mod pins;
mod rows;

/// Counts the traffic of up to a fixed number of interfaces.
#[derive(Debug)]
pub struct Probes {
    pins: Pins,
    object: Object,
    rows: Rows,
    /// Identity of the programs' instructions, as [`Programs::tag`].
    tags: Both<u64>,
    max_interfaces: u32,
}

/// An interface in a pod.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// The pod's network namespace.
    pub netns: &'a Path,
    /// Its name there.
    pub if_name: &'a str,
}

/// One for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Both<T> {
    /// What the pod receives.
    pub rx: T,
    /// What it sends.
    pub tx: T,
}

/// An interface whose packets are counted from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    /// How the programs hang on it.
    pub mode: ProbeMode,
    /// What had passed before.
    pub base: Base,
}

/// What became of the probe of an earlier life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// Its programs are ours: nothing was changed.
    Kept(ProbeMode),
    /// Its programs were another version's and were replaced in place.
    Updated(ProbeMode),
    /// It was not whole and was attached again. The base is a new one and covers what was missed.
    Reattached(Counting),
}

impl Probes {
    /// Opens the probes pinned in `folder`, making the map if there is none.
    ///
    /// Loads the programs once: what the kernel or the permissions lack is known from here on.
    pub fn open(folder: &Path, max_interfaces: u32) -> Result<Self, ProbeError> {
        let node = Node::read()?;
        let len = max_interfaces
            .checked_mul(netclaim_ebpf::rows(1, node.n_cpus))
            .ok_or_else(|| ProbeError::from_io("sizing the counters map", Errno::E2BIG.into()))?;
        let pins = Pins::open(folder)?;
        rows::check_pinned(&pins.counters(), len)?;
        let object = Object::new(&pins.counters(), len, max_interfaces, node);
        let mut programs = object.load(Slot(0))?;
        let tags = Both {
            rx: programs.tag(Direction::Rx)?,
            tx: programs.tag(Direction::Tx)?,
        };
        let rows = Rows::new(programs.into_counters()?, len, node)?;
        Ok(Self { pins, object, rows, tags, max_interfaces })
    }

    /// Starts to count `interface` in `slot`, from zero.
    pub fn attach(&self, slot: Slot, interface: Interface<'_>) -> Result<Counting, ProbeError> {
        self.check_free(slot)?;
        self.rows.clear(slot)?;
        let mut programs = self.object.load(slot)?;
        self.inside(interface, || self.attach_here(slot, interface, &mut programs))
    }

    /// Goes on counting `interface` in `slot`: after a restart of the driver, or after somebody
    /// detached a program.
    pub fn adopt(&self, slot: Slot, interface: Interface<'_>) -> Result<Adoption, ProbeError> {
        self.check_exists(slot)?;
        self.inside(interface, || {
            let rx = self.hook(slot, Direction::Rx, interface);
            let tx = self.hook(slot, Direction::Tx, interface);
            let (Some(on_rx), Some(on_tx)) = (rx.installed()?, tx.installed()?) else {
                self.remove_here(slot, interface)?;
                let mut programs = self.object.load(slot)?;
                let counting = self.attach_here(slot, interface, &mut programs)?;
                return Ok(Adoption::Reattached(counting));
            };
            let mode = mode([&on_rx, &on_tx].map(Installed::mode));
            if on_rx.tag == self.tags.rx && on_tx.tag == self.tags.tx {
                return Ok(Adoption::Kept(mode));
            }
            let mut programs = self.object.load(slot)?;
            rx.update(&on_rx, programs.get(Direction::Rx)?)?;
            tx.update(&on_tx, programs.get(Direction::Tx)?)?;
            Ok(Adoption::Updated(mode))
        })
    }

    /// Where the programs of `slot` are on `interface`.
    pub fn verify(&self, slot: Slot, interface: Interface<'_>) -> Result<Both<Place>, ProbeError> {
        self.inside(interface, || {
            let place = |direction| {
                let installed = self.hook(slot, direction, interface).installed()?;
                Ok::<_, ProbeError>(installed.map_or(Place::Gone, |installed| installed.place))
            };
            Ok(Both { rx: place(Direction::Rx)?, tx: place(Direction::Tx)? })
        })
    }

    /// What had passed `interface` before `slot` counted it: kernel minus ours.
    pub fn base(&self, slot: Slot, interface: Interface<'_>) -> Result<Base, ProbeError> {
        self.inside(interface, || self.base_here(slot, interface))
    }

    /// Stops to count in `slot` and returns its last counters. Safe to repeat: the rows stay until
    /// the slot is used again. The interface and its namespace may be gone.
    pub fn detach(&self, slot: Slot, interface: Interface<'_>) -> Result<Counters, ProbeError> {
        for direction in DIRECTIONS {
            self.hook(slot, direction, interface).unlink()?;
        }
        if DIRECTIONS.iter().any(|&direction| self.pins.filter(slot, direction).exists()) {
            match self.inside(interface, || self.remove_here(slot, interface)) {
                // The filters went with it.
                Err(ProbeError::NoInterface { .. }) => {}
                Err(ProbeError::Netns(NetnsError::Gone { .. } | NetnsError::NotANamespace { .. })) => {}
                removed => removed?,
            }
        }
        self.pins.remove(slot)?;
        Ok(self.counters(slot))
    }

    /// What `slot` counted so far. Reads memory: no system call.
    pub fn counters(&self, slot: Slot) -> Counters {
        self.rows.counters(slot)
    }

    /// The slots that have something pinned.
    pub fn slots(&self) -> Result<BTreeSet<Slot>, ProbeError> {
        self.pins.slots()
    }

    fn attach_here(
        &self,
        slot: Slot,
        interface: Interface<'_>,
        programs: &mut Programs,
    ) -> Result<Counting, ProbeError> {
        let attach = |programs: &mut Programs, direction| {
            self.hook(slot, direction, interface).attach(programs.get(direction)?)
        };
        let attached = attach(programs, Direction::Rx)
            .and_then(|rx| Ok([rx, attach(programs, Direction::Tx)?]))
            .and_then(|modes| {
                let base = self.base_here(slot, interface)?;
                Ok(Counting { mode: mode(modes), base })
            });
        if attached.is_err() {
            self.remove_here(slot, interface)?;
        }
        attached
    }

    fn remove_here(&self, slot: Slot, interface: Interface<'_>) -> Result<(), ProbeError> {
        for direction in DIRECTIONS {
            let hook = self.hook(slot, direction, interface);
            hook.unlink()?;
            hook.unfilter();
        }
        self.pins.remove(slot)
    }

    fn base_here(&self, slot: Slot, interface: Interface<'_>) -> Result<Base, ProbeError> {
        base::settle(
            || self.counters(slot),
            || base::kernel_counters(interface.if_name)?.ok_or_else(|| interface.missing()),
        )
    }

    fn inside<T: Send>(
        &self,
        interface: Interface<'_>,
        f: impl FnOnce() -> Result<T, ProbeError> + Send,
    ) -> Result<T, ProbeError> {
        netns::inside(interface.netns, || {
            if_nametoindex(interface.if_name).map_err(|_| interface.missing())?;
            f()
        })?
    }

    fn hook<'a>(&'a self, slot: Slot, direction: Direction, interface: Interface<'a>) -> Hook<'a> {
        Hook { pins: &self.pins, slot, direction, if_name: interface.if_name }
    }

    fn check_exists(&self, slot: Slot) -> Result<(), ProbeError> {
        let max = self.max_interfaces;
        if slot.0 < max { Ok(()) } else { Err(ProbeError::NoSlot { slot, max }) }
    }

    fn check_free(&self, slot: Slot) -> Result<(), ProbeError> {
        self.check_exists(slot)?;
        match self.pins.of(slot).into_iter().find(|pin| pin.exists()) {
            Some(pin) => Err(ProbeError::SlotInUse { slot, pin }),
            None => Ok(()),
        }
    }
}

impl Interface<'_> {
    fn missing(&self) -> ProbeError {
        ProbeError::NoInterface { netns: self.netns.to_owned(), if_name: self.if_name.to_owned() }
    }
}

impl Node {
    /// Reads what the programs need to know about this node.
    fn read() -> Result<Self, ProbeError> {
        const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
        let possible =
            fs::read_to_string(POSSIBLE).map_err(|error| ProbeError::from_io(POSSIBLE, error))?;
        let n_cpus = cpus(&possible)
            .ok_or_else(|| ProbeError::from_io(POSSIBLE, Errno::EBADMSG.into()))?;
        // A coarse clock moves once per jiffy (kernel/time/posix-timers.c, `KTIME_LOW_RES`).
        let jiffy = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
            .map_err(|errno| ProbeError::from_io("clock_getres", errno.into()))?;
        let nanoseconds = u64::try_from(jiffy.tv_nsec()).unwrap_or(1).max(1);
        Ok(Self { n_cpus, jiffies_per_second: 1_000_000_000 / nanoseconds })
    }
}

/// One more than the highest CPU id of a kernel's list such as `0-3,8-11`.
fn cpus(list: &str) -> Option<u32> {
    list.trim().rsplit(['-', ',']).next()?.parse::<u32>().ok()?.checked_add(1)
}

/// TCX only if both directions have it.
fn mode(modes: [ProbeMode; 2]) -> ProbeMode {
    match modes {
        [ProbeMode::Tcx, ProbeMode::Tcx] => ProbeMode::Tcx,
        _ => ProbeMode::Tc,
    }
}

#[cfg(test)]
mod tests;
