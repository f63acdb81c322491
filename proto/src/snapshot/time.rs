//! Times: the core's whole milliseconds and microseconds, the wire's seconds and nanoseconds.

use netclaim_core::time::Timestamp;

use crate::field::{InvalidField, Problem};

pub(super) fn written(at: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = split(at.0, 1_000);
    prost_types::Timestamp { seconds, nanos }
}

pub(super) fn read(
    field: &str,
    value: Option<prost_types::Timestamp>,
) -> Result<Timestamp, InvalidField> {
    let value = value.ok_or_else(|| InvalidField::new(field, Problem::Absent))?;
    joined(field, value.seconds, value.nanos, 1_000).map(Timestamp)
}

pub(super) fn written_micros(micros: u64) -> prost_types::Duration {
    let (seconds, nanos) = split(micros, 1_000_000);
    prost_types::Duration { seconds, nanos }
}

pub(super) fn read_micros(
    field: &str,
    value: Option<prost_types::Duration>,
) -> Result<u64, InvalidField> {
    let value = value.ok_or_else(|| InvalidField::new(field, Problem::Absent))?;
    joined(field, value.seconds, value.nanos, 1_000_000)
}

/// Seconds and nanoseconds of `ticks`; the range of `i64` seconds holds 2^64 milliseconds.
fn split(ticks: u64, per_second: u32) -> (i64, i32) {
    let seconds = ticks / u64::from(per_second);
    let nanos = (ticks % u64::from(per_second)) * u64::from(1_000_000_000 / per_second);
    (
        i64::try_from(seconds).unwrap_or(i64::MAX),
        i32::try_from(nanos).unwrap_or_default(),
    )
}

fn joined(field: &str, seconds: i64, nanos: i32, per_second: u32) -> Result<u64, InvalidField> {
    let negative = |_| InvalidField::new(field, Problem::Negative);
    let seconds = u64::try_from(seconds).map_err(negative)?;
    let nanos = u64::try_from(nanos).map_err(negative)?;
    let rest = nanos / u64::from(1_000_000_000 / per_second);
    Ok(seconds
        .saturating_mul(u64::from(per_second))
        .saturating_add(rest))
}
