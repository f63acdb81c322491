//! The world itself: it refuses what the real ones refuse, and leaves nothing.

mod apiserver;
mod enclosure;
mod pods;
mod toy;
