//! Rows as they arrive: the cells of a partition, kept as one text, and the reader that takes them
//! out of the answer's JSON without holding all of it.

use std::{fmt, io::Read};

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// Rows are handed on when they have so many bytes, or so many are together.
const BATCH_BYTES: usize = 256 * 1024;
const BATCH_ROWS: usize = 1000;

/// Where the text of a cell that is NULL would end.
const NULL: u32 = u32::MAX;

/// Rows of equally many cells. Not printed: they are other people's data.
#[derive(Clone, Default)]
pub(super) struct Rows {
    width: usize,
    text: String,
    /// Where each cell ends in `text`, or [`NULL`].
    ends: Vec<u32>,
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct RowRef<'a> {
    rows: &'a Rows,
    /// Where its text begins.
    start: usize,
    /// The index of its first cell.
    first: usize,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rows({} of {} cells)", self.len(), self.width)
    }
}

impl Rows {
    fn new(width: usize) -> Self {
        Self { width, text: String::new(), ends: Vec::new() }
    }

    /// Rows of these cells, one row after the other.
    #[cfg(test)]
    pub(super) fn of<'a>(width: usize, cells: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut rows = Self::new(width);
        for cell in cells {
            match cell {
                Some(text) => rows.push::<serde_json::Error>(text).unwrap(),
                None => rows.ends.push(NULL),
            }
        }
        rows
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.ends.len().checked_div(self.width).unwrap_or_default()
    }

    /// One after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = RowRef<'_>> {
        let mut start = 0;
        (0..self.len()).map(move |at| {
            let row = RowRef { rows: self, start, first: at * self.width };
            let ends = &self.ends[row.first..row.first + self.width];
            start = ends.iter().rev().find(|end| **end != NULL).map_or(start, |end| *end as usize);
            row
        })
    }

    /// The row at an index; reads all before it.
    #[cfg(test)]
    pub(super) fn get(&self, at: usize) -> Option<RowRef<'_>> {
        self.iter().nth(at)
    }

    /// The cell of a result of one row and column.
    pub(super) fn single(&self) -> Option<&str> {
        self.iter().next()?.cell(0)
    }

    fn push<E: serde::de::Error>(&mut self, cell: &str) -> Result<(), E> {
        self.text.push_str(cell);
        let end = u32::try_from(self.text.len()).ok().filter(|end| *end != NULL);
        self.ends.push(end.ok_or_else(|| E::custom("a row is larger than 4 GiB"))?);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.text.len() >= BATCH_BYTES || self.len() >= BATCH_ROWS
    }
}

impl<'a> RowRef<'a> {
    /// A cell; `None` is NULL, as is what lies behind the last one.
    pub(super) fn cell(self, at: usize) -> Option<&'a str> {
        let ends = self.rows.ends.get(self.first..self.first + self.rows.width)?;
        let end = *ends.get(at)?;
        if end == NULL {
            return None;
        }
        let before = ends[..at].iter().rev().find(|end| **end != NULL);
        let start = before.map_or(self.start, |end| *end as usize);
        self.rows.text.get(start..end as usize)
    }
}

/// Where rows go in batches. Refuses them once nobody wants more.
pub(super) trait Sink {
    /// Takes a batch.
    ///
    /// # Errors
    /// When reading is to end.
    fn take(&mut self, rows: Rows) -> Result<(), Stopped>;
}

/// Nobody wants more rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped;

/// Collects everything.
impl Sink for Vec<Rows> {
    fn take(&mut self, rows: Rows) -> Result<(), Stopped> {
        self.push(rows);
        Ok(())
    }
}

/// Why a partition could not be read to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is cut short, or no partition: in words that quote no cell.
    Garbled(String),
    /// Nobody wants more rows.
    Stopped,
}

/// Reads the rows of a partition, `{"data": [[…], …]}`, into `sink`; the first `skip` of them are
/// passed over. Returns how many the partition has.
pub(super) fn read_partition(
    source: impl Read,
    width: usize,
    skip: u64,
    sink: &mut dyn Sink,
) -> Result<u64, Broken> {
    let mut reading = Reading { width, skip, count: 0, is_stopped: false, has_data: false, sink };
    let mut json = serde_json::Deserializer::from_reader(source);
    let outcome = Partition(&mut reading).deserialize(&mut json).and_then(|()| json.end());
    match outcome {
        Ok(()) if reading.has_data => Ok(reading.count),
        Ok(()) => Err(Broken::Garbled("a partition without rows".into())),
        Err(_) if reading.is_stopped => Err(Broken::Stopped),
        Err(error) => Err(Broken::Garbled(describe(&error))),
    }
}

/// What is wrong with JSON, without what is in it.
pub(super) fn describe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends in the middle",
        serde_json::error::Category::Io => "it could not be read to its end",
        serde_json::error::Category::Syntax | serde_json::error::Category::Data => {
            "it is not what was asked for"
        }
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

struct Reading<'a> {
    width: usize,
    skip: u64,
    count: u64,
    is_stopped: bool,
    has_data: bool,
    sink: &'a mut dyn Sink,
}

