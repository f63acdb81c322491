//! Builds the kernel programs: the same bytes wherever and whenever it is done.
//!
//! The object is committed, so that nobody needs this to build, run or test the driver. What the
//! build needs besides rustc goes to the cache; the user's toolchain stays as it is.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};

use crate::{
    cache, reproducible,
    step::{command, output, run, say, timed},
};

mod rust_src;

/// The compiler whose bytes are committed. Another one makes other bytes of the same programs.
const RUSTC: &str = "1.95.0";

/// The last bpf-linker that uses the LLVM in rustc and needs none of its own.
const BPF_LINKER: &str = "0.10.4";

const TARGET: &str = "bpfel-unknown-none";

/// The binaries of driver-ebpf, an object each, since a kernel may take one and not the other.
const OBJECTS: [&str; 3] = ["probe", "drops", "flows"];

/// What to do with the objects.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only compare the committed objects with what the source gives.
    #[arg(long)]
    check: bool,
}

/// Builds the objects and puts them where the driver takes them from, or checks those there.
pub(crate) fn build(options: &Options) -> anyhow::Result<()> {
    if options.check {
        return check();
    }
    let folder = compile()?;
    for object in OBJECTS {
        let committed = committed(object);
        fs::copy(folder.join(object), &committed)
            .with_context(|| format!("{} cannot be written", committed.display()))?;
        say(&format!("{} is up to date", committed.display()));
    }
    Ok(())
}

/// Fails if a committed object is not what the source gives. Changes nothing.
pub(crate) fn check() -> anyhow::Result<()> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("{} is missing", path.display()));
    let folder = compile()?;
    for object in OBJECTS {
        let committed = committed(object);
        ensure!(
            read(&folder.join(object))? == read(&committed)?,
            "{} is not what driver-ebpf gives; run `cargo xtask ebpf` and commit it",
            committed.display(),
        );
    }
    say("the committed objects are what their source gives");
    Ok(())
}

fn committed(object: &str) -> PathBuf {
    cache::root().join(format!("driver-ebpf/prebuilt/{object}.bpf.o"))
}

/// Builds all objects; where they are.
fn compile() -> anyhow::Result<PathBuf> {
    let sysroot = sysroot()?;
    let library = rust_src::find(&sysroot, RUSTC)?;
    let linker = linker()?;
    let folder = cache::root().join("target/ebpf");
    let mut build = reproducible::cargo(&reproducible::remapped(&library)?);
    build
        .args(["build", "--locked", "--quiet", "--package=netclaim-ebpf"])
        .args(OBJECTS.map(|object| format!("--bin={object}")))
        .args(["--profile=ebpf", "--target", TARGET, "-Zbuild-std=core"])
        .env("CARGO_TARGET_DIR", &folder)
        .env(
            "PATH",
            search_path(&[&linker.join("bin"), &sysroot.join("bin")])?,
        )
        // `-Zbuild-std` on a stable compiler, and the library in a place of our own instead of
        // linked into the user's toolchain.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", &library);
    timed("building the kernel programs", || run(&mut build))?;
    Ok(folder.join(TARGET).join("ebpf"))
}

/// The sysroot of the compiler, if it is the one whose bytes are committed.
fn sysroot() -> anyhow::Result<PathBuf> {
    let version = output(&mut command("rustc", ["--version", "--verbose"]))?;
    let release = version
        .lines()
        .find_map(|line| line.strip_prefix("release: "));
    if release != Some(RUSTC) {
        bail!(
            "the object is built by rustc {RUSTC}, and this is {}; run `rustup toolchain install \
             {RUSTC}`, then `cargo +{RUSTC} xtask ebpf`",
            release.unwrap_or("an unknown one"),
        );
    }
    Ok(output(&mut command("rustc", ["--print", "sysroot"]))?.into())
}

/// Where bpf-linker is installed, which is done if it is not.
fn linker() -> anyhow::Result<PathBuf> {
    let folder = cache::folder()?.join(format!("bpf-linker-{BPF_LINKER}"));
    if !folder.join("bin/bpf-linker").is_file() {
        timed(
            "installing bpf-linker into the cache, once (1 to 2 min)",
            || {
                let mut install = reproducible::cargo(&[]);
                install
                    .args([
                        "install",
                        "bpf-linker",
                        "--locked",
                        "--quiet",
                        "--version",
                        BPF_LINKER,
                    ])
                    .arg("--root")
                    .arg(&folder);
                run(&mut install)
            },
        )?;
    }
    Ok(folder)
}

fn search_path(first: &[&Path]) -> anyhow::Result<std::ffi::OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let first = first.iter().map(|path| path.to_path_buf());
    Ok(env::join_paths(first.chain(env::split_paths(&rest)))?)
}
