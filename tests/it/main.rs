//! Tests that need the kernel: each runs in an enclosure of its own.

mod world;
