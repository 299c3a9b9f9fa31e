//! Queries for a bucket's objects, by filter and order: keys, a page at a time.
//!
//! An index is named in every statement. SQLite would guess from statistics that it does not have;
//! here a look at the index first shows how many entries a condition leaves.

use std::ops::RangeInclusive;

use rusqlite::{Connection, params_from_iter, types::Value};

use super::{fields::ObjectFields, text};
use crate::{
    model::{FieldProblem, Filter, Literal, Relation, Sort, Test},
    store::{
        Result,
        buckets::Bucket,
        clause::Clause,
        filter::{self, Fields as _, Operand},
        prefix::end_of,
        row_position::RowPosition,
    },
};

/// A query for a bucket's objects. Hidden ones are never found.
#[derive(Clone, Debug)]
pub struct Query {
    bucket_key: i64,
    condition: Option<Clause>,
    narrow: Vec<Narrow>,
    text: Option<text::SearchTerms>,
    order: Order,
    descending: bool,
    /// [`FEW`], but where a test says otherwise.
    pub(super) few: u32,
}

/// A condition that an index can find the objects of.
#[derive(Clone, Debug)]
struct Narrow {
    index: Index,
    condition: Clause,
}

/// What leads to the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    Age,
    Path,
    Size,
    Text,
}

/// A page of keys.
#[derive(Clone, Debug, Default)]
pub struct KeyPage {
    /// Of what was found, in order.
    pub places: Vec<RowPosition>,
    /// The last place that was looked at, where there may be more behind it.
    pub ends_at: Option<RowPosition>,
}

/// What objects are sorted by; the key is the tie-breaker.
#[derive(Clone, Debug)]
enum Order {
    Age,
    Path,
    Size,
    Value(Clause),
}

/// Of the objects that may be looked at, one in so many is before it is worth knowing how many are
/// wanted.
const FIRST: u32 = 100;

/// Any object's key.
const ALL: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// Entries of an index that are worth sorting; beyond, going through the bucket in the order that
/// is wanted meets enough of them soon.
const FEW: u32 = 20_000;

impl Query {
    /// Builds a query for a bucket's objects that pass the filter and have each word of the text
    /// that is searched for in their path or in a value of their metadata or fields; the newest
    /// first unless `sort` says otherwise.
    ///
    /// # Errors
    /// A condition that its field cannot be asked.
    pub fn new(
        bucket: &Bucket,
        filter: Option<&Filter>,
        search: Option<&str>,
        sort: Option<&Sort>,
    ) -> std::result::Result<Self, FieldProblem> {
        let fields = ObjectFields { bucket_id: bucket.id.to_string() };
        let mut conditions = Vec::new();
        if let Some(filter) = filter {
            conditions.push(filter::compile(filter, &fields)?);
        }
        conditions.extend(search.filter(|text| !text.is_empty()).map(has_text));
        let order = match sort {
            None => Order::Age,
            Some(sort) => match fields.operand(&sort.field) {
                Operand::Milliseconds("o.created_at_ms") => Order::Age,
                Operand::Path(_) => Order::Path,
                Operand::Integer("o.size") => Order::Size,
                operand => Order::Value(operand.scalar()),
            },
        };
        Ok(Self {
            bucket_key: bucket.key,
            condition: (!conditions.is_empty()).then(|| Clause::joined(conditions, true)),
            narrow: filter.map(|filter| narrow(filter, &fields)).unwrap_or_default(),
            text: search.and_then(|text| text::SearchTerms::new(bucket.key, text)),
            order,
            descending: sort.is_none_or(|sort| sort.descending),
            few: FEW,
        })
    }

    /// Whether the query matches every object of the bucket.
    #[must_use]
    pub const fn wants_all(&self) -> bool {
        self.condition.is_none()
    }

