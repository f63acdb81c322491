//! How a plugin fails, each way with the next step for who reads it.

use std::{fmt, io, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Command, SpecVersion, advice::advice};
use crate::failure::Cause;

/// The error object that a plugin prints (spec §5, "Error").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniError {
    /// What kind of error: below 100 the spec's numbers, above the plugin's own.
    pub code: u32,
    /// The plugin's words.
    #[serde(default)]
    pub msg: String,
    /// More of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// The container is unknown, so there is nothing to clean up.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// The same request may succeed later.
    pub const TRY_AGAIN_LATER: u32 = 11;

    /// What the code says. 0, 8 and 999 are libcni's, the others the spec's.
    pub fn meaning(&self) -> &'static str {
        match self.code {
            0 => "unknown error",
            1 => "incompatible CNI version",
            2 => "unsupported field in the configuration",
            Self::UNKNOWN_CONTAINER => "container unknown or gone",
            4 => "invalid CNI environment",
            5 => "I/O failure",
            6 => "undecodable content",
            7 => "invalid network configuration",
            8 => "invalid network namespace",
            Self::TRY_AGAIN_LATER => "try again later",
            50 => "plugin not available",
            51 => "plugin not available, existing containers may have lost connectivity",
            999 => "internal error",
            code if code >= 100 => "the plugin's own code",
            _ => "a code that the spec does not define",
        }
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {} ({}): {}", self.code, self.meaning(), self.msg)?;
        if !self.details.is_empty() {
            write!(f, ": {}", self.details)?;
        }
        Ok(())
    }
}

/// One plugin's failure at one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFailure {
    /// The network; none for VERSION, which is about no network.
    pub network: Option<String>,
    /// The plugin's type.
    pub plugin: String,
    /// What it was asked.
    pub command: Command,
    /// What went wrong.
    pub fault: Fault,
}

impl fmt::Display for PluginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CNI {} by plugin `{}`", self.command, self.plugin)?;
        if let Some(network) = &self.network {
            write!(f, " for network `{network}`")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl std::error::Error for PluginFailure {}

impl Cause for PluginFailure {
    fn reason(&self) -> &'static str {
        self.fault.reason()
    }

    fn code(&self) -> &'static str {
        self.fault.code()
    }
}

