//! The SQL API, version 2, on the wire: what is sent, what comes back, and what a refusal means.
//!
//! <https://docs.snowflake.com/en/developer-guide/sql-api/reference>

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    columns::Column,
    names::{Name, Table},
    rows::describe,
    sql::Statement,
};
use crate::sources::SourceError;

/// Where statements are sent.
pub(super) const STATEMENTS: &str = "/api/v2/statements";

/// What statements are found by in an account's history.
const QUERY_TAG: &str = "catchment";

/// Largest partition, in MB, before it is compressed: the smallest that Snowflake takes.
const PARTITION_MB: u32 = 16;

/// How long a connection rests whose quota is spent.
pub(super) const QUOTA_HOLD: SignedDuration = SignedDuration::from_hours(1);

/// How much of a provider's own words is passed on.
const MESSAGE_CHARS: usize = 300;

/// How far this machine's clock may be off before that is named as the reason of a refusal.
const CLOCK_SKEW_SECONDS: u64 = 60;

/// Who runs statements, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) warehouse: Name,
    pub(super) role: Option<Name>,
    /// The statement that lets the connection's key in, where it has one.
    pub(super) lets_in: Option<String>,
}

impl Context {
    /// The role, or a word in the place of a name that is not known.
    fn role(&self) -> String {
        self.role.as_ref().map_or_else(|| "ROLE".to_owned(), Name::to_string)
    }

    /// What lets the role look into a database and a schema in it.
    pub(super) fn usage_grants(&self, names: &[Name]) -> String {
        let role = self.role();
        let on_database =
            |database: &str| format!("GRANT USAGE ON DATABASE {database} TO ROLE {role};");
        match names {
            [] => on_database("..."),
            [database] => on_database(&database.to_string()),
            [database, schema, ..] => format!(
                "{} GRANT USAGE ON SCHEMA {database}.{schema} TO ROLE {role};",
                on_database(&database.to_string())
            ),
        }
    }

    /// What lets the role read a table.
    fn table_grants(&self, table: &Table) -> String {
        let usage = self.usage_grants(&[table.database.clone(), table.schema.clone()]);
        format!(
            "check the spelling, or let the role read it: {usage} GRANT SELECT ON TABLE {table} TO \
             ROLE {}; (or ON VIEW, DYNAMIC TABLE or EXTERNAL TABLE, if it is one)",
            self.role()
        )
    }
}

#[derive(Serialize)]
struct Submission<'a> {
    statement: &'a str,
    timeout: u64,
    warehouse: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    bindings: BTreeMap<String, Binding<'a>>,
    parameters: Parameters,
}

#[derive(Serialize)]
struct Binding<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Parameters {
    timezone: &'static str,
    query_tag: &'static str,
    binary_output_format: &'static str,
    client_result_chunk_size: u32,
}

/// The body that submits a statement.
pub(super) fn submission(statement: &Statement, context: &Context, timeout: Duration) -> Vec<u8> {
    let bindings = statement.binds.iter().zip(1_u32..);
    let submission = Submission {
        statement: &statement.text,
        timeout: timeout.as_secs(),
        warehouse: context.warehouse.as_str(),
        role: context.role.as_ref().map(Name::as_str),
        bindings: bindings
            .map(|(bind, at)| {
                (at.to_string(), Binding { kind: bind.kind, value: bind.value.as_str() })
            })
            .collect(),
        parameters: Parameters {
            timezone: "UTC",
            query_tag: QUERY_TAG,
            binary_output_format: "HEX",
            client_result_chunk_size: PARTITION_MB,
        },
    };
    // Texts and numbers only: this cannot fail.
    serde_json::to_vec(&submission).unwrap_or_default()
}

