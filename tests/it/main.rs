//! What holds across crates, and the driver and its world on the kernel: each such test runs in
//! an enclosure of its own.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and its standard output is its own"
)]

mod budget;
mod crash;
mod dashboard;
mod demo;
mod docs;
mod exits;
mod layers;
mod lost_ledger;
mod metrics;
mod restart;
mod scenarios;
mod steps;
mod tree;
mod world;
