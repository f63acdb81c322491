//! One program on one side of one interface: TCX where the kernel has it, clsact where not.
//!
//! It must never delete a qdisc, and never touch a program that is not ours. Everything but
//! [`Hook::unlink`] has to run inside the interface's network namespace.

use std::{error::Error, io, mem, path::Path};

use aya::programs::{
    LinkOrder, ProgramError, ProgramInfo, SchedClassifier, TcAttachType,
    links::{FdLink, LinkError, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
};
use netclaim_core::attachment::{ProbeMode, Slot};
use netclaim_ebpf::Direction;
use nix::errno::Errno;

use super::{
    error::{ProbeError, errno},
    link,
    pins::{self, Pins},
};

/// Our handle among the filters of a priority: "nc". A filter with it is ours by convention.
const HANDLE: TcHandle = TcHandle::new(0, 0x6e63);

/// One side of one interface, and the pins of the slot that counts it.
pub(super) struct Hook<'a> {
    pub(super) pins: &'a Pins,
    pub(super) slot: Slot,
    pub(super) direction: Direction,
    pub(super) if_name: &'a str,
}

/// Where our program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCX link. Programs before it may drop or redirect what it then does not see.
    Tcx {
        /// Counted from zero.
        position: usize,
        /// How many programs there are.
        of: usize,
    },
    /// A filter of a clsact qdisc.
    Tc,
    /// Nowhere: somebody detached it, or it never was there.
    Gone,
}

/// What was found on a hook.
pub(super) struct Installed {
    pub(super) place: Place,
    /// The identity of the program's instructions.
    pub(super) tag: u64,
}

impl Installed {
    pub(super) fn mode(&self) -> ProbeMode {
        match self.place {
            Place::Tcx { .. } => ProbeMode::Tcx,
            Place::Tc | Place::Gone => ProbeMode::Tc,
        }
    }
}

