//! The programs that record flows. They run in the kernel: built by `cargo xtask ebpf` and committed
//! as `prebuilt/flows.bpf.o`, so building the driver needs none of this.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// This target has no compare-and-swap, so that core offers no atomic additions, which it does have.
#![cfg_attr(
    target_arch = "bpf",
    feature(core_intrinsics),
    expect(internal_features, reason = "the one way to an atomic addition")
)]

#[cfg(target_arch = "bpf")]
#[expect(unsafe_code, reason = "writes to the map through raw pointers")]
mod program;

#[cfg(not(target_arch = "bpf"))]
fn main() -> std::process::ExitCode {
    // Reached only when somebody runs the host build of a kernel program.
    std::process::ExitCode::FAILURE
}
