//! The programs that count. They run in the kernel: built by `cargo xtask ebpf` and committed as
//! `prebuilt/probe.bpf.o`, so building the driver needs none of this.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[expect(
    unsafe_code,
    reason = "reads the context and writes the row through raw pointers"
)]
mod probe;

#[cfg(not(target_arch = "bpf"))]
fn main() -> std::process::ExitCode {
    // Reached only when somebody runs the host build of a kernel program.
    std::process::ExitCode::FAILURE
}
