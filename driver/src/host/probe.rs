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
//! | veth | equal | equal; with TSO off the kernel counts behind segmentation: its packets are our `segments`, its bytes repeat the headers |
//! | macvlan | equal; of a multicast packet from a sibling (bridge mode) the kernel's bytes have the Ethernet header twice: `macvlan_broadcast` adds 14 to a length that has it, since the sender's header is not pulled yet (10 of 142 bytes were 1,560 there, 1,420 here and from outside) | equal; what the parent refuses is `tx_dropped` there and a packet here |
//! | any, with a queueing discipline of its own | equal | what that drops is in `tc -s qdisc` alone, and a packet here |
//!
//! [`Base`] takes `tx_packets + tx_dropped` for what had been sent.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use netclaim_core::{
    attachment::{ProbeMode, Slot},
    counters::Counters,
    drops::{Dropped, Drops},
    flows::Sampled,
};
use netclaim_ebpf::{DIRECTIONS, Direction};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    time::{ClockId, clock_getres},
};

pub use self::{
    base::Base, drops::DropsError, error::ProbeError, flows::FlowsError, hook::Place, pins::folder,
};
use self::{
    drops::{BTF, DropProbe},
    flows::FlowProbe,
    hook::Hook,
    object::{Node, Object},
    pins::Pins,
    rows::Rows,
};
use super::netns::{self, NetnsError};

mod base;
mod batch;
mod drops;
mod error;
mod flows;
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
    /// Identity of the programs' instructions, whatever their globals.
    tags: Both<u64>,
    max_interfaces: u32,
    /// Why drops are not counted, where the kernel or the permissions do not give that.
    drops: Result<DropProbe, DropsError>,
    flows: FlowProbe,
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

/// An interface whose every packet is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    /// How the programs hang on it.
    pub mode: ProbeMode,
    /// What had passed before: kernel minus ours. Where a base of the same attachment is on
    /// record, that one is better unless `change` is [`Change::Reattached`].
    pub base: Base,
    /// What had to be done.
    pub change: Change,
}

/// What had to be done so that an interface is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The slot was free: it starts from zero.
    Attached,
    /// Nothing: all was there, of an earlier life perhaps.
    Kept,
    /// The programs were of another version and were replaced in place.
    Updated,
    /// A program was gone. What passed meanwhile is in the base.
    Reattached,
}

impl Probes {
    /// Opens the probes pinned in `folder`, making the map if there is none.
    ///
    /// Loads the programs once: what the kernel or the permissions lack is known from here on.
    pub fn open(folder: &Path, max_interfaces: u32) -> Result<Self, ProbeError> {
        Self::open_as_in(Path::new(BTF), folder, max_interfaces)
    }

    /// The same on a kernel that describes itself in `btf`.
    fn open_as_in(btf: &Path, folder: &Path, max_interfaces: u32) -> Result<Self, ProbeError> {
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
        Ok(Self {
            drops: DropProbe::open(&pins, max_interfaces, btf),
            flows: FlowProbe::new(node.n_cpus),
            pins,
            object,
            rows,
            tags,
            max_interfaces,
        })
    }

    /// Why drops are not counted, if they are not.
    pub fn drops_missing(&self) -> Option<&DropsError> {
        match &self.drops {
            Ok(drops) => drops.refused(),
            Err(error) => Some(error),
        }
    }

    /// Counts `interface` in `slot`, whatever is there already. A slot that was detached, or never
    /// used, starts from zero; any other goes on.
    pub fn attach(&self, slot: Slot, interface: Interface<'_>) -> Result<Counting, ProbeError> {
        self.check_exists(slot)?;
        let fresh = !self.pins.has(slot);
        if fresh {
            self.rows.clear(slot)?;
        }
        interface.inside(|| {
            self.pins.claim(slot)?;
            let (mode, change) = match self.update(slot, interface)? {
                Some(kept) => kept,
                None => (self.renew(slot, interface)?, Change::Reattached),
            };
            let change = if fresh { Change::Attached } else { change };
            self.count_drops(slot, interface, fresh);
            Ok(Counting {
                mode,
                base: self.base(slot, interface)?,
                change,
            })
        })
    }

