//! Paging, the same for every list: `limit` = `page_size`, `offset`, `page`, `cursor` =
//! `next_cursor` = `after`, `include_total`.
//!
//! A cursor is the position behind the last row that was returned, opaque to the caller, and bound
//! to the list that gave it out; it stays right while rows are added. What does not live here: any
//! list.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{
    error::{ApiError, FieldError},
    query::query_parameters,
};

/// The query of a list.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// How many rows to return.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The same as `limit`.
    #[schema(minimum = 1, maximum = 1000)]
    pub page_size: Option<u32>,
    /// How many rows to leave out first.
    #[schema(minimum = 0, maximum = 10000)]
    pub offset: Option<u32>,
    /// Which page, from 1.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub page: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// The same as `cursor`.
    pub next_cursor: Option<String>,
    /// The same as `cursor`.
    pub after: Option<String>,
    /// Whether to count all rows, which costs more on long lists.
    pub include_total: Option<bool>,
}
query_parameters!(ListQuery);

/// What a list's body may say about paging; the query wins.
#[derive(Clone, Copy, Debug, Default)]
pub struct InBody {
    /// See [`ListQuery::limit`].
    pub limit: Option<u32>,
    /// See [`ListQuery::page_size`].
    pub page_size: Option<u32>,
    /// See [`ListQuery::offset`].
    pub offset: Option<u32>,
    /// See [`ListQuery::page`].
    pub page: Option<u32>,
}

/// Rows of a page by default.
const DEFAULT_LIMIT: u32 = 20;

/// Which rows are asked for.
#[derive(Clone, Debug)]
pub struct Page {
    /// At most so many; 1..=1000.
    pub limit: u32,
    /// Leave out so many; 0 with a cursor.
    pub offset: u64,
    /// Whether the total is requested.
    pub include_total: bool,
    /// Whether the caller counts rows or pages, and so relies on every page being full.
    pub is_counted: bool,
    cursor: Option<String>,
}

/// Where a page is among the others.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct PaginationResponse {
    /// How many rows there are; null unless it was counted (`include_total`).
    pub total: Option<u64>,
    /// The page's number from 1; null when it was reached by a cursor.
    pub page: Option<u64>,
    /// The most rows of a page.
    pub page_size: Option<u32>,
    /// How many pages there are; null unless rows were counted.
    pub total_pages: Option<u64>,
    /// The query of the next page; null on the last.
    pub next_page: Option<String>,
    /// The query of the page before; null on the first, and when reached by a cursor.
    pub previous_page: Option<String>,
    /// Hand it back as `cursor` for what follows; null at the end.
    pub next_cursor: Option<String>,
}

impl ListQuery {
    /// What is asked for.
    ///
    /// # Errors
    /// 422 when a cursor comes together with `page` or `offset`.
    pub fn page(self) -> Result<Page, ApiError> {
        self.page_with(InBody::default())
    }

    /// What is asked for by this query and, where it is silent, by the body.
    ///
    /// # Errors
    /// 422 when a cursor comes together with `page` or `offset`.
    pub fn page_with(self, body: InBody) -> Result<Page, ApiError> {
        let limit = self
            .limit
            .or(self.page_size)
            .or(body.limit)
            .or(body.page_size)
            .unwrap_or(DEFAULT_LIMIT);
        let cursor =
            self.cursor.or(self.next_cursor).or(self.after).filter(|text| !text.is_empty());
        let offset = match (self.offset.or(body.offset), self.page.or(body.page)) {
            (Some(offset), _) if offset > 0 => u64::from(offset),
            (_, Some(page)) => u64::from(page - 1) * u64::from(limit),
            _ => 0,
        };
        if let (Some(cursor), 1..) = (&cursor, offset) {
            return Err(ApiError::invalid_field(
                FieldError::new(
                    "cursor",
                    cursor.as_str(),
                    "a cursor cannot be combined with page or offset",
                )
                .accepting("a cursor, or page, or offset; one of them"),
            ));
        }
        let include_total = self.include_total.unwrap_or(false);
        let counted = [self.offset, body.offset, self.page, body.page];
        let is_counted = include_total || counted.iter().any(Option::is_some);
        Ok(Page { limit, offset, include_total, is_counted, cursor })
    }
}

