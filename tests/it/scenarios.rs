//! The driver, unchanged, in the world: each file is a theme, each test one thing that happens.

mod api;
mod drops;
mod faults;
mod flows;
mod life;
mod runtime;
mod shared;
mod stage;
mod traffic;
