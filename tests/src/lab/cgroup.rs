//! The lab's control groups: one per node in every hierarchy, made beside those of the machine.
//!
//! Every process of a lab is in them, so whatever happens, they say what is left to stop.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{topology::LabName, wait};

const ROOT: &str = "/sys/fs/cgroup";

/// A mounted hierarchy of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// `cgroup` or `cgroup2`.
    pub version: &'static str,
    /// What a second mount of it is asked for with.
    pub options: String,
}

/// The machine's hierarchies that carry controllers: the unified one, or all of version 1.
pub fn hierarchies() -> anyhow::Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let found = parse(&mounts);
    if found.is_empty() {
        bail!("no control groups are mounted under {ROOT}; the kubelet cannot run without them");
    }
    Ok(found)
}

/// Makes a node's groups. On version 2 its processes get a group of their own inside, because a
/// group that hands out controllers must hold none.
pub fn create(hierarchies: &[Hierarchy], lab: &LabName, node: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies {
        let mut group = hierarchy.mount_point.clone();
        for part in [lab_group(lab).as_str(), node, "init"] {
            hand_down(&group);
            group.push(part);
            match fs::create_dir(&group) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| group.display().to_string());
                }
                _ => inherit_cpuset(&group),
            }
        }
    }
    Ok(())
}

/// Moves this process into one of the lab's groups.
pub fn enter(hierarchies: &[Hierarchy], lab: &LabName, group: &str) -> anyhow::Result<()> {
    // Zero is who writes.
    admit(hierarchies, lab, group, 0)
}

/// Moves a process into one of the lab's groups.
pub fn admit(
    hierarchies: &[Hierarchy],
    lab: &LabName,
    group: &str,
    process: u32,
) -> anyhow::Result<()> {
    for hierarchy in hierarchies {
        let group = hierarchy.mount_point.join(lab_group(lab)).join(group);
        let procs = group.join("cgroup.procs");
        fs::write(&procs, process.to_string()).with_context(|| procs.display().to_string())?;
    }
    Ok(())
}

/// The processes of one node, or of the whole lab.
pub fn processes(lab: &LabName, node: Option<&str>) -> anyhow::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for group in groups(lab, node)? {
        // The group may be gone, and its processes with it.
        let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(procs.lines().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Kills everything in the groups of a node, or of the whole lab, and waits until it is gone.
pub async fn kill(lab: &LabName, node: Option<&str>) -> anyhow::Result<()> {
    wait::until(
        "the lab's processes to end",
        Duration::from_secs(30),
        async || {
            let left = processes(lab, node)?;
            for pid in &left {
                let pid = nix::unistd::Pid::from_raw(i32::try_from(*pid)?);
                // It may have ended meanwhile.
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
            }
            if !left.is_empty() {
                bail!("still there: {}", described(&left));
            }
            Ok(())
        },
    )
    .await
}

/// Removes the groups of a node, or of the whole lab; they must be empty of processes.
pub async fn remove(lab: &LabName, node: Option<&str>) -> anyhow::Result<()> {
    let groups = groups(lab, node)?;
    for group in groups.iter().rev() {
        // A dead process may keep its group busy for a moment.
        let fact = format!("{} to be empty", group.display());
        wait::until(
            &fact,
            Duration::from_secs(5),
            async || match fs::remove_dir(group) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
        )
        .await?;
    }
    Ok(())
}

/// The lab's groups that exist, outer ones first.
pub fn groups(lab: &LabName, node: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for hierarchy in hierarchies()? {
        let lab = hierarchy.mount_point.join(lab_group(lab));
        let top = node.map_or_else(|| lab.clone(), |node| lab.join(node));
        if top.is_dir() {
            let mut next = groups.len();
            groups.push(top);
            while let Some(group) = groups.get(next) {
                // A group that vanishes while it is read has nothing in it.
                let inner = fs::read_dir(group).into_iter().flatten().flatten();
                let inner: Vec<_> = inner
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir())
                    .collect();
                groups.extend(inner);
                next += 1;
            }
        }
    }
    Ok(groups)
}

fn lab_group(lab: &LabName) -> String {
    format!("lab.{lab}")
}

/// Version 2 gives a group only the controllers that its parent hands down.
fn hand_down(group: &Path) {
    let control = group.join("cgroup.subtree_control");
    let offered = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    for controller in offered.split_whitespace() {
        // Some cannot be handed down, such as cpu beside real-time processes: the kubelet names
        // those that it misses.
        fs::write(&control, format!("+{controller}")).ok();
    }
}

/// Version 1 gives a new group no processor and no memory node, and refuses processes until it has.
fn inherit_cpuset(group: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let parent = group.parent().map(|parent| parent.join(file));
        if let Some(Ok(value)) = parent.map(fs::read_to_string) {
            // The hierarchy without cpuset has no such file, and version 2 inherits by itself.
            fs::write(group.join(file), value.trim()).ok();
        }
    }
}

/// Process ids with their commands, for people.
fn described(pids: &[u32]) -> String {
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let shown = pids.iter().map(|pid| format!("{pid} {}", name(pid).trim()));
    shown.collect::<Vec<_>>().join(", ")
}

fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let all: Vec<_> = mountinfo.lines().filter_map(parse_line).collect();
    let version = if all.iter().any(|found| found.version == "cgroup") {
        "cgroup"
    } else {
        "cgroup2"
    };
    all.into_iter()
        .filter(|found| found.version == version)
        .collect()
}

/// Format: `proc_pid_mountinfo(5)`.
fn parse_line(line: &str) -> Option<Hierarchy> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mount_point = PathBuf::from(mount.split(' ').nth(4)?);
    let mut filesystem = filesystem.split(' ');
    let version = match filesystem.next()? {
        "cgroup" => "cgroup",
        "cgroup2" => "cgroup2",
        _ => return None,
    };
    let options = filesystem.nth(1)?.split(',');
    let options: Vec<_> = options
        .filter(|option| !matches!(*option, "rw" | "ro" | "xattr" | "clone_children"))
        .collect();
    let options = if version == "cgroup" {
        options.join(",")
    } else {
        String::new()
    };
    mount_point.starts_with(ROOT).then_some(Hierarchy {
        mount_point,
        version,
        options,
    })
}

#[cfg(test)]
mod tests;
