//! What proves netclaim: the lab, a real cluster on this machine.

pub mod lab;