    /// Up to `limit` keys behind `after`, `skip` left out first, each with its place. Where no
    /// index finds them, only the next `most` objects are looked at, if so many are the most.
    ///
    /// # Errors
    /// SQLite's.
    pub fn keys(
        &self,
        connection: &Connection,
        after: Option<&RowPosition>,
        skip: u64,
        limit: u32,
        most: Option<u32>,
    ) -> Result<KeyPage> {
        let Some(most) = most.filter(|_| self.is_scan() && skip == 0) else {
            let index = self.fewest(connection)?.unwrap_or_else(|| self.ordered());
            let places = self.page(connection, index, after, None, skip, limit)?;
            return Ok(KeyPage { places, ends_at: None });
        };
        // Where many match, the page is full before their number would be known.
        let first = (most / FIRST).max(1);
        let mut found = self.scan(connection, self.in_order(), after, limit, first)?;
        let Some(end) = found.ends_at.take() else { return Ok(found) };
        let rest = limit - u32::try_from(found.places.len()).unwrap_or(limit);
        match self.fewest(connection)? {
            Some(index) => {
                let more = self.page(connection, index, Some(&end), None, 0, rest)?;
                found.places.extend(more);
            }
            None if most == first => found.ends_at = Some(end),
            None => {
                let more = self.scan(connection, self.ordered(), Some(&end), rest, most - first)?;
                found.places.extend(more.places);
                found.ends_at = more.ends_at;
            }
        }
        Ok(found)
    }

    /// Whether it goes through the bucket in the order of an index, looking at each object.
    const fn is_scan(&self) -> bool {
        self.condition.is_some() && !matches!(self.order, Order::Value(_))
    }

    /// The index whose order it is, of all objects.
    const fn in_order(&self) -> Index {
        match &self.order {
            Order::Age | Order::Value(_) => Index::Age,
            Order::Path => Index::Path,
            Order::Size => Index::Size,
        }
    }

    /// The index whose order it is, which leaves out what it can.
    const fn ordered(&self) -> Index {
        match (&self.order, &self.text) {
            (Order::Age, Some(_)) => Index::Text,
            _ => self.in_order(),
        }
    }

    /// What is ordered by, the key apart.
    fn column(&self) -> Clause {
        match &self.order {
            Order::Age => Clause::default().sql("NULL"),
            Order::Path => Clause::default().sql("o.path"),
            Order::Size => Clause::default().sql("o.size"),
            Order::Value(value) => value.clone(),
        }
    }

    /// Up to `limit` places among the next `most` objects of an index, in its order.
    fn scan(
        &self,
        connection: &Connection,
        index: Index,
        after: Option<&RowPosition>,
        limit: u32,
        most: u32,
    ) -> Result<KeyPage> {
        let all = Self { condition: None, ..self.clone() };
        let last = all.page(connection, index, after, None, u64::from(most) - 1, 1)?.pop();
        let places = self.page(connection, index, after, last.as_ref(), 0, limit)?;
        let ends_at = last.filter(|_| places.len() < limit as usize);
        Ok(KeyPage { places, ends_at })
    }

    /// Positions in the requested order: behind one, and up to another.
    fn page(
        &self,
        connection: &Connection,
        index: Index,
        after: Option<&RowPosition>,
        last: Option<&RowPosition>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<RowPosition>> {
        let mut rows = self.rows(index, "", &self.keys_between(after, last));
        if let Some(place) = after {
            rows = rows.sql(" AND ").then(self.behind(place));
        }
        if let Some(last) = last {
            rows = rows.sql(" AND ").then(self.up_to(last));
        }
        let key = match index {
            Index::Text => "c.object_key",
            _ => "o.object_key",
        };
        let direction = if self.descending { "DESC" } else { "ASC" };
        let order = match &self.order {
            Order::Age => format!(" ORDER BY 1 {direction} LIMIT "),
            _ => format!(" ORDER BY 2 {direction}, 1 {direction} LIMIT "),
        };
        let clause = Clause::default()
            .sql(&format!("SELECT {key}, "))
            .then(self.column())
            .then(rows)
            .sql(&order)
            .bind(limit)
            .sql(" OFFSET ")
            .bind(signed(skip));
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let places = statement
            .query_map(params_from_iter(&clause.values), |row| {
                Ok(RowPosition::new(row.get(0)?, row.get(1)?))
            })?
            .collect::<std::result::Result<_, _>>()?;
        Ok(places)
    }

    /// The keys that objects behind one place and up to another can have.
    fn keys_between(
        &self,
        after: Option<&RowPosition>,
        last: Option<&RowPosition>,
    ) -> RangeInclusive<i64> {
        let (after, last) = match &self.order {
            Order::Age => (after.map(RowPosition::key), last.map(RowPosition::key)),
            _ => (None, None),
        };
        match self.descending {
            true => last.unwrap_or(i64::MIN)..=after.map_or(i64::MAX, |key| key.saturating_sub(1)),
            false => after.map_or(i64::MIN, |key| key.saturating_add(1))..=last.unwrap_or(i64::MAX),
        }
    }

    /// How many objects match, counted one by one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count(&self, connection: &Connection) -> Result<u64> {
        let by_text = self.text.is_some().then_some(Index::Text);
        let index = self.fewest(connection)?.or(by_text).unwrap_or(Index::Age);
        let clause = Clause::default().sql("SELECT count(*)").then(self.from(index, ""));
        Ok(connection
            .prepare_cached(&clause.sql)?
            .query_row(params_from_iter(&clause.values), |row| row.get(0))?)
    }

