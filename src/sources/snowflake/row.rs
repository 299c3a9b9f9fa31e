//! A row as an entry: its id, path, bytes and version.

use std::{cmp::Ordering, collections::HashMap};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, percent_encode_byte, utf8_percent_encode};

use super::{
    columns::{Column, Kind},
    rows::RowRef,
    time, value, variant,
};
use crate::model::EntryPath;

/// Rows larger than this are not taken.
pub(super) const MAX_ROW_BYTES: usize = 16 * 1024 * 1024;

/// What a part of a path cannot hold as it is. C1 comes on top: its bytes are not ASCII.
const PART: &AsciiSet = &percent_encoding::CONTROLS.add(b'/').add(b'%').add(0x7f);

/// How the rows of a statement become entries.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// In the order of the result, which for the table's own columns is the table's.
    columns: Vec<Column>,
    /// `"NAME":` of each.
    labels: Vec<Vec<u8>>,
    /// Which columns are the key, in its order. Empty: there is none.
    key: Vec<usize>,
    watermark: Option<usize>,
    /// The column that Snowflake computed a hash of the row into.
    hash: Option<usize>,
    /// What distinguishes these columns from others.
    print: String,
}

/// The length of a [`Row::mark`].
pub(super) const MARK_BYTES: usize = 16;

/// A row that can be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: EntryPath,
    pub(super) path: EntryPath,
    /// Canonical JSON, or nothing where it is too large.
    pub(super) body: Vec<u8>,
    pub(super) modified: Option<Timestamp>,
    pub(super) state: State,
    /// Names of the key's columns, where there is NULL in one of them.
    pub(super) key_columns: Vec<String>,
    /// Made of Snowflake's hash of the row and of the columns: changes with the content, and can be
    /// had without it.
    pub(super) mark: [u8; MARK_BYTES],
}

/// Whether a row can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    /// With NULL in its key.
    NullKey,
    /// So many bytes.
    TooLarge(usize),
}

impl Layout {
    /// A layout of a result with these columns.
    pub(super) fn new(
        columns: Vec<Column>,
        key: Vec<usize>,
        watermark: Option<usize>,
        hash: Option<(usize, &str)>,
    ) -> Self {
        let label = |column: &Column| {
            let mut label = Vec::new();
            variant::write_string(&mut label, &column.name);
            label.push(b':');
            label
        };
        let labels = columns.iter().map(label).collect();
        let (hash, print) = hash.unzip();
        let print = print.unwrap_or_default().to_owned();
        Self { columns, labels, key, watermark, hash, print }
    }

