//! All tests, one step after the other, and what they counted.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{
    cache, chart, cluster, ebpf, plugins, rules,
    step::{command, output, run, say},
};

/// Which tests to pass.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the steps whose name contains this.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
}

/// Tests that may be skipped where CI runs; any other skip there is a failure.
const EXPECTED_SKIPS: &[&str] = &["the kernel has no", "no bpftool"];

const CARGO_DENY: &str = "0.20.2";

/// What was counted.
#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: Vec<String>,
    /// The scenarios of the cluster: a mark, seconds and a name each.
    scenarios: Vec<String>,
}

struct Outcome {
    step: &'static str,
    took: Duration,
    error: Option<anyhow::Error>,
}

type Step = (&'static str, fn(&mut Counts) -> anyhow::Result<()>);

const STEPS: &[Step] = &[
    ("formatting", |_| {
        run(&mut cargo(["fmt", "--all", "--check"]))
    }),
    ("lints", lints),
    ("documentation", documentation),
    ("tests", tests),
    ("eBPF object", |_| ebpf::check()),
    ("chart", chart),
    ("alerting rules", rules),
    ("cluster", cluster),
    ("the talk on a cluster", talk),
    ("licences and sources", deny),
];

/// Runs every step, also after a failed one, and says what came of each.
pub(crate) fn run_all(options: &Options) -> anyhow::Result<()> {
    let mut counts = Counts::default();
    let wanted = |name: &str| {
        options
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let outcomes: Vec<Outcome> = STEPS
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, step)| {
            say(name);
            let start = Instant::now();
            let error = step(&mut counts).err();
            Outcome {
                step: name,
                took: start.elapsed(),
                error,
            }
        })
        .collect();
    report(&outcomes, &counts)
}

fn report(outcomes: &[Outcome], counts: &Counts) -> anyhow::Result<()> {
    println!();
    for Outcome { step, took, error } in outcomes {
        let mark = if error.is_some() { '✘' } else { '✔' };
        println!("{mark} {step:<24} {:>5.0} s", took.as_secs_f64());
        if let Some(error) = error {
            println!("    {error:#}");
        }
    }
    for scenario in &counts.scenarios {
        println!("  {scenario}");
    }
    for why in &counts.skipped {
        println!("  skipped: {why}");
    }
    let steps = outcomes
        .iter()
        .filter(|outcome| outcome.error.is_some())
        .count();
    let failed = counts.failed + steps;
    let passed = counts.passed + outcomes.len() - steps;
    println!(
        "{passed} passed, {failed} failed, {} skipped",
        counts.skipped.len()
    );
    if failed > 0 {
        bail!("{failed} failed");
    }
    Ok(())
}

