//! Everything that can happen to the screen, and everything that can follow from it.

use std::sync::Arc;

use netclaim_core::{cluster::Recorded, name::NodeName, time::Timestamp};

use crate::{
    arrange::{Answer, Question},
    source::Looked,
    view::View,
};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Msg {
    /// Changes came.
    Changed(Vec<Recorded>),
    /// No more changes will ever come.
    Dried,
    /// Time passed.
    Tick(Timestamp),
    /// The terminal has this many columns and rows.
    Resized(u16, u16),
    /// A frame is about to be drawn.
    Due,
    /// The rows of a table are in order.
    Arranged(Box<Answer>),
    /// A key that stands for an action was pressed.
    Act(Action),
    /// A key was pressed while text is typed.
    Typed(Edit),
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Leave.
    Quit,
    /// Stop for now; the shell's `fg` comes back.
    Suspend,
    /// Leave what is on top: a sheet, a filter.
    Back,
    /// Look at the row under the cursor.
    Open,
    /// Show all keys.
    Help,
    /// Show everything that is wrong.
    Findings,
    /// Move the cursor, or scroll.
    Move(Step),
    /// Look at another table.
    Show(View),
    /// Look at the next table.
    Next,
    /// Look at the table before.
    Previous,
    /// Sort by the column that has this letter.
    SortBy(char),
    /// Sort by the next column to the right.
    SortRight,
    /// Sort by the next column to the left.
    SortLeft,
    /// Turn the order around.
    Invert,
    /// Type a filter.
    Filter,
    /// Type a command.
    Command,
    /// Keep the screen as it is, or let it go on.
    Freeze,
}

/// How far to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// Half a page up.
    HalfUp,
    /// Half a page down.
    HalfDown,
    /// To the first line.
    First,
    /// To the last line.
    Last,
}

/// A change of the text that is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// One more character.
    Insert(char),
    /// One character less.
    Erase,
    /// The last word less.
    EraseWord,
    /// All of it less.
    Clear,
    /// Take it.
    Accept,
    /// Forget it.
    Cancel,
}

/// What has to be done outside the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cmd {
    /// End the program.
    Quit,
    /// Give the terminal back and stop until continued.
    Suspend,
    /// Answer on a thread that may take its time; [`Msg::Arranged`] brings the answer.
    Arrange(Box<Question>),
    /// Listen to these nodes first, where not all can be listened to at once.
    Follow(Arc<[NodeName]>),
    /// Ask for the flows of this interface, and of no other.
    Look(Option<Looked>),
}
