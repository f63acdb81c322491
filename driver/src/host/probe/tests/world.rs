//! A pod, a peer and a bpffs, gone when the test ends.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::super::*;

pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// How the pod's interface is connected.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// `net1` is a veth whose other end is the peer's `net1`.
    Veth,
    /// `net1` is a macvlan on a veth whose other end is the peer's `net1`.
    Macvlan,
}

/// Network namespaces `pod`, `peer` and, for a macvlan, `node`, and a bpffs.
pub(super) struct World {
    pub(super) pod: Netns,
    pub(super) peer: Netns,
    pub(super) node: Option<Netns>,
    bpffs: Bpffs,
}

/// A network namespace with a name.
pub(super) struct Netns {
    name: String,
    pub(super) path: PathBuf,
}

struct Bpffs(tempfile::TempDir);

/// A pod that is counted in a slot; nothing where that cannot be.
pub(super) fn counted(kind: Kind, slot: Slot) -> Option<(World, Probes)> {
    if skipped() {
        return None;
    }
    let world = World::new(kind);
    world.know_each_other();
    let probes = world.probes();
    probes.attach(slot, world.interface()).unwrap();
    Some((world, probes))
}

/// Whether privileged tests cannot run here; says why.
pub(super) fn skipped() -> bool {
    static WHY: LazyLock<Option<String>> = LazyLock::new(|| {
        if !nix::unistd::geteuid().is_root() {
            return Some("not root".to_owned());
        }
        let bpffs = Bpffs::new();
        match Probes::open(&folder(bpffs.0.path(), "x"), 1) {
            Err(ProbeError::NotSupported { what, .. }) => Some(format!("the kernel has no {what}")),
            Err(ProbeError::NoPermission { call, .. }) => Some(format!("no permission for {call}")),
            _ => None,
        }
    });
    if let Some(why) = WHY.as_deref() {
        println!("skipped: {why}");
    }
    WHY.is_some()
}

impl World {
    pub(super) fn new(kind: Kind) -> Self {
        let (pod, peer) = (Netns::new(), Netns::new());
        let node = match kind {
            Kind::Veth => {
                ip(&format!(
                    "link add net1 netns {pod} type veth peer name net1 netns {peer}"
                ));
                None
            }
            Kind::Macvlan => {
                let node = Netns::new();
                ip(&format!(
                    "link add uplink netns {node} type veth peer name net1 netns {peer}"
                ));
                node.inside(|| be_silent("uplink"));
                ip(&format!("-n {node} link set uplink up"));
                ip(&format!(
                    "-n {node} link add net1 link uplink type macvlan mode bridge"
                ));
                ip(&format!("-n {node} link set net1 netns {pod}"));
                Some(node)
            }
        };
        for (netns, host) in [(&pod, 1), (&peer, 2)] {
            netns.inside(|| be_silent("net1"));
            ip(&format!("-n {netns} link set lo up"));
            ip(&format!(
                "-n {netns} link set net1 address 02:00:00:00:00:0{host}"
            ));
            ip(&format!("-n {netns} addr add 10.9.0.{host}/24 dev net1"));
            ip(&format!("-n {netns} link set net1 up"));
            ip(&format!("-n {netns} route add 239.0.0.0/8 dev net1"));
        }
        Self {
            pod,
            peer,
            node,
            bpffs: Bpffs::new(),
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        folder(self.bpffs.0.path(), "cni.dra.networking.x-k8s.io")
    }

    pub(super) fn probes(&self) -> Probes {
        Probes::open(&self.folder(), 8).unwrap()
    }

    pub(super) fn interface(&self) -> Interface<'_> {
        self.pod.interface()
    }

    /// Lets both sides know the other's address, so that no ARP is seen.
    pub(super) fn know_each_other(&self) {
        ip(&format!(
            "-n {} neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev net1",
            self.pod
        ));
        ip(&format!(
            "-n {} neigh add 10.9.0.1 lladdr 02:00:00:00:00:01 dev net1",
            self.peer
        ));
    }

    /// Gives both sides an IPv6 address.
    pub(super) fn speak_ipv6(&self) {
        for (netns, host) in [(&self.pod, 1), (&self.peer, 2)] {
            netns.inside(|| fs::write("/proc/sys/net/ipv6/conf/net1/disable_ipv6", "0").unwrap());
            ip(&format!(
                "-n {netns} addr add fd09::{host}/64 dev net1 nodad"
            ));
        }
    }

