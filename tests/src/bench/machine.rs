//! The machine that was measured on.

use std::fs;
use std::thread::available_parallelism;

use anyhow::Result;
use serde::Serialize;

/// What a figure depends on besides netclaim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Machine {
    /// Release of the kernel.
    pub(super) kernel: String,
    /// Model of the processor.
    pub(super) cpu: String,
    /// Processors that this program may use.
    pub(super) cores: usize,
}

impl Machine {
    /// This machine.
    pub(super) fn read() -> Result<Self> {
        let kernel = nix::sys::utsname::uname()?;
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        Ok(Self {
            kernel: kernel.release().to_string_lossy().into_owned(),
            cpu: model(&cpuinfo).unwrap_or("unknown").to_owned(),
            cores: available_parallelism()?.get(),
        })
    }
}

fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}
