//! What this machine has, looked at before anything is changed.
//!
//! Owns the sentences that a newcomer reads first: each says what is missing and how to get it.

use std::{fs, path::Path};

use anyhow::Context as _;

use crate::step;

/// Programs that a world runs, with the packages that bring them.
const PROGRAMS: [(&str, &str); 3] = [
    ("ip", "iproute2"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

/// Capabilities that a world uses, with their bits (linux/capability.h).
const CAPABILITIES: [(&str, u32); 3] = [
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_BPF", 39),
];

/// TCX links came with it.
const OLDEST: (u32, u32) = (6, 6);

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Release of the kernel.
    release: String,
    /// `/proc/filesystems`.
    filesystems: String,
    /// Effective capabilities of root; none for a user, whom sudo will give all.
    capabilities: Option<u64>,
    /// Programs on the search path, of those that matter.
    programs: Vec<&'static str>,
}

impl Machine {
    /// This machine.
    pub(super) fn read() -> anyhow::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.context("/proc/self/status says no CapEff")?;
        let capabilities = u64::from_str_radix(effective.trim(), 16)?;
        let is_root = nix::unistd::geteuid().is_root();
        let programs = PROGRAMS.iter().map(|(program, _)| *program).chain(["sudo"]);
        Ok(Self {
            release: nix::sys::utsname::uname()?
                .release()
                .to_string_lossy()
                .into_owned(),
            filesystems: fs::read_to_string("/proc/filesystems")?,
            capabilities: is_root.then_some(capabilities),
            // Where sudo also looks.
            programs: programs
                .filter(|program| {
                    let there = |folder| Path::new(folder).join(program).is_file();
                    step::found(program) || ["/usr/sbin", "/sbin"].into_iter().any(there)
                })
                .collect(),
        })
    }

    /// The first thing that is missing, and how to get it.
    pub(super) fn lacks(&self) -> Option<String> {
        let release = &self.release;
        if kernel(release).is_some_and(|version| version < OLDEST) {
            return Some(format!(
                "this needs Linux 6.6 or newer, which brought TCX, and the kernel here is \
                 {release}: try a machine with a newer one"
            ));
        }
        if !self.filesystems.lines().any(|line| line.ends_with("\tbpf")) {
            return Some(format!(
                "this needs eBPF, and the kernel {release} has none: it needs \
                 CONFIG_BPF_SYSCALL=y; try a machine with a distribution's kernel"
            ));
        }
        let missing = |(program, _): &&(&str, &str)| self.lacks_program(program);
        if let Some((program, package)) = PROGRAMS.iter().find(missing) {
            return Some(format!(
                "this needs the program `{program}`: install the package {package}"
            ));
        }
        let Some(capabilities) = self.capabilities else {
            return self.lacks_program("sudo").then(|| {
                "this needs root, for network namespaces and eBPF: run it as root, or install sudo"
                    .to_owned()
            });
        };
        let missing = |(_, bit): &&(&str, u32)| capabilities & (1 << bit) == 0;
        let (name, _) = CAPABILITIES.iter().find(missing)?;
        Some(format!(
            "root lacks {name} here, as in a container: run it on the machine itself, or in a \
             privileged container"
        ))
    }

    fn lacks_program(&self, program: &str) -> bool {
        !self.programs.contains(&program)
    }
}

fn kernel(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
