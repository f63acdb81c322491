//! Memory layout shared with the kernel.
#![no_std]
