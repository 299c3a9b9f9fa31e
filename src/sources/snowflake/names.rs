//! Names of databases, schemas, tables and columns, as people write them and as SQL takes them.

use std::fmt;

/// A name as the catalogue spells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name(String);

impl Name {
    /// A name as the catalogue spells it.
    pub(super) fn exact(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The name as the catalogue spells it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a person would write it: in quotes only where it needs them.
    pub(super) fn spelled(&self) -> String {
        let is_plain = self.0.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && self
                .0
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"_$".contains(&b));
        if is_plain { self.0.clone() } else { self.to_string() }
    }

    /// The name as a text in single quotes, for `LIKE`-less filters such as `STARTS WITH`.
    pub(super) fn literal(&self) -> String {
        literal(&self.0)
    }
}

/// In double quotes, which is how SQL takes every name exactly.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// A text as SQL takes it: backslashes begin escapes in Snowflake's literals.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A table or view, with all that it takes to name it from anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) database: Name,
    pub(super) schema: Name,
    pub(super) name: Name,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.database, self.schema, self.name)
    }
}

/// A place that names no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotATable {
    /// Too many parts, an empty one, or quotes that do not match.
    #[error(
        "{0:?} names no table: write DATABASE.SCHEMA.TABLE, or less where the connection has a \
         database and a schema, with \"double quotes\" around a part that is not plain"
    )]
    Shape(String),
    /// A part that needs quotes.
    #[error("{part:?} in {place:?} needs double quotes: \"{part}\"")]
    NeedsQuotes {
        /// The part.
        part: String,
        /// All of it.
        place: String,
    },
    /// Fewer parts than needed.
    #[error(
        "{place:?} does not say which {missing}, and the connection has none: write \
         DATABASE.SCHEMA.TABLE"
    )]
    Incomplete {
        /// `database` or `schema`.
        missing: &'static str,
        /// What there is.
        place: String,
    },
}

impl Table {
    /// Reads `DATABASE.SCHEMA.TABLE`, `SCHEMA.TABLE` or `TABLE`; the connection's `database` and
    /// `schema`, written by the same rules, fill what is missing.
    ///
    /// # Errors
    /// See [`NotATable`].
    pub(super) fn parse(
        place: &str,
        database: Option<&str>,
        schema: Option<&str>,
    ) -> Result<Self, NotATable> {
        let mut parts = parse_parts(place)?;
        let shape = || NotATable::Shape(place.to_owned());
        let name = parts.pop().ok_or_else(shape)?;
        let part_or = |given: Option<Name>, default: Option<&str>, missing| match (given, default) {
            (Some(name), _) => Ok(name),
            (None, Some(text)) => one_name(text),
            (None, None) => Err(NotATable::Incomplete { missing, place: place.to_owned() }),
        };
        let schema = part_or(parts.pop(), schema, "schema")?;
        let database = part_or(parts.pop(), database, "database")?;
        match parts.is_empty() {
            true => Ok(Self { database, schema, name }),
            false => Err(shape()),
        }
    }
}

/// One to three names as a person would write them, joined by dots.
pub(super) fn spelled(names: &[Name]) -> String {
    names.iter().map(Name::spelled).collect::<Vec<_>>().join(".")
}

/// Reads a single name of a setting.
///
/// # Errors
/// When the text holds none, or several.
pub(super) fn one_name(text: &str) -> Result<Name, NotATable> {
    let mut parts = parse_parts(text)?;
    match (parts.pop(), parts.pop()) {
        (Some(name), None) => Ok(name),
        _ => Err(NotATable::Shape(text.to_owned())),
    }
}

/// Parts between dots: what is not in quotes becomes upper case, as in SQL.
///
/// # Errors
/// When a part is empty or needs quotes, or there are more than three.
pub(super) fn parse_parts(place: &str) -> Result<Vec<Name>, NotATable> {
    let shape = || NotATable::Shape(place.to_owned());
    let mut parts = Vec::new();
    let mut rest = place.trim();
    loop {
        let (name, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted).ok_or_else(shape)?,
            None => plain_part(rest, place)?,
        };
        parts.push(name);
        match behind.strip_prefix('.') {
            Some(next) => rest = next,
            None if behind.is_empty() && parts.len() <= 3 => return Ok(parts),
            None => return Err(shape()),
        }
    }
}