impl Hook<'_> {
    /// Puts `program` on the hook. By trying: some kernels before 6.6 have TCX, and none of its
    /// failures says for sure that clsact fails as well.
    pub(super) fn attach(&self, program: &mut SchedClassifier) -> Result<ProbeMode, ProbeError> {
        match self.attach_tcx(program) {
            Ok(()) => Ok(ProbeMode::Tcx),
            Err(error @ ProbeError::NoPermission { .. }) => Err(error),
            Err(tcx) => match self.attach_tc(program) {
                Ok(()) => Ok(ProbeMode::Tc),
                Err(tc) => Err(ProbeError::NoHook {
                    tcx: tcx.to_string(),
                    clsact: tc.to_string(),
                }),
            },
        }
    }

    /// What of ours is on the hook.
    pub(super) fn installed(&self) -> Result<Option<Installed>, ProbeError> {
        match self.installed_tcx()? {
            Some(installed) => Ok(Some(installed)),
            None => self.installed_tc(),
        }
    }

    /// Replaces what is `installed` by `program`, without a packet uncounted.
    pub(super) fn update(
        &self,
        installed: &Installed,
        program: &mut SchedClassifier,
    ) -> Result<(), ProbeError> {
        if installed.place == Place::Tc {
            self.replace_filter(program)
                .map_err(|error| self.failed("replacing a filter", &error))?;
            return self.pin_filter(program);
        }
        self.update_link(program)
    }

    /// Replaces the program of the TCX link, whichever interface it is on.
    pub(super) fn update_link(&self, program: &mut SchedClassifier) -> Result<(), ProbeError> {
        let pin = self.pins.link(self.slot, self.direction);
        let mut update = || -> Result<(), Box<dyn Error>> {
            let link = SchedClassifierLink::try_from(FdLink::from(PinnedLink::from_pin(&pin)?))?;
            let updated = program.attach_to_link(link)?;
            drop(program.take_link(updated)?);
            Ok(())
        };
        update().map_err(|error| self.failed("replacing a program", error.as_ref()))
    }

    /// The program of the TCX link; none if there is no link.
    pub(super) fn linked_program(&self) -> Result<Option<u32>, ProbeError> {
        let Some(link) = open_link(&self.pins.link(self.slot, self.direction))? else {
            return Ok(None);
        };
        let info = link
            .info()
            .map_err(|error| self.failed("reading a link", &error))?;
        Ok(Some(info.program_id()))
    }

    /// Takes the TCX link off its interface, whichever that is, and removes its pin. When this
    /// returns the program runs nowhere, so what it counted is final.
    pub(super) fn unlink(&self) -> Result<(), ProbeError> {
        let pin = self.pins.link(self.slot, self.direction);
        let Some(link) = open_link(&pin)? else {
            return Ok(());
        };
        let id = link
            .info()
            .map_err(|error| self.failed("reading a link", &error))?
            .id();
        link::detach(id).map_err(|error| ProbeError::from_io("detaching a link", error))?;
        pins::remove(&pin)
    }

    /// Deletes our filter from the interface's clsact qdisc, and its pin.
    pub(super) fn unfilter(&self) -> Result<(), ProbeError> {
        let pin = self.pins.filter(self.slot, self.direction);
        if pin.exists() {
            // Dropping it is what deletes the filter. A failure means that it is not there.
            drop(self.filter());
        }
        pins::remove(&pin)
    }

    fn attach_tcx(&self, program: &mut SchedClassifier) -> Result<(), ProbeError> {
        let order = match self.direction {
            Direction::Rx => LinkOrder::first(),
            Direction::Tx => LinkOrder::last(),
        };
        let link = attach_tcx(program, self.if_name, self.direction, order)
            .map_err(|error| self.failed("attaching by TCX", error.as_ref()))?;
        link.pin(self.pins.link(self.slot, self.direction))
            .map_err(|error| self.failed("pinning a link", &error))?;
        Ok(())
    }

    fn attach_tc(&self, program: &mut SchedClassifier) -> Result<(), ProbeError> {
        match tc::qdisc_add_clsact(self.if_name) {
            Err(error) if errno(&error) != Some(Errno::EEXIST) => {
                return Err(self.failed("adding a clsact qdisc", &error));
            }
            _ => {}
        }
        match self.replace_filter(program) {
            Err(error) if errno(&error) == Some(Errno::ENOENT) => self.create_filter(program)?,
            Err(error) => return Err(self.failed("replacing a filter", &error)),
            Ok(()) => {}
        }
        self.pin_filter(program)
    }

    fn create_filter(&self, program: &mut SchedClassifier) -> Result<(), ProbeError> {
        let options = NlOptions {
            priority: self.priority(),
            handle: HANDLE,
            classid: None,
        };
        let options = TcAttachOptions::Netlink(options);
        let link = program
            .attach_with_options(self.if_name, self.side(), options)
            .and_then(|id| program.take_link(id))
            .map_err(|error| self.failed("adding a filter", &error))?;
        keep(link);
        Ok(())
    }

    fn replace_filter(&self, program: &mut SchedClassifier) -> Result<(), ProgramError> {
        let link = self.filter().map_err(ProgramError::IOError)?;
        let id = program.attach_to_link(link)?;
        program.take_link(id).map(keep)
    }

    fn pin_filter(&self, program: &mut SchedClassifier) -> Result<(), ProbeError> {
        let pin = self.pins.filter(self.slot, self.direction);
        pins::remove(&pin)?;
        program
            .pin(&pin)
            .map_err(|error| self.failed("pinning a program", &error))
    }

    fn installed_tcx(&self) -> Result<Option<Installed>, ProbeError> {
        let Some(id) = self.linked_program()? else {
            return Ok(None);
        };
        let (_, programs) = SchedClassifier::query_tcx(self.if_name, self.side())
            .map_err(|error| self.failed("listing TCX programs", &error))?;
        let of = programs.len();
        Ok(programs
            .iter()
            .position(|program| program.id() == id)
            .map(|position| Installed {
                place: Place::Tcx { position, of },
                tag: programs.get(position).map_or(0, ProgramInfo::tag),
            }))
    }

    /// Replacing our filter by its own program changes nothing and fails exactly if it is gone.
    fn installed_tc(&self) -> Result<Option<Installed>, ProbeError> {
        let pin = self.pins.filter(self.slot, self.direction);
        let mut program = match SchedClassifier::from_pin(&pin) {
            Ok(program) => program,
            Err(error) if errno(&error) == Some(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(self.failed("opening a pinned program", &error)),
        };
        match self
            .replace_filter(&mut program)
            .map_err(|error| (errno(&error), error))
        {
            Ok(()) => {}
            Err((Some(Errno::ENOENT | Errno::EINVAL), _)) => return Ok(None),
            Err((_, error)) => return Err(self.failed("looking for a filter", &error)),
        }
        let info = program
            .info()
            .map_err(|error| self.failed("reading a program", &error))?;
        Ok(Some(Installed {
            place: Place::Tc,
            tag: info.tag(),
        }))
    }

    fn filter(&self) -> io::Result<SchedClassifierLink> {
        SchedClassifierLink::attached(self.if_name, self.side(), self.priority(), HANDLE, None)
    }

    fn side(&self) -> TcAttachType {
        side(self.direction)
    }

    /// The lowest runs first: first on ingress, last on egress.
    fn priority(&self) -> u16 {
        match self.direction {
            Direction::Rx => 1,
            Direction::Tx => u16::MAX,
        }
    }

    fn failed(&self, doing: &str, error: &(dyn Error + 'static)) -> ProbeError {
        ProbeError::from_program(format!("{doing} on {}", self.if_name), error)
    }
}

/// Puts `program` on one side of an interface by TCX, for as long as the link is held or pinned.
pub(super) fn attach_tcx(
    program: &mut SchedClassifier,
    if_name: &str,
    direction: Direction,
    order: LinkOrder,
) -> Result<FdLink, Box<dyn Error>> {
    let options = TcAttachOptions::TcxOrder(order);
    let id = program.attach_with_options(if_name, side(direction), options)?;
    Ok(FdLink::try_from(program.take_link(id)?)?)
}

/// Ingress on the pod's device is what the pod receives.
pub(super) fn side(direction: Direction) -> TcAttachType {
    match direction {
        Direction::Rx => TcAttachType::Ingress,
        Direction::Tx => TcAttachType::Egress,
    }
}

/// The link pinned at `pin`, if there is one.
pub(super) fn open_link(pin: &Path) -> Result<Option<FdLink>, ProbeError> {
    match PinnedLink::from_pin(pin) {
        Ok(link) => Ok(Some(link.into())),
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(ProbeError::from_program(
            format!("opening {}", pin.display()),
            &error,
        )),
    }
}

/// Lets a filter stay when its handle in user space ends, as a pinned link does.
fn keep(filter: SchedClassifierLink) {
    mem::forget(filter);
}
