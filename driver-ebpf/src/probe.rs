//! Counts every packet of one interface and lets it pass.
//!
//! It must never decide about a packet, look into it, read a clock other than jiffies or take a
//! hash: the always-on path costs 2 to 3 ns over an empty program.

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::tcx_action_base::TCX_NEXT,
    bindings::{__sk_buff, BPF_F_MMAPABLE},
    helpers::generated::{bpf_get_smp_processor_id, bpf_jiffies64},
    macros::{classifier, map},
    maps::Array,
    programs::TcContext,
};
use netclaim_ebpf::{Direction, Row, row};

/// One row per slot, direction and CPU. The driver sets its size at load.
#[map]
static COUNTERS_V1: Array<Row> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[unsafe(no_mangle)]
static SLOT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static N_CPUS: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
static EPOCH_JIFFIES: Global<u64> = Global::new(250);

/// Counts what the device receives.
#[classifier]
fn count_rx(ctx: TcContext) -> i32 {
    count(&ctx, Direction::Rx)
}

/// Counts what the device sends.
#[classifier]
fn count_tx(ctx: TcContext) -> i32 {
    count(&ctx, Direction::Tx)
}

/// What a program costs that does nothing.
#[classifier]
fn empty(_: TcContext) -> i32 {
    TCX_NEXT
}

#[inline(always)]
fn count(ctx: &TcContext, direction: Direction) -> i32 {
    // SAFETY: the helper has no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let index = row(SLOT.load(), direction, N_CPUS.load(), cpu);
    if let Some(row) = COUNTERS_V1.get_ptr_mut(index) {
        // SAFETY: the lookup returned a live row, and no other CPU and no other code on this CPU
        // writes to it: both hooks run with bottom halves off.
        let row = unsafe { &mut *row };
        // SAFETY: the kernel hands a valid context to the program.
        let skb = unsafe { &*ctx.as_ptr().cast::<__sk_buff>() };
        add(row, skb);
    }
    TCX_NEXT
}

#[inline(always)]
fn add(row: &mut Row, skb: &__sk_buff) {
    let bytes = u64::from(skb.len);
    row.packets += 1;
    row.segments += u64::from(skb.gso_segs).max(1);
    row.bytes += bytes;
    // SAFETY: the helper has no precondition. The verifier turns it into one load.
    let now = unsafe { bpf_jiffies64() };
    if now == row.jiffy {
        row.jiffy_bytes += bytes;
    } else {
        open_jiffy(row, now);
        row.jiffy_bytes = bytes;
    }
    row.peak = row.peak.max(row.jiffy_bytes);
}

/// Starts a window of one jiffy, and an epoch if the current one is over.
#[inline(always)]
fn open_jiffy(row: &mut Row, now: u64) {
    row.jiffy = now;
    let age = now.wrapping_sub(row.epoch);
    let epoch = EPOCH_JIFFIES.load();
    if age >= epoch {
        row.last_peak = if age < 2 * epoch { row.peak } else { 0 };
        row.peak = 0;
        row.epoch = now;
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
