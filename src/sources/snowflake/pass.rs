//! A pass over a table: one statement, its rows in order, and the statement again behind the last
//! row where its result is gone before it was read to its end.

use std::{cmp::Ordering, sync::Arc};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use serde::{Deserialize, Serialize};

use super::{
    columns::{Column, Kind},
    protocol::{Meaning, Refusal},
    row::{Layout, Row, State, Twins},
    rows::{RowRef, Rows},
    session::{Failed, Selected, Session, Takes},
    sql::{self, Shape, Statement},
    value,
};
use crate::sources::SourceError;

/// How often in a row a statement is run again without having brought a row.
const RERUNS: u32 = 3;

/// Which rows a pass is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rowset {
    /// All of them.
    All,
    /// All of them, of which only the keys and the hashes are read.
    Keys,
    /// Those whose watermark is not below this one, or is NULL.
    Since(String),
}

/// How far a pass has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The cells of the last row that the statement is ordered by. None at the beginning, and in
    /// tables without a key, whose passes only begin.
    pub(super) place: Option<Vec<Option<String>>>,
    /// The greatest watermark so far, not beyond `until`.
    pub(super) watermark: Option<String>,
    /// What the columns were.
    pub(super) columns: Option<String>,
    /// The watermark of the moment at which the first statement of the pass began, by Snowflake's
    /// clock; none where the column holds no moments. Later statements of the pass go no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    /// Whether only keys and hashes are read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) keys_only: bool,
    /// Whether a statement has left rows beyond `until` to the next pass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) leaves_rows: bool,
}

/// Rows, and how far the pass has come with them.
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    pub(super) progress: Progress,
}

/// Why a pass ends early.
#[derive(Debug)]
pub(super) enum Ended {
    /// The columns are not those that it began with: only a full pass is of use.
    Reshaped(String),
    /// An answer is not what it says: rows before the place that the pass has reached may not have
    /// been read.
    Untrue(SourceError),
    /// Anything else.
    Source(SourceError),
}

/// A pass under way.
pub(super) struct Pass {
    session: Arc<Session>,
    shape: Shape,
    rowset: Rowset,
    progress: Progress,
    reading: Option<Reading>,
    /// Statements in a row that brought nothing.
    fruitless: u32,
    twins: Twins,
    is_over: bool,
}

/// A statement's rows.
struct Reading {
    layout: Layout,
    batches: BoxStream<'static, Result<Rows, Failed>>,
}

impl Pass {
    pub(super) fn new(
        session: Arc<Session>,
        shape: Shape,
        rowset: Rowset,
        progress: Progress,
    ) -> Self {
        let twins = Twins::default();
        Self {
            session,
            shape,
            rowset,
            progress,
            reading: None,
            fruitless: 0,
            twins,
            is_over: false,
        }
    }

