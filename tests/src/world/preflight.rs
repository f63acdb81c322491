//! What a machine must have for a world, looked at before anything is changed.
//!
//! Owns the sentences that a newcomer reads. Each says what is missing and how to get it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use anyhow::{Context as _, Result};

/// What was found of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Effective capabilities of this process, as bits.
    pub capabilities: u64,
    /// Whether this process is root's.
    pub is_root: bool,
    /// Release of the kernel.
    pub release: String,
    /// `/proc/filesystems`.
    pub filesystems: String,
    /// The programs of `PROGRAMS` that are there.
    pub programs: BTreeSet<&'static str>,
}

/// Programs that a world runs, with the packages that bring them.
const PROGRAMS: [(&str, &str); 3] = [
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("ip", "iproute2"),
];

/// Capabilities that a world uses, with their bits (linux/capability.h).
const CAPABILITIES: [(&str, u32); 3] = [
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_BPF", 39),
];

/// TCX links came with it.
const OLDEST: (u32, u32) = (6, 6);

impl Machine {
    /// This machine.
    pub fn read() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective
            .context("/proc/self/status says no CapEff")?
            .trim();
        let has = |program: &&'static str| {
            let found = Command::new(program).arg("--version").output();
            !found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
        };
        Ok(Self {
            capabilities: u64::from_str_radix(effective, 16)?,
            is_root: nix::unistd::Uid::effective().is_root(),
            release: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            filesystems: fs::read_to_string("/proc/filesystems")?,
            programs: PROGRAMS
                .map(|(program, _)| program)
                .into_iter()
                .filter(has)
                .collect(),
        })
    }

    /// The first thing that is missing, and how to get it.
    pub fn lacks(&self) -> Option<String> {
        if !self.is_root {
            let needs = "a world needs root, for network namespaces and eBPF";
            return Some(format!("{needs}: run it again under sudo"));
        }
        let release = &self.release;
        if version(release).is_some_and(|found| found < OLDEST) {
            return Some(format!(
                "netclaim counts with TCX, which came with Linux 6.6, and this is {release}: try a \
                 machine with a newer kernel"
            ));
        }
        if !self.filesystems.lines().any(|line| line.ends_with("\tbpf")) {
            return Some(format!(
                "the kernel {release} has no BPF file system: it needs CONFIG_BPF_SYSCALL=y"
            ));
        }
        let missing = |bit: &u32| self.capabilities & (1 << bit) == 0;
        if let Some((name, _)) = CAPABILITIES.iter().find(|(_, bit)| missing(bit)) {
            return Some(format!(
                "root lacks {name} here, as in a container: run it on the machine itself, or in a \
                 privileged container"
            ));
        }
        let lacking = |(program, _): &&(&str, &str)| !self.programs.contains(program);
        let (program, package) = PROGRAMS.iter().find(lacking)?;
        Some(format!(
            "a world needs the program `{program}`: install the package {package}"
        ))
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Machine, PROGRAMS};

    #[track_caller]
    fn check(change: impl FnOnce(&mut Machine), expected: Option<&str>) {
        let mut machine = Machine {
            capabilities: u64::MAX,
            is_root: true,
            release: "6.18.0-1-amd64".to_owned(),
            filesystems: "nodev\tsysfs\nnodev\tbpf\n\text4\n".to_owned(),
            programs: PROGRAMS.map(|(program, _)| program).into(),
        };
        change(&mut machine);
        assert_eq!(machine.lacks().as_deref(), expected);
    }

    #[test]
    fn each_thing_that_is_missing_has_a_sentence() {
        check(|_| (), None);
        check(|machine| machine.release = "6.6.0".to_owned(), None);
        check(
            |machine| machine.is_root = false,
            Some("a world needs root, for network namespaces and eBPF: run it again under sudo"),
        );
        check(
            |machine| machine.release = "5.15.0-91-generic".to_owned(),
            Some(
                "netclaim counts with TCX, which came with Linux 6.6, and this is \
                 5.15.0-91-generic: try a machine with a newer kernel",
            ),
        );
        check(
            |machine| machine.filesystems = "nodev\tsysfs\n".to_owned(),
            Some("the kernel 6.18.0-1-amd64 has no BPF file system: it needs CONFIG_BPF_SYSCALL=y"),
        );
        check(
            |machine| machine.capabilities &= !(1 << 39),
            Some(
                "root lacks CAP_BPF here, as in a container: run it on the machine itself, or in \
                 a privileged container",
            ),
        );
        check(
            |machine| {
                machine.programs.remove("ip");
            },
            Some("a world needs the program `ip`: install the package iproute2"),
        );
    }
}
