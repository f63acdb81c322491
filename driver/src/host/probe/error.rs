//! Why an interface is not counted, and what to do about it.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use aya::{
    EbpfError,
    programs::{ProgramError, tc::TcError},
};
use netclaim_core::{attachment::Slot, failure::Cause};
use nix::errno::Errno;

use crate::host::netns::NetnsError;

/// Why an interface is not counted.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The map has no rows for this slot.
    #[error(
        "slot {} is beyond the {max} that the counters map holds; raise --max-interfaces",
        .slot.0
    )]
    NoSlot {
        /// The slot asked for.
        slot: Slot,
        /// How many there are.
        max: u32,
    },
    /// The kernel does not let us.
    #[error(
        "{call} is not permitted: {source}; the driver needs CAP_BPF, CAP_NET_ADMIN and \
         CAP_SYS_ADMIN (securityContext.privileged: true)"
    )]
    NoPermission {
        /// What was tried.
        call: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not know something we need.
    #[error("the kernel does not support {what}: {source}; Linux 5.10 or later is needed")]
    NotSupported {
        /// What it lacks.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no bpffs for the pins, so a restart would lose the counts.
    #[error(
        "{} is not on a bpf file system; mount one (mount -t bpf bpf /sys/fs/bpf), in a container \
         as a hostPath with mountPropagation: HostToContainer or Bidirectional",
        path.display()
    )]
    BpffsNotMounted {
        /// The folder for the pins.
        path: PathBuf,
    },
    /// The pinned map is not the one we would make.
    #[error(
        "the counters map pinned at {} is {found}, but {expected} is needed; start with the \
         --max-interfaces it was made with, or drain the node and remove {}",
        path.display(),
        path.parent().unwrap_or(Path::new("/")).display()
    )]
    ForeignMap {
        /// Where it is pinned.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What we would make.
        expected: String,
    },
    /// The kernel's verifier refused a program.
    #[error("the kernel's verifier refused {program}; report this with its words: {log}")]
    Verifier {
        /// Which program.
        program: &'static str,
        /// The verifier's words.
        log: String,
    },
    /// The object in this binary is not what this binary expects.
    #[error("the eBPF object in this binary is unusable: {0}; rebuild it with cargo xtask ebpf")]
    Object(String),
    /// The namespace has no such interface.
    #[error(
        "no interface {if_name} in {}; it was renamed, moved or deleted: delete the pod to have it \
         anew",
        netns.display()
    )]
    NoInterface {
        /// The namespace.
        netns: PathBuf,
        /// The name.
        if_name: String,
    },
    /// The namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Neither TCX nor clsact took the program.
    #[error(
        "neither TCX nor clsact took the program: TCX said {tcx}, clsact said {clsact}; use Linux \
         6.6 or later, or one with CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF"
    )]
    NoHook {
        /// Why TCX did not.
        tcx: String,
        /// Why clsact did not.
        clsact: String,
    },
    /// A call failed for a reason that no variant above names.
    #[error(
        "{call} failed: {source}; the interface works uncounted, look for the reason in the node's \
         kernel log"
    )]
    Kernel {
        /// What was tried.
        call: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Cause for ProbeError {
    fn reason(&self) -> &'static str {
        match self {
            Self::NoSlot { .. } => "NoSlot",
            Self::NoPermission { .. } => "NoPermission",
            Self::NotSupported { .. } => "KernelNotSupported",
            Self::BpffsNotMounted { .. } => "BpffsNotMounted",
            Self::ForeignMap { .. } => "ForeignMap",
            Self::Verifier { .. } => "VerifierRefused",
            Self::Object(_) => "ObjectUnusable",
            Self::NoInterface { .. } => "InterfaceNotFound",
            Self::Netns(NetnsError::Gone { .. } | NetnsError::NotANamespace { .. }) => {
                "NamespaceGone"
            }
            Self::Netns(_) => "NamespaceNotEntered",
            Self::NoHook { .. } => "NoHook",
            Self::Kernel { .. } => "KernelRefused",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoSlot { .. } => "no_slot",
            Self::NoPermission { .. } => "no_permission",
            Self::NotSupported { .. } => "kernel_not_supported",
            Self::BpffsNotMounted { .. } => "bpffs_not_mounted",
            Self::ForeignMap { .. } => "foreign_map",
            Self::Verifier { .. } => "verifier_refused",
            Self::Object(_) => "object_unusable",
            Self::NoInterface { .. } => "interface_not_found",
            Self::Netns(NetnsError::Gone { .. } | NetnsError::NotANamespace { .. }) => {
                "namespace_gone"
            }
            Self::Netns(_) => "namespace_not_entered",
            Self::NoHook { .. } => "no_hook",
            Self::Kernel { .. } => "kernel_refused",
        }
    }
}

impl ProbeError {
    /// What a failed system call means.
    pub(super) fn from_io(call: impl Into<String>, source: io::Error) -> Self {
        let call = call.into();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => Self::NoPermission { call, source },
            Some(Errno::ENOSYS | Errno::EOPNOTSUPP) => Self::NotSupported { what: call, source },
            _ => Self::Kernel { call, source },
        }
    }

    /// What it means that the object could not be made ready.
    pub(super) fn from_object(error: &EbpfError) -> Self {
        match errno(error) {
            Some(Errno::EINVAL) => Self::NotSupported {
                what: "mmapable array maps (Linux 5.5)".to_owned(),
                source: Errno::EINVAL.into(),
            },
            Some(errno) => Self::from_io("creating the counters map", errno.into()),
            None => Self::Object(chain(error)),
        }
    }

    /// What it means that the kernel did not take `program`.
    pub(super) fn from_load(program: &'static str, error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } if Errno::from_raw(io_error.raw_os_error().unwrap_or(0)) != Errno::EPERM => {
                Self::Verifier {
                    program,
                    log: verifier_log.to_string(),
                }
            }
            other => Self::from_program(format!("loading {program}"), &other),
        }
    }

    /// What it means that `call` on a program or a link failed.
    pub(super) fn from_program(call: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        match errno(error) {
            Some(errno) => Self::from_io(call, errno.into()),
            None => Self::Kernel {
                call: call.into(),
                source: io::Error::other(chain(error)),
            },
        }
    }
}

/// The system's error number in the causes of `error`.
///
/// Several of aya's errors are transparent, so the one that holds the number is not in the chain of
/// sources and has to be looked for by its type.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    causes(error).find_map(own_errno).map(Errno::from_raw)
}

fn own_errno(error: &(dyn Error + 'static)) -> Option<i32> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.raw_os_error();
    }
    let tc = match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::TcError(error)) => Some(error),
        Some(ProgramError::IOError(error)) => return error.raw_os_error(),
        _ => error.downcast_ref::<TcError>(),
    };
    match tc? {
        TcError::NetlinkError(error) => error.raw_os_error(),
        TcError::IoError(error) => error.raw_os_error(),
        _ => None,
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let words: Vec<_> = causes(error).map(ToString::to_string).collect();
    words.join(": ")
}

#[cfg(test)]
mod tests;