    /// Its rows, a batch at a time. Ends after the last row of a result that was whole, or with the
    /// first error.
    pub(super) fn batches(self) -> BoxStream<'static, Result<Batch, Ended>> {
        stream::unfold(self, |mut pass| async move {
            let next = pass.next().await.transpose()?;
            pass.is_over |= next.is_err();
            Some((next, pass))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Batch>, Ended> {
        while !self.is_over {
            let Some(reading) = self.reading.as_mut() else {
                match self.begin().await {
                    Ok(reading) => self.reading = Some(reading),
                    Err(failed) => self.recover(failed)?,
                }
                continue;
            };
            match reading.batches.next().await {
                Some(Ok(rows)) => return self.take(&rows).map(Some),
                Some(Err(failed)) => self.recover(failed)?,
                None => self.is_over = true,
            }
        }
        Ok(None)
    }

    /// Runs the statement, from where the pass is.
    async fn begin(&mut self) -> Result<Reading, Failed> {
        let statement = self.statement()?;
        let is_bounded = matches!(self.rowset, Rowset::Since(_)) && self.progress.until.is_some();
        self.progress.leaves_rows |= is_bounded;
        let selected = self.session.select(&statement, Takes::Warehouse).await?;
        self.twins = Twins::default();
        if self.progress.until.is_none() {
            let kind = self.shape.watermark.as_ref().map(|column| column.kind);
            let began = kind.zip(selected.result.began);
            self.progress.until = began.and_then(|(kind, began)| value::cell_of(kind, began));
        }
        let mut columns = selected.result.columns.clone();
        // The hash is the last one.
        columns.pop();
        let layout = self.layout(columns)?;
        Ok(Reading { layout, batches: selected.rows() })
    }

    fn statement(&self) -> Result<Statement, Failed> {
        let place = self.progress.place.as_deref();
        let statement = match &self.rowset {
            Rowset::All => sql::all_rows(&self.shape, place),
            Rowset::Keys => sql::keys_and_hashes(&self.shape, place),
            Rowset::Since(from) => {
                // What is written while the pass goes on is the next one's.
                let until = self.progress.until.as_deref();
                sql::changed_rows(&self.shape, (from, until), place)
            }
        };
        // Its columns have other types than those that the place was read from.
        statement.map_err(|error| reshaped(&error.to_string()))
    }

    /// How the columns of a result become rows. They must be those that the pass began with.
    fn layout(&mut self, columns: Vec<Column>) -> Result<Layout, Failed> {
        let print = match self.rowset {
            Rowset::Keys => fingerprint(&self.shape.columns),
            Rowset::All | Rowset::Since(_) => fingerprint(&columns),
        };
        if self.progress.columns.as_ref().is_some_and(|before| *before != print) {
            return Err(reshaped("the table has other columns than before"));
        }
        let layout = layout(&self.shape, columns, &print)?;
        self.progress.columns = Some(print);
        Ok(layout)
    }

    /// Makes entries of a batch, and moves on.
    fn take(&mut self, rows: &Rows) -> Result<Batch, Ended> {
        let Some(reading) = &self.reading else {
            return Ok(Batch { rows: Vec::new(), progress: self.progress.clone() });
        };
        let layout = &reading.layout;
        if rows.iter().next().is_some_and(|first| self.is_passed(layout, first)) {
            let message =
                "Snowflake's answer with rows: they come in another order than was asked \
                           for"
                .to_owned();
            return Err(Ended::Untrue(SourceError::Garbled { message }));
        }
        let mut taken = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in rows.iter() {
            let entry = match self.shape.key.is_empty() {
                true => layout.keyless(row, &mut self.twins),
                false => {
                    let entry = match self.rowset {
                        Rowset::Keys => layout.key_only(row),
                        Rowset::All | Rowset::Since(_) => layout.keyed(row),
                    };
                    if entry.state != State::NullKey && self.is_at(last, layout, row) {
                        return Err(Ended::Source(self.same_key()));
                    }
                    last = Some(row);
                    entry
                }
            };
            if let Some(watermark) = layout.watermark(row) {
                let Progress { watermark: high, until, .. } = &mut self.progress;
                advance(high, &self.shape, watermark, until.as_deref());
            }
            taken.push(entry);
        }
        if let Some(last) = last {
            let place = self.place(layout, last).map(|cell| cell.map(str::to_owned));
            self.progress.place = Some(place.collect());
        }
        if !self.shape.key.is_empty() {
            self.fruitless = 0;
        }
        Ok(Batch { rows: taken, progress: self.progress.clone() })
    }

    /// What a row is ordered by.
    fn place<'a>(
        &self,
        layout: &'a Layout,
        row: RowRef<'a>,
    ) -> impl Iterator<Item = Option<&'a str>> {
        let watermark = matches!(self.rowset, Rowset::Since(_)).then(|| layout.watermark(row));
        watermark.into_iter().chain(layout.key_cells(row))
    }

    /// Whether a row lies before the place that the pass has reached: its partition is another one
    /// than was asked for, and that one's rows would seem to be gone.
    fn is_passed(&self, layout: &Layout, row: RowRef<'_>) -> bool {
        if self.shape.key.is_empty() {
            return self.twins.is_passed(layout.hash(row));
        }
        let Some(reached) = &self.progress.place else { return false };
        let watermark =
            self.shape.watermark.iter().filter(|_| matches!(self.rowset, Rowset::Since(_)));
        let kinds = watermark.chain(&self.shape.key).map(|column| column.kind);
        let mut orders = kinds
            .zip(self.place(layout, row).zip(reached))
            .map(|(kind, (cell, reached))| value::compare(kind, cell, reached.as_deref()));
        orders.find(|order| *order != Some(Ordering::Equal)).flatten() == Some(Ordering::Less)
    }

    /// Whether a row is in the place of the one before it, `last` of this batch or the last one of
    /// the batch before.
    fn is_at(&self, last: Option<RowRef<'_>>, layout: &Layout, row: RowRef<'_>) -> bool {
        match (last, &self.progress.place) {
            (Some(last), _) => self.place(layout, row).eq(self.place(layout, last)),
            (None, Some(last)) => {
                self.place(layout, row).eq(last.iter().map(|cell| cell.as_deref()))
            }
            (None, None) => false,
        }
    }

