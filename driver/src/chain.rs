//! An error and its causes in one line, each told once.
//!
//! Many errors quote their cause, since their message is all that a claim's condition shows; where
//! the causes are listed too, that would say it twice.

use std::{error::Error, fmt};

/// An error with those of its causes that it does not quote.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        let causes = std::iter::successors(self.0.source(), |cause| (*cause).source());
        for cause in causes.map(ToString::to_string) {
            if !told.contains(&cause) {
                told = format!("{told}: {cause}");
            }
        }
        f.write_str(&told)
    }
}

#[cfg(test)]
mod tests;
