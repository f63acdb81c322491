//! The edges of netclaim: thin, they do what `netclaim-core` decided.

pub mod host;