    /// The keys of those of these objects that are wanted.
    pub(in crate::store) fn among(&self, keys: &[i64]) -> Clause {
        let clause = Clause::default()
            .sql("SELECT o.object_key FROM objects o WHERE o.state IS NULL AND o.bucket_key = ")
            .bind(self.bucket_key)
            .sql(" AND o.object_key IN (SELECT value FROM json_each(")
            .bind(serde_json::json!(keys).to_string())
            .sql("))");
        match &self.condition {
            Some(condition) => clause.sql(" AND ").then(condition.clone()),
            None => clause,
        }
    }

    /// The rows that match, each with what is `joined` to it.
    pub(super) fn from(&self, index: Index, joined: &str) -> Clause {
        self.rows(index, joined, &ALL)
    }

    fn rows(&self, index: Index, joined: &str, keys: &RangeInclusive<i64>) -> Clause {
        let mut clause = self.every(index, joined, keys);
        // Again without the brackets that keep SQLite from seeing what the index is for.
        for narrow in self.narrow.iter().filter(|narrow| narrow.index == index) {
            clause = clause.sql(" AND ").then(narrow.condition.clone());
        }
        match &self.condition {
            Some(condition) => clause.sql(" AND ").then(condition.clone()),
            None => clause,
        }
    }

    /// All objects of the bucket that are not hidden, or of those that an index of text leaves.
    fn every(&self, index: Index, joined: &str, keys: &RangeInclusive<i64>) -> Clause {
        let table = |index: &str| Clause::default().sql(" FROM objects o INDEXED BY ").sql(index);
        let rows = match (index, &self.text) {
            (Index::Path, _) => table("objects_by_path"),
            (Index::Size, _) => table("objects_by_size"),
            (Index::Text, Some(text)) => Clause::default()
                .sql(" FROM (")
                .then(text.candidates(keys))
                .sql(") c CROSS JOIN objects o ON o.object_key = c.object_key"),
            (Index::Age | Index::Text, _) => table("objects_by_age"),
        };
        rows.sql(joined).sql(" WHERE o.state IS NULL AND o.bucket_key = ").bind(self.bucket_key)
    }

    /// What leaves few objects, if something does.
    pub(super) fn fewest(&self, connection: &Connection) -> Result<Option<Index>> {
        let mut fewest = None;
        let mut least = self.few;
        for index in [Index::Path, Index::Size, Index::Text] {
            let Some(rows) = self.left_by(index) else { continue };
            let clause = Clause::default().sql("SELECT count(*) FROM (").then(rows);
            let clause = clause.sql(" LIMIT ").bind(least).sql(")");
            let count: u32 = connection
                .prepare_cached(&clause.sql)?
                .query_row(params_from_iter(&clause.values), |row| row.get(0))?;
            if count < least {
                (least, fewest) = (count, Some(index));
            }
        }
        Ok(fewest)
    }

