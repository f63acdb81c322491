//! What a process holds, as the kernel has it.
//!
//! It must never ask the process.

use std::fmt::Display;
use std::fs;

use anyhow::{Context as _, Result};

/// Memory of a process in KiB, by the kernel's name for it: `VmRSS` and so on
/// (`proc_pid_status(5)`).
pub fn kibibytes(pid: impl Display, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut values = status.lines().filter_map(|line| line.split_once(':'));
    let value = values.find(|(name, _)| *name == field);
    let value = value.and_then(|(_, value)| value.split_whitespace().next());
    let value = value.with_context(|| format!("no {field} in the status of process {pid}"))?;
    Ok(value.parse()?)
}
