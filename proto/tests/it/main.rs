//! What is committed beside the code, against its sources.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod generated;