    /// Sends datagrams from the pod to the peer, or the other way, and waits until all have come. To
    /// which port.
    pub(super) fn datagrams(&self, direction: Direction, to: &str, count: usize) -> u16 {
        let (sender, receiver) = match direction {
            Direction::Tx => (&self.pod, &self.peer),
            Direction::Rx => (&self.peer, &self.pod),
        };
        let to: IpAddr = to.parse().unwrap();
        let socket = receiver.udp(to);
        let port = socket.local_addr().unwrap().port();
        sender.inside(|| {
            let socket = UdpSocket::bind((from(to), 0)).unwrap();
            if to.is_multicast() {
                socket.set_multicast_loop_v4(false).unwrap();
            }
            for _ in 0..count {
                socket.send_to(&[7; 100], (to, port)).unwrap();
            }
        });
        let mut buffer = [0; 200];
        for _ in 0..count {
            assert_eq!(socket.recv(&mut buffer).unwrap(), 100);
        }
        port
    }

    /// Sends bytes over TCP from the pod to the peer and waits until all have come.
    pub(super) fn stream(&self, bytes: usize) {
        let listener = self
            .peer
            .inside(|| TcpListener::bind("10.9.0.2:0").unwrap());
        let to = listener.local_addr().unwrap();
        let receive = std::thread::spawn(move || {
            let mut got = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
            got.len()
        });
        self.pod.inside(|| {
            let mut stream = TcpStream::connect_timeout(&to, DEADLINE).unwrap();
            stream.write_all(&vec![7; bytes]).unwrap();
        });
        assert_eq!(receive.join().unwrap(), bytes);
    }
}

impl Netns {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nc-ebpf-{}-{serial}", std::process::id());
        ip(&format!("netns add {name}"));
        let path = Path::new("/run/netns").join(&name);
        Self { name, path }
    }

    pub(super) fn interface(&self) -> Interface<'_> {
        Interface {
            netns: &self.path,
            if_name: "net1",
        }
    }

    pub(super) fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        netns::inside(&self.path, f).unwrap()
    }

    /// What the kernel counted: `ip -s link` reads the same numbers.
    pub(super) fn kernel(&self) -> Kernel {
        let ip = format!("-n {} -j -s link show dev net1", self.name);
        let shown: serde_json::Value = serde_json::from_str(&self::ip(&ip)).unwrap();
        let of = |side: &str, what: &str| shown[0]["stats64"][side][what].as_u64().unwrap();
        Kernel {
            rx: (of("rx", "packets"), of("rx", "bytes")),
            tx: (of("tx", "packets"), of("tx", "bytes")),
            tx_dropped: of("tx", "dropped"),
        }
    }

    /// A socket that gets what is sent `to` an address of this namespace or a group.
    fn udp(&self, to: IpAddr) -> UdpSocket {
        self.inside(|| {
            let socket = UdpSocket::bind((from(to), 0)).unwrap();
            if let IpAddr::V4(group) = to
                && group.is_multicast()
            {
                let own = if self.has("10.9.0.1") {
                    [10, 9, 0, 1]
                } else {
                    [10, 9, 0, 2]
                };
                socket.join_multicast_v4(&group, &own.into()).unwrap();
            }
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket
        })
    }

    fn has(&self, address: &str) -> bool {
        ip(&format!("-n {} addr show", self.name)).contains(address)
    }
}

/// Takes IPv6 from an interface: its address would send reports and solicitations at moments of its
/// own.
fn be_silent(device: &str) {
    let disable = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    fs::write(disable, "1").unwrap();
}

/// `ip -s link` of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Packets and bytes.
    pub(super) rx: (u64, u64),
    /// Packets and bytes.
    pub(super) tx: (u64, u64),
    pub(super) tx_dropped: u64,
}

impl Kernel {
    /// Packets and bytes of both directions since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> [u64; 4] {
        [
            self.rx.0 - earlier.rx.0,
            self.rx.1 - earlier.rx.1,
            self.tx.0 - earlier.tx.0,
            self.tx.1 - earlier.tx.1,
        ]
    }
}

/// Packets and bytes of both directions.
pub(super) fn four(counters: &Counters) -> [u64; 4] {
    [
        counters.rx.packets,
        counters.rx.bytes,
        counters.tx.packets,
        counters.tx.bytes,
    ]
}

/// Fails unless `fact` becomes true.
pub(super) fn wait_for(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::yield_now();
    }
}

/// Runs ip(8).
pub(super) fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

/// Runs tc(8) in a namespace.
pub(super) fn tc(netns: &Netns, arguments: &str) -> String {
    run("tc", &format!("-n {netns} {arguments}"))
}

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn from(to: IpAddr) -> IpAddr {
    if to.is_ipv6() {
        "::".parse().unwrap()
    } else {
        "0.0.0.0".parse().unwrap()
    }
}

impl Bpffs {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let none: Option<&str> = None;
        mount(none, folder.path(), Some("bpf"), MsFlags::empty(), none).unwrap();
        Self(folder)
    }
}

impl std::fmt::Display for Netns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}