    /// A row for each object that an index leaves, if it leaves any out.
    fn left_by(&self, index: Index) -> Option<Clause> {
        if index == Index::Text {
            return self.text.as_ref().map(|text| text.candidates(&ALL));
        }
        let mut conditions = self.narrow.iter().filter(|narrow| narrow.index == index).peekable();
        conditions.peek()?;
        let rows = Clause::default().sql("SELECT 1").then(self.every(index, "", &ALL));
        Some(conditions.fold(rows, |rows, narrow| rows.sql(" AND ").then(narrow.condition.clone())))
    }

    /// The rows behind a place.
    fn behind(&self, place: &RowPosition) -> Clause {
        match &self.order {
            Order::Value(column) => place.behind(column, "o.object_key", self.descending),
            _ => self.compared(place, if self.descending { " < " } else { " > " }),
        }
    }

    /// The rows up to a place, in the order of an index. Not said as "not behind": SQLite would not
    /// see that the index ends there.
    fn up_to(&self, place: &RowPosition) -> Clause {
        self.compared(place, if self.descending { " >= " } else { " <= " })
    }

    fn compared(&self, place: &RowPosition, sign: &str) -> Clause {
        if matches!(self.order, Order::Age) {
            return Clause::default().sql("o.object_key").sql(sign).bind(place.key());
        }
        Clause::default()
            .sql("(")
            .then(self.column())
            .sql(", o.object_key)")
            .sql(sign)
            .sql("(")
            .bind(place.value(matches!(self.order, Order::Path)))
            .sql(", ")
            .bind(place.key())
            .sql(")")
    }
}

/// Conditions of the outermost conjunction that an index serves.
fn narrow(filter: &Filter, fields: &ObjectFields) -> Vec<Narrow> {
    let condition = match filter {
        Filter::All(filters) => {
            return filters.iter().flat_map(|filter| narrow(filter, fields)).collect();
        }
        Filter::Is(condition) => condition,
        Filter::Any(_) | Filter::No(_) => return Vec::new(),
    };
    let (operand, test) = (fields.operand(&condition.field), &condition.test);
    let found = match (operand, test) {
        (Operand::Integer("o.size"), Test::Is(relation, Literal::Integer(number))) => {
            Some((Index::Size, compared("o.size", *relation, *number)))
        }
        (Operand::Path(_), Test::Is(relation, Literal::Text(text))) => {
            Some((Index::Path, compared("o.path", *relation, text.as_bytes().to_vec())))
        }
        (Operand::Path(_), Test::StartsWith(text)) => {
            let from = compared("o.path", Relation::Gte, text.as_bytes().to_vec());
            let end = end_of(text.as_bytes());
            let to = end.map(|end| compared("o.path", Relation::Lt, end));
            Some((Index::Path, Clause::joined(std::iter::once(from).chain(to).collect(), true)))
        }
        _ => None,
    };
    found.map(|(index, condition)| Narrow { index, condition }).into_iter().collect()
}

fn compared(column: &str, relation: Relation, value: impl Into<Value>) -> Clause {
    Clause::default().sql(column).sql(filter::symbol(relation)).bind(value)
}

/// Each word of the text in the path, or in a value of the object's metadata or fields; or its id.
pub(in crate::store) fn has_text(text: &str) -> Clause {
    let id = Clause::default().sql("o.id = ").bind(text.to_owned());
    let words = text::words(text).into_iter().map(has_word).collect();
    Clause::joined(vec![Clause::joined(words, true), id], false)
}

fn has_word(word: &str) -> Clause {
    let wanted = crate::store::functions::fold(word);
    let within = |column: &str| {
        Clause::default()
            .sql(&format!(
                "({column} IS NOT NULL AND EXISTS (SELECT 1 FROM json_tree({column}) j
                  WHERE j.atom IS NOT NULL AND instr(folded(j.atom), "
            ))
            .bind(wanted.clone())
            .sql(") > 0))")
    };
    let path = Clause::default().sql("instr(folded(o.path), ").bind(wanted.clone()).sql(") > 0");
    Clause::joined(vec![path, within("o.metadata"), within("o.fields")], false)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
