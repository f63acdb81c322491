//! Tables: columns of values, rows by identity, one definition for screens, scripts and sorting.

use netclaim_core::{
    cluster::{Cluster, DeviceId, InterfaceId},
    name::{ClaimUid, NodeName},
    time::Timestamp,
};

use crate::value::Value;

/// What a row is about; stays the same while the row changes and moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowId {
    /// A claim.
    Claim(ClaimUid),
    /// A device.
    Device(DeviceId),
    /// An interface.
    Interface(InterfaceId),
}

impl RowId {
    /// The node that the row is about.
    pub(crate) fn node<'a>(&self, cluster: &'a Cluster) -> Option<&'a NodeName> {
        match self {
            Self::Claim(uid) => cluster.claim(uid)?.node(),
            Self::Device(id) => cluster.device(id)?.node,
            Self::Interface(id) => cluster.interface(id)?.node(),
        }
    }
}

/// How a cell is cut when it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// In the middle: names.
    Middle,
    /// At the end: sentences.
    End,
    /// Never; to the right: numbers.
    Right,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Its title, also the name of its field in JSON.
    pub title: &'static str,
    /// Shift with this letter sorts by it.
    pub letter: char,
    /// It is hidden rather than narrower.
    pub min: u16,
    /// It is never wider.
    pub max: u16,
    /// The higher, the sooner it is hidden on a narrow screen.
    pub rank: u8,
    /// How its cells are cut.
    pub cut: Cut,
}

/// What cells are computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// What is known.
    pub cluster: &'a Cluster,
    /// The time that is shown.
    pub now: Timestamp,
}

/// A table of `N` columns: a cell too few is a type error.
pub(crate) trait Table<const N: usize> {
    /// A row as the cluster gives it.
    type Line<'a>: Copy;

    /// The columns.
    const COLUMNS: [Column; N];

    /// All rows, in any order.
    fn lines(cluster: &Cluster) -> impl Iterator<Item = Self::Line<'_>>;

    /// One row.
    fn line<'a>(cluster: &'a Cluster, id: &RowId) -> Option<Self::Line<'a>>;

    /// What a row is about; none when it cannot be told from others.
    fn id(line: Self::Line<'_>) -> Option<RowId>;

    /// The namespace that it is in, where it is in one.
    fn namespace<'a>(line: Self::Line<'a>, scene: Scene<'a>) -> Option<&'a str>;

    /// The order among rows that are equal otherwise.
    fn order<'a>(line: Self::Line<'a>, scene: Scene<'a>) -> [&'a str; 4];

    /// The cells of a row.
    fn cells<'a>(line: Self::Line<'a>, scene: Scene<'a>) -> [Value<'a>; N];
}

/// By which column rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sort {
    /// Index of the column.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
}

impl Column {
    /// Whether large values interest more than small ones.
    pub(crate) fn is_quantity(&self) -> bool {
        self.cut == Cut::Right
    }

    /// Its name where there are no capitals.
    pub(crate) fn field(&self) -> &'static str {
        FIELDS
            .iter()
            .find(|(title, _)| *title == self.title)
            .map_or(self.title, |(_, field)| field)
    }
}

/// Titles are short for screens; fields are whole words for programs.
const FIELDS: [(&str, &str); 29] = [
    ("NAMESPACE", "namespace"),
    ("CLAIM", "claim"),
    ("STATE", "state"),
    ("POD", "pod"),
    ("NODE", "node"),
    ("DEVICE", "device"),
    ("REASON", "reason"),
    ("AGE", "age_seconds"),
    ("POOL", "pool"),
    ("DRIVER", "driver"),
    ("LINK", "link"),
    ("KIND", "kind"),
    ("MODE", "mode"),
    ("USED", "used"),
    ("IF", "interface"),
    ("ADDRESS", "addresses"),
    ("RX/s", "rx_bytes_per_second"),
    ("TX/s", "tx_bytes_per_second"),
    ("RXp/s", "rx_packets_per_second"),
    ("TXp/s", "tx_packets_per_second"),
    ("PEAK/s", "peak_bytes_per_second"),
    ("DROPS", "drops_by_reason"),
    ("PROBE", "probe"),
    ("PACKETS", "packets_total"),
    ("RX", "rx_bytes_total"),
    ("TX", "tx_bytes_total"),
    ("HEARD", "heard_seconds_ago"),
    ("MAC", "mac"),
    ("TREND", "trend_bytes_per_second"),
];
