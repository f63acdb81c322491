//! The container image: a static program and nothing else, the same bytes each time, without
//! Docker.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;

use self::archive::{Archive, Image, Name};
use crate::{
    cache, reproducible,
    step::{command, output, run as run_command, timed},
};

mod archive;

/// What the image is called until somebody publishes it; the chart's default.
const REPOSITORY: &str = "localhost/netclaim";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Pulled by every node of a cluster.
const MOST_BYTES: usize = 25_000_000;

/// What to do with the image.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the archive goes.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "target/image/netclaim.tar"
    )]
    output: PathBuf,
    /// Also print the commands that publish it under this name; publishes nothing.
    #[arg(long, value_name = "REGISTRY/REPOSITORY")]
    push: Option<String>,
}

/// Builds the image and says what it is.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let file = cache::root().join(&options.output);
    let Archive { bytes, digest } = build(&file)?;
    println!("{}", file.display());
    println!("{REPOSITORY}:{VERSION}, {} bytes, {digest}", bytes.len());
    if let Some(repository) = &options.push {
        print!("\n{}", publishing(&file, repository));
    }
    Ok(())
}

/// Builds the image into a file of its own.
pub(crate) fn build(file: &Path) -> anyhow::Result<Archive> {
    let program = timed(
        "Building netclaim as a static program (several minutes at first)",
        build_program,
    )?;
    let binary = fs::read(&program).with_context(|| program.display().to_string())?;
    let created = created()?;
    let image = Image {
        name: Name {
            repository: REPOSITORY.to_owned(),
            tag: VERSION.to_owned(),
        },
        architecture: architecture(),
        labels: labels(&created)?,
        created: &created,
        program: "netclaim",
        binary: &binary,
    };
    let archive = image.pack()?;
    let size = archive.bytes.len();
    ensure!(
        size <= MOST_BYTES,
        "the image has {size} bytes, and {MOST_BYTES} are its most: what has grown?"
    );
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, &archive.bytes).with_context(|| file.display().to_string())?;
    Ok(archive)
}

/// With libc in it. In a cluster the API server is known by address, so that nothing asks libc for
/// names, which is what a static one cannot do everywhere.
pub(crate) fn build_program() -> anyhow::Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let sysroot = output(&mut command("rustc", ["--print", "sysroot"]))?;
    let library = Path::new(&sysroot).join("lib/rustlib/src/rust");
    let mut flags = reproducible::remapped(&library)?;
    flags.extend(["-Ctarget-feature=+crt-static", "-Crelocation-model=static"].map(str::to_owned));
    let mut build = reproducible::cargo(&flags);
    build.args(["build", "--quiet", "--locked", "--release"]);
    build.args(["--package=netclaim", "--bin=netclaim", "--target", &target]);
    run_command(&mut build)?;
    Ok(cache::root()
        .join("target")
        .join(target)
        .join("release/netclaim"))
}

/// When its source was committed, as <https://reproducible-builds.org/specs/source-date-epoch>
/// says.
fn created() -> anyhow::Result<String> {
    let seconds = match env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds,
        Err(_) => git(&["log", "-1", "--format=%ct"])
            .context("without git, SOURCE_DATE_EPOCH says how old the source is")?,
    };
    let seconds = seconds.parse().context("SOURCE_DATE_EPOCH")?;
    Ok(Timestamp::from_second(seconds)?.to_string())
}

fn labels(created: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let revision = git(&["rev-parse", "HEAD"])?;
    let labels = [
        ("title", "netclaim"),
        (
            "description",
            "Network interfaces from ResourceClaims, counted",
        ),
        ("licenses", "Apache-2.0"),
        ("version", VERSION),
        ("revision", &revision),
        ("created", created),
    ];
    let label = |(key, value): (&str, &str)| {
        let key = format!("org.opencontainers.image.{key}");
        (key, value.to_owned())
    };
    Ok(labels.map(label).into())
}

fn git(args: &[&str]) -> anyhow::Result<String> {
    output(command("git", args).current_dir(cache::root()))
}

/// In Go's words, which images use.
fn architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn publishing(file: &Path, repository: &str) -> String {
    let (file, name) = (file.display(), format!("{repository}:{VERSION}"));
    let mut commands = String::new();
    let ways = [
        format!("skopeo copy oci-archive:{file} docker://{name}"),
        format!("oras cp --from-oci-layout {file}:{VERSION} {name}"),
        format!("mkdir layout && tar -xf {file} -C layout && crane push layout {name}"),
    ];
    _ = writeln!(commands, "One of these publishes it:");
    for way in ways {
        _ = writeln!(commands, "  {way}");
    }
    _ = writeln!(
        commands,
        "Then: helm install netclaim deploy/helm/netclaim --set image.repository={repository}"
    );
    commands
}