fn lints(_: &mut Counts) -> anyhow::Result<()> {
    run(&mut cargo([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn documentation(_: &mut Counts) -> anyhow::Result<()> {
    let mut doc = cargo(["doc", "--quiet", "--workspace", "--no-deps"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// The scenarios on a real Kubernetes; by name where there can be none.
fn cluster(counts: &mut Counts) -> anyhow::Result<()> {
    let check = |more: &[&str]| -> anyhow::Result<Command> {
        let args = ["check"].iter().chain(more);
        let args: Vec<_> = args.map(|arg| (*arg).to_owned()).collect();
        let mut lab = cluster::lab(&args)?;
        lab.stdout(Stdio::piped());
        Ok(lab)
    };
    if let Some(missing) = cluster::missing()? {
        let names = output(&mut check(&["--list"])?)?;
        for name in names.lines() {
            counts.skip(format!("{name}: {missing}"));
        }
        return counts.expect_no_skips();
    }
    let mut lab = check(&[])?.spawn().context("the lab cannot be started")?;
    let stdout = lab.stdout.take().context("the lab has no output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        counts.read_summary(&line);
    }
    if !lab.wait()?.success() {
        bail!("scenarios failed");
    }
    counts.expect_no_skips()
}

/// The talk's manifests word for word, installed and taken away as users do.
fn talk(counts: &mut Counts) -> anyhow::Result<()> {
    match cluster::missing()? {
        Some(missing) => counts.skip(format!("the talk: {missing}")),
        None => return run(&mut cluster::lab(&["demo", "--check"].map(str::to_owned))?),
    }
    counts.expect_no_skips()
}

fn tests(counts: &mut Counts) -> anyhow::Result<()> {
    let plugins = plugins::ensure()?;
    run(&mut cargo(["build", "--quiet", "--workspace", "--bins"]))?;
    let mut test = cargo([
        "test",
        "--workspace",
        "--no-fail-fast",
        "--",
        "--show-output",
    ]);
    test.env("CNI_PATH", plugins).stdout(Stdio::piped());
    let mut child = test.spawn().context("`cargo test` cannot be started")?;
    let stdout = child.stdout.take().context("`cargo test` has no output")?;
    let mut quiet = false;
    for line in BufReader::new(stdout).lines() {
        counts.read(&line?, &mut quiet);
    }
    if !child.wait()?.success() {
        bail!("`cargo test` failed");
    }
    counts.expect_no_skips()
}

impl Counts {
    /// Says why something is not tried.
    fn skip(&mut self, why: String) {
        println!("skipped: {why}");
        self.skipped.push(why);
    }

    /// In CI a skip that nobody expects is a failure.
    fn expect_no_skips(&self) -> anyhow::Result<()> {
        let in_ci = std::env::var_os("CI").is_some();
        let expected = |why: &&String| EXPECTED_SKIPS.iter().any(|known| why.contains(known));
        let surprises: Vec<_> = self.skipped.iter().filter(|why| !expected(why)).collect();
        if in_ci && !surprises.is_empty() {
            bail!("skipped where nothing should be: {surprises:?}");
        }
        Ok(())
    }

    /// Takes in a line of `lab check`: what came of a scenario, which is said twice, why one was
    /// skipped, or "N passed, N failed, N skipped".
    fn read_summary(&mut self, line: &str) {
        if line.starts_with(['✔', '✘', '–']) && !self.scenarios.iter().any(|known| known == line)
        {
            self.scenarios.push(line.to_owned());
        }
        if let Some(why) = line.strip_prefix("skipped: ") {
            self.skipped.push(why.to_owned());
        }
        let words: Vec<_> = line.split([' ', ',']).collect();
        if let [passed, "passed", "", failed, "failed", "", _, "skipped"] = words[..] {
            self.passed += passed.parse().unwrap_or(0);
            self.failed += failed.parse().unwrap_or(0);
        }
    }

    /// Takes in a line of `cargo test -- --show-output`; shows it, unless it is what a passing test
    /// printed.
    fn read(&mut self, line: &str, quiet: &mut bool) {
        if let Some(why) = line.trim().strip_prefix("skipped: ") {
            self.skipped.push(why.to_owned());
        }
        match line {
            "successes:" => *quiet = true,
            "failures:" => *quiet = false,
            _ if line.starts_with("test result:") => {
                *quiet = false;
                let numbers: Vec<usize> = line
                    .split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .collect();
                self.passed += numbers.first().copied().unwrap_or_default();
                self.failed += numbers.get(1).copied().unwrap_or_default();
            }
            _ => {}
        }
        if !*quiet && !line.ends_with("... ok") {
            println!("{line}");
        }
    }
}

fn chart(counts: &mut Counts) -> anyhow::Result<()> {
    if cluster::HELM.is_available()? {
        return chart::check();
    }
    counts.skip("the chart: there is no Go to build helm with".to_owned());
    counts.expect_no_skips()
}

/// By Prometheus' own tool: the rules, and the scrape configuration that people copy.
fn rules(counts: &mut Counts) -> anyhow::Result<()> {
    if cluster::PROMETHEUS.is_available()? {
        return rules::check();
    }
    counts.skip("the alerting rules: there is no Go to build promtool with".to_owned());
    counts.expect_no_skips()
}

/// Licences, bans and sources always; advisories where their database can be had.
fn deny(_: &mut Counts) -> anyhow::Result<()> {
    let deny = cargo_deny()?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&deny);
        command
            .current_dir(cache::root())
            .args(["--log-level", "error", "check"])
            .args(what);
        command
    };
    run(&mut check(&["licenses", "bans", "sources"]))?;
    let advisories = check(&["advisories"]).output()?;
    let said = String::from_utf8_lossy(&advisories.stderr);
    if advisories.status.success() {
        println!("  advisories: none");
    } else if said.contains("failed to fetch advisory database") {
        println!("  advisories: not checked, their database is out of reach");
    } else {
        bail!("advisories:\n{said}");
    }
    Ok(())
}

fn cargo_deny() -> anyhow::Result<PathBuf> {
    let root = cache::folder()?
        .join("tools")
        .join(format!("cargo-deny-{CARGO_DENY}"));
    let binary = root.join("bin/cargo-deny");
    if !binary.is_file() {
        say("Building cargo-deny (once, several minutes)");
        let mut install = cargo(["install", "--quiet", "--locked", "cargo-deny", "--version"]);
        run(install.arg(CARGO_DENY).arg("--root").arg(&root))?;
    }
    Ok(binary)
}

fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = command(&cargo, args);
    command.current_dir(cache::root());
    command
}