    /// The columns of the key, in its order.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|at| self.columns.get(*at))
    }

    /// The cells of a row's key, in its order.
    pub(super) fn key_cells<'a>(
        &'a self,
        row: RowRef<'a>,
    ) -> impl Iterator<Item = Option<&'a str>> {
        self.key.iter().map(move |at| row.cell(*at))
    }

    /// The cell that a row's watermark is in.
    pub(super) fn watermark<'a>(&self, row: RowRef<'a>) -> Option<&'a str> {
        row.cell(self.watermark?)
    }

    /// The hash that Snowflake computed of a row.
    pub(super) fn hash<'a>(&self, row: RowRef<'a>) -> Option<&'a str> {
        row.cell(self.hash?)
    }

    /// A row of a table with a key.
    pub(super) fn keyed(&self, row: RowRef<'_>) -> Row {
        let (id, path, state) = self.name(row);
        self.row(id, path, self.body(row), state, row)
    }

    /// A row of which there is only the key and the hash.
    pub(super) fn key_only(&self, row: RowRef<'_>) -> Row {
        let (id, path, state) = self.name(row);
        self.row(id, path, Vec::new(), state, row)
    }

    /// What a row of a table with a key is called.
    fn name(&self, row: RowRef<'_>) -> (String, String, State) {
        let (mut id, mut path) = (String::new(), String::new());
        let mut state = State::Whole;
        for at in &self.key {
            let kind = self.columns.get(*at).map_or(Kind::Other, |column| column.kind);
            if !path.is_empty() || *at != self.key[0] {
                path.push('/');
            }
            match row.cell(*at) {
                Some(cell) => {
                    let text = value::key_text(kind, cell);
                    push_id_part(&mut id, kind, &text);
                    push_path_part(&mut path, &text);
                }
                None => {
                    id.push(value::key_tag(kind));
                    id.push('-');
                    path.push_str("NULL");
                    state = State::NullKey;
                }
            }
        }
        path.push_str(".json");
        (id, path, state)
    }

    /// A row of a table without a key: it is named after what is in it, and equal ones are counted.
    pub(super) fn keyless(&self, row: RowRef<'_>, twins: &mut Twins) -> Row {
        let body = self.body(row);
        let hash = blake3::hash(&body);
        let name = match twins.count(self.hash(row), *hash.as_bytes()) {
            0 => hash.to_hex().to_string(),
            earlier => format!("{}-{}", hash.to_hex(), earlier + 1),
        };
        self.row(name.clone(), name + ".json", body, State::Whole, row)
    }

    fn row(&self, id: String, path: String, body: Vec<u8>, state: State, row: RowRef<'_>) -> Row {
        let (id, path) = (EntryPath::new(id), EntryPath::new(path));
        let modified = self.modified(row);
        let names = self.key_columns().map(|column| column.quoted().to_string());
        let key_columns = match state {
            State::NullKey => names.collect(),
            State::Whole | State::TooLarge(_) => Vec::new(),
        };
        let (state, body) = match body.len() {
            size if size > MAX_ROW_BYTES => (State::TooLarge(size), Vec::new()),
            _ => (state, body),
        };
        Row { id, path, body, modified, state, key_columns, mark: self.mark(row) }
    }

    fn mark(&self, row: RowRef<'_>) -> [u8; MARK_BYTES] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.print.as_bytes());
        hasher.update(self.hash(row).unwrap_or_default().as_bytes());
        let mut mark = [0; MARK_BYTES];
        hasher.finalize_xof().fill(&mut mark);
        mark
    }

    /// Canonical JSON: columns in the table's order, those without a value left out.
    fn body(&self, row: RowRef<'_>) -> Vec<u8> {
        let mut out = vec![b'{'];
        for (at, column) in self.columns.iter().enumerate() {
            if let Some(cell) = row.cell(at)
                && Some(at) != self.hash
            {
                if out.len() > 1 {
                    out.push(b',');
                }
                out.extend_from_slice(&self.labels[at]);
                value::write_json(&mut out, column.kind, cell);
            }
        }
        out.push(b'}');
        // Many rows are in memory at the same time.
        out.shrink_to_fit();
        out
    }

    /// When the watermark says that the row was written last; a clock without a zone counts as UTC.
    fn modified(&self, row: RowRef<'_>) -> Option<Timestamp> {
        let cell = self.watermark(row)?;
        let nanos = match self.columns.get(self.watermark?)?.kind {
            Kind::TimestampNtz | Kind::TimestampLtz => time::nanos(cell)?,
            Kind::TimestampTz => time::zoned(cell)?.0,
            Kind::Date => i128::from(cell.parse::<i64>().ok()?) * 86_400 * 1_000_000_000,
            _ => return None,
        };
        time::instant(nanos)
    }
}

/// The cells of a key that an id was made of; none where it is no id of rows with these key
/// columns.
pub(super) fn key_of_id(id: &str, key: &[Column]) -> Option<Vec<Option<String>>> {
    let mut rest = id;
    let mut cells = Vec::with_capacity(key.len());
    for column in key {
        rest = rest.strip_prefix(value::key_tag(column.kind))?;
        if let Some(behind) = rest.strip_prefix('-') {
            cells.push(None);
            rest = behind;
            continue;
        }
        let (length, behind) = rest.split_once(':')?;
        let (text, behind) = behind.split_at_checked(length.parse().ok()?)?;
        cells.push(Some(value::cell_of_key(column.kind, text)));
        rest = behind;
    }
    (rest.is_empty() && !key.is_empty()).then_some(cells)
}