/// A result, as its first response describes it.
#[derive(Clone, Debug)]
pub(super) struct ResultSet {
    pub(super) handle: String,
    pub(super) columns: Vec<Column>,
    /// How many rows each partition has; the first is in the answer itself.
    pub(super) partitions: Vec<u64>,
    /// When the statement began, by Snowflake's clock.
    pub(super) began: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    statement_handle: String,
    result_set_meta_data: Option<MetaData>,
    created_on: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaData {
    num_rows: u64,
    row_type: Vec<RowType>,
    #[serde(default)]
    partition_info: Vec<PartitionInfo>,
}

#[derive(Deserialize)]
struct RowType {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    scale: Option<u32>,
    collation: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartitionInfo {
    row_count: u64,
}

/// Reads the answer of a statement that is done, but for its rows.
///
/// # Errors
/// When it makes no sense.
pub(super) fn result_set(body: &[u8]) -> Result<ResultSet, SourceError> {
    let garbled = |message: String| SourceError::Garbled {
        message: format!("Snowflake's answer to a statement: {message}"),
    };
    let answer: Response =
        serde_json::from_slice(body).map_err(|error| garbled(describe(&error)))?;
    let meta = answer
        .result_set_meta_data
        .ok_or_else(|| garbled("it does not describe its rows".into()))?;
    let column = |row: RowType| {
        let is_collated = row.collation.is_some_and(|collation| !collation.is_empty());
        Column::of_result(row.name, &row.kind, row.scale, is_collated)
    };
    let partitions = match meta.partition_info.is_empty() {
        true => vec![meta.num_rows],
        false => meta.partition_info.iter().map(|info| info.row_count).collect(),
    };
    if partitions.iter().try_fold(0_u64, |sum, rows| sum.checked_add(*rows)) != Some(meta.num_rows)
    {
        return Err(garbled(format!(
            "its partitions have other numbers of rows than the {} of the result",
            meta.num_rows
        )));
    }
    let columns = meta.row_type.into_iter().map(column).collect();
    let began = answer.created_on.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let handle = answer.statement_handle;
    Ok(ResultSet { handle, columns, partitions, began })
}

/// Reads the handle of a statement that still runs.
///
/// # Errors
/// When there is none.
pub(super) fn running_handle(body: &[u8]) -> Result<String, SourceError> {
    let answer: Response = serde_json::from_slice(body).map_err(|error| SourceError::Garbled {
        message: format!("Snowflake's answer about a running statement: {}", describe(&error)),
    })?;
    Ok(answer.statement_handle)
}

/// Whether a handle can stand in an address as it is.
pub(super) fn is_handle(handle: &str) -> bool {
    !handle.is_empty()
        && handle.len() <= 128
        && handle.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// An answer that is no success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    /// HTTP's status.
    pub(super) status: u16,
    /// Snowflake's code, such as `002003`.
    pub(super) code: String,
    /// In Snowflake's words, shortened; without what could be data.
    pub(super) message: String,
    /// By how much the server's clock is ahead of this machine's, in seconds.
    pub(super) clock_ahead: Option<i64>,
}

/// What a refusal means to the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The token is too old; another one may do.
    TokenExpired,
    /// Nobody is let in with these credentials.
    SignIn,
    /// The role cannot be used.
    Role,
    /// There is no such warehouse, or it may not be used.
    Warehouse,
    /// There is no such table, schema or database, or it may not be read.
    Missing,
    /// A column is not there, or has another type.
    Shape,
    /// The statement took too long.
    StatementTimeout,
    /// The statement was cancelled by somebody.
    Cancelled,
    /// A monitor or a budget has stopped the warehouse.
    Quota,
    /// Too many requests.
    Throttled,
    /// The server stumbled.
    Stumbled,
    /// The result is not kept any more, or was never whole.
    ResultGone,
    /// Anything else.
    Other,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    code: serde_json::Value,
    #[serde(default)]
    message: Option<String>,
}

impl Refusal {
    /// Reads an answer that is no success.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let failure = serde_json::from_slice::<Failure>(body).ok();
        let code = match failure.as_ref().map(|failure| &failure.code) {
            Some(serde_json::Value::String(code)) => code.clone(),
            Some(serde_json::Value::Number(code)) => format!("{code:0>6}"),
            _ => String::new(),
        };
        let message = failure.and_then(|failure| failure.message).unwrap_or_default();
        let message = match code.starts_with("100") {
            // Conversions that failed quote the value.
            true => "a value could not be converted while the statement ran".to_owned(),
            false => message.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        let message = message.chars().take(MESSAGE_CHARS).filter(|c| !c.is_control()).collect();
        Self { status, code, message, clock_ahead: None }
    }

