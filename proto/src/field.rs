//! Reading messages strictly: each refusal says which field it is about.

use std::{collections::BTreeMap, fmt};

use netclaim_core::name::NameError;

/// A message that does not say what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidField {
    /// Where, as `interfaces[3].claim.uid`.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is not there.
    #[error("absent, expected a value")]
    Absent,
    /// A name that its API would refuse.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A number that is no value of the enumeration, or its zero.
    #[error("{found} is not a known value of {of}: the sender may be newer than this reader")]
    Variant {
        /// The number.
        found: i32,
        /// The enumeration.
        of: &'static str,
    },
    /// A time before 1970 or a length of time below zero.
    #[error("negative, expected a time since 1970 or a length of time")]
    Negative,
    /// A number that its field has no room for.
    #[error("{found} is too large")]
    TooLarge {
        /// The number.
        found: u32,
    },
    /// Text that is no IP address.
    #[error("`{found}` is no IP address")]
    Address {
        /// The text.
        found: String,
    },
    /// Text that is not the JSON it should be.
    #[error("not the JSON that was expected: {why}")]
    Json {
        /// The decoder's words.
        why: String,
    },
}

impl InvalidField {
    pub(crate) fn new(field: impl fmt::Display, problem: impl Into<Problem>) -> Self {
        Self {
            path: field.to_string(),
            problem: problem.into(),
        }
    }

    /// The same problem, seen from the message around it.
    pub(crate) fn within(self, field: impl fmt::Display) -> Self {
        Self {
            path: format!("{field}.{}", self.path),
            problem: self.problem,
        }
    }
}

/// A message that must be there.
pub(crate) fn required<P, C>(field: &str, value: Option<P>) -> Result<C, InvalidField>
where
    C: TryFrom<P, Error = InvalidField>,
{
    optional(field, value)?.ok_or_else(|| InvalidField::new(field, Problem::Absent))
}

/// A message that may be absent.
pub(crate) fn optional<P, C>(field: &str, value: Option<P>) -> Result<Option<C>, InvalidField>
where
    C: TryFrom<P, Error = InvalidField>,
{
    value
        .map(C::try_from)
        .transpose()
        .map_err(|error| error.within(field))
}

/// Every message of a list.
pub(crate) fn all<P, C>(field: &str, values: Vec<P>) -> Result<Vec<C>, InvalidField>
where
    C: TryFrom<P, Error = InvalidField>,
{
    let read = |(index, value)| {
        C::try_from(value).map_err(|error| error.within(format_args!("{field}[{index}]")))
    };
    values.into_iter().enumerate().map(read).collect()
}

/// Every message of a map.
pub(crate) fn map<P, C>(
    field: &str,
    values: BTreeMap<String, P>,
) -> Result<BTreeMap<String, C>, InvalidField>
where
    C: TryFrom<P, Error = InvalidField>,
{
    let read = |(key, value)| match C::try_from(value) {
        Ok(value) => Ok((key, value)),
        Err(error) => Err(error.within(format_args!("{field}[{key}]"))),
    };
    values.into_iter().map(read).collect()
}

/// A name.
pub(crate) fn name<N>(field: &str, value: String) -> Result<N, InvalidField>
where
    N: TryFrom<String, Error = NameError>,
{
    N::try_from(value).map_err(|error| InvalidField::new(field, error))
}
