//! Runs one plugin to its end, or to the end of its time.

use std::{
    io, os::unix::process::ExitStatusExt as _, pin::pin, process::ExitStatus, time::Duration,
};

use netclaim_core::cni::{Exit, Fault, Finished, STDOUT_LIMIT};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Child,
    time::{self, Instant},
};
use tracing::debug;

use super::start::Program;

/// How much of a plugin's standard error is kept, in bytes: its end, where the reason is.
const STDERR_TAIL: usize = 1024;

/// How long the pipes of a plugin that has ended are read on. What it wrote is in them already, so
/// this is the time that two polls may take; only a child that outlives its plugin uses it up.
const LINGER: Duration = Duration::from_millis(100);

/// Runs the plugin. At `deadline` it is killed with its children, and the answer does not wait for
/// them to be gone: one that hangs in the kernel does not even die of SIGKILL.
pub(super) async fn run(
    program: &Program,
    environment: &[(&'static str, Option<String>)],
    config: String,
    deadline: Instant,
) -> Result<Finished, Fault> {
    let started = Instant::now();
    if started >= deadline {
        return Err(Fault::OutOfTime);
    }
    let mut said = Said::default();
    let talk = async {
        let mut group = program.start(environment).await?;
        let (status, alone) = converse(&mut group.child, &config, &mut said).await?;
        if alone {
            group.over();
        }
        status.map_err(|error| program.refusal(&error))
    };
    let ended = time::timeout_at(deadline, talk).await;
    let took = started.elapsed();
    let stderr = said.stderr();
    debug!(plugin = %program.path.display(), ?took, ?ended, stderr, "plugin ran");
    match ended {
        Ok(status) => Ok(Finished {
            exit: exit(status?),
            stdout: said.stdout,
            stderr,
        }),
        Err(_) => Err(Fault::Hung {
            after: took,
            stderr,
        }),
    }
}

/// What a plugin has printed so far.
#[derive(Default)]
struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Said {
    fn stderr(&self) -> String {
        let tail = &self.stderr[self.stderr.len().saturating_sub(STDERR_TAIL)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }
}

/// Feeds the plugin and listens until it has ended. Also says whether it was alone: a child of its
/// own that it left behind still holds the pipes.
async fn converse(
    child: &mut Child,
    config: &str,
    said: &mut Said,
) -> Result<(io::Result<ExitStatus>, bool), Fault> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A plugin need not read its configuration (VERSION), so a broken pipe is no error.
            let _ = stdin.write_all(config.as_bytes()).await;
        }
        Ok(())
    };
    let listen = async {
        tokio::try_join!(
            feed,
            all(stdout, &mut said.stdout),
            tail(stderr, &mut said.stderr)
        )
    };
    let mut listen = pin!(listen);
    tokio::select! {
        heard = &mut listen => {
            heard?;
            Ok((child.wait().await, true))
        }
        status = child.wait() => match time::timeout(LINGER, listen).await {
            Ok(heard) => heard.and(Ok((status, true))),
            Err(_) => Ok((status, false)),
        },
    }
}

async fn all(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> Result<(), Fault> {
    let Some(pipe) = pipe else { return Ok(()) };
    // A pipe has no errors but those of a wrong descriptor.
    let _ = pipe.take(STDOUT_LIMIT as u64 + 1).read_to_end(into).await;
    if into.len() > STDOUT_LIMIT {
        Err(Fault::Flooded {
            limit: STDOUT_LIMIT,
        })
    } else {
        Ok(())
    }
}

async fn tail(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> Result<(), Fault> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    while pipe.read_buf(into).await.is_ok_and(|read| read > 0) {
        into.drain(..into.len().saturating_sub(STDERR_TAIL));
    }
    Ok(())
}

fn exit(status: ExitStatus) -> Exit {
    match status.signal() {
        Some(signal) => Exit::Signal(signal),
        None => Exit::Code(status.code().unwrap_or_default()),
    }
}