    /// What it means.
    pub(super) fn meaning(&self) -> Meaning {
        match self.code.as_str() {
            "390318" | "390302" | "394302" => Meaning::TokenExpired,
            "390100" | "390422" => Meaning::SignIn,
            "390189" | "390186" | "390187" => Meaning::Role,
            "390201" | "000606" | "000625" | "002043" if self.names_warehouse() => {
                Meaning::Warehouse
            }
            "390201" | "000606" => Meaning::Warehouse,
            "002003" | "003001" | "002043" => Meaning::Missing,
            "000904" | "002037" | "002213" | "002025" => Meaning::Shape,
            "000630" => Meaning::StatementTimeout,
            "000604" => Meaning::Cancelled,
            "090073" | "090036" | "000807" => Meaning::Quota,
            "390505" => Meaning::Throttled,
            "391908" | "391911" | "000709" | "000710" => Meaning::ResultGone,
            _ => self.meaning_of_status(),
        }
    }

    fn meaning_of_status(&self) -> Meaning {
        let says = |word: &str| self.message.to_ascii_lowercase().contains(word);
        match self.status {
            401 | 403 if says("expired") => Meaning::TokenExpired,
            // Snowflake says why: this is something between it and this machine.
            403 if self.code.is_empty() && self.message.is_empty() => Meaning::Stumbled,
            401 | 403 => Meaning::SignIn,
            404 | 410 => Meaning::ResultGone,
            408 => Meaning::StatementTimeout,
            422 if says("resource monitor") || says("exceeded its quota") => Meaning::Quota,
            429 => Meaning::Throttled,
            500..=599 => Meaning::Stumbled,
            _ => Meaning::Other,
        }
    }

    /// Whether the statement itself was refused, for a reason that has no name here.
    pub(super) fn is_of_statement(&self) -> bool {
        self.status == 422 && self.meaning() == Meaning::Other
    }

    fn names_warehouse(&self) -> bool {
        self.message.to_ascii_lowercase().contains("warehouse")
    }

    /// The error that a run or a person gets, with the way out.
    pub(super) fn error(
        &self,
        context: &Context,
        table: Option<&Table>,
        now: Timestamp,
    ) -> SourceError {
        let said = self.said();
        let role = context.role();
        match self.meaning() {
            Meaning::TokenExpired | Meaning::SignIn => {
                SourceError::SignInAgain { message: said, way_out: self.sign_in_advice(context) }
            }
            Meaning::Role => SourceError::Misconfigured {
                message: format!("{said}; GRANT ROLE {role} TO USER ...; lets it be used"),
            },
            Meaning::Warehouse => {
                let warehouse = &context.warehouse;
                let grant = format!("GRANT USAGE ON WAREHOUSE {warehouse} TO ROLE {role};");
                SourceError::Misconfigured {
                    message: format!(
                        "{said}; check that the warehouse is spelled as Snowflake shows it, or let \
                         the role use it: {grant}"
                    ),
                }
            }
            Meaning::Missing => match table {
                Some(table) => SourceError::RootMissing {
                    message: format!("{said}; {}", context.table_grants(table)),
                },
                None => SourceError::Misconfigured { message: said },
            },
            Meaning::Shape => SourceError::Permanent {
                message: format!("the columns are not what they were: {said}"),
            },
            Meaning::StatementTimeout => SourceError::Misconfigured {
                message: format!(
                    "{said}; a statement took longer than the connection's query_timeout_seconds \
                     and longer than twice that: raise it, or use a larger warehouse"
                ),
            },
            Meaning::Quota => {
                let until = now.checked_add(QUOTA_HOLD).unwrap_or(now);
                SourceError::Held { message: said, until }
            }
            Meaning::Throttled => {
                // The budget waits for as long as Snowflake asks, and tells how long that was.
                SourceError::RateLimited { message: said, retry_after: None }
            }
            Meaning::Cancelled | Meaning::Stumbled | Meaning::ResultGone => {
                SourceError::Transient { message: said }
            }
            Meaning::Other => SourceError::Permanent { message: said },
        }
    }

    /// Snowflake's words, with what they can be looked up by.
    fn said(&self) -> String {
        match (self.message.is_empty(), self.code.is_empty()) {
            (false, false) => format!("Snowflake: {} ({})", self.message, self.code),
            (false, true) => format!("Snowflake: {} (HTTP {})", self.message, self.status),
            (true, _) => format!("Snowflake answered HTTP {}", self.status),
        }
    }

