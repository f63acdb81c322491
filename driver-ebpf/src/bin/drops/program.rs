//! Counts what the kernel drops on our interfaces, by its own reason.
//!
//! It must never do more for a drop that is none of ours than to find that out, and never trust an
//! address: each is read by `bpf_probe_read_kernel`, which fails where there is nothing.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    Global,
    bindings::BPF_NOEXIST,
    helpers::bpf_probe_read_kernel,
    macros::{map, raw_tracepoint},
    maps::HashMap,
    programs::RawTracePointContext,
};
use netclaim_ebpf::drops::{Cause, LOST, Place};

/// The slot of each interface of ours. The driver sets its size at load, and its entries.
#[map]
static DROP_PLACES_V1: HashMap<Place, u32> = HashMap::with_max_entries(1, 0);

/// Packets by slot and reason. Full from the start: before Linux 6.1 a program like this one must
/// not ask the kernel for memory.
#[map]
static DROPS_V1: HashMap<Cause, u64> = HashMap::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static SKB_DEV: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SKB_IIF: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static DEV_IFINDEX: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static DEV_NET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_NET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NET_COOKIE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static HAS_SOCKET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NOT_DROPPED: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static CONSUMED: Global<u32> = Global::new(0);

/// The kernel frees a packet that did not get where it was to go.
#[raw_tracepoint(tracepoint = "kfree_skb")]
fn count_drop(ctx: RawTracePointContext) -> i32 {
    let reason: u32 = ctx.arg(2);
    if reason != NOT_DROPPED.load()
        && reason != CONSUMED.load()
        && let Some(place) = place(&ctx)
        && let Some(slot) = DROP_PLACES_V1.get_ptr(place)
    {
        // SAFETY: the lookup returned a live entry, which only the driver changes, in one store.
        let slot = unsafe { *slot };
        count(&Cause { slot, reason });
    }
    0
}

/// What a program costs that does nothing.
#[raw_tracepoint(tracepoint = "kfree_skb")]
fn empty(_: RawTracePointContext) -> i32 {
    0
}

/// Where the packet was. TCP takes the device off a packet before it looks at it; then it is the
/// device that it came in by, in the namespace of the socket that it was for.
#[inline(always)]
fn place(ctx: &RawTracePointContext) -> Option<Place> {
    let skb: *const u8 = ctx.arg(0);
    let of_device = of_device(skb);
    // Where the tracepoint does not tell the socket, asking for it is refused; but not where that
    // is known when the program is loaded.
    if of_device.is_none() && HAS_SOCKET.load() != 0 {
        return of_socket(skb, ctx.arg(3));
    }
    of_device
}

#[inline(always)]
fn of_device(skb: *const u8) -> Option<Place> {
    let device: *const u8 = read(skb, SKB_DEV.load())?;
    Some(Place::new(
        cookie(device, DEV_NET.load())?,
        read(device, DEV_IFINDEX.load())?,
    ))
}

#[inline(always)]
fn of_socket(skb: *const u8, socket: *const u8) -> Option<Place> {
    Some(Place::new(
        cookie(socket, SOCK_NET.load())?,
        read(skb, SKB_IIF.load())?,
    ))
}

/// The cookie of the namespace that the pointer at `offset` leads to.
#[inline(always)]
fn cookie(base: *const u8, offset: u32) -> Option<u64> {
    let net: *const u8 = read(base, offset)?;
    read(net, NET_COOKIE.load())
}

#[inline(always)]
fn read<T>(base: *const u8, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address; every `T` here is an integer or an address.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast()) }.ok()
}

#[inline(always)]
fn count(cause: &Cause) {
    // The first packet of a cause makes the entry, unless another CPU was faster or there is no
    // room.
    if !add(cause) && DROPS_V1.insert(cause, 1, BPF_NOEXIST.into()).is_err() && !add(cause) {
        add(&LOST);
    }
}

/// Whether there is an entry to add to.
#[inline(always)]
fn add(cause: &Cause) -> bool {
    let Some(packets) = DROPS_V1.get_ptr_mut(cause) else {
        return false;
    };
    // SAFETY: the lookup returned a live entry of eight bytes, aligned so; all CPUs add to it.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(packets, 1) };
    true
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
