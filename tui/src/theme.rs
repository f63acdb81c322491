//! Colours and symbols. A colour never says what a symbol or a word does not.

use ratatui::style::{Color, Modifier, Style};

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// The terminal's 16 colours, or none.
    pub colour: bool,
    /// ASCII only.
    pub ascii: bool,
}

/// How good a state is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// It hurts.
    Bad,
    /// It will hurt.
    Warning,
    /// Something has to come first.
    Waiting,
    /// Something is being done.
    Busy,
    /// As it should be.
    Good,
    /// Over.
    Over,
}

/// What a piece of text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The name of the program, the view in use.
    Title,
    /// Names of columns and sections.
    Heading,
    /// The column that is sorted by.
    Sorted,
    /// Labels, hints, what is not known.
    Quiet,
    /// A key to press.
    Key,
    /// Where the cursor is.
    Selected,
    /// Numbers that move.
    Traffic,
}

impl Theme {
    /// A state's symbol.
    pub fn symbol(self, mark: Mark) -> &'static str {
        let (symbol, ascii) = match mark {
            Mark::Bad => ("✖", "x"),
            Mark::Warning => ("▲", "!"),
            Mark::Waiting => ("○", "o"),
            Mark::Busy => ("◐", "~"),
            Mark::Good => ("●", "*"),
            Mark::Over => ("·", "."),
        };
        self.pick(symbol, ascii)
    }

    /// A state's style.
    pub fn mark(self, mark: Mark) -> Style {
        let style = match mark {
            Mark::Bad => Style::new().add_modifier(Modifier::BOLD),
            Mark::Over => Style::new().add_modifier(Modifier::DIM),
            Mark::Warning | Mark::Waiting | Mark::Busy | Mark::Good => Style::new(),
        };
        self.coloured(
            style,
            match mark {
                Mark::Bad => Color::Red,
                Mark::Warning | Mark::Waiting => Color::Yellow,
                Mark::Busy => Color::Cyan,
                Mark::Good => Color::Green,
                Mark::Over => Color::Reset,
            },
        )
    }

    /// A part's style.
    pub fn part(self, part: Part) -> Style {
        let style = Style::new();
        match part {
            Part::Title => self.coloured(style.bold().reversed(), Color::Cyan),
            Part::Heading => style.bold(),
            Part::Sorted => self.coloured(style.bold().underlined(), Color::Cyan),
            Part::Quiet => style.dim(),
            Part::Key => self.coloured(style.bold(), Color::Cyan),
            Part::Selected => style.reversed(),
            Part::Traffic => self.coloured(style, Color::Cyan),
        }
    }

    /// Eight heights of a bar chart, after nothing at all.
    pub fn bars(self) -> [&'static str; 9] {
        if self.ascii {
            [" ", "_", "_", ".", "-", "-", "=", "+", "#"]
        } else {
            [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
        }
    }

    /// One of two spellings.
    pub fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { unicode }
    }

    /// Text in the characters that may be used.
    pub fn spell(self, text: &str) -> String {
        if !self.ascii {
            return text.to_owned();
        }
        text.chars()
            .map(|c| match c {
                '–' | '—' => '-',
                '…' => '~',
                '·' => '|',
                'µ' => 'u',
                c if c.is_ascii() => c,
                _ => '?',
            })
            .collect()
    }

    fn coloured(self, style: Style, colour: Color) -> Style {
        if self.colour { style.fg(colour) } else { style }
    }
}
