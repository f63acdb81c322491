//! The probes on the kernel that is here: real links in namespaces of the test's own.

mod cost;
mod drops;
mod exact;
mod flows;
mod life;
mod neighbours;
mod world;
