//! Columns of a table and what kinds of values they hold, as the two places that describe them
//! spell them: the metadata of a result (`fixed`, scale 2) and `DESCRIBE TABLE` (`NUMBER(38,2)`).

use serde::{Deserialize, Serialize};

use super::names::Name;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    /// As the catalogue spells it.
    pub(super) name: String,
    /// What it holds.
    pub(super) kind: Kind,
    /// Whether a collation decides which of its values are equal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_collated: bool,
    /// How many decimal places a NUMBER has: its text has as many. Zero for everything else.
    #[serde(default)]
    pub(super) scale: u32,
}

impl Column {
    /// A column as the metadata of a result describes it.
    pub(super) fn of_result(
        name: String,
        kind: &str,
        scale: Option<u32>,
        is_collated: bool,
    ) -> Self {
        let kind = Kind::of_result(kind, scale);
        let scale = scale.filter(|_| kind == Kind::Decimal).unwrap_or_default();
        Self { name, kind, is_collated, scale }
    }

    /// A column as `DESCRIBE TABLE` shows it, with a type such as `NUMBER(38,2)`.
    pub(super) fn of_catalogue(name: String, text: &str) -> Self {
        let kind = Kind::of_catalogue(text);
        let scale = scale(text).filter(|_| kind == Kind::Decimal).unwrap_or_default();
        let is_collated = text.to_ascii_uppercase().contains(" COLLATE ");
        Self { name, kind, is_collated, scale }
    }

    /// The name as SQL takes it.
    pub(super) fn quoted(&self) -> Name {
        Name::exact(self.name.as_str())
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// NUMBER without decimal places.
    Integer,
    /// NUMBER with decimal places, and DECFLOAT.
    Decimal,
    /// FLOAT and its other names.
    Float,
    /// VARCHAR and its other names.
    Text,
    /// BINARY.
    Binary,
    /// BOOLEAN.
    Boolean,
    /// DATE.
    Date,
    /// TIME.
    Time,
    /// `TIMESTAMP_NTZ`: the reading of a clock, nobody says where.
    TimestampNtz,
    /// `TIMESTAMP_LTZ`: an instant.
    TimestampLtz,
    /// `TIMESTAMP_TZ`: an instant and the offset that it was written with.
    TimestampTz,
    /// VARIANT, OBJECT, ARRAY, MAP, VECTOR: JSON in the cell.
    Json,
    /// GEOGRAPHY and GEOMETRY, which are asked for as GeoJSON.
    Geo,
    /// FILE: a reference to a staged file.
    File,
    /// Something newer than this build.
    Other,
}

impl Kind {
    /// The kind that the metadata of a result names.
    pub(super) fn of_result(name: &str, scale: Option<u32>) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "fixed" if scale.unwrap_or_default() == 0 => Self::Integer,
            "fixed" | "decfloat" => Self::Decimal,
            "real" | "float" | "double" => Self::Float,
            "text" => Self::Text,
            "binary" => Self::Binary,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp_ntz" => Self::TimestampNtz,
            "timestamp_ltz" => Self::TimestampLtz,
            "timestamp_tz" => Self::TimestampTz,
            "variant" | "object" | "array" | "map" | "vector" => Self::Json,
            "geography" | "geometry" => Self::Geo,
            "file" => Self::File,
            _ => Self::Other,
        }
    }

    /// The kind that `DESCRIBE TABLE` or `SHOW COLUMNS` names, such as `NUMBER(38,0)`.
    pub(super) fn of_catalogue(text: &str) -> Self {
        let text = text.trim().to_ascii_uppercase();
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let name = &text[..end.unwrap_or(text.len())];
        match name {
            "NUMBER" | "DECIMAL" | "NUMERIC" | "INT" | "INTEGER" | "BIGINT" => {
                Self::of_result("fixed", scale(&text))
            }
            "VARCHAR" | "STRING" | "CHAR" => Self::Text,
            "TIMESTAMP" | "DATETIME" => Self::TimestampNtz,
            "VARBINARY" => Self::Binary,
            name => Self::of_result(name, None),
        }
    }

    /// The type of a bound value, where values of this kind can be bound and compared.
    pub(super) const fn bind_type(self) -> Option<&'static str> {
        match self {
            Self::Integer | Self::Decimal => Some("FIXED"),
            Self::Float => Some("REAL"),
            Self::Text => Some("TEXT"),
            Self::Binary => Some("BINARY"),
            Self::Boolean => Some("BOOLEAN"),
            Self::Date => Some("DATE"),
            Self::Time => Some("TIME"),
            Self::TimestampNtz => Some("TIMESTAMP_NTZ"),
            Self::TimestampLtz => Some("TIMESTAMP_LTZ"),
            Self::TimestampTz => Some("TIMESTAMP_TZ"),
            Self::Json | Self::Geo | Self::File | Self::Other => None,
        }
    }

    /// Whether values of this kind only grow where a table keeps its changes in order.
    pub(super) const fn is_watermark(self) -> bool {
        matches!(
            self,
            Self::Integer
                | Self::Decimal
                | Self::Float
                | Self::Text
                | Self::Date
                | Self::TimestampNtz
                | Self::TimestampLtz
                | Self::TimestampTz
        )
    }

    /// The kind as people know it.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Integer | Self::Decimal => "NUMBER",
            Self::Float => "FLOAT",
            Self::Text => "VARCHAR",
            Self::Binary => "BINARY",
            Self::Boolean => "BOOLEAN",
            Self::Date => "DATE",
            Self::Time => "TIME",
            Self::TimestampNtz => "TIMESTAMP_NTZ",
            Self::TimestampLtz => "TIMESTAMP_LTZ",
            Self::TimestampTz => "TIMESTAMP_TZ",
            Self::Json => "VARIANT",
            Self::Geo => "GEOGRAPHY",
            Self::File => "FILE",
            Self::Other => "a type that is not known here",
        }
    }
}