/// What went wrong with a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It said so itself, in the form that the spec gives.
    #[error("it reports {error}; {}", advice(error))]
    Reported {
        /// Its words.
        error: CniError,
    },
    /// Its time was over, and it was killed with every process that it had started.
    #[error(
        "it did not end within {after:?} and was killed with its children; look for what it waits \
         for (a lock, an IPAM daemon){}",
        said(stderr)
    )]
    Hung {
        /// How long it had run.
        after: Duration,
        /// The end of its standard error.
        stderr: String,
    },
    /// The plugins before it had used up the chain's time.
    #[error(
        "it was not started, because the time for the whole chain was over; the timeline in dra-top \
         shows which plugin before it took how long"
    )]
    OutOfTime,
    /// Its output is not what the spec asks for.
    #[error("its output is invalid ({why}): \"{head}\"; look for another program under this name")]
    Garbage {
        /// The first characters of the output.
        head: String,
        /// The decoder's words.
        why: String,
    },
    /// Its output had no end.
    #[error(
        "it printed more than {limit} bytes and was killed; look for another program under this name"
    )]
    Flooded {
        /// How much is read.
        limit: usize,
    },
    /// It was killed by somebody or crashed.
    #[error("it died by signal {signal}{}; look for the reason in the node's kernel log{}", signal_name(*signal), said(stderr))]
    Died {
        /// The signal.
        signal: i32,
        /// The end of its standard error.
        stderr: String,
    },
    /// It failed without a word on standard output.
    #[error(
        "it exited with {exit} and printed no error object; run it by hand, or look at its own \
         log{}",
        said(stderr)
    )]
    Silent {
        /// Its exit status.
        exit: i32,
        /// The end of its standard error.
        stderr: String,
    },
    /// It succeeded without the result that the command must have.
    #[error(
        "it succeeded but printed nothing, where a plugin of CNI 0.3.1 or later prints a result; look \
         for another program under this name"
    )]
    NoOutput,
    /// Its result is of a version that netclaim does not speak.
    #[error(
        "its result is of CNI version {found}, expected one of {}; change cniVersion or the plugin",
        SpecVersion::LISTED
    )]
    UnsupportedVersion {
        /// The version.
        found: String,
    },
    /// No folder has it.
    #[error("it is not in {searched}; install it there, or name its folder with --cni-path")]
    NotFound {
        /// The folders that were searched.
        searched: String,
    },
    /// The file may not be executed.
    #[error("{path} is not executable; `chmod 755` it, and look for a noexec mount")]
    NotExecutable {
        /// The file.
        path: String,
    },
    /// The file is there, its loader is not.
    #[error(
        "{path} needs {}, which is not in the file system that the driver runs plugins in; use a \
         static build of the plugin, or run it in the node's with --host-root",
        loader.as_deref().unwrap_or("a loader")
    )]
    NoLoader {
        /// The file.
        path: String,
        /// What the file names as its interpreter.
        loader: Option<String>,
    },
    /// The file is of another machine, or of none.
    #[error("{path} is no program for this machine; install the build for its architecture")]
    WrongFormat {
        /// The file.
        path: String,
    },
    /// Somebody kept writing the file.
    #[error("{path} was being written during {tries} tries; wait for its installation to end")]
    Busy {
        /// The file.
        path: String,
        /// How often it was tried.
        tries: usize,
    },
    /// The node's root cannot be entered.
    #[error("cannot enter {root} to run it there: {}; --host-root must name the mounted root of the node, and the driver needs CAP_SYS_CHROOT", io::Error::from_raw_os_error(*errno))]
    NoRoot {
        /// The folder.
        root: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// The kernel refused for another reason.
    #[error(
        "{path} could not be run: {}; look at the file, and at the memory and pids limits of the \
         driver",
        io::Error::from_raw_os_error(*errno)
    )]
    NotRun {
        /// The file.
        path: String,
        /// The kernel's error number.
        errno: i32,
    },
}

impl Fault {
    /// The condition's reason.
    pub fn reason(&self) -> &'static str {
        self.names().0
    }

    /// The metric's label.
    pub fn code(&self) -> &'static str {
        self.names().1
    }

    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Reported { error } if error.code == CniError::TRY_AGAIN_LATER => {
                ("PluginAsksToRetry", "plugin_asks_to_retry")
            }
            Self::Reported { .. } => ("PluginReportedError", "plugin_reported_error"),
            Self::Hung { .. } => ("PluginHung", "plugin_hung"),
            Self::OutOfTime => ("PluginOutOfTime", "plugin_out_of_time"),
            Self::Garbage { .. } => ("PluginOutputInvalid", "plugin_output_invalid"),
            Self::Flooded { .. } => ("PluginOutputTooLong", "plugin_output_too_long"),
            Self::Died { .. } => ("PluginDied", "plugin_died"),
            Self::Silent { .. } => ("PluginFailedSilently", "plugin_failed_silently"),
            Self::NoOutput => ("PluginOutputMissing", "plugin_output_missing"),
            Self::UnsupportedVersion { .. } => {
                ("PluginVersionUnsupported", "plugin_version_unsupported")
            }
            Self::NotFound { .. } => ("PluginNotFound", "plugin_not_found"),
            Self::NotExecutable { .. } => ("PluginNotExecutable", "plugin_not_executable"),
            Self::NoLoader { .. } => ("PluginLoaderMissing", "plugin_loader_missing"),
            Self::WrongFormat { .. } => ("PluginWrongFormat", "plugin_wrong_format"),
            Self::Busy { .. } => ("PluginFileBusy", "plugin_file_busy"),
            Self::NoRoot { .. } => ("HostRootRefused", "host_root_refused"),
            Self::NotRun { .. } => ("PluginNotRun", "plugin_not_run"),
        }
    }
}

/// A plugin's last words, on one line.
fn said(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("; it said: {}", lines.join(" | "))
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        6 => " (SIGABRT)",
        9 => " (SIGKILL, perhaps out of memory)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
