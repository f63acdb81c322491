//! What netclaim knows and decides.
//!
//! Owns the nouns (claims, devices, attachments), the [`ledger::Ledger`] and every decision about
//! them. Nothing here waits, reads a clock, opens a file or starts a process: time, options and
//! what was seen come in as arguments, so each decision is a table in a test.

pub mod admission;
pub mod attachment;
pub mod btf;
pub mod claim;
pub mod cluster;
pub mod cni;
pub mod counters;
pub mod diagnosis;
pub mod drops;
pub mod fact;
pub mod failure;
pub mod flows;
pub mod history;
pub mod inventory;
pub mod ledger;
pub mod name;
pub mod rate;
pub mod reconcile;
pub mod slice;
pub mod snapshot;
pub mod status;
pub mod time;
