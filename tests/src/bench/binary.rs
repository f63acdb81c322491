//! How large the driver's program is.

use std::fs;

use anyhow::Result;

use super::figure::Figure;
use crate::world::driver;

pub(super) fn measure() -> Result<Vec<Figure>> {
    let program = driver::beside_us("netclaim")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let megabytes = fs::metadata(program)?.len() as f64 / 1e6;
    let figure = Figure::new("binary, stripped", megabytes, "MB");
    Ok(vec![figure.bar(20.0).how(
        "size of the program in the image of `cargo xtask image`",
    )])
}