impl Page {
    /// The place that the cursor names, if there is one. `list` names the list and whatever shapes
    /// its order, so that no other list's cursor is taken for its own.
    ///
    /// # Errors
    /// 422 when it is not a cursor of this list.
    pub fn place<T: DeserializeOwned>(&self, list: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let read = || {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
            let (of, place): (String, T) = serde_json::from_slice(&bytes).ok()?;
            (of == list).then_some(place)
        };
        match read() {
            Some(place) => Ok(Some(place)),
            None => Err(ApiError::invalid_field(
                FieldError::new("cursor", text.as_str(), "this is not a cursor of this list")
                    .accepting("next_cursor of a page of the same list"),
            )),
        }
    }

    /// How many rows to read: one more than the page has shows whether there are more.
    #[must_use]
    pub const fn fetch(&self) -> u32 {
        self.limit + 1
    }

    /// How many rows the list has, where those that were read (see [`Page::fetch`]) are its last:
    /// nobody need count them then.
    #[must_use]
    pub const fn total_at_end(&self, read: usize) -> Option<u64> {
        let is_end = read <= self.limit as usize && (read > 0 || self.offset == 0);
        if is_end && self.cursor.is_none() { Some(self.offset + read as u64) } else { None }
    }

    /// Cuts the rows that were read (see [`Page::fetch`]) to the page and says where it is among
    /// the others. `place` names the place behind a row, see [`Page::place`].
    pub fn finish<R, P: Serialize>(
        &self,
        rows: &mut Vec<R>,
        total: Option<u64>,
        list: &str,
        place: impl FnOnce(&R) -> P,
    ) -> PaginationResponse {
        let has_more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let next_cursor =
            rows.last().filter(|_| has_more).map(|last| encode_cursor(list, &place(last)));
        let limit = u64::from(self.limit);
        let link = |page: u64| format!("?page={page}&limit={limit}");
        let page = self.cursor.is_none().then(|| self.offset / limit + 1);
        PaginationResponse {
            total,
            page,
            page_size: Some(self.limit),
            total_pages: total.map(|total| total.div_ceil(limit)),
            next_page: page.filter(|_| has_more).map(|page| link(page + 1)),
            previous_page: page.filter(|page| *page > 1).map(|page| link(page - 1)),
            next_cursor,
        }
    }
}

/// The cursor of a place in a list.
pub(super) fn encode_cursor(list: &str, place: &impl Serialize) -> String {
    // Plain data under string keys: it always has a JSON form.
    let bytes = serde_json::to_vec(&(list, place)).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_only_good_for_the_list_that_gave_it_out() {
        let first = ListQuery { limit: Some(2), ..ListQuery::default() }.page().unwrap();
        let mut rows = vec![30_i64, 20, 10];
        let told = first.finish(&mut rows, Some(3), "numbers", |row| *row);
        assert_eq!(rows, [30, 20]);
        assert_eq!((told.total_pages, told.page), (Some(2), Some(1)));

        let next = ListQuery { cursor: told.next_cursor, ..ListQuery::default() }.page().unwrap();
        assert_eq!(next.place::<i64>("numbers").unwrap(), Some(20));
        assert!(next.place::<i64>("letters").is_err());
    }

    #[test]
    fn rows_are_counted_only_where_a_page_does_not_show_how_many_there_are() {
        let of = |offset, cursor: Option<&str>| {
            let cursor = cursor.map(str::to_owned);
            ListQuery { limit: Some(10), offset, cursor, ..ListQuery::default() }.page().unwrap()
        };
        let first = of(None, None);
        assert_eq!([0, 10, 11].map(|rows| first.total_at_end(rows)), [Some(0), Some(10), None]);
        let later = of(Some(20), None);
        assert_eq!([0, 3].map(|rows| later.total_at_end(rows)), [None, Some(23)]);
        assert_eq!(of(None, Some("where the page before ended")).total_at_end(3), None);
    }

    #[test]
    fn pages_and_offsets_name_the_same_rows() {
        let query =
            |page, offset| ListQuery { page, offset, limit: Some(10), ..ListQuery::default() };
        assert_eq!(query(Some(3), None).page().unwrap().offset, 20);
        assert_eq!(query(None, Some(20)).page().unwrap().offset, 20);
    }
}
