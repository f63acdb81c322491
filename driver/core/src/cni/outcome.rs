//! What a plugin that has ended meant.

use serde::Deserialize;
use serde_json::Value;

use super::{AddResult, CniError, Fault, ResultError, head};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A plugin that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub exit: Exit,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: String,
}

/// The answer to VERSION.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Supported {
    /// Every version that the plugin speaks, known to us or not.
    #[serde(rename = "supportedVersions")]
    pub versions: Vec<String>,
}

impl Finished {
    /// The standard output of a plugin that succeeded. The error object is looked for on standard
    /// output, where every plugin prints it, then on standard error, where the spec's overview
    /// puts it.
    pub fn success(self) -> Result<Vec<u8>, Fault> {
        match self.exit {
            Exit::Signal(signal) => Err(Fault::Died {
                signal,
                stderr: self.stderr,
            }),
            Exit::Code(0) => match reported(&self.stdout).filter(|error| error.code != 0) {
                Some(error) => Err(Fault::Reported { error }),
                None => Ok(self.stdout),
            },
            Exit::Code(exit) => Err(self.failure(exit)),
        }
    }

    fn failure(self, exit: i32) -> Fault {
        let empty = self.stdout.trim_ascii().is_empty();
        match reported(&self.stdout).or_else(|| reported(self.stderr.as_bytes()).filter(|_| empty))
        {
            Some(error) => Fault::Reported { error },
            None if empty => Fault::Silent {
                exit,
                stderr: self.stderr,
            },
            None => Fault::Garbage {
                head: head(&self.stdout),
                why: format!("no error object, although it exited with {exit}"),
            },
        }
    }
}

/// The result that ADD must print.
pub fn read_result(stdout: &[u8]) -> Result<AddResult, Fault> {
    let value = object(stdout)?;
    AddResult::read(&value).map_err(|error| match error {
        ResultError::Version { found } => Fault::UnsupportedVersion { found },
        other => Fault::Garbage {
            head: head(stdout),
            why: other.to_string(),
        },
    })
}

/// The versions that VERSION must print.
pub fn read_versions(stdout: &[u8]) -> Result<Supported, Fault> {
    Supported::deserialize(object(stdout)?).map_err(|error| Fault::Garbage {
        head: head(stdout),
        why: error.to_string(),
    })
}

fn object(stdout: &[u8]) -> Result<Value, Fault> {
    if stdout.trim_ascii().is_empty() {
        return Err(Fault::NoOutput);
    }
    let garbage = |why: String| Fault::Garbage {
        head: head(stdout),
        why,
    };
    match serde_json::from_slice(stdout) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(garbage("not a JSON object".into())),
        Err(error) => Err(garbage(error.to_string())),
    }
}

/// An error object has a code; a result has none, or 0.
fn reported(output: &[u8]) -> Option<CniError> {
    serde_json::from_slice(output).ok()
}

#[cfg(test)]
mod tests;
