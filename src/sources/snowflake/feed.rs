//! A table's change feed, made of two things: Snowflake's token of the last change, which tells
//! whether there is anything new without waking a warehouse, and the greatest watermark that was
//! seen, behind which everything new is.
//!
//! Rows that are deleted, and changes that do not move the watermark, are in no feed: full passes
//! find them, by keys and hashes.

use serde::{Deserialize, Serialize};

use super::{
    catalogue::ConfiguredColumns,
    columns::{Column, Kind},
    names::Table,
    pass::Progress,
    sql::Shape,
};
use crate::{model::Cursor, sources::SourceError};

/// A token of the feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Snowflake's token of the last change; none where it has none for this table.
    pub(super) change: Option<String>,
    /// The greatest watermark so far.
    pub(super) watermark: Option<String>,
    /// What the columns were.
    pub(super) columns: Option<String>,
    /// What rows are found and ordered by; none before a table was read.
    pub(super) order: Option<Order>,
    /// What the connection said of the table.
    pub(super) wanted: ConfiguredColumns,
    /// The pass that is under way.
    pub(super) under_way: Option<UnderWay>,
}

/// What rows are found and ordered by, so that it need not be asked for again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    key: Vec<Column>,
    watermark: Option<Column>,
    /// Columns that are asked for in another form.
    geo: Vec<Column>,
}

/// A pass over what is new that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnderWay {
    /// The token of the last change before it began.
    pub(super) change: Option<String>,
    pub(super) progress: Progress,
}

/// What a walk through a whole table has found out.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    pub(super) progress: Progress,
    pub(super) order: Order,
}

/// The cells of the key that a pass, over everything or over what is new, goes on behind, as JSON.
pub(super) fn last_key(cursor: &Cursor) -> Option<String> {
    let mark = serde_json::from_slice::<Mark>(&cursor.0);
    let (progress, has_watermark) = match mark {
        Ok(mark) => (mark.under_way?.progress, true),
        Err(_) => (serde_json::from_slice::<Progress>(&cursor.0).ok()?, false),
    };
    // What is new is ordered by its watermark first.
    let place = progress.place?;
    serde_json::to_string(place.get(usize::from(has_watermark)..)?).ok()
}

impl Order {
    pub(super) fn of(shape: &Shape) -> Self {
        let geo = shape.columns.iter().filter(|column| column.kind == Kind::Geo);
        Self {
            key: shape.key.clone(),
            watermark: shape.watermark.clone(),
            geo: geo.cloned().collect(),
        }
    }

    /// The shape of a table whose columns have not changed.
    pub(super) fn shape(&self, table: &Table) -> Shape {
        Shape {
            table: table.clone(),
            columns: self.geo.clone(),
            key: self.key.clone(),
            watermark: self.watermark.clone(),
        }
    }
}

impl Mark {
    /// Reads a token.
    ///
    /// # Errors
    /// [`SourceError::FeedExpired`] when it is none, or the connection says something else of the
    /// table by now.
    pub(super) fn read(cursor: &Cursor, wanted: &ConfiguredColumns) -> Result<Self, SourceError> {
        let expired = |message: &str| SourceError::FeedExpired { message: message.to_owned() };
        let mark: Self = serde_json::from_slice(&cursor.0)
            .map_err(|_| expired("the token is not one of this version"))?;
        match mark.wanted == *wanted {
            true => Ok(mark),
            false => Err(expired("the connection names other columns than before")),
        }
    }

    /// As a token.
    pub(super) fn cursor(&self) -> Cursor {
        // Texts only: this cannot fail.
        Cursor(serde_json::to_vec(self).unwrap_or_default())
    }

    /// With what a walk has found out.
    pub(super) fn after(mut self, finished: Option<&Finished>) -> Self {
        if let Some(finished) = finished {
            self.watermark = finished.progress.watermark.clone();
            self.columns = finished.progress.columns.clone();
            self.order = Some(finished.order.clone());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(watermark: &str) -> ConfiguredColumns {
        ConfiguredColumns { key: vec!["id".into()], watermark: Some(watermark.into()) }
    }

    #[test]
    fn the_last_key_of_either_kind_of_pass_is_told_as_json() {
        let place = |cells: &[&str]| Some(cells.iter().map(|c| Some((*c).to_owned())).collect());
        let walk = Progress { place: place(&["7", "it's"]), ..Progress::default() };
        let cursor = |value: &Progress| Cursor(serde_json::to_vec(value).unwrap());
        assert_eq!(last_key(&cursor(&walk)).as_deref(), Some(r#"["7","it's"]"#));
        assert_eq!(last_key(&cursor(&Progress::default())), None);
        let progress = Progress { place: place(&["1700000000.5", "7"]), ..Progress::default() };
        let under_way = Some(UnderWay { change: None, progress });
        let news = Mark { under_way, wanted: wanted("w"), ..Mark::default() };
        assert_eq!(last_key(&news.cursor()).as_deref(), Some(r#"["7"]"#));
        assert_eq!(last_key(&Mark::default().cursor()), None);
        assert_eq!(last_key(&Cursor(b"x".into())), None);
    }

    #[test]
    fn a_token_reads_back_and_expires_when_the_connection_names_other_columns() {
        let mark = Mark {
            change: Some("17".into()),
            watermark: Some("1641008096.123456789".into()),
            wanted: wanted("w"),
            under_way: Some(UnderWay { change: None, progress: Progress::default() }),
            ..Mark::default()
        };
        assert_eq!(Mark::read(&mark.cursor(), &wanted("w")).unwrap(), mark);
        for (cursor, wanted) in [(mark.cursor(), wanted("v")), (Cursor(b"x".into()), wanted("w"))] {
            let outcome = Mark::read(&cursor, &wanted);
            assert!(matches!(outcome, Err(SourceError::FeedExpired { .. })));
        }
    }
}