    fn sign_in_advice(&self, context: &Context) -> String {
        let skew = self.clock_ahead.filter(|skew| skew.unsigned_abs() > CLOCK_SKEW_SECONDS);
        if let Some(skew) = skew {
            let direction = if skew > 0 { "behind" } else { "ahead of" };
            return format!(
                "this machine's clock is {} s {direction} Snowflake's, and a token that is not valid \
                 yet, or any more, is refused: set the clock",
                skew.unsigned_abs()
            );
        }
        if let Some(statement) = &context.lets_in {
            return format!(
                "the user may not have this connection's key; a role that may change the user lets \
                 it in with: {statement}"
            );
        }
        "programs need a key pair whose public key the user has (ALTER USER ... SET \
         RSA_PUBLIC_KEY), or a programmatic access token in the password's place; a token of a \
         service user needs a network policy"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sources::{
        ErrorClass,
        snowflake::{columns::Kind, sql::Bind},
    };

    fn context() -> Context {
        let role = Some(Name::exact("READER"));
        Context { warehouse: Name::exact("LOAD_WH"), role, lets_in: None }
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn refused(status: u16, code: &str, message: &str) -> Refusal {
        let body = json!({ "code": code, "message": message, "sqlState": "x" }).to_string();
        Refusal::read(status, body.as_bytes())
    }

    #[test]
    fn a_statement_is_sent_in_utc_with_a_tag_a_timeout_and_typed_values() {
        let statement = Statement {
            text: "SELECT ?".into(),
            binds: vec![
                Bind { kind: "FIXED", value: "1".into() },
                Bind { kind: "TIMESTAMP_TZ", value: "1 960".into() },
            ],
        };
        let body = submission(&statement, &context(), Duration::from_secs(300));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            json!({
                "statement": "SELECT ?",
                "timeout": 300,
                "warehouse": "LOAD_WH",
                "role": "READER",
                "bindings": {
                    "1": {"type": "FIXED", "value": "1"},
                    "2": {"type": "TIMESTAMP_TZ", "value": "1 960"},
                },
                "parameters": {
                    "TIMEZONE": "UTC",
                    "QUERY_TAG": "catchment",
                    "BINARY_OUTPUT_FORMAT": "HEX",
                    "CLIENT_RESULT_CHUNK_SIZE": 16,
                },
            })
        );
    }

    #[test]
    fn a_result_names_its_columns_and_the_rows_of_its_partitions() {
        let body = json!({
            "code": "090001", "statementHandle": "h-1", "data": [["1", null]],
            "resultSetMetaData": {
                "numRows": 3, "format": "jsonv2",
                "rowType": [
                    {"name": "ID", "type": "fixed", "scale": 0, "nullable": false, "collation": null},
                    {"name": "T", "type": "text", "length": 5, "collation": "en-ci"},
                ],
                "partitionInfo": [{"rowCount": 1, "uncompressedSize": 9}, {"rowCount": 2}],
            },
        });
        let result = result_set(body.to_string().as_bytes()).unwrap();
        assert_eq!(result.handle, "h-1");
        assert_eq!(result.partitions, [1, 2]);
        assert_eq!(result.columns[0].kind, Kind::Integer);
        assert!(result.columns[1].is_collated);
    }

    #[test]
    fn partitions_that_do_not_add_up_are_no_result() {
        let body = json!({
            "statementHandle": "h",
            "resultSetMetaData": {"numRows": 3, "rowType": [], "partitionInfo": [{"rowCount": 1}]},
        });
        assert!(matches!(
            result_set(body.to_string().as_bytes()),
            Err(SourceError::Garbled { .. })
        ));
        assert!(matches!(
            result_set(b"{\"statementHandle\":\"h\"}"),
            Err(SourceError::Garbled { .. })
        ));
        assert!(matches!(result_set(b"<html>"), Err(SourceError::Garbled { .. })));
    }

    #[test]
    fn a_handle_cannot_lead_elsewhere() {
        assert!(is_handle("01b2c3d4-0000-1111-0000-000000000001"));
        for handle in ["", "../../x", "a/b", "a?b", "a%2f", "a b", &"a".repeat(200)] {
            assert!(!is_handle(handle), "{handle}");
        }
    }

    #[test]
    fn refusals_mean_what_the_documentation_says() {
        for (status, code, message, meaning) in [
            (401, "390144", "JWT token is invalid.", Meaning::SignIn),
            (401, "390100", "Incorrect username or password was specified.", Meaning::SignIn),
            (401, "390303", "Invalid OAuth access token.", Meaning::SignIn),
            (401, "390318", "OAuth access token expired.", Meaning::TokenExpired),
            (401, "", "JWT token has expired", Meaning::TokenExpired),
            (403, "390422", "Incoming request with IP is not allowed.", Meaning::SignIn),
            (422, "390422", "Incoming request with IP is not allowed.", Meaning::SignIn),
            (401, "", "User temporarily locked. Try again later.", Meaning::SignIn),
            (422, "390189", "Role 'X' specified is not granted.", Meaning::Role),
            (422, "390201", "The requested warehouse does not exist.", Meaning::Warehouse),
            (422, "000606", "No active warehouse selected.", Meaning::Warehouse),
            (
                422,
                "002043",
                "Warehouse does not exist or operation cannot be performed.",
                Meaning::Warehouse,
            ),
            (422, "002003", "Object 'T' does not exist or not authorized.", Meaning::Missing),
            (422, "003001", "Insufficient privileges to operate on table 'T'", Meaning::Missing),
            (422, "000904", "invalid identifier 'X'", Meaning::Shape),
            (408, "000630", "Statement reached its statement timeout", Meaning::StatementTimeout),
            (408, "", "", Meaning::StatementTimeout),
            (422, "000604", "SQL execution canceled", Meaning::Cancelled),
            (422, "090073", "Warehouse cannot be resumed because resource monitor", Meaning::Quota),
            (429, "390505", "Too many requests", Meaning::Throttled),
            (429, "", "", Meaning::Throttled),
            (503, "", "", Meaning::Stumbled),
            (403, "", "", Meaning::Stumbled),
            (404, "", "handle not found", Meaning::ResultGone),
            (422, "391908", "result too large", Meaning::ResultGone),
            (422, "001003", "syntax error", Meaning::Other),
        ] {
            assert_eq!(refused(status, code, message).meaning(), meaning, "{status} {code}");
        }
    }

    #[test]
    fn what_ends_a_run_says_the_grant_that_helps() {
        let table = Table::parse("db.s.t", None, None).unwrap();
        let missing = refused(422, "002003", "Object does not exist or not authorized.");
        let error = missing.error(&context(), Some(&table), now());
        assert_eq!(error.class(), ErrorClass::Connection);
        assert!(
            error.to_string().contains(r#"GRANT SELECT ON TABLE "DB"."S"."T" TO ROLE "READER";"#)
        );
        let warehouse = refused(422, "390201", "no").error(&context(), None, now()).to_string();
        assert!(warehouse.contains(r#"GRANT USAGE ON WAREHOUSE "LOAD_WH" TO ROLE "READER";"#));
        let timeout = refused(408, "000630", "timeout").error(&context(), None, now()).to_string();
        assert!(timeout.contains("query_timeout_seconds"));
        let quota = refused(422, "090073", "resource monitor").error(&context(), None, now());
        assert!(matches!(
            quota,
            SourceError::Held { until, .. } if until == now() + QUOTA_HOLD
        ));
    }

    #[test]
    fn a_refused_sign_in_says_both_ways_in_or_that_the_clock_is_wrong() {
        let mut refusal = refused(401, "390144", "JWT token is invalid. [uuid]");
        let message = refusal.error(&context(), None, now()).to_string();
        assert!(message.contains("key pair") && message.contains("programmatic access token"));
        refusal.clock_ahead = Some(-3600);
        let message = refusal.error(&context(), None, now()).to_string();
        assert!(message.contains("clock is 3600 s ahead of Snowflake's"), "{message}");
        assert!(matches!(refusal.error(&context(), None, now()), SourceError::SignInAgain { .. }));
    }

    #[test]
    fn what_snowflake_says_is_shortened_and_quotes_no_data() {
        let refusal = refused(422, "100038", "Numeric value 'secret' is not recognized");
        assert!(!refusal.error(&context(), None, now()).to_string().contains("secret"));
        let long = refused(422, "001003", &format!("a\n\u{1b}[2J {}", "x".repeat(1000)));
        assert!(long.message.starts_with("a [2J x"));
        assert!(long.message.len() < 320);
        assert_eq!(
            Refusal::read(502, b"<html>").error(&context(), None, now()).to_string(),
            "Snowflake answered HTTP 502"
        );
    }
}