/// A part behind its opening quote, and what comes behind the closing one.
fn quoted_part(text: &str) -> Option<(Name, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once('"')?;
        name.push_str(before);
        match behind.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None if name.is_empty() || name.contains('\0') => return None,
            None => return Some((Name(name), behind)),
        }
    }
}

fn plain_part<'a>(text: &'a str, place: &str) -> Result<(Name, &'a str), NotATable> {
    let end = text.find('.').unwrap_or(text.len());
    let (part, behind) = text.split_at(end);
    let is_plain = part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "_$".contains(c));
    match (part.is_empty() || part.contains('"'), is_plain) {
        (true, _) => Err(NotATable::Shape(place.to_owned())),
        (false, true) => Ok((Name(part.to_ascii_uppercase()), behind)),
        (false, false) => {
            Err(NotATable::NeedsQuotes { part: part.to_owned(), place: place.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(place: &str) -> Result<String, NotATable> {
        Table::parse(place, None, None).map(|table| table.to_string())
    }

    #[test]
    fn what_is_not_quoted_is_upper_case_and_what_is_quoted_is_exact() {
        assert_eq!(parse("sales.public.orders").unwrap(), r#""SALES"."PUBLIC"."ORDERS""#);
        assert_eq!(parse(r#"sales."My.Schema"."a""b""#).unwrap(), r#""SALES"."My.Schema"."a""b""#);
        assert_eq!(parse("_a$1.B.C").unwrap(), r#""_A$1"."B"."C""#);
    }

    #[test]
    fn the_connection_says_what_the_place_leaves_out() {
        let table = Table::parse("orders", Some("sales"), Some(r#""Pub""#)).unwrap();
        assert_eq!(table.to_string(), r#""SALES"."Pub"."ORDERS""#);
        let table = Table::parse("s.orders", Some("sales"), Some("public")).unwrap();
        assert_eq!(table.to_string(), r#""SALES"."S"."ORDERS""#);
        let missing =
            |place, database| Table::parse(place, database, None).unwrap_err().to_string();
        assert!(missing("orders", Some("sales")).contains("does not say which schema"));
        assert!(missing("s.orders", None).contains("does not say which database"));
    }

    #[test]
    fn a_place_that_names_no_table_is_refused() {
        for place in
            ["", ".", "a.", ".a", "a..b", "a.b.c.d", "\"a", "a\"b\"", "\"a\"b", "\"\"", "\"a\0\""]
        {
            assert!(matches!(parse(place), Err(NotATable::Shape(_))), "{place:?}");
        }
        for place in ["a.b.my-table", "a.b.1st", "a.b.c;drop", "a.b.naïve"] {
            assert!(matches!(parse(place), Err(NotATable::NeedsQuotes { .. })), "{place:?}");
        }
    }

    #[test]
    fn a_name_is_spelled_without_quotes_where_it_needs_none() {
        for (written, spelled) in [
            ("sales.\"PUBLIC\".orders", "SALES.PUBLIC.ORDERS"),
            (r#""a".B"#, r#""a".B"#),
            (r#""1".A$"#, r#""1".A$"#),
            (r#""a""b""#, r#""a""b""#),
        ] {
            assert_eq!(super::spelled(&parse_parts(written).unwrap()), spelled);
        }
    }

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(literal(r"it's \'"), r"'it''s \\'''");
    }

    proptest! {
        #[test]
        fn any_name_survives_quoting(parts in prop::collection::vec("[^\0]{1,12}", 3)) {
            let table = Table {
                database: Name::exact(parts[0].as_str()),
                schema: Name::exact(parts[1].as_str()),
                name: Name::exact(parts[2].as_str()),
            };
            let text = table.to_string();
            prop_assert_eq!(Table::parse(&text, None, None).unwrap(), table);
        }

        #[test]
        fn no_place_panics(place in ".{0,40}") {
            let _ = Table::parse(&place, None, None);
        }
    }
}
