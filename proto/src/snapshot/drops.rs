//! What was dropped, and whether that is counted.

use netclaim_core::drops::{Drops, DropsState};

use crate::{
    field::{InvalidField, Problem, required},
    observe as pb,
};

impl From<&Drops> for pb::Drops {
    fn from(drops: &Drops) -> Self {
        let reasons = drops.iter();
        Self {
            packets_by_reason: reasons.map(|(reason, n)| (reason.to_owned(), n)).collect(),
        }
    }
}

impl TryFrom<pb::Drops> for Drops {
    type Error = InvalidField;

    fn try_from(message: pb::Drops) -> Result<Self, InvalidField> {
        let reasons = message.packets_by_reason.into_iter();
        Ok(reasons.map(|(reason, n)| (reason.into(), n)).collect())
    }
}

impl From<&DropsState> for pb::DropsState {
    fn from(state: &DropsState) -> Self {
        use pb::drops_state::State;
        let state = match state {
            DropsState::Counting { lost } => State::Counting(pb::DropsCounting { lost: *lost }),
            DropsState::Missing { failure } => State::Missing(failure.into()),
        };
        Self { state: Some(state) }
    }
}

impl TryFrom<pb::DropsState> for DropsState {
    type Error = InvalidField;

    fn try_from(message: pb::DropsState) -> Result<Self, InvalidField> {
        use pb::drops_state::State;
        match message.state {
            Some(State::Counting(counting)) => Ok(Self::Counting {
                lost: counting.lost,
            }),
            Some(State::Missing(failure)) => Ok(Self::Missing {
                failure: required("missing", Some(failure))?,
            }),
            None => Err(InvalidField::new("state", Problem::Absent)),
        }
    }
}
