//! What the program that counts drops and the driver agree on. It is an object of its own: a kernel
//! that does not take it counts traffic all the same.

/// The program: `raw_tp/kfree_skb`.
pub const COUNT_DROP: &str = "count_drop";

/// The tracepoint that it hangs on (`include/trace/events/skb.h`): skb, location, reason and, since
/// Linux 6.11, the socket that was to receive.
pub const TRACEPOINT: &str = "kfree_skb";

/// The map of our interfaces: [`Place`] to slot.
pub const PLACES: &str = "DROP_PLACES_V1";

/// The map of what was dropped: [`Cause`] to packets.
pub const DROPS: &str = "DROPS_V1";

/// Causes that there is room for, per slot. Seven of the kernel's 130 are many for one interface;
/// what finds no room is counted as [`LOST`].
pub const CAUSES_PER_SLOT: u32 = 8;

/// The cause that counts drops of our interfaces which found no room; no slot has this number.
pub const LOST: Cause = Cause {
    slot: u32::MAX,
    reason: 0,
};

/// Global: offset of `sk_buff.dev`.
pub const SKB_DEV: &str = "SKB_DEV";
/// Global: offset of `sk_buff.skb_iif`, the interface that the packet came in by.
pub const SKB_IIF: &str = "SKB_IIF";
/// Global: offset of `net_device.ifindex`.
pub const DEV_IFINDEX: &str = "DEV_IFINDEX";
/// Global: offset of `net_device.nd_net.net`.
pub const DEV_NET: &str = "DEV_NET";
/// Global: offset of `sock.__sk_common.skc_net.net`.
pub const SOCK_NET: &str = "SOCK_NET";
/// Global: offset of `net.net_cookie`.
pub const NET_COOKIE: &str = "NET_COOKIE";
/// Global: 1 where the tracepoint tells the socket.
pub const HAS_SOCKET: &str = "HAS_SOCKET";
/// Global: the number of `SKB_NOT_DROPPED_YET`.
pub const NOT_DROPPED: &str = "NOT_DROPPED";
/// Global: the number of `SKB_CONSUMED`.
pub const CONSUMED: &str = "CONSUMED";

/// Which interface of the machine. A namespace's cookie is never given to another one, unlike the
/// number of its inode, so that a pod which is gone cannot be taken for a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Place {
    /// Cookie of its network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// Its index there.
    pub ifindex: u32,
    /// Always zero: keys are compared as bytes.
    pub unused: u32,
}

/// Whose drops, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cause {
    /// The slot of the interface.
    pub slot: u32,
    /// The running kernel's number: an `enum skb_drop_reason` or, with its subsystem in the upper
    /// half, one of the subsystem's own.
    pub reason: u32,
}

const _: () = assert!(size_of::<Place>() == 16 && size_of::<Cause>() == 8);

impl Place {
    /// The interface with this index in the namespace with this cookie.
    #[must_use]
    pub const fn new(netns: u64, ifindex: u32) -> Self {
        Self {
            netns,
            ifindex,
            unused: 0,
        }
    }
}

/// Entries of the map of drops for this many slots.
#[must_use]
pub const fn causes(slots: u32) -> u32 {
    slots.saturating_mul(CAUSES_PER_SLOT).saturating_add(1)
}

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "a promise to aya about the memory of keys")]
mod pod {
    // SAFETY: `repr(C)`, only integers, no padding (asserted above): any bit pattern is valid.
    unsafe impl aya::Pod for super::Place {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Cause {}
}
