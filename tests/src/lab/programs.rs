//! A node's programs, one by one: ended, kept down, started again, as an operator would.
//!
//! Ends only processes of the lab's own control groups. What is kept down is noted in a file that
//! the node's supervisor looks at before it starts a program.

use std::{fs, io, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Lab, cgroup, wait};
use crate::world::memory;

/// Kubelet and containerd end within a second of being asked.
const END: Duration = Duration::from_secs(30);

impl Lab {
    /// Ends a program of a node, as a crash does, and keeps it down.
    pub async fn stop(&self, node: &str, program: &str) -> Result<()> {
        let held = self.held(node, program);
        if let Some(folder) = held.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&held, "").with_context(|| held.display().to_string())?;
        self.end(node, program, Signal::SIGKILL).await
    }

    /// Lets a program of a node run again.
    pub fn resume(&self, node: &str, program: &str) -> Result<()> {
        match fs::remove_file(self.held(node, program)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Asks a program of a node to end; the node's supervisor starts it again at once.
    pub async fn restart(&self, node: &str, program: &str) -> Result<()> {
        self.end(node, program, Signal::SIGTERM).await
    }

    /// Exists while a program is to be down.
    pub(super) fn held(&self, node: &str, program: &str) -> PathBuf {
        self.node_folder(node).join("held").join(program)
    }

    /// The processes of a node whose command begins with these words; the program's folder does not
    /// count.
    pub fn processes(&self, node: &str, words: &[&str]) -> Result<Vec<u32>> {
        let mut pids = cgroup::processes(&self.name, Some(node))?;
        pids.retain(|pid| begins_with(*pid, words));
        Ok(pids)
    }

    /// The processes of a pod, its pause process among them.
    pub fn processes_of_pod(&self, node: &str, uid: &str) -> Result<Vec<u32>> {
        let of_pod = format!("pod{uid}");
        let mut pids = Vec::new();
        for group in cgroup::groups(&self.name, Some(node))? {
            if group.components().any(|part| part.as_os_str() == &*of_pod) {
                let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                pids.extend(procs.lines().filter_map(|pid| pid.parse::<u32>().ok()));
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Memory of a node's program in KiB, by the kernel's name for it.
    pub fn memory(&self, node: &str, words: &[&str], field: &str) -> Result<u64> {
        let running = self.processes(node, words)?;
        let pid = running
            .first()
            .with_context(|| format!("no {} runs on {node}", words.join(" ")))?;
        memory::kibibytes(pid, field)
    }

    async fn end(&self, node: &str, program: &str, by: Signal) -> Result<()> {
        let running = self.processes(node, &[program])?;
        ensure!(!running.is_empty(), "no {program} runs on {node}");
        for pid in &running {
            signal(*pid, by)?;
        }
        let fact = format!("{program} on {node} to end");
        wait::until(&fact, END, async || {
            let left = self.processes(node, &[program])?;
            match left.iter().find(|pid| running.contains(pid)) {
                Some(pid) => bail!("process {pid} is still there"),
                None => Ok(()),
            }
        })
        .await
    }
}

/// Sends a signal to a process of a lab.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let process = Pid::from_raw(i32::try_from(pid)?);
    kill(process, signal).with_context(|| format!("{signal} to process {pid}"))
}

/// Whether a process was started with these words first; one that has ended was not.
pub fn begins_with(pid: u32, words: &[&str]) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut said = command
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy);
    words.iter().enumerate().all(|(index, word)| {
        let said = said.next().unwrap_or_default();
        let name = if index == 0 {
            said.rsplit('/').next().unwrap_or_default()
        } else {
            &said
        };
        name == *word
    })
}