    /// Where the programs of `slot` are on `interface`.
    pub fn verify(&self, slot: Slot, interface: Interface<'_>) -> Result<Both<Place>, ProbeError> {
        interface.inside(|| {
            let place = |direction| {
                let installed = self.hook(slot, direction, interface).installed()?;
                Ok::<_, ProbeError>(installed.map_or(Place::Gone, |installed| installed.place))
            };
            Ok(Both {
                rx: place(Direction::Rx)?,
                tx: place(Direction::Tx)?,
            })
        })
    }

    /// Stops to count in `slot` and returns its last counters. Safe to repeat: the rows stay until
    /// the slot is used again. The interface and its namespace may be gone.
    pub fn detach(&self, slot: Slot, interface: Interface<'_>) -> Result<Counters, ProbeError> {
        self.flows.detach(slot);
        for direction in DIRECTIONS {
            self.hook(slot, direction, interface).unlink()?;
        }
        if self.pins.has_filter(slot) {
            match interface.inside(|| self.remove(slot, interface)) {
                // The filters went with it.
                Err(
                    ProbeError::NoInterface { .. }
                    | ProbeError::Netns(NetnsError::Gone { .. } | NetnsError::NotANamespace { .. }),
                ) => {}
                removed => removed?,
            }
        }
        if let Ok(drops) = &self.drops {
            drops.detach(slot)?;
        }
        self.pins.release(slot)?;
        Ok(self.counters(slot))
    }

    /// What `slot` dropped so far, also once it is detached; nothing where that is not counted.
    pub fn drops(&self, slot: Slot) -> Option<Drops> {
        let drops = self.drops.as_ref().ok()?;
        if drops.refused().is_some() {
            return None;
        }
        drops
            .of(slot)
            .inspect_err(|error| tracing::warn!(slot = slot.0, %error, "drops cannot be read"))
            .ok()
    }

    /// Reads what all interfaces dropped, for [`Self::dropped`]: some system calls.
    pub fn sample_drops(&self) -> Result<(), ProbeError> {
        self.drops.as_ref().map_or(Ok(()), DropProbe::sample)
    }

    /// What was sampled last, if anything was: reads memory.
    pub fn dropped(&self) -> Option<Arc<Dropped>> {
        self.drops.as_ref().ok()?.sampled()
    }

    /// Records the flows of `interface`, which is counted in `slot`, unless that is done. Where it
    /// cannot be done the interface is none the worse: [`Self::flows`] says why, and so does the log.
    pub fn record_flows(&self, slot: Slot, interface: Interface<'_>) {
        let recorded = interface.inside(|| {
            let baked = self.object.baked(slot)?;
            let counting = |direction| self.hook(slot, direction, interface).linked_program();
            let counting = Both {
                rx: counting(Direction::Rx)?,
                tx: counting(Direction::Tx)?,
            };
            self.flows
                .attach((slot, baked), interface.if_name, counting);
            Ok(())
        });
        if let Err(error) = recorded {
            self.flows.miss(slot, error);
        }
    }

    /// The flows of these slots at this moment: a system call for every few hundred on the node.
    pub fn flows(&self, slots: &BTreeSet<Slot>) -> Sampled {
        self.flows.sample(slots)
    }

    /// What `slot` counted so far. Reads memory: no system call.
    pub fn counters(&self, slot: Slot) -> Counters {
        self.rows.counters(slot)
    }

    /// The slots that have something pinned.
    pub fn slots(&self) -> Result<BTreeSet<Slot>, ProbeError> {
        self.pins.slots()
    }

    /// An interface that works and whose traffic is counted is none the worse without this.
    fn count_drops(&self, slot: Slot, interface: Interface<'_>, fresh: bool) {
        let Ok(drops) = &self.drops else { return };
        if let Err(error) = drops.attach(slot, interface.if_name, fresh) {
            let if_name = interface.if_name;
            tracing::warn!(slot = slot.0, if_name, %error, "its drops are not counted");
        }
    }

