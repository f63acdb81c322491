//! Keys. One table says what each key does and what the help says of it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{
    message::{Action, Edit, Msg, Step},
    view::View,
};

/// A key with its modifiers; shift is part of a character and not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Press(KeyCode, KeyModifiers);

/// Keys that do the same.
#[derive(Debug)]
pub(crate) struct Binding {
    /// Any of them.
    pub keys: &'static [Press],
    /// How they are written in the help.
    pub label: &'static str,
    /// What they do.
    pub action: Action,
    /// What the help says.
    pub help: &'static str,
}

/// A part of the help.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its title.
    pub title: &'static str,
    /// Its keys.
    pub bindings: &'static [Binding],
}

/// Every key there is.
pub(crate) static GROUPS: [Group; 3] = [
    Group {
        title: "Look",
        bindings: &[
            bind(
                &[key(KeyCode::Enter), char('d')],
                "Enter d",
                Action::Open,
                "all about the row",
            ),
            bind(
                &[key(KeyCode::Esc)],
                "Esc",
                Action::Back,
                "back; clear the filter",
            ),
            bind(
                &[char('1')],
                "1",
                Action::Show(View::Claims),
                "claims     (:claims, :rc)",
            ),
            bind(
                &[char('2')],
                "2",
                Action::Show(View::Slices),
                "slices     (:slices, :rs)",
            ),
            bind(
                &[char('3')],
                "3",
                Action::Show(View::Interfaces),
                "interfaces (:interfaces, :if)",
            ),
            bind(&[key(KeyCode::Tab)], "Tab", Action::Next, "next table"),
            bind(
                &[key(KeyCode::BackTab)],
                "S-Tab",
                Action::Previous,
                "table before",
            ),
            bind(&[char(' ')], "Space", Action::Freeze, "freeze, go on"),
            bind(
                &[char('!')],
                "!",
                Action::Findings,
                "everything that is wrong (:findings)",
            ),
            bind(
                &[char('?'), key(KeyCode::F(1)), char('h')],
                "? F1 h",
                Action::Help,
                "this help (:help)",
            ),
            bind(
                &[char('q'), key(KeyCode::F(10)), ctrl('c')],
                "q C-c",
                Action::Quit,
                "leave (:q)",
            ),
            bind(
                &[ctrl('z')],
                "C-z",
                Action::Suspend,
                "to the shell; fg comes back",
            ),
        ],
    },
    Group {
        title: "Find and sort",
        bindings: &[
            bind(
                &[char('/'), key(KeyCode::F(3)), key(KeyCode::F(4))],
                "/ F4",
                Action::Filter,
                "filter: word !word pod:word ns: node: state:",
            ),
            bind(
                &[char(':')],
                ":",
                Action::Command,
                "go to a table by name, or by its beginning",
            ),
            bind(
                &[shift(KeyCode::Right), key(KeyCode::F(6)), char('>')],
                "S-→ F6",
                Action::SortRight,
                "sort by the next column",
            ),
            bind(
                &[shift(KeyCode::Left), char('<')],
                "S-←",
                Action::SortLeft,
                "sort by the column before",
            ),
            bind(&[char('I')], "I", Action::Invert, "turn the order around"),
        ],
    },
    Group {
        title: "Move",
        bindings: &[
            bind(
                &[char('k'), key(KeyCode::Up)],
                "k ↑",
                Action::Move(Step::Up),
                "up",
            ),
            bind(
                &[char('j'), key(KeyCode::Down)],
                "j ↓",
                Action::Move(Step::Down),
                "down",
            ),
            bind(
                &[char('g'), key(KeyCode::Home)],
                "g Home",
                Action::Move(Step::First),
                "to the top",
            ),
            bind(
                &[char('G'), key(KeyCode::End)],
                "G End",
                Action::Move(Step::Last),
                "to the end",
            ),
            bind(
                &[ctrl('u')],
                "C-u",
                Action::Move(Step::HalfUp),
                "half a page up",
            ),
            bind(
                &[ctrl('d')],
                "C-d",
                Action::Move(Step::HalfDown),
                "half a page down",
            ),
            bind(
                &[key(KeyCode::PageUp), ctrl('b')],
                "PgUp C-b",
                Action::Move(Step::PageUp),
                "a page up",
            ),
            bind(
                &[key(KeyCode::PageDown), ctrl('f')],
                "PgDn C-f",
                Action::Move(Step::PageDown),
                "a page down",
            ),
        ],
    },
];

/// What a key does; none when it does nothing.
///
/// A capital letter that is bound to nothing else sorts by the column that has it.
pub(crate) fn read(event: KeyEvent, typing: bool) -> Option<Msg> {
    let press = Press::of(event);
    if typing {
        return edit(press).map(Msg::Typed);
    }
    let mut bindings = GROUPS.iter().flat_map(|group| group.bindings);
    if let Some(found) = bindings.find(|binding| binding.keys.contains(&press)) {
        return Some(Msg::Act(found.action));
    }
    match press {
        Press(KeyCode::Char(letter), KeyModifiers::NONE) if letter.is_ascii_uppercase() => {
            Some(Msg::Act(Action::SortBy(letter)))
        }
        _ => None,
    }
}

fn edit(Press(code, modifiers): Press) -> Option<Edit> {
    match (code, modifiers) {
        (KeyCode::Enter, _) => Some(Edit::Accept),
        (KeyCode::Esc, _) | (KeyCode::Char('c'), KeyModifiers::CONTROL) => Some(Edit::Cancel),
        (KeyCode::Backspace, _) | (KeyCode::Char('h'), KeyModifiers::CONTROL) => Some(Edit::Erase),
        (KeyCode::Char('w'), KeyModifiers::CONTROL) => Some(Edit::EraseWord),
        (KeyCode::Char('u'), KeyModifiers::CONTROL) => Some(Edit::Clear),
        (KeyCode::Char(c), KeyModifiers::NONE) => Some(Edit::Insert(c)),
        _ => None,
    }
}

impl Press {
    /// Terminals report shift with a character, or not; the character itself tells.
    fn of(event: KeyEvent) -> Self {
        let mut modifiers = event.modifiers;
        if matches!(event.code, KeyCode::Char(_) | KeyCode::BackTab) {
            modifiers -= KeyModifiers::SHIFT;
        }
        Self(event.code, modifiers)
    }
}

const fn bind(
    keys: &'static [Press],
    label: &'static str,
    action: Action,
    help: &'static str,
) -> Binding {
    Binding {
        keys,
        label,
        action,
        help,
    }
}

const fn key(code: KeyCode) -> Press {
    Press(code, KeyModifiers::NONE)
}

const fn char(letter: char) -> Press {
    key(KeyCode::Char(letter))
}

const fn ctrl(letter: char) -> Press {
    Press(KeyCode::Char(letter), KeyModifiers::CONTROL)
}

const fn shift(code: KeyCode) -> Press {
    Press(code, KeyModifiers::SHIFT)
}

#[cfg(test)]
mod tests;
