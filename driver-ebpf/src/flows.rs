//! What the programs that record flows and the driver agree on. They are an object of their own: a
//! kernel that does not take it counts traffic all the same. Nothing of it outlives the driver, so
//! that it has no version.

/// Records what a device receives: TCX ingress on the pod's own device.
pub const FLOW_RX: &str = "flow_rx";

/// Records what a device sends: TCX egress on the pod's own device.
pub const FLOW_TX: &str = "flow_tx";

/// The map of flows: [`Key`] to [`Flow`]. A full one forgets the flow that was idle longest.
pub const FLOWS: &str = "FLOWS";

/// The map of two numbers about the map of flows: [`BEGUN`] and [`LOST`].
pub const TABLE: &str = "FLOW_TABLE";

/// Entry of [`TABLE`]: flows that were put into the map so far.
pub const BEGUN: u32 = 0;

/// Entry of [`TABLE`]: packets whose flow found no place in it.
pub const LOST: u32 = 1;

/// Entries of [`TABLE`].
pub const TABLE_LEN: u32 = 2;

/// Global: the slot whose flows this instance of the programs records.
pub const SLOT: &str = super::SLOT;

/// Global: bytes of the link header before the network's.
pub const LINK_HEADER: &str = "LINK_HEADER";

/// Ethertype of IPv4, of which the addresses are recorded.
pub const IPV4: u16 = 0x0800;

/// Ethertype of IPv6, of which the addresses are recorded.
pub const IPV6: u16 = 0x86dd;

/// Which flow: both ends of it as the pod sees them.
///
/// Keys are compared as bytes: what is not there is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Key {
    /// The slot of the interface.
    pub slot: u32,
    /// Ethertype, in the order of the host.
    pub ethertype: u16,
    /// Number of the protocol above IP.
    pub protocol: u8,
    /// Always zero.
    pub unused: u8,
    /// The pod's address in the order of the network; of an IPv4 address the first word.
    pub local: [u32; 4],
    /// The other end's.
    pub remote: [u32; 4],
    /// The pod's port in the order of the network.
    pub local_port: u16,
    /// The other end's.
    pub remote_port: u16,
}

/// What passed of a flow.
///
/// All CPUs add to it. `first` and `last` are nanoseconds of the kernel's coarse monotonic clock
/// (`CLOCK_MONOTONIC_COARSE`), which moves once per jiffy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// Socket buffers and their bytes, which the pod received.
    pub rx: Passed,
    /// Those that it sent.
    pub tx: Passed,
    /// When the first one came.
    pub first: u64,
    /// When the last one came.
    pub last: u64,
}

/// What passed in one direction, in the meaning of a [`Row`](super::Row).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Passed {
    /// Socket buffers.
    pub packets: u64,
    /// Their length with the link header.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Key>() == 44 && size_of::<Flow>() == 48);

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "a promise to aya about the memory of keys and values"
)]
mod pod {
    // SAFETY: `repr(C)`, only integers, no padding (asserted above): any bit pattern is valid.
    unsafe impl aya::Pod for super::Key {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Flow {}
}