/// `t3:abc`: the type, the length and the text, so that no two keys run together.
fn push_id_part(id: &mut String, kind: Kind, text: &str) {
    id.push(value::key_tag(kind));
    id.push_str(&text.len().to_string());
    id.push(':');
    id.push_str(text);
}

fn push_path_part(path: &mut String, text: &str) {
    for c in text.chars() {
        let mut buffer = [0; 4];
        let encoded = c.encode_utf8(&mut buffer);
        match c {
            '\u{80}'..='\u{9f}' => path.extend(encoded.bytes().map(percent_encode_byte)),
            _ if c.is_ascii() => path.extend(utf8_percent_encode(encoded, PART)),
            _ => path.push(c),
        }
    }
}

/// Counts equal rows. The statement sorts rows by a hash, so that only those with the same one have
/// to be remembered.
#[derive(Debug, Default)]
pub(super) struct Twins {
    hash: Option<String>,
    seen: HashMap<[u8; 32], u64>,
}

impl Twins {
    /// Whether a hash comes before the last one, in the order that was asked for.
    pub(super) fn is_passed(&self, hash: Option<&str>) -> bool {
        let last = self.hash.as_deref();
        last.is_some() && value::compare(Kind::Integer, hash, last) == Some(Ordering::Less)
    }

    /// How many equal rows came before this one.
    fn count(&mut self, hash: Option<&str>, row: [u8; 32]) -> u64 {
        if self.hash.as_deref() != hash {
            self.hash = hash.map(str::to_owned);
            self.seen.clear();
        }
        let count = self.seen.entry(row).or_default();
        *count += 1;
        *count - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sources::snowflake::rows::Rows;

    fn layout(kinds: &[(&str, Kind)], key: &[usize]) -> Layout {
        let columns = kinds
            .iter()
            .map(|(name, kind)| Column {
                name: (*name).into(),
                kind: *kind,
                is_collated: false,
                scale: 0,
            })
            .collect();
        Layout::new(columns, key.to_vec(), None, None)
    }

    fn keyed(layout: &Layout, cells: &[Option<&str>]) -> Row {
        let rows = Rows::of(cells.len(), cells.iter().copied());
        layout.keyed(rows.get(0).unwrap())
    }

    fn texts(row: &Row) -> (String, String, String) {
        (
            row.id.to_json_text(),
            row.path.to_json_text(),
            String::from_utf8(row.body.clone()).unwrap(),
        )
    }

    #[test]
    fn a_row_is_json_in_the_tables_order_without_what_is_null() {
        let layout = layout(
            &[("B", Kind::Text), ("ID", Kind::Integer), ("V", Kind::Json), ("N", Kind::Text)],
            &[1, 0],
        );
        let row = keyed(&layout, &[Some("x/y"), Some("7"), Some("null"), None]);
        assert_eq!(
            texts(&row),
            ("n1:7t3:x/y".into(), "7/x%2Fy.json".into(), r#"{"B":"x/y","ID":7,"V":null}"#.into())
        );
        assert_eq!(row.state, State::Whole);
    }

    #[test]
    fn hostile_parts_of_a_key_stay_within_their_part_of_the_path() {
        let layout = layout(&[("K", Kind::Text)], &[0]);
        for (cell, path) in [
            ("..", "...json"),
            ("../../etc", "..%2F..%2Fetc.json"),
            ("50%", "50%25.json"),
            ("a\0b\r\n\u{7f}", "a%00b%0D%0A%7F.json"),
            ("a\u{85}b", "a%C2%85b.json"),
            ("", ".json"),
            ("é ü", "é ü.json"),
        ] {
            assert_eq!(keyed(&layout, &[Some(cell)]).path.to_json_text(), path);
        }
    }

    #[test]
    fn a_row_without_a_key_names_no_cell() {
        let layout = layout(&[("A", Kind::Text), ("B", Kind::Text)], &[0, 1]);
        let row = keyed(&layout, &[None, Some("b")]);
        assert_eq!(row.state, State::NullKey);
        assert_eq!(row.path.to_json_text(), "NULL/b.json");
        let text = keyed(&layout, &[Some("NULL"), Some("b")]);
        assert_ne!(row.id, text.id);
    }

    #[test]
    fn a_row_of_more_than_16_mib_is_too_large_and_keeps_no_bytes() {
        let layout = layout(&[("K", Kind::Integer), ("V", Kind::Text)], &[0]);
        let cell = "x".repeat(MAX_ROW_BYTES);
        let row = keyed(&layout, &[Some("1"), Some(&cell)]);
        assert_eq!(row.state, State::TooLarge(MAX_ROW_BYTES + 14));
        assert!(row.body.is_empty());
        let exact = &cell[..MAX_ROW_BYTES - 14];
        assert_eq!(keyed(&layout, &[Some("1"), Some(exact)]).state, State::Whole);
    }

    #[test]
    fn equal_rows_without_a_key_are_counted() {
        let mut layout = layout(&[("A", Kind::Text), ("#", Kind::Integer)], &[]);
        layout.hash = Some(1);
        let rows = Rows::of(2, ["a", "1", "b", "1", "a", "1", "a", "2"].map(Some));
        let mut twins = Twins::default();
        let taken: Vec<Row> =
            (0..4).map(|at| layout.keyless(rows.get(at).unwrap(), &mut twins)).collect();
        assert_eq!(texts(&taken[0]).2, r#"{"A":"a"}"#);
        let first = taken[0].id.to_json_text();
        assert_eq!(first, blake3::hash(br#"{"A":"a"}"#).to_hex().as_str());
        assert_ne!(taken[1].id, taken[0].id);
        assert_eq!(taken[2].id.to_json_text(), format!("{first}-2"));
        assert_eq!(taken[3].id, taken[0].id, "another hash begins a new count");
    }

    #[test]
    fn a_watermark_shows_when_a_row_was_modified() {
        for (kind, cell, expected) in [
            (Kind::TimestampNtz, "1641008096.123456789", Some("2022-01-01T03:34:56.123456789Z")),
            (Kind::TimestampTz, "1641008096.1 960", Some("2022-01-01T03:34:56.1Z")),
            (Kind::Date, "19723", Some("2024-01-01T00:00:00Z")),
            (Kind::Integer, "5", None),
        ] {
            let mut layout = layout(&[("W", kind)], &[0]);
            layout.watermark = Some(0);
            let modified = keyed(&layout, &[Some(cell)]).modified;
            assert_eq!(modified.map(|at| at.to_string()).as_deref(), expected, "{kind:?}");
        }
    }

    #[test]
    fn an_id_leads_back_to_the_cells_of_its_key() {
        let layout = layout(
            &[("A", Kind::Text), ("W", Kind::TimestampTz), ("N", Kind::Decimal)],
            &[0, 1, 2],
        );
        let cells = [Some("a:1/é"), Some("1641008096.123456789 960"), None];
        let id = keyed(&layout, &cells).id.to_json_text();
        let key: Vec<Column> = layout.key_columns().cloned().collect();
        let expected: Vec<Option<String>> =
            cells.iter().map(|cell| cell.map(str::to_owned)).collect();
        assert_eq!(key_of_id(&id, &key), Some(expected));
        for wrong in ["", "t1:a", "t9:a", "tx:a", &format!("{id}x"), "n1:1n1:1n1:1"] {
            assert_eq!(key_of_id(wrong, &key), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn different_keys_have_different_ids_and_paths_that_lead_back(
            a in prop::collection::vec("[ab/%0-9:t.\u{80}-\u{9f}]{0,4}", 2),
            b in prop::collection::vec("[ab/%0-9:t.\u{80}-\u{9f}]{0,4}", 2),
        ) {
            let layout = layout(&[("A", Kind::Text), ("B", Kind::Text)], &[0, 1]);
            let row = |key: &[String]| keyed(&layout, &[Some(&key[0]), Some(&key[1])]);
            let (one, other) = (row(&a), row(&b));
            prop_assert_eq!(one.id == other.id, a == b);
            prop_assert_eq!(one.path == other.path, a == b);
            let path = one.path.to_json_text();
            let parts: Vec<String> = path
                .strip_suffix(".json")
                .unwrap()
                .split('/')
                .map(|part| percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into())
                .collect();
            prop_assert_eq!(parts, a);
        }
    }
}