/// The decimal places in a type such as `NUMBER(38,2)`.
fn scale(text: &str) -> Option<u32> {
    let (_, inner) = text.split_once('(')?;
    let (_, scale) = inner.split_once(')')?.0.split_once(',')?;
    scale.trim().parse().ok()
}

/// Finds a column by the name that somebody gave it: exactly, else without regard to case where
/// only one column fits.
pub(super) fn find<'a>(columns: &'a [Column], name: &str) -> Option<&'a Column> {
    if let Some(exact) = columns.iter().find(|column| column.name == name) {
        return Some(exact);
    }
    let mut alike = columns.iter().filter(|column| same_letters(&column.name, name));
    alike.next().filter(|_| alike.next().is_none())
}

fn same_letters(a: &str, b: &str) -> bool {
    a.chars().flat_map(char::to_lowercase).eq(b.chars().flat_map(char::to_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_type_mean_the_same_kind() {
        for (catalogue, result, scale) in [
            ("NUMBER(38,0)", "fixed", Some(0)),
            ("NUMBER(10,2)", "fixed", Some(2)),
            ("DECFLOAT", "decfloat", None),
            ("FLOAT", "real", None),
            ("VARCHAR(16777216)", "text", None),
            ("BINARY(8388608)", "binary", None),
            ("BOOLEAN", "boolean", None),
            ("DATE", "date", None),
            ("TIME(9)", "time", Some(9)),
            ("TIMESTAMP_NTZ(9)", "timestamp_ntz", Some(9)),
            ("TIMESTAMP_LTZ(3)", "timestamp_ltz", Some(3)),
            ("TIMESTAMP_TZ(0)", "timestamp_tz", Some(0)),
            ("VARIANT", "variant", None),
            ("OBJECT", "object", None),
            ("ARRAY(NUMBER(38,0))", "array", None),
            ("MAP(VARCHAR, NUMBER(38,0))", "map", None),
            ("VECTOR(FLOAT, 3)", "vector", None),
            ("GEOGRAPHY", "geography", None),
            ("FILE", "file", None),
            ("INTERVAL DAY TO SECOND", "interval_day_to_second", None),
        ] {
            assert_eq!(
                Kind::of_catalogue(catalogue),
                Kind::of_result(result, scale),
                "{catalogue}"
            );
        }
        assert_eq!(Kind::of_catalogue("VARCHAR(10) COLLATE 'en-ci'"), Kind::Text);
        for (catalogue, kind, scale) in [
            ("NUMBER(10,2)", "fixed", Some(2)),
            ("NUMBER(38,0)", "fixed", Some(0)),
            ("TIME(9)", "time", Some(9)),
            ("VECTOR(FLOAT, 3)", "vector", None),
        ] {
            let of_result = Column::of_result("C".into(), kind, scale, false);
            assert_eq!(Column::of_catalogue("C".into(), catalogue), of_result);
        }
    }

    #[test]
    fn a_column_is_found_without_regard_to_case_unless_two_differ_only_by_it() {
        let column = |name: &str| Column::of_catalogue(name.into(), "VARCHAR(16777216)");
        let columns = [column("ID"), column("Größe"), column("Note"), column("note")];
        assert_eq!(find(&columns, "id").unwrap().name, "ID");
        assert_eq!(find(&columns, "GRÖßE").unwrap().name, "Größe");
        assert_eq!(find(&columns, "note").unwrap().name, "note");
        assert_eq!(find(&columns, "NOTE"), None);
        assert_eq!(find(&columns, "absent"), None);
    }
}
