//! The subcommands of the binary: each ends with an exit code.

use std::{fs, io, io::Read as _, path::Path, process::ExitCode};

use anyhow::Context as _;
use netclaim_core::claim::policy::Policy;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    chain::Chain,
    daemon, health as instance_health,
    options::{HealthOptions, Options, RelayOptions, ValidateOptions},
    relay::Relay,
    telemetry, validate as manifest,
};

/// Serves this node until SIGTERM or Ctrl-C.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    telemetry::init(&options.expose.log)?;
    let runtime = runtime(tokio::runtime::Builder::new_multi_thread().worker_threads(2))?;
    runtime.block_on(async { daemon::run(options, shutdown()?).await })?;
    Ok(ExitCode::SUCCESS)
}

/// Forwards the node's observe socket until SIGTERM or Ctrl-C. One thread: it only copies.
pub fn relay(options: &RelayOptions) -> anyhow::Result<ExitCode> {
    telemetry::init(&options.log)?;
    let runtime = runtime(&mut tokio::runtime::Builder::new_current_thread())?;
    runtime.block_on(async {
        let shutdown = shutdown()?;
        let relay = Relay::bind(options).await?;
        tokio::select! {
            never = relay.serve() => match never {},
            () = shutdown => anyhow::Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the instance on this node whether it is healthy, and says what is not.
pub fn health(options: &HealthOptions) -> anyhow::Result<ExitCode> {
    let runtime = runtime(&mut tokio::runtime::Builder::new_current_thread())?;
    let answer = runtime.block_on(instance_health::ask(&options.health_socket, options.ready))?;
    io::Write::write_all(&mut io::stdout(), answer.words.as_bytes())?;
    Ok(if answer.well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Checks the network configurations of manifests. What cannot be read does not hide the others.
pub fn validate(options: &ValidateOptions) -> anyhow::Result<ExitCode> {
    let code = check_files(options, &mut io::stdout().lock())?;
    Ok(ExitCode::from(code))
}

/// 0 if all is well, 1 if something is refused, 2 if a file cannot be read.
fn check_files(options: &ValidateOptions, out: &mut impl io::Write) -> anyhow::Result<u8> {
    let policy = options.policy.policy(&options.state_dir);
    let mut reports = Vec::new();
    let mut unread = 0_usize;
    for file in &options.filename {
        match check_file(file, options, &policy) {
            Ok(found) => {
                manifest::print(&found, out)?;
                reports.extend(found);
            }
            Err(error) => {
                unread += 1;
                let words = format!("{}: {}", file.display(), Chain(error.as_ref()));
                let lines: Vec<String> = words.lines().map(manifest::printable).collect();
                writeln!(out, "unread   {}", lines.join("\n         "))?;
            }
        }
    }
    manifest::print_sum(&reports, &options.driver_name, out)?;
    let refused = reports.iter().any(manifest::Report::is_refused);
    Ok(if unread > 0 { 2 } else { u8::from(refused) })
}

fn check_file(
    file: &Path,
    options: &ValidateOptions,
    policy: &Policy,
) -> anyhow::Result<Vec<manifest::Report>> {
    let text = read(file).context("cannot read it")?;
    Ok(manifest::validate(&text, &options.driver_name, policy)?)
}

fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file)
}

/// Ends with the first SIGTERM or Ctrl-C.
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn runtime(builder: &mut tokio::runtime::Builder) -> io::Result<tokio::runtime::Runtime> {
    builder.enable_all().build()
}

#[cfg(test)]
mod tests;