    /// Brings what is on `interface` up to date; nothing if a program is missing.
    fn update(
        &self,
        slot: Slot,
        interface: Interface<'_>,
    ) -> Result<Option<(ProbeMode, Change)>, ProbeError> {
        let rx = self.hook(slot, Direction::Rx, interface);
        let tx = self.hook(slot, Direction::Tx, interface);
        let (Some(on_rx), Some(on_tx)) = (rx.installed()?, tx.installed()?) else {
            return Ok(None);
        };
        let mode = mode([on_rx.mode(), on_tx.mode()]);
        if on_rx.tag == self.tags.rx && on_tx.tag == self.tags.tx {
            return Ok(Some((mode, Change::Kept)));
        }
        let mut programs = self.object.load(slot)?;
        rx.update(&on_rx, programs.get(Direction::Rx)?)?;
        tx.update(&on_tx, programs.get(Direction::Tx)?)?;
        Ok(Some((mode, Change::Updated)))
    }

    /// Removes what is left of a pair and attaches a new one: both, or none.
    fn renew(&self, slot: Slot, interface: Interface<'_>) -> Result<ProbeMode, ProbeError> {
        self.remove(slot, interface)?;
        let mut programs = self.object.load(slot)?;
        let mut attach = |direction| {
            self.hook(slot, direction, interface)
                .attach(programs.get(direction)?)
        };
        let attached = attach(Direction::Rx).and_then(|rx| Ok([rx, attach(Direction::Tx)?]));
        if attached.is_err() {
            self.remove(slot, interface)?;
        }
        attached.map(mode)
    }

    fn remove(&self, slot: Slot, interface: Interface<'_>) -> Result<(), ProbeError> {
        for direction in DIRECTIONS {
            let hook = self.hook(slot, direction, interface);
            hook.unlink()?;
            hook.unfilter()?;
        }
        Ok(())
    }

    fn base(&self, slot: Slot, interface: Interface<'_>) -> Result<Base, ProbeError> {
        base::settle(
            || self.counters(slot),
            || base::kernel_counters(interface.if_name)?.ok_or_else(|| interface.missing()),
        )
    }

    fn hook<'a>(&'a self, slot: Slot, direction: Direction, interface: Interface<'a>) -> Hook<'a> {
        Hook {
            pins: &self.pins,
            slot,
            direction,
            if_name: interface.if_name,
        }
    }

    fn check_exists(&self, slot: Slot) -> Result<(), ProbeError> {
        let max = self.max_interfaces;
        if slot.0 < max {
            Ok(())
        } else {
            Err(ProbeError::NoSlot { slot, max })
        }
    }
}

impl<T> Both<T> {
    /// The one of `direction`.
    pub fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Rx => &self.rx,
            Direction::Tx => &self.tx,
        }
    }
}

impl Interface<'_> {
    /// Runs `f` in the namespace, if the interface is there.
    fn inside<T: Send>(
        self,
        f: impl FnOnce() -> Result<T, ProbeError> + Send,
    ) -> Result<T, ProbeError> {
        netns::inside(self.netns, || {
            if_nametoindex(self.if_name).map_err(|_| self.missing())?;
            f()
        })?
    }

    fn missing(&self) -> ProbeError {
        ProbeError::NoInterface {
            netns: self.netns.to_owned(),
            if_name: self.if_name.to_owned(),
        }
    }
}

impl Node {
    /// Reads what the programs need to know about this node.
    fn read() -> Result<Self, ProbeError> {
        const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
        let possible =
            fs::read_to_string(POSSIBLE).map_err(|error| ProbeError::from_io(POSSIBLE, error))?;
        let n_cpus =
            cpus(&possible).ok_or_else(|| ProbeError::from_io(POSSIBLE, Errno::EBADMSG.into()))?;
        // A coarse clock moves once per jiffy (kernel/time/posix-timers.c, `KTIME_LOW_RES`).
        let jiffy = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
            .map_err(|errno| ProbeError::from_io("clock_getres", errno.into()))?;
        let nanoseconds = u64::try_from(jiffy.tv_nsec()).unwrap_or(1).max(1);
        Ok(Self {
            n_cpus,
            jiffies_per_second: 1_000_000_000 / nanoseconds,
        })
    }
}

/// One more than the highest CPU id of a kernel's list such as `0-3,8-11`.
fn cpus(list: &str) -> Option<u32> {
    list.trim()
        .rsplit(['-', ','])
        .next()?
        .parse::<u32>()
        .ok()?
        .checked_add(1)
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