struct Partition<'a, 's>(&'a mut Reading<'s>);

impl<'de> DeserializeSeed<'de> for Partition<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Partition<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a partition")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "data" => map.next_value_seed(Table(&mut *self.0))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Table<'a, 's>(&'a mut Reading<'s>);

impl<'de> DeserializeSeed<'de> for Table<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Table<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let reading = self.0;
        reading.has_data = true;
        let mut rows = Rows::new(reading.width);
        loop {
            let is_passed_over = reading.count < reading.skip;
            let outcome = match is_passed_over {
                true => seq.next_element::<IgnoredAny>()?.map(drop),
                false => seq.next_element_seed(Cells(&mut rows))?,
            };
            if outcome.is_none() {
                break;
            }
            reading.count += 1;
            if rows.is_full() {
                reading.hand_on(std::mem::replace(&mut rows, Rows::new(reading.width)))?;
            }
        }
        match rows.len() {
            0 => Ok(()),
            _ => reading.hand_on(rows),
        }
    }
}

impl Reading<'_> {
    fn hand_on<E: serde::de::Error>(&mut self, rows: Rows) -> Result<(), E> {
        self.sink.take(rows).map_err(|Stopped| {
            self.is_stopped = true;
            E::custom("stopped")
        })
    }
}

/// The cells of one row.
struct Cells<'a>(&'a mut Rows);

impl<'de> DeserializeSeed<'de> for Cells<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Cells<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut width = 0;
        while seq.next_element_seed(Cell(&mut *self.0))?.is_some() {
            width += 1;
        }
        match width == self.0.width {
            true => Ok(()),
            false => Err(A::Error::custom("a row of another width")),
        }
    }
}

struct Cell<'a>(&'a mut Rows);

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cell")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push(text)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.0.ends.push(NULL);
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.0.push(if value { "true" } else { "false" })
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.0.push(&value.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.0.push(&value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Table = Vec<Vec<Option<String>>>;

    fn read(text: &str, width: usize, skip: u64) -> Result<(Table, u64), Broken> {
        let mut batches = Vec::<Rows>::new();
        let count = read_partition(text.as_bytes(), width, skip, &mut batches)?;
        let cells = |row: RowRef<'_>| (0..width).map(|at| row.cell(at).map(Into::into)).collect();
        Ok((batches.iter().flat_map(|rows| rows.iter().map(cells)).collect(), count))
    }

    #[test]
    fn a_partition_that_is_cut_short_or_torn_is_no_partition() {
        let whole = r#"{"x":{"y":[1]},"data":[["a",null],["b","c"]],"z":1}"#;
        assert_eq!(read(whole, 2, 0).unwrap().1, 2);
        for end in 0..whole.len() {
            assert!(matches!(read(&whole[..end], 2, 0), Err(Broken::Garbled(_))), "{end}");
        }
        for torn in [
            "{}",
            "[]",
            r#"{"data":[["a"]]}"#,
            r#"{"data":[["a","b","c"]]}"#,
            r#"{"data":[["a",1.5]]}"#,
            r#"{"data":[["a",[]]]}"#,
            r#"{"data":null}"#,
        ] {
            assert!(matches!(read(torn, 2, 0), Err(Broken::Garbled(_))), "{torn}");
        }
    }

    #[test]
    fn an_error_is_reported_without_a_cells_content() {
        let Err(Broken::Garbled(message)) = read(r#"{"data":[["secret",["secret"]]]}"#, 2, 0)
        else {
            panic!("it was read");
        };
        assert!(!message.contains("secret"), "{message}");
        assert!(!format!("{:?}", Rows::of(1, [Some("secret")])).contains("secret"));
    }

    #[test]
    fn reading_ends_when_nobody_wants_more() {
        struct Nobody;
        impl Sink for Nobody {
            fn take(&mut self, _: Rows) -> Result<(), Stopped> {
                Err(Stopped)
            }
        }
        let outcome = read_partition(&br#"{"data":[["a"]]}"#[..], 1, 0, &mut Nobody);
        assert!(matches!(outcome, Err(Broken::Stopped)));
    }

    #[test]
    fn rows_come_in_batches_of_bounded_size() {
        let data: Vec<[String; 1]> = (0..2500).map(|n| [n.to_string()]).collect();
        let text = json!({ "data": data }).to_string();
        let mut batches = Vec::<Rows>::new();
        assert_eq!(read_partition(text.as_bytes(), 1, 0, &mut batches).unwrap(), 2500);
        let sizes: Vec<usize> = batches.iter().map(Rows::len).collect();
        assert_eq!(sizes, [1000, 1000, 500]);
    }

    proptest! {
        #[test]
        fn every_cell_comes_out_as_it_went_in(
            table in prop::collection::vec(prop::collection::vec(any::<Option<String>>(), 3), 0..20),
            skip in 0_usize..25,
        ) {
            let text = json!({ "data": table }).to_string();
            let (read, count) = read(&text, 3, skip as u64).unwrap();
            prop_assert_eq!(count, table.len() as u64);
            prop_assert_eq!(&read, &table[skip.min(table.len())..]);
        }
    }
}
