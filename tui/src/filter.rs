//! Which rows are shown: words that a row must, or must not, contain.

/// What the user typed after `/`: every word must hold.
///
/// A word is a part of any cell; `!word` must not be there; `pod:word` looks at one column only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    text: String,
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    inverse: bool,
    column: Option<&'static str>,
    part: String,
}

/// Short names of columns.
const COLUMNS: [(&str, &str); 10] = [
    ("ns", "namespace"),
    ("namespace", "namespace"),
    ("pod", "pod"),
    ("node", "node"),
    ("claim", "claim"),
    ("state", "state"),
    ("device", "device"),
    ("pool", "pool"),
    ("driver", "driver"),
    ("if", "interface"),
];

impl Filter {
    /// Reads what was typed; anything is a filter.
    pub(crate) fn parse(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            words: text.split_whitespace().map(Word::parse).collect(),
        }
    }

    /// As it was typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether every row passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether a row passes, given its cells by column.
    pub(crate) fn holds(&self, cells: &[(&'static str, String)]) -> bool {
        let mut words = self.words.iter().filter(|word| !word.part.is_empty());
        words.all(|word| {
            let found = cells
                .iter()
                .filter(|(column, _)| word.column.is_none_or(|named| named == *column))
                .any(|(_, text)| text.contains(&word.part));
            found != word.inverse
        })
    }
}

impl Word {
    fn parse(word: &str) -> Self {
        let (inverse, word) = match word.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, word),
        };
        let named = word.split_once(':').and_then(|(name, part)| {
            let column = COLUMNS.iter().find(|(short, _)| *short == name)?;
            Some((column.1, part))
        });
        let part = named.map_or(word, |(_, part)| part);
        Self {
            inverse,
            column: named.map(|(column, _)| column),
            part: part.to_lowercase(),
        }
    }
}

#[cfg(test)]
mod tests;
