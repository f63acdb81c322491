//! What a cell holds: a value that sorts, prints and serialises as what it is.

use std::{borrow::Cow, cmp::Ordering, time::Duration};

use netclaim_core::claim::ClaimRef;
use serde_json::{Value as Json, json};

use crate::{format, theme::Mark};

/// A cell. Formatting is left to the moment of drawing, so numbers sort as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Not known; never to be taken for zero.
    Unknown,
    /// Words.
    Text(Cow<'a, str>),
    /// Why something is not as it should be, and how much of the front only names its own row.
    Reason(Cow<'a, str>, usize),
    /// A number of things.
    Count(u64),
    /// Numbers of things by kind: people see their sum.
    Tally(Vec<(&'a str, u64)>),
    /// Bytes.
    Bytes(u64),
    /// Bytes per second.
    Rate(u64),
    /// Packets per second.
    Packets(u64),
    /// How long ago.
    Age(Duration),
    /// How long ago somebody last spoke, if ever, and whether that is too long to be the present.
    Heard(Option<Duration>, bool),
    /// Some of a number that may be unlimited.
    Share(u32, Option<u32>),
    /// A state: a symbol and a word.
    State(Mark, &'static str),
    /// Rates of the last minute, oldest first.
    Trend(Vec<u64>),
}

impl<'a> Value<'a> {
    /// Words, or that there are none.
    pub(crate) fn text(text: Option<impl Into<Cow<'a, str>>>) -> Self {
        text.map_or(Self::Unknown, |text| Self::Text(text.into()))
    }

    /// Words from a list; unknown when it is empty.
    pub(crate) fn list<'b>(items: impl IntoIterator<Item = &'b str>) -> Self {
        let items = items.into_iter().collect::<Vec<_>>();
        Self::text((!items.is_empty()).then(|| items.join(",")))
    }

    /// Why something is not as it should be, in a row that already names its claim: on the screen
    /// the words begin with what is the matter, for a program they stay whole.
    pub(crate) fn reason(words: Option<Cow<'a, str>>, claim: &ClaimRef) -> Self {
        let words = words.unwrap_or_default();
        let front = words.strip_prefix("claim ").map_or(0, |named| {
            let rest = named.strip_prefix(&claim.to_string());
            let rest = rest.map(|rest| rest.trim_start_matches([',', ':']));
            let rest = rest.and_then(|rest| rest.strip_prefix(' '));
            rest.map_or(0, |rest| words.len() - rest.len())
        });
        Self::Reason(words, front)
    }

    /// As it is shown, without its symbol.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Unknown => Cow::Borrowed("–"),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Reason(words, front) => Cow::Borrowed(&words[*front..]),
            Self::Count(count) => format::count(*count).into(),
            Self::Tally(_) => format::count(self.number()).into(),
            Self::Bytes(bytes) | Self::Rate(bytes) => format::bytes(*bytes).into(),
            Self::Packets(packets) => format::count(*packets).into(),
            Self::Age(age) | Self::Heard(Some(age), true) => format::age(*age).into(),
            Self::Heard(None, _) => Cow::Borrowed("never"),
            Self::Share(used, Some(max)) => format!("{used}/{max}").into(),
            Self::Share(used, None) => used.to_string().into(),
            Self::State(_, word) => Cow::Borrowed(word),
            Self::Heard(Some(_), false) | Self::Trend(_) => Cow::Borrowed(""),
        }
    }

    /// Whether there is nothing to be seen.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) | Self::Reason(text, _) => text.is_empty(),
            Self::Heard(_, old) => !old,
            _ => false,
        }
    }

    /// As a program reads it: plain numbers, null for what is not known.
    pub(crate) fn json(&self) -> Json {
        match self {
            Self::Unknown => Json::Null,
            Self::Text(text) | Self::Reason(text, _) => json!(text),
            Self::Count(n) | Self::Bytes(n) | Self::Rate(n) | Self::Packets(n) => json!(n),
            Self::Tally(kinds) => Json::Object(
                kinds
                    .iter()
                    .map(|(kind, count)| ((*kind).to_owned(), json!(count)))
                    .collect(),
            ),
            Self::Age(age) => json!(age.as_secs()),
            Self::Heard(age, _) => json!(age.map(|age| age.as_secs())),
            Self::Share(used, max) => json!({"used": used, "max": max}),
            Self::State(_, word) => json!(word),
            Self::Trend(rates) => json!(rates),
        }
    }

    /// The order in a column: what is not known comes last in either direction.
    pub(crate) fn compare(&self, other: &Self, descending: bool) -> Ordering {
        match (self, other) {
            (Self::Unknown, Self::Unknown) => Ordering::Equal,
            (Self::Unknown, _) => Ordering::Greater,
            (_, Self::Unknown) => Ordering::Less,
            _ if descending => other.ascending(self),
            _ => self.ascending(other),
        }
    }

    fn ascending(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Reason(..), Self::Reason(..)) => self.shown().cmp(&other.shown()),
            (Self::State(a, x), Self::State(b, y)) => a.cmp(b).then_with(|| x.cmp(y)),
            (Self::Age(a), Self::Age(b)) => a.cmp(b),
            (Self::Heard(a, _), Self::Heard(b, _)) => a.cmp(b),
            _ => self.number().cmp(&other.number()),
        }
    }

    fn number(&self) -> u64 {
        match self {
            Self::Count(n) | Self::Bytes(n) | Self::Rate(n) | Self::Packets(n) => *n,
            Self::Tally(kinds) => kinds.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n)),
            Self::Share(used, _) => u64::from(*used),
            Self::Trend(rates) => rates.last().copied().unwrap_or(0),
            Self::Unknown
            | Self::Text(_)
            | Self::Reason(..)
            | Self::Age(_)
            | Self::Heard(..)
            | Self::State(..) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_does_not_begin_with_the_name_of_its_own_row() {
        let claim = ClaimRef {
            namespace: "demo".parse().unwrap(),
            name: "net".parse().unwrap(),
            uid: "claim-uid".parse().unwrap(),
        };
        let shown = |words: &'static str| {
            let reason = Value::reason(Some(words.into()), &claim);
            assert_eq!(reason.json(), json!(words));
            reason.shown().into_owned()
        };
        assert_eq!(
            shown("claim demo/net, request nic: found 2, accepted: 1"),
            "request nic: found 2, accepted: 1"
        );
        assert_eq!(
            shown("claim demo/net already serves pod demo/a"),
            "already serves pod demo/a"
        );
        let of_another = "claim demo/network already serves pod demo/a";
        assert_eq!(shown(of_another), of_another);
        assert_eq!(shown("plugin macvlan said: no"), "plugin macvlan said: no");
    }
}
