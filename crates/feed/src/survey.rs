//! The tables of a database, for the proposal of a first configuration.

/// A table, as a survey finds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SurveyedTable {
    /// Its name, as contracts write it.
    pub name: String,
    /// Whether its changes can be followed.
    pub kind: TableKind,
    /// Its columns, in their order.
    pub columns: Vec<SurveyedColumn>,
    /// The columns of its primary key, in the key's order; empty: it has none.
    pub key: Vec<String>,
}

/// Whether the changes of a table can be followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TableKind {
    /// They can.
    Followable,
    /// They can't, for this reason: `it is a view`.
    Unfollowable(String),
}

/// A column of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SurveyedColumn {
    /// Its name.
    pub name: String,
    /// Its type, as the database writes it.
    pub data_type: String,
}

impl TableKind {
    pub(crate) fn of(obstacle: Option<impl Into<String>>) -> Self {
        obstacle.map_or(Self::Followable, |reason| Self::Unfollowable(reason.into()))
    }
}
