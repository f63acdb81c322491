use std::{
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

/// A network namespace of a test, gone with the value.
pub(crate) struct TestNetns {
    name: String,
}

impl TestNetns {
    /// None where the test may not make one; it has then said so.
    pub(crate) fn new() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: network namespaces need root");
            return None;
        }
        let serial = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("nc-cni-{}-{serial}", std::process::id());
        run("ip", &["netns", "add", &name]);
        Some(Self { name })
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs `ip` inside.
    pub(crate) fn ip(&self, args: &str) -> String {
        let args: Vec<&str> = ["-n", &self.name]
            .into_iter()
            .chain(args.split(' '))
            .collect();
        String::from_utf8(run("ip", &args).stdout).unwrap()
    }
}

impl Drop for TestNetns {
    fn drop(&mut self) {
        run("ip", &["netns", "del", &self.name]);
    }
}

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    output
}

fn own() -> NetnsId {
    identify(Path::new("/proc/thread-self/ns/net")).unwrap()
}

#[test]
fn a_visitor_is_inside_and_the_caller_stays_outside() {
    let Some(netns) = TestNetns::new() else {
        return;
    };
    netns.ip("link add inner type veth peer name outer");
    let before = own();
    let links = || fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let (visited, seen) = inside(&netns.path(), || (own(), links())).unwrap();
    assert!(seen.contains("inner") && !links().contains("inner"));
    assert_eq!(visited, identify(&netns.path()).unwrap());
    assert_ne!(visited, before);
    assert_eq!(own(), before);
}

#[test]
fn a_namespace_exists_until_it_is_unmounted() {
    let Some(netns) = TestNetns::new() else {
        return;
    };
    let path = netns.path();
    assert!(exists(&path));
    drop(netns);
    assert!(!exists(&path));
}

#[test]
#[should_panic(expected = "from inside")]
fn a_panic_inside_reaches_the_caller() {
    let Some(netns) = TestNetns::new() else {
        panic!("from inside")
    };
    let _ = inside(&netns.path(), || panic!("from inside"));
}

#[test]
fn what_is_no_namespace_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("unmounted");
    fs::write(&file, "").unwrap();
    let visit = |path: &Path| inside(path, || ()).unwrap_err();
    assert!(matches!(
        visit(&dir.path().join("gone")),
        NetnsError::Gone { .. }
    ));
    assert!(matches!(visit(&file), NetnsError::NotANamespace { .. }));
    assert!(matches!(
        visit(dir.path()),
        NetnsError::NotANamespace { .. }
    ));
    assert!(matches!(
        visit(Path::new("/proc/self/ns/mnt")),
        NetnsError::Refused { .. }
    ));
    assert!(!exists(&file));
    assert_eq!(
        visit(&file).to_string(),
        format!(
            "{}: found an ordinary file, expected a network namespace; the sandbox is gone, or its \
             mount does not reach the driver (HostToContainer)",
            file.display()
        )
    );
}
