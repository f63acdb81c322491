//! What is wrong, found in what is shown.
//!
//! Owns the rules: one small pure function per cause, each a file named as its rule. A rule says
//! what was found, what that means for pods, and what to do; it never changes anything.

pub mod node;
