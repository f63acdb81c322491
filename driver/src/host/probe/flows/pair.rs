//! The two programs on one interface: beside those that count, and gone with their handle.
//!
//! Everything but the end has to run inside the interface's network namespace.

use aya::{
    Ebpf,
    programs::{LinkOrder, ProgramId, SchedClassifier, links::FdLink},
};
use netclaim_ebpf::Direction;
use nix::{ifaddrs::getifaddrs, libc};

use super::{
    super::{Both, error::ProbeError, hook, link},
    error::FlowsError,
    object,
};

/// Bytes of an Ethernet header, and of none.
static ETHERNET: u32 = 14;
static NONE: u32 = 0;

/// Both programs, while they run.
#[derive(Debug)]
pub(super) struct Pair(Both<Hung>);

/// A program on one side of an interface.
#[derive(Debug)]
struct Hung {
    link: FdLink,
    program: u32,
}

impl Pair {
    /// Hangs the programs on an interface, next to those that count, whose ids are `counting`: what
    /// others drop is then missing here and there, or in neither.
    pub(super) fn hang(
        mut programs: Ebpf,
        if_name: &str,
        counting: Both<Option<u32>>,
    ) -> Result<Self, FlowsError> {
        let mut hang = |direction| {
            let program = object::program(&mut programs, direction)?;
            Hung::hang(program, if_name, direction, *counting.of(direction))
        };
        Ok(Self(Both {
            rx: hang(Direction::Rx)?,
            tx: hang(Direction::Tx)?,
        }))
    }

    /// Whether nobody took them off.
    pub(super) fn is_on(&self, if_name: &str) -> bool {
        self.0.rx.is_on(if_name, Direction::Rx) && self.0.tx.is_on(if_name, Direction::Tx)
    }
}

impl Hung {
    fn hang(
        program: &mut SchedClassifier,
        if_name: &str,
        direction: Direction,
        counting: Option<u32>,
    ) -> Result<Self, FlowsError> {
        let link = hook::attach_tcx(program, if_name, direction, order(direction, counting))
            .map_err(|error| FlowsError::from_hook(error.as_ref()))?;
        let info = link.info();
        let info = info.map_err(|error| ProbeError::from_program("reading a link", &error))?;
        Ok(Self {
            program: info.program_id(),
            link,
        })
    }

    fn is_on(&self, if_name: &str, direction: Direction) -> bool {
        let listed = SchedClassifier::query_tcx(if_name, hook::side(direction));
        listed.is_ok_and(|(_, programs)| programs.iter().any(|found| found.id() == self.program))
    }
}

impl Drop for Hung {
    /// When this returns the program runs nowhere, so that what it recorded can be cleared.
    fn drop(&mut self) {
        if let Ok(info) = self.link.info() {
            // It fails where the interface went with its namespace, and the program with it.
            let _gone = link::detach(info.id());
        }
    }
}

/// Behind what counts on ingress, before it on egress; at the same ends of the list where that does
/// not hang by TCX.
fn order(direction: Direction, counting: Option<u32>) -> LinkOrder {
    #[expect(unsafe_code, reason = "aya lets nobody make an id")]
    // SAFETY: an id is a number; one of a program that is gone makes the attach fail.
    let counting = counting.map(|id| unsafe { ProgramId::new(id) });
    match (direction, counting) {
        (Direction::Rx, Some(counting)) => LinkOrder::after_program_id(counting),
        (Direction::Tx, Some(counting)) => LinkOrder::before_program_id(counting),
        (Direction::Rx, None) => LinkOrder::first(),
        (Direction::Tx, None) => LinkOrder::last(),
    }
}

/// Bytes of the header before the network's. What has no Ethernet has none, as far as TCX shows it;
/// where that is wrong, its packets are laid to their ethertype.
pub(super) fn link_header(if_name: &str) -> Result<&'static u32, ProbeError> {
    let interfaces = getifaddrs()
        .map_err(|errno| ProbeError::from_io(format!("getifaddrs for {if_name}"), errno.into()))?;
    let kinds = interfaces
        .filter(|found| found.interface_name == if_name)
        .filter_map(|found| Some(found.address?.as_link_addr()?.hatype()));
    let like_ethernet = [libc::ARPHRD_ETHER, libc::ARPHRD_LOOPBACK];
    let is_ethernet = kinds.into_iter().any(|kind| like_ethernet.contains(&kind));
    Ok(if is_ethernet { &ETHERNET } else { &NONE })
}
