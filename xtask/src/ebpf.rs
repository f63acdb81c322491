//! Builds the kernel programs.

/// Not yet.
pub fn check() -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
