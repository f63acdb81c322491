//! Tests that need the kernel: each runs in an enclosure of its own.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and its standard output is its own"
)]

mod world;
