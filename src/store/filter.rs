//! Filters as SQL conditions. Which fields a table has, and where they are, its own module says
//! ([`Fields`]); what the conditions mean, [`crate::model::Condition`] says.

use std::slice;

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::Offset,
};
use rusqlite::types::Value;

use super::{clause::Clause, functions};
use crate::model::{Condition, FieldPath, FieldProblem, Filter, Literal, Relation, Test};

/// The fields of a table's records.
pub(super) trait Fields {
    /// Where a field is.
    fn operand(&self, field: &FieldPath) -> Operand;
}

/// Where the values of a field are. The text is SQL of ours.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// Text, or NULL.
    Text(&'static str),
    /// Text whose case always counts: ids, hashes.
    Exact(&'static str),
    /// Bytes in a column that is never NULL and is indexed; the case counts where they are compared
    /// as a whole or from their beginning.
    Path(&'static str),
    /// A whole number, or NULL.
    Integer(&'static str),
    /// True or false: 1 or 0, never NULL.
    Flag(&'static str),
    /// Unix milliseconds, or NULL.
    Milliseconds(&'static str),
    /// Unix nanoseconds, or NULL.
    Nanoseconds(&'static str),
    /// What a JSON column has at a path.
    Json(&'static str, String),
    /// The same, of which an index keeps the values ([`Indexed`]).
    Indexed(Indexed),
    /// The same text for every record.
    Constant(String),
    /// Many rows: what to select from, with its condition, and the operand of one row.
    Many(&'static str, Box<Operand>),
    /// Nothing.
    Nothing,
}

/// A JSON field of documents whose values stand in `document_index`, too.
#[derive(Clone, Debug)]
pub(super) struct Indexed {
    /// Whose documents.
    pub collection_key: i64,
    /// Which index.
    pub field_key: i64,
    /// The JSON column and the path in it, for what the index does not hold.
    pub column: &'static str,
    /// See `column`.
    pub path: String,
}

impl Indexed {
    /// The field where it is read from the document.
    pub(super) fn json(&self) -> Operand {
        Operand::Json(self.column, self.path.clone())
    }

    /// The condition that makes `x`, a row of `document_index`, one of this index.
    pub(super) fn rows(&self) -> Clause {
        Clause::default()
            .sql("x.field_key = ")
            .bind(self.field_key)
            .sql(" AND x.collection_key = ")
            .bind(self.collection_key)
    }

    /// That `d`, a document, has a row in the index of which this holds.
    pub(super) fn has(&self, test: Clause) -> Clause {
        Clause::default()
            .sql("(d.document_key IN (SELECT x.document_key FROM document_index x WHERE ")
            .then(self.rows())
            .sql(" AND ")
            .then(test)
            .sql("))")
    }
}

impl Operand {
    /// A JSON column at the path that is left of a field.
    pub(super) fn json(column: &'static str, parts: &[String]) -> Self {
        Self::Json(column, json_path(parts))
    }

    /// The one value of the field, for sorting and counting: an expression and what it binds.
    pub(super) fn scalar(&self) -> Clause {
        match self {
            Self::Text(sql)
            | Self::Exact(sql)
            | Self::Path(sql)
            | Self::Integer(sql)
            | Self::Flag(sql)
            | Self::Milliseconds(sql)
            | Self::Nanoseconds(sql) => Clause::default().sql(sql),
            Self::Json(column, path) => {
                let open = format!("json_extract({column}, ");
                Clause::default().sql(&open).bind(path.clone()).sql(")")
            }
            Self::Indexed(index) => index.json().scalar(),
            Self::Constant(text) => Clause::default().bind(text.clone()),
            Self::Many(from, one) => {
                let from = format!(" FROM {from} LIMIT 1)");
                Clause::default().sql("(SELECT ").then(one.scalar()).sql(&from)
            }
            Self::Nothing => Clause::default().sql("NULL"),
        }
    }
}

/// A path as SQLite's JSON functions read it. [`FieldPath::parse`] lets no quotation mark through.
pub(super) fn json_path(parts: &[String]) -> String {
    parts.iter().fold("$".to_owned(), |path, part| path + ".\"" + part + "\"")
}

/// The condition that a filter is: true or false, never NULL.
///
/// # Errors
/// The first condition that its field cannot be asked.
pub(super) fn compile(filter: &Filter, fields: &impl Fields) -> Result<Clause, FieldProblem> {
    let all = |filters: &[Filter]| {
        filters.iter().map(|filter| compile(filter, fields)).collect::<Result<Vec<_>, _>>()
    };
    Ok(match filter {
        Filter::All(filters) => Clause::joined(all(filters)?, true),
        Filter::Any(filters) => Clause::joined(all(filters)?, false),
        Filter::No(filters) => {
            Clause::default().sql("NOT ").then(Clause::joined(all(filters)?, false))
        }
        Filter::Is(condition) => condition_on(&fields.operand(&condition.field), condition)?,
    })
}

fn condition_on(operand: &Operand, condition: &Condition) -> Result<Clause, FieldProblem> {
    let not = |clause: Clause| Clause::default().sql("NOT ").then(clause);
    let one = |test: Test| Condition { test, ..condition.clone() };
    match &condition.test {
        Test::Ne(literal) => {
            condition_on(operand, &one(Test::Is(Relation::Eq, literal.clone()))).map(not)
        }
        Test::NotIn(literals) => condition_on(operand, &one(Test::In(literals.clone()))).map(not),
        Test::IsNull(true) => condition_on(operand, &one(Test::IsNull(false))).map(not),
        Test::In(literals) => {
            let each = literals.iter().map(|it| one(Test::Is(Relation::Eq, it.clone())));
            passes_any(operand, &each.collect::<Vec<_>>())
        }
        _ => some_value(operand, condition),
    }
}

/// Some value of the field passes the test.
fn some_value(operand: &Operand, condition: &Condition) -> Result<Clause, FieldProblem> {
    match operand {
        Operand::Nothing => Ok(Clause::constant(false)),
        Operand::Json(column, path) => json_test(column, path, slice::from_ref(condition)),
        Operand::Indexed(index) => indexed_test(index, slice::from_ref(condition)),
        Operand::Many(from, one) => Ok(Clause::default()
            .sql("(EXISTS (SELECT 1 FROM ")
            .sql(from)
            .sql(" AND ")
            .then(some_value(one, condition)?)
            .sql("))")),
        Operand::Constant(text) => {
            let value = Clause::default().bind(text.clone());
            text_test(&value, &Condition { case_sensitive: true, ..condition.clone() })
        }
        Operand::Path(sql) => path_test(sql, condition),
        Operand::Text(sql) => text_test(&Clause::default().sql(sql), condition).map(never_null),
        Operand::Exact(sql) => {
            let exact = Condition { case_sensitive: true, ..condition.clone() };
            text_test(&Clause::default().sql(sql), &exact).map(never_null)
        }
        Operand::Integer(sql) => {
            number_test(&Clause::default().sql(sql), condition).map(never_null)
        }
        Operand::Flag(sql) => Ok(flag_test(sql, condition)),
        Operand::Milliseconds(sql) => instant_test(sql, condition, |at| at.as_millisecond()),
        Operand::Nanoseconds(sql) => instant_test(sql, condition, super::time::to_ns),
    }
}

/// Some value of the field passes one of these tests.
fn passes_any(operand: &Operand, conditions: &[Condition]) -> Result<Clause, FieldProblem> {
    match operand {
        Operand::Json(column, path) => json_test(column, path, conditions),
        Operand::Indexed(index) => indexed_test(index, conditions),
        _ => {
            let each = conditions.iter().map(|condition| some_value(operand, condition));
            Ok(Clause::joined(each.collect::<Result<_, _>>()?, false))
        }
    }
}

/// A JSON field, or an item of the list that it is, passes one of these tests. Only a list is
/// opened as a table: what that costs is half the time of looking through many records.
fn json_test(column: &str, path: &str, conditions: &[Condition]) -> Result<Clause, FieldProblem> {
    let of_field = |function: &str| {
        let open = format!("{function}({column}, ");
        Clause::default().sql(&open).bind(path.to_owned()).sql(")")
    };
    let test = any_in_json(conditions)?;
    Ok(Clause::default()
        .sql("(CASE ")
        .then(of_field("json_type"))
        .sql(" WHEN 'array' THEN EXISTS (SELECT 1 FROM ")
        .then(of_field("json_each"))
        .sql(" j WHERE ")
        .then(test.clone())
        .sql(") WHEN 'object' THEN 0 ELSE (SELECT ")
        .then(test)
        .sql(" IS TRUE FROM (SELECT ")
        .then(of_field("json_type"))
        .sql(" AS type, ")
        .then(of_field("json_extract"))
        .sql(" AS value) j) END)"))
}

/// The same for a field that has an index.
fn indexed_test(index: &Indexed, conditions: &[Condition]) -> Result<Clause, FieldProblem> {
    let tests: Option<Vec<Clause>> = conditions.iter().map(looked_up).collect();
    let Some(tests) = tests else { return json_test(index.column, &index.path, conditions) };
    let found = Clause::joined(tests.into_iter().map(|test| index.has(test)).collect(), false);
    match conditions.iter().all(is_exact) {
        true => Ok(found),
        // The index knows no case: what it finds is looked at.
        false => {
            let read = json_test(index.column, &index.path, conditions)?;
            Ok(Clause::joined(vec![found, read], true))
        }
    }
}

/// The test of `x`, a row of an index: one range of it. `None` where an index does not help.
pub(super) fn looked_up(condition: &Condition) -> Option<Clause> {
    let folded = || Clause::default().sql("x.folded");
    let of_text = |test: Clause| test.sql(" AND x.type = 'text'");
    match &condition.test {
        Test::Is(Relation::Eq, Literal::Bool(wanted)) => {
            let test = folded().sql(" = ").bind(i64::from(*wanted)).sql(" AND x.type = ");
            Some(test.bind(wanted.to_string()))
        }
        Test::Is(_, Literal::Bool(_)) => None,
        Test::Is(relation, Literal::Integer(number)) => {
            Some(number_range(folded().sql(symbol(*relation)).bind(*number)))
        }
        Test::Is(relation, Literal::Real(number)) => {
            Some(number_range(folded().sql(symbol(*relation)).bind(*number)))
        }
        Test::Is(relation, Literal::Text(text))
            if *relation == Relation::Eq || !condition.case_sensitive =>
        {
            Some(of_text(folded().sql(symbol(*relation)).bind(functions::fold(text))))
        }
        Test::StartsWith(text) if !condition.case_sensitive => {
            let beginning = functions::fold(text);
            let end = super::prefix::end_of(beginning.as_bytes());
            let from = folded().sql(" >= ").bind(beginning);
            Some(of_text(match end {
                Some(end) => from.sql(" AND x.folded < CAST(").bind(end).sql(" AS TEXT)"),
                None => from,
            }))
        }
        _ => None,
    }
}

/// Numbers come before all text: the range ends there.
fn number_range(test: Clause) -> Clause {
    test.sql(" AND x.folded < '' AND x.type IN ('integer', 'real')")
}

/// Whether what an index finds for a condition is all that fulfils it, and nothing else.
const fn is_exact(condition: &Condition) -> bool {
    !condition.case_sensitive || !matches!(condition.test, Test::Is(_, Literal::Text(_)))
}

fn flag_test(sql: &str, condition: &Condition) -> Clause {
    match &condition.test {
        Test::IsNull(_) => Clause::constant(true),
        Test::Is(Relation::Eq, Literal::Bool(true)) => Clause::default().sql(sql),
        Test::Is(Relation::Eq, Literal::Bool(false)) => Clause::default().sql("NOT ").sql(sql),
        _ => Clause::constant(false),
    }
}

fn never_null(clause: Clause) -> Clause {
    Clause::default().sql("(").then(clause).sql(" IS TRUE)")
}

/// One of the tests of an item `j`. The texts that it may be are looked up together: compared with
/// one after the other, each would fold the item's case again.
fn any_in_json(conditions: &[Condition]) -> Result<Clause, FieldProblem> {
    let (texts, others): (Vec<_>, Vec<_>) =
        conditions.iter().partition(|condition| wanted_text(condition).is_some());
    let mut tests = others.into_iter().map(in_json).collect::<Result<Vec<_>, _>>()?;
    if let [first, ..] = texts[..] {
        let open = Clause::default().sql("j.type = 'text' AND ");
        let open = open.then(in_case(Clause::default().sql("j.value"), first)).sql(" IN (");
        let wanted = texts.iter().filter_map(|condition| wanted_text(condition)).enumerate();
        let listed = wanted
            .fold(open, |list, (at, text)| list.sql(if at == 0 { "" } else { ", " }).bind(text));
        tests.push(listed.sql(")"));
    }
    Ok(Clause::joined(tests, false))
}

/// The text that a value must be, as [`in_case`] compares it; `None` where the test is another.
fn wanted_text(condition: &Condition) -> Option<String> {
    match &condition.test {
        Test::Is(Relation::Eq, Literal::Text(text)) => Some(text_in_case(text, condition)),
        _ => None,
    }
}

/// The test of an item `j` of `json_each`, by its JSON type.
fn in_json(condition: &Condition) -> Result<Clause, FieldProblem> {
    let value = Clause::default().sql("j.value");
    let typed = |types: &str, test: Clause| Clause::default().sql(types).sql(" AND ").then(test);
    match &condition.test {
        Test::IsNull(_) => Ok(Clause::default().sql("j.type NOT IN ('null', 'object', 'array')")),
        Test::Is(Relation::Eq, Literal::Bool(wanted)) => {
            Ok(Clause::default().sql("j.type = ").bind(wanted.to_string()))
        }
        Test::Is(_, Literal::Integer(_) | Literal::Real(_)) => {
            Ok(typed("j.type IN ('integer', 'real')", number_test(&value, condition)?))
        }
        _ => Ok(typed("j.type = 'text'", text_test(&value, condition)?)),
    }
}

pub(super) const fn symbol(relation: Relation) -> &'static str {
    match relation {
        Relation::Eq => " = ",
        Relation::Gt => " > ",
        Relation::Lt => " < ",
        Relation::Gte => " >= ",
        Relation::Lte => " <= ",
    }
}

fn number_test(value: &Clause, condition: &Condition) -> Result<Clause, FieldProblem> {
    let number: Value = match &condition.test {
        Test::IsNull(_) => return Ok(value.clone().sql(" IS NOT NULL")),
        Test::Is(_, Literal::Integer(number)) => (*number).into(),
        Test::Is(_, Literal::Real(number)) => (*number).into(),
        _ => return Ok(Clause::constant(false)),
    };
    let Test::Is(relation, _) = condition.test else { return Ok(Clause::constant(false)) };
    Ok(value.clone().sql(symbol(relation)).bind(number))
}

/// Text as a condition compares it: as it is, or without its case.
fn in_case(text: Clause, condition: &Condition) -> Clause {
    match condition.case_sensitive {
        true => text,
        false => Clause::default().sql("folded(").then(text).sql(")"),
    }
}

/// The same of a text that is compared with.
fn text_in_case(text: &str, condition: &Condition) -> String {
    match condition.case_sensitive {
        true => text.to_owned(),
        false => functions::fold(text),
    }
}

fn text_test(value: &Clause, condition: &Condition) -> Result<Clause, FieldProblem> {
    let fold = |text: &str| text_in_case(text, condition);
    let folded = in_case(value.clone(), condition);
    Ok(match &condition.test {
        Test::IsNull(_) => value.clone().sql(" IS NOT NULL"),
        Test::Is(relation, Literal::Text(text)) => folded.sql(symbol(*relation)).bind(fold(text)),
        Test::Contains(text) => {
            Clause::default().sql("instr(").then(folded).sql(", ").bind(fold(text)).sql(") > 0")
        }
        Test::StartsWith(text) => begins(folded, &fold(text)),
        Test::EndsWith(text) => {
            let text = fold(text);
            let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            match length {
                0 => value.clone().sql(" IS NOT NULL"),
                _ => Clause::default()
                    .sql("substr(")
                    .then(folded)
                    .sql(", -")
                    .bind(length)
                    .sql(") = ")
                    .bind(text),
            }
        }
        Test::Regex(pattern) => finds(&pattern_in_case(pattern, condition), value, condition)?,
        Test::Phrase(text) => {
            let words: Vec<_> = functions::words(text).map(regex::escape).collect();
            let pattern = format!(r"\b{}\b", words.join(r"[^\p{Alphabetic}\p{N}]+"));
            finds(&pattern_in_case(&pattern, condition), value, condition)?
        }
        Test::Words(text) => Clause::default()
            .sql("has_words(")
            .bind(text.clone())
            .sql(", ")
            .then(value.clone())
            .sql(")"),
        _ => Clause::constant(false),
    })
}

/// Text that begins so. Not LIKE or GLOB, which have characters of meaning.
fn begins(text: Clause, beginning: &str) -> Clause {
    let length = i64::try_from(beginning.chars().count()).unwrap_or(i64::MAX);
    let start = Clause::default().sql("substr(").then(text).sql(", 1, ").bind(length);
    start.sql(") = ").bind(beginning.to_owned())
}

fn pattern_in_case(pattern: &str, condition: &Condition) -> String {
    match condition.case_sensitive {
        true => pattern.to_owned(),
        false => format!("(?i){pattern}"),
    }
}

fn finds(pattern: &str, value: &Clause, condition: &Condition) -> Result<Clause, FieldProblem> {
    if let Err(error) = functions::regex(pattern) {
        return Err(FieldProblem::new(
            condition.field.dotted(),
            pattern,
            format!("is not a regular expression: {error}"),
        )
        .accepts("a regular expression in the syntax of Rust's regex crate"));
    }
    Ok(Clause::default()
        .sql("finds(")
        .bind(pattern.to_owned())
        .sql(", ")
        .then(value.clone())
        .sql(")"))
}

fn path_test(sql: &str, condition: &Condition) -> Result<Clause, FieldProblem> {
    let path = Clause::default().sql(sql);
    let bytes = |text: &str| Value::Blob(text.as_bytes().to_vec());
    match &condition.test {
        Test::IsNull(_) => Ok(Clause::constant(true)),
        Test::Is(relation, Literal::Text(text)) => {
            Ok(path.sql(symbol(*relation)).bind(bytes(text)))
        }
        Test::StartsWith(text) => {
            let from = path.clone().sql(" >= ").bind(bytes(text));
            Ok(match super::prefix::end_of(text.as_bytes()) {
                Some(end) => Clause::joined(vec![from, path.sql(" < ").bind(end)], true),
                None => from,
            })
        }
        _ => {
            let text = Clause::default().sql("CAST(").then(path).sql(" AS TEXT)");
            text_test(&text, condition)
        }
    }
}

fn instant_test(
    sql: &str,
    condition: &Condition,
    number: impl Fn(Timestamp) -> i64,
) -> Result<Clause, FieldProblem> {
    let value = Clause::default().sql(sql);
    match &condition.test {
        Test::IsNull(_) => Ok(never_null(value.sql(" IS NOT NULL"))),
        Test::Is(relation, Literal::Text(text)) => {
            let at = instant(text).ok_or_else(|| no_instant(condition, text))?;
            Ok(never_null(value.sql(symbol(*relation)).bind(number(at))))
        }
        Test::Is(_, literal) => Err(no_instant(condition, &format!("{literal:?}"))),
        _ => Err(FieldProblem::new(
            condition.field.dotted(),
            serde_json::Value::Null,
            "is a time, which has no text to look into",
        )
        .accepts("eq, ne, gt, gte, lt, lte, in, nin, exists, is_null")),
    }
}

fn no_instant(condition: &Condition, given: &str) -> FieldProblem {
    FieldProblem::new(
        condition.field.dotted(),
        given,
        "is compared with a value that is not a time",
    )
    .accepts("an RFC 3339 time such as 2026-01-31T12:00:00Z, or a day such as 2026-01-31")
}

/// An instant, or the beginning of a day in UTC.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let day = || {
        let date: Date = text.parse().ok()?;
        Offset::UTC.to_timestamp(date.to_datetime(Time::midnight())).ok()
    };
    text.parse().ok().or_else(day)
}
