//! A node from inside: its own processes, mounts, control groups and host name.
//!
//! Its root is a folder of the lab in which the machine's programs are mounted, so that all paths
//! are the usual ones and nothing that the node writes reaches the machine.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::wait::{Id, WaitPidFlag, WaitStatus, waitid},
    unistd::{Pid, chdir, pivot_root},
};

use super::cgroup::Hierarchy;

/// Tells one boot of a node from the next, to drivers that are told to read it here. The kernel's
/// own stays the machine's: a /proc with something mounted in it cannot be mounted again by pods
/// with user namespaces.
pub const BOOT_ID: &str = "/run/boot-id";

/// What a node has of its own; everything else at the top is the machine's.
const OWN: &[&str] = &[
    "proc",
    "sys",
    "dev",
    "run",
    "var",
    "etc",
    "opt",
    "mnt",
    "media",
    "boot",
    "lost+found",
];

/// Folders that a node's programs expect, besides mount points.
const EXPECTED: &[&str] = &[
    "run/netns",
    "run/lock",
    "var/lib",
    "var/log/pods",
    "var/log/containers",
    "var/tmp",
    "etc/cni/net.d",
    "var/lib/kubelet",
    "var/lib/containerd",
];

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct Room {
    /// Its host name.
    pub hostname: String,
    /// Where its files are kept.
    pub folder: PathBuf,
    /// The CNI plugins.
    pub plugins: PathBuf,
    /// Folders of the machine that it needs, wherever they are.
    pub visible: Vec<PathBuf>,
}

/// Leaves the machine's process, mount, control group and host name namespaces, and starts `first`
/// as the first process of the new ones. Gives its process id, as the machine sees it.
pub fn leave(mut first: Command) -> anyhow::Result<u32> {
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(namespaces).context("a node needs namespaces of its own; run as root")?;
    Ok(first.stdin(Stdio::null()).spawn()?.id())
}

/// Reaps whatever ends, until `child` does. The first process of a node must: nobody else can.
pub fn reap_until(child: Pid) -> anyhow::Result<()> {
    loop {
        let ended = waitid(Id::All, WaitPidFlag::WEXITED).context("waiting for the node")?;
        if matches!(ended, WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) if pid == child)
        {
            return Ok(());
        }
    }
}

impl Room {
    /// Mounts everything and makes the node's folder the root.
    pub fn furnish(&self, hierarchies: &[Hierarchy]) -> anyhow::Result<()> {
        mount_flags("/", MsFlags::MS_SLAVE | MsFlags::MS_REC)?;
        let root = self.folder.join("root");
        fs::create_dir_all(&root)?;
        bind(&root, &root)?;
        bind_machine(&root)?;
        mount_new("proc", &root.join("proc"), "")?;
        mount_new("sysfs", &root.join("sys"), "")?;
        mount_cgroups(hierarchies, &root)?;
        mount_new("bpf", &root.join("sys/fs/bpf"), "")?;
        mount_new("tmpfs", &root.join("run"), "mode=755")?;
        self.overlay(Path::new("/etc"), &root.join("etc"))?;
        for folder in EXPECTED {
            fs::create_dir_all(root.join(folder))?;
        }
        // The runtime's namespaces are named by the old path.
        link_if_absent("/run", &root.join("var/run"))?;
        self.overlay(&self.plugins, &root.join("opt/cni/bin"))?;
        for folder in self.visible.iter().filter(|folder| is_hidden(folder)) {
            bind_only(folder, &inside(&root, folder))?;
        }
        move_in(&root)?;
        // What a pod mounts below a shared folder must reach the node, and the other way round.
        mount_flags("/", MsFlags::MS_SHARED | MsFlags::MS_REC)?;
        fs::write(BOOT_ID, fs::read_to_string("/proc/sys/kernel/random/uuid")?)?;
        fs::write("/proc/sys/kernel/hostname", &self.hostname)?;
        Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?)
    }

    /// Shows `lower`; what is written stays with the node.
    fn overlay(&self, lower: &Path, target: &Path) -> anyhow::Result<()> {
        let name = lower.to_string_lossy().replace('/', "_");
        let folder = self.folder.join("overlay").join(name);
        let (upper, work) = (folder.join("upper"), folder.join("work"));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let (lower, upper, work) = (lower.display(), upper.display(), work.display());
        let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        mount_new("overlay", target, &layers)
    }
}

/// The machine's programs and devices.
fn bind_machine(root: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir("/")?.flatten() {
        let name = entry.file_name();
        let (from, to) = (entry.path(), root.join(&name));
        let own = name.to_str().is_none_or(|name| OWN.contains(&name));
        if own {
            continue;
        }
        if entry.file_type()?.is_symlink() {
            link_if_absent(fs::read_link(&from)?, &to)?;
        } else if from.is_dir() {
            bind(&from, &to)?;
        }
    }
    bind(Path::new("/dev"), &root.join("dev"))
}

fn mount_cgroups(hierarchies: &[Hierarchy], root: &Path) -> anyhow::Result<()> {
    let unified = hierarchies
        .iter()
        .all(|hierarchy| hierarchy.version == "cgroup2");
    if !unified {
        mount_new("tmpfs", &root.join("sys/fs/cgroup"), "mode=755")?;
    }
    for hierarchy in hierarchies {
        let target = inside(root, &hierarchy.mount_point);
        mount_new(hierarchy.version, &target, &hierarchy.options)?;
        // Controllers mounted together are looked for by each one's name.
        for controller in hierarchy.options.split(',') {
            let name = root.join("sys/fs/cgroup").join(controller);
            if hierarchy.options.contains(',') {
                link_if_absent(&hierarchy.options, &name)?;
            }
        }
    }
    Ok(())
}

/// Whether the node has something of its own where the machine has this folder.
fn is_hidden(folder: &Path) -> bool {
    let top = folder.components().nth(1);
    top.is_some_and(|top| OWN.iter().any(|own| top.as_os_str() == *own))
}

/// A path of the machine, under another root.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn mount_new(kind: &str, target: &Path, options: &str) -> anyhow::Result<()> {
    make_folder(target)?;
    mount(
        Some(kind),
        target,
        Some(kind),
        MsFlags::empty(),
        Some(options),
    )
    .with_context(|| format!("mounting {kind} ({options}) on {}", target.display()))
}

/// With all that is mounted below.
fn bind(from: &Path, to: &Path) -> anyhow::Result<()> {
    bind_with(from, to, MsFlags::MS_REC)
}

/// Without what is mounted below: the lab's folder holds the node's root.
fn bind_only(from: &Path, to: &Path) -> anyhow::Result<()> {
    bind_with(from, to, MsFlags::empty())
}

fn bind_with(from: &Path, to: &Path, flags: MsFlags) -> anyhow::Result<()> {
    make_folder(to)?;
    let flags = MsFlags::MS_BIND | flags;
    mount(Some(from), to, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("mounting {} on {}", from.display(), to.display()))
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

fn link_if_absent(target: impl AsRef<Path>, link: &Path) -> anyhow::Result<()> {
    if !link.is_symlink() && !link.exists() {
        symlink(target, link).with_context(|| link.display().to_string())?;
    }
    Ok(())
}

fn mount_flags(target: &str, flags: MsFlags) -> anyhow::Result<()> {
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>).context("mount propagation")
}

/// `pivot_root(2)`'s own way to do it without a folder for the old root.
fn move_in(root: &Path) -> anyhow::Result<()> {
    chdir(root)?;
    pivot_root(".", ".").context("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(chdir("/")?)
}