    /// Lets the statement run again where its result is gone; anything else ends the pass.
    fn recover(&mut self, failed: Failed) -> Result<(), Ended> {
        self.reading = None;
        match failed {
            Failed::Refused(refusal)
                if refusal.meaning() == Meaning::Shape
                    || (self.is_bound() && refusal.is_of_statement()) =>
            {
                Err(Ended::Reshaped(refusal.message))
            }
            Failed::Refused(refusal)
                if matches!(refusal.meaning(), Meaning::ResultGone | Meaning::Cancelled)
                    && self.fruitless < RERUNS =>
            {
                tracing::info!(reason = refusal.message, "the result is gone: asking again");
                self.fruitless += 1;
                Ok(())
            }
            Failed::Untrue(error) => Err(Ended::Untrue(error)),
            failed => Err(Ended::Source(self.session.explain(failed))),
        }
    }

    /// Whether the statement compares columns with values that were read earlier, which it may
    /// refuse once their types are other ones.
    fn is_bound(&self) -> bool {
        self.progress.place.is_some() || matches!(self.rowset, Rowset::Since(_))
    }

    fn same_key(&self) -> SourceError {
        let names: Vec<String> =
            self.shape.key.iter().map(|column| column.quoted().to_string()).collect();
        SourceError::Misconfigured {
            message: format!(
                "two rows of {} have the same key in {}: name columns in primary_key_columns that \
                 tell every row from the others",
                self.shape.table,
                names.join(", ")
            ),
        }
    }
}

/// The rows of a result that is read whole, as entries.
pub(super) async fn decode(shape: &Shape, selected: Selected) -> Result<Vec<Row>, Failed> {
    let mut columns = selected.result.columns.clone();
    columns.pop();
    let print = fingerprint(&columns);
    let layout = layout(shape, columns, &print)?;
    let mut batches = selected.rows();
    let (mut rows, mut twins) = (Vec::new(), Twins::default());
    while let Some(batch) = batches.next().await {
        rows.extend(batch?.iter().map(|row| match shape.key.is_empty() {
            true => layout.keyless(row, &mut twins),
            false => layout.keyed(row),
        }));
    }
    Ok(rows)
}

/// How the columns of a result, without the hash behind them, become rows.
fn layout(shape: &Shape, columns: Vec<Column>, print: &str) -> Result<Layout, Failed> {
    let find = |wanted: &Column| columns.iter().position(|column| column.name == wanted.name);
    let key: Option<Vec<usize>> = shape.key.iter().map(find).collect();
    let key = key.ok_or_else(|| reshaped("a column of the key is gone"))?;
    let watermark = match &shape.watermark {
        Some(column) => {
            Some(find(column).ok_or_else(|| reshaped("the incremental_column is gone"))?)
        }
        None => None,
    };
    let hash = columns.len();
    Ok(Layout::new(columns, key, watermark, Some((hash, print))))
}

/// Moves a watermark on, but never beyond the moment at which the pass began: a row from the future
/// would hide those that are written until then.
fn advance(high: &mut Option<String>, shape: &Shape, cell: &str, until: Option<&str>) {
    let Some(kind) = shape.watermark.as_ref().map(|column| column.kind) else { return };
    let cell = match until {
        Some(until) if value::is_later(kind, cell, until) => until,
        _ => cell,
    };
    if high.as_ref().is_none_or(|high| value::is_later(kind, cell, high)) {
        *high = Some(cell.to_owned());
    }
}

/// What distinguishes one set of columns from another, be it a result's or the catalogue's. Shapes
/// on the earth are asked for as JSON.
fn fingerprint(columns: &[Column]) -> String {
    let mut hasher = blake3::Hasher::new();
    for column in columns {
        hasher.update(&(column.name.len() as u64).to_le_bytes());
        hasher.update(column.name.as_bytes());
        let kind = if column.kind == Kind::Geo { Kind::Json } else { column.kind };
        hasher.update(kind.describe().as_bytes());
        hasher.update(&column.scale.to_le_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn reshaped(message: &str) -> Failed {
    // Snowflake's own code for a column that is not there.
    Failed::Refused(Refusal {
        status: 422,
        code: "000904".to_owned(),
        message: message.to_owned(),
        ..Refusal::default()
    })
}
