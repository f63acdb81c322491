//! Why drops are not counted, and what to do about it.

use std::{io, path::PathBuf};

use netclaim_core::{btf::BtfError, failure::Cause};

use super::super::error::ProbeError;

/// Why drops are not counted.
#[derive(Debug, thiserror::Error)]
pub enum DropsError {
    /// The kernel does not say how its structures look.
    #[error(
        "the kernel does not describe itself in {}: {source}; use one with \
         CONFIG_DEBUG_INFO_BTF",
        path.display()
    )]
    Undescribed {
        /// Where it would.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// It says so, and what is needed is not there.
    #[error(
        "the kernel gives no reasons for its drops that this driver can read: {0}; Linux 5.17 or \
         later is needed"
    )]
    Unlike(#[from] BtfError),
    /// It does not take the program.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

impl Cause for DropsError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Undescribed { .. } => "NoKernelTypes",
            Self::Unlike(_) => "KernelNotSupported",
            Self::Probe(error) => error.reason(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Undescribed { .. } => "no_kernel_types",
            Self::Unlike(_) => "kernel_not_supported",
            Self::Probe(error) => error.code(),
        }
    }
}

#[cfg(test)]
mod tests;
