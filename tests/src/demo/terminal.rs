//! The terminal as the demo found it, for the day that dra-top cannot give it back itself.

use std::io::{self, Write as _};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

/// Leaves the alternate screen, shows the cursor, and takes colours off (xterm's control
/// sequences; every terminal that dra-top can draw on knows them).
const PLAIN: &str = "\x1b[?1049l\x1b[?25h\x1b[0m";

/// How the terminal was; nothing where there is none.
pub(super) struct Terminal {
    modes: Option<Termios>,
}

impl Terminal {
    /// The terminal on standard input, as it is.
    pub(super) fn as_it_is() -> Self {
        Self {
            modes: tcgetattr(io::stdin()).ok(),
        }
    }

    /// Makes it so again where it is not, as well as it can be done: who draws on a terminal
    /// changes its modes, and gives both back or neither.
    pub(super) fn restore(&self) {
        let Some(modes) = &self.modes else { return };
        if tcgetattr(io::stdin()).is_ok_and(|now| now == *modes) {
            return;
        }
        let mut out = io::stdout();
        let _closed = out.write_all(PLAIN.as_bytes()).and_then(|()| out.flush());
        let _closed = tcsetattr(io::stdin(), SetArg::TCSANOW, modes);
    }
}
