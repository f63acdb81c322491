//! The client against a runtime that plays its part in memory.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why")]

mod generated;
mod runtime;
mod session;
