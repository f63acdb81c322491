//! Why flows are not recorded, and what to do about it.

use std::{error::Error, io};

use aya::EbpfError;
use netclaim_core::failure::Cause;

use super::super::error::{ProbeError, chain, errno};

/// Why flows are not recorded. The interface is counted all the same.
#[derive(Debug, thiserror::Error)]
pub enum FlowsError {
    /// The programs hang by TCX or not at all: an old kernel is no reason to touch a qdisc.
    #[error(
        "TCX did not take the programs that record flows: {source}; Linux 6.6 or later is needed, and \
         a place among the interface's TCX programs"
    )]
    NoTcx {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel does not know something we need.
    #[error("the kernel does not support {what}: {source}; flows need Linux 6.6 or later")]
    NotSupported {
        /// What it lacks.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A call failed for a reason that no other variant names.
    #[error("{call} failed: {source}; look for the reason in the node's kernel log")]
    Kernel {
        /// What was tried.
        call: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// What keeps counting from working as well.
    #[error(transparent)]
    Probe(ProbeError),
}

impl FlowsError {
    /// What it means that the interface did not take a program.
    pub(super) fn from_hook(error: &(dyn Error + 'static)) -> Self {
        let source = errno(error).map_or_else(|| io::Error::other(chain(error)), io::Error::from);
        match ProbeError::from_io("attaching by TCX", source) {
            error @ ProbeError::NoPermission { .. } => error.into(),
            ProbeError::Kernel { source, .. } | ProbeError::NotSupported { source, .. } => {
                Self::NoTcx { source }
            }
            other => other.into(),
        }
    }

    /// What it means that the object could not be made ready.
    pub(super) fn from_object(error: &EbpfError) -> Self {
        match errno(error) {
            Some(errno) => ProbeError::from_io("making the table of flows", errno.into()),
            None => ProbeError::Object(chain(error)),
        }
        .into()
    }
}

/// The words of the two are about counting.
impl From<ProbeError> for FlowsError {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::NotSupported { what, source } => Self::NotSupported { what, source },
            ProbeError::Kernel { call, source } => Self::Kernel { call, source },
            other => Self::Probe(other),
        }
    }
}

impl Cause for FlowsError {
    fn reason(&self) -> &'static str {
        match self {
            Self::NoTcx { .. } | Self::NotSupported { .. } => "KernelNotSupported",
            Self::Kernel { .. } => "KernelRefused",
            Self::Probe(error) => error.reason(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoTcx { .. } | Self::NotSupported { .. } => "kernel_not_supported",
            Self::Kernel { .. } => "kernel_refused",
            Self::Probe(error) => error.code(),
        }
    }
}

#[cfg(test)]
mod tests;
