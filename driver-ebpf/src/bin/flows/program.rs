//! Records who talks with a pod over one interface, and lets every packet pass.
//!
//! It must never decide about a packet or change one. What it cannot read it lays to its ethertype:
//! no packet is left out.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{__sk_buff, BPF_NOEXIST, tcx_action_base::TCX_NEXT},
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::{classifier, map},
    maps::{Array, LruHashMap},
    programs::TcContext,
};
use netclaim_ebpf::{
    Direction,
    flows::{BEGUN, Flow, IPV4, IPV6, Key, LOST, Passed, TABLE_LEN},
};

/// The driver sets its size at load.
#[map]
static FLOWS: LruHashMap<Key, Flow> = LruHashMap::with_max_entries(1, 0);

#[map]
static FLOW_TABLE: Array<u64> = Array::with_max_entries(TABLE_LEN, 0);

#[unsafe(no_mangle)]
static SLOT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static LINK_HEADER: Global<u32> = Global::new(14);

/// Extension headers of IPv6 that are walked over: hop-by-hop, routing, fragment, authentication and
/// two of destination options are all that a packet may have (RFC 8200, 4.1). What has more is laid
/// to the header where the walk ends.
const EXTENSIONS: u32 = 6;

/// Numbers of extension headers, and of protocols whose first four bytes are ports
/// (<https://www.iana.org/assignments/protocol-numbers>).
const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// The header of IPv4 without options, in words.
const IPV4_WORDS: usize = 5;
/// The header of IPv6, in words.
const IPV6_WORDS: usize = 10;

/// Records what the device receives.
#[classifier]
fn flow_rx(ctx: TcContext) -> i32 {
    record(&ctx, Direction::Rx)
}

/// Records what the device sends.
#[classifier]
fn flow_tx(ctx: TcContext) -> i32 {
    record(&ctx, Direction::Tx)
}

/// What a program costs that does nothing.
#[classifier]
fn empty(_: TcContext) -> i32 {
    TCX_NEXT
}

#[inline(always)]
fn record(ctx: &TcContext, direction: Direction) -> i32 {
    // SAFETY: the kernel hands a valid context to the program.
    let skb = unsafe { &*ctx.as_ptr().cast::<__sk_buff>() };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the kernel has 16 bits there"
    )]
    let ethertype = u16::from_be(skb.protocol as u16);
    let mut key = Key {
        slot: SLOT.load(),
        ethertype,
        ..Key::default()
    };
    match ethertype {
        IPV4 => ipv4(ctx, &mut key, direction),
        IPV6 => ipv6(ctx, &mut key, direction),
        _ => {}
    }
    count(&key, direction, u64::from(skb.len));
    TCX_NEXT
}

#[inline(always)]
fn ipv4(ctx: &TcContext, key: &mut Key, direction: Direction) {
    let at = LINK_HEADER.load() as usize;
    let Ok(header) = ctx.load::<[u32; IPV4_WORDS]>(at) else {
        return;
    };
    let first = u32::from_be(header[0]);
    let words = (first >> 24) & 0xf;
    if first >> 28 != 4 || words < 5 {
        return;
    }
    // Time to live, protocol, checksum.
    key.protocol = (u32::from_be(header[2]) >> 16) as u8;
    ends(key, direction, [header[3], 0, 0, 0], [header[4], 0, 0, 0]);
    // Only the first fragment has ports; the offset is the word's lower 13 bits.
    if u32::from_be(header[1]) & 0x1fff == 0 {
        ports(ctx, key, direction, at + words as usize * 4);
    }
}

#[inline(always)]
fn ipv6(ctx: &TcContext, key: &mut Key, direction: Direction) {
    let mut at = LINK_HEADER.load() as usize;
    let Ok(header) = ctx.load::<[u32; IPV6_WORDS]>(at) else {
        return;
    };
    if u32::from_be(header[0]) >> 28 != 6 {
        return;
    }
    // Length of what follows, next header, hop limit.
    key.protocol = (u32::from_be(header[1]) >> 8) as u8;
    let [_, _, s0, s1, s2, s3, d0, d1, d2, d3] = header;
    ends(key, direction, [s0, s1, s2, s3], [d0, d1, d2, d3]);
    at += IPV6_WORDS * 4;
    for _ in 0..EXTENSIONS {
        let length = match key.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | FRAGMENT => {
                let Ok([next, length, offset_high, offset_low]) = ctx.load::<[u8; 4]>(at) else {
                    return;
                };
                let kind = key.protocol;
                key.protocol = next;
                match kind {
                    // Only the first fragment has what comes next.
                    FRAGMENT if (offset_high, offset_low & 0xf8) != (0, 0) => return,
                    FRAGMENT => 8,
                    AUTHENTICATION => (usize::from(length) + 2) * 4,
                    _ => (usize::from(length) + 1) * 8,
                }
            }
            _ => break,
        };
        at += length;
    }
    ports(ctx, key, direction, at);
}

#[inline(always)]
fn ends(key: &mut Key, direction: Direction, source: [u32; 4], destination: [u32; 4]) {
    (key.local, key.remote) = match direction {
        Direction::Rx => (destination, source),
        Direction::Tx => (source, destination),
    };
}

#[inline(always)]
fn ports(ctx: &TcContext, key: &mut Key, direction: Direction, at: usize) {
    if !matches!(key.protocol, TCP | UDP | DCCP | SCTP | UDP_LITE) {
        return;
    }
    if let Ok([source, destination]) = ctx.load::<[u16; 2]>(at) {
        (key.local_port, key.remote_port) = match direction {
            Direction::Rx => (destination, source),
            Direction::Tx => (source, destination),
        };
    }
}

#[inline(always)]
fn count(key: &Key, direction: Direction, bytes: u64) {
    // SAFETY: the helper has no precondition.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if add(key, direction, bytes, now) {
        return;
    }
    let mut flow = Flow {
        first: now,
        last: now,
        ..Flow::default()
    };
    let passed = Passed { packets: 1, bytes };
    match direction {
        Direction::Rx => flow.rx = passed,
        Direction::Tx => flow.tx = passed,
    }
    // The first packet makes the entry, unless another CPU was faster.
    if FLOWS.insert(key, flow, BPF_NOEXIST.into()).is_ok() {
        note(BEGUN);
    } else if !add(key, direction, bytes, now) {
        note(LOST);
    }
}

/// Whether there is an entry to add to.
#[inline(always)]
fn add(key: &Key, direction: Direction, bytes: u64, now: u64) -> bool {
    let Some(flow) = FLOWS.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: the lookup returned a live entry; the places of its fields are in it. Its `last` is
    // one aligned store, and whichever CPU comes last is as good as another.
    let passed = unsafe {
        (&raw mut (*flow).last).write_volatile(now);
        match direction {
            Direction::Rx => &raw mut (*flow).rx,
            Direction::Tx => &raw mut (*flow).tx,
        }
    };
    // SAFETY: as above; all CPUs add to these eight bytes, aligned so, in this way alone.
    unsafe {
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*passed).packets, 1);
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*passed).bytes, bytes);
    }
    true
}

#[inline(always)]
fn note(what: u32) {
    if let Some(number) = FLOW_TABLE.get_ptr_mut(what) {
        // SAFETY: the lookup returned a live entry of eight bytes, aligned so.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(number, 1) };
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
