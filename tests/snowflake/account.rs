//! How the source is opened by these tests, and what people see of an account: tests of a
//! connection, and looking around.

use std::{sync::Arc, time::Duration};

use catchment::{
    clock::{ManualClock, SharedClock, SystemClock},
    config::{Hosts, Limits, SourceTuning},
    model::{Credentials, Location, ProviderName, SyncOptions},
    sources::{
        ErrorClass, Opener as _, Registry, Source, SourceError, accept,
        browse::{ItemKind, Level},
        http::Budgets,
        oauth::Grants,
        reader,
    },
};
use serde_json::{Value, json};

use crate::fake::{ACCOUNT, FakeSnowflake, TOKEN, USER, private_key, public_key};

/// A connection to the imitation, with its user's key.
pub struct Connected {
    config: Value,
    clock: SharedClock,
    hosts: Arc<Hosts>,
    limits: Limits,
}

impl Connected {
    pub fn to(fake: &FakeSnowflake) -> Self {
        let config = json!({
            "account": ACCOUNT, "warehouse": "load_wh", "role": "reader", "database": "db",
            "credentials": {"type": "key_pair", "username": USER, "private_key": private_key()},
        });
        let hosts = Hosts { snowflake: Some(fake.url().try_into().unwrap()), ..Hosts::default() };
        let (clock, limits) = (Arc::new(SystemClock), Limits::default());
        Self { config, clock, hosts: Arc::new(hosts), limits }
    }

    /// On a machine with this clock.
    pub fn at(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// In an installation with such an overlap of watermarks.
    pub fn overlapping(mut self, seconds: u32) -> Self {
        self.limits.snowflake_overlap_seconds = seconds;
        self
    }

    /// With other settings or credentials.
    pub fn with(mut self, change: &Value) -> Self {
        self.config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self
    }

    async fn open(&self, source_path: Vec<u8>) -> Result<Arc<dyn Source>, SourceError> {
        let accepted = accept(&ProviderName::new("snowflake"), &self.config).unwrap();
        let location = Location { connection: accepted.connection, source_path };
        let credentials: Option<&Credentials> = accepted.credentials.as_ref();
        let tuning = SourceTuning {
            clock: Arc::clone(&self.clock),
            quiet_period: Duration::ZERO,
            own_folders: Vec::new(),
            hosts: Arc::clone(&self.hosts),
            grants: Grants::default(),
            budgets: Budgets::within(self.limits.clone()),
            closings: catchment::sources::closings::Closings::default(),
        };
        Registry.open(&location, credentials, &SyncOptions::default(), &tuning).await
    }

    /// A table.
    pub async fn table(&self, place: &str) -> Arc<dyn Source> {
        self.open(place.as_bytes().to_vec()).await.unwrap()
    }

    /// What is below a place.
    async fn level(&self, path: &str) -> Result<Level, SourceError> {
        self.look(path, ItemKind::Folders, 100).await
    }

    /// The same, of either kind and no more than that.
    async fn look(&self, path: &str, wanted: ItemKind, most: usize) -> Result<Level, SourceError> {
        let place = reader(&ProviderName::new("snowflake")).unwrap().browsed(path).unwrap();
        self.open(place).await?.browse(wanted, most).await
    }

    /// What a test of the connection says.
    async fn test(&self) -> Result<String, SourceError> {
        let reader = reader(&ProviderName::new("snowflake")).unwrap();
        let source = self.open(reader.root()).await?;
        reader.test(source.as_ref()).await
    }
}

/// What the only request that failed was refused with, and how often it was sent.
fn refusals(fake: &FakeSnowflake) -> usize {
    fake.log().iter().filter(|entry| entry["status"] == 401).count()
}

#[tokio::test]
async fn a_key_signs_in_and_the_test_of_a_connection_wakes_no_warehouse() {
    let fake = FakeSnowflake::start();
    Connected::to(&fake).test().await.unwrap();
    let log = fake.log();
    assert!(log.iter().all(|entry| entry["user"] == "ORG-ACC.LOADER"), "{log:?}");
    assert!(log.iter().all(|entry| entry["takes_warehouse"] == false), "{log:?}");
    assert!(log.iter().all(|entry| entry["parameters"]["TIMEZONE"] == "UTC"), "{log:?}");
    assert!(log.iter().all(|entry| entry["parameters"]["QUERY_TAG"] == "catchment"), "{log:?}");
}

#[tokio::test]
async fn a_programmatic_access_token_signs_in_in_the_passwords_place() {
    let fake = FakeSnowflake::start();
    let credentials = |password| json!({"credentials": {"type": "username_password", "username": USER, "password": password}});
    Connected::to(&fake).with(&credentials(TOKEN)).test().await.unwrap();
    let error = Connected::to(&fake).with(&credentials("hunter2")).test().await.unwrap_err();
    assert!(matches!(error, SourceError::SignInAgain { .. }));
    assert!(error.to_string().contains("key pair"), "{error}");
    assert!(error.to_string().contains("programmatic access token"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_refused_key_is_sent_once_whatever_is_asked_for_afterwards() {
    let fake = FakeSnowflake::start();
    let connected = Connected::to(&fake);
    let credentials = json!({"credentials": {
        "type": "key_pair", "username": "SOMEBODY_ELSE", "private_key": private_key(),
    }});
    let connected = connected.with(&credentials);
    let source = connected.table("db.public.t").await;
    let error = source.probe().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Connection);
    assert!(source.probe().await.is_err());
    assert!(source.probe().await.is_err());
    assert_eq!(refusals(&fake), 1);
}

#[tokio::test]
async fn a_refused_key_comes_with_the_statement_that_lets_it_in() {
    let fake = FakeSnowflake::start();
    fake.users(&json!({ "ORG-ACC.LOADER": { "key": null } }));
    let error = Connected::to(&fake).test().await.unwrap_err().to_string();
    let statement = format!("ALTER USER \"LOADER\" SET RSA_PUBLIC_KEY='{}';", public_key());
    assert!(error.contains(&statement), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_named_as_the_reason() {
    let fake = FakeSnowflake::start();
    fake.faults(&json!({ "clock": -7200 }));
    let error = Connected::to(&fake).test().await.unwrap_err().to_string();
    assert!(error.contains("s ahead of Snowflake's"), "{error}");
}

#[tokio::test]
async fn a_token_that_is_too_old_is_replaced_once_and_the_request_repeated() {
    let fake = FakeSnowflake::start();
    fake.sql(&["create table T (ID number(38,0) primary key)"]);
    // Ours is three quarters of an hour behind, which the server finds out when its own goes on.
    let start = jiff::Timestamp::now();
    let clock = Arc::new(ManualClock::new(start));
    let connected = Connected::to(&fake).at(clock.clone());
    let source = connected.table("db.public.t").await;
    source.probe().await.unwrap();
    fake.faults(&json!({ "clock": 59 * 60 + 1 }));
    clock.set(start + Duration::from_secs(50 * 60));
    source.probe().await.unwrap();
    let refused = fake.log().into_iter().filter(|entry| entry["status"] == 401).count();
    assert_eq!(refused, 1);
    let tokens: std::collections::BTreeSet<String> =
        fake.log().iter().map(|entry| entry["token"].to_string()).collect();
    assert_eq!(tokens.len(), 2);
}

#[tokio::test]
async fn a_token_that_a_new_one_would_not_differ_from_is_not_tried_again() {
    let fake = FakeSnowflake::start();
    let clock = Arc::new(ManualClock::new(jiff::Timestamp::now()));
    fake.faults(&json!({ "clock": 2 * 60 * 60 }));
    let error = Connected::to(&fake).at(clock).test().await.unwrap_err().to_string();
    assert!(error.contains("s behind Snowflake's"), "{error}");
    assert_eq!(refusals(&fake), 1);
}

#[tokio::test]
async fn a_missing_warehouse_is_named_with_the_grant_that_helps() {
    let fake = FakeSnowflake::start();
    fake.faults(&json!({ "warehouses": ["OTHER_WH"] }));
    let error = Connected::to(&fake).test().await.unwrap_err().to_string();
    let grant = r#"GRANT USAGE ON WAREHOUSE "LOAD_WH" TO ROLE "READER";"#;
    assert!(error.contains(grant), "{error}");
}

#[tokio::test]
async fn a_missing_database_or_schema_of_the_connection_is_named_with_the_grant_that_helps() {
    let fake = FakeSnowflake::start();
    fake.sql(&["create table FILMS (ID number(38,0) primary key)"]);
    let test = async |change: Value| Connected::to(&fake).with(&change).test().await;
    test(json!({ "schema": "public" })).await.unwrap();
    let error = test(json!({ "database": "nope" })).await.unwrap_err();
    assert!(matches!(error, SourceError::Misconfigured { .. }), "{error:?}");
    let error = error.to_string();
    assert!(error.starts_with("database: ") && error.contains("\"NOPE\""), "{error}");
    assert!(error.contains(r#"GRANT USAGE ON DATABASE "NOPE" TO ROLE "READER";"#), "{error}");
    let error = test(json!({ "schema": "nope" })).await.unwrap_err().to_string();
    assert!(error.starts_with("schema: "), "{error}");
    assert!(error.contains(r#"GRANT USAGE ON SCHEMA "DB"."NOPE" TO ROLE "READER";"#), "{error}");
    assert!(fake.log().iter().all(|entry| entry["takes_warehouse"] != true), "no warehouse wakes");
}

#[tokio::test]
async fn a_role_that_the_user_does_not_have_is_named() {
    let fake = FakeSnowflake::start();
    let connected = Connected::to(&fake).with(&json!({ "role": "boss" }));
    let error = connected.test().await.unwrap_err().to_string();
    assert!(error.contains("BOSS"), "{error}");
}

#[tokio::test]
async fn a_missing_table_is_named_with_the_grants_that_help() {
    let fake = FakeSnowflake::start();
    let source = Connected::to(&fake).table("db.public.nope").await;
    let error = source.probe().await.unwrap_err();
    assert!(matches!(error, SourceError::RootMissing { .. }), "{error:?}");
    assert!(error.to_string().contains("GRANT SELECT ON TABLE"), "{error}");
}

#[tokio::test]
async fn databases_schemas_tables_and_columns_are_looked_through_without_a_warehouse() {
    let fake = FakeSnowflake::start();
    fake.sql(&[
        "create table FILMS (ID number(38,0) primary key, TITLE varchar, UPDATED_AT timestamp_ntz)",
        "create view RECENT as select * from FILMS",
    ]);
    let connected = Connected::to(&fake);
    let names = |level: Level| -> Vec<String> {
        level.items.iter().map(|item| item.name.to_json_text()).collect()
    };
    assert!(names(connected.level("/").await.unwrap()).contains(&"DB".to_owned()));
    assert!(names(connected.level("/DB").await.unwrap()).contains(&"PUBLIC".to_owned()));
    let tables = connected.level("/DB/PUBLIC").await.unwrap();
    assert_eq!(tables.items[0].id.as_deref(), Some(r#""DB"."PUBLIC"."FILMS""#));
    assert_eq!(names(tables), ["FILMS", "RECENT"]);
    let columns = connected.level(r#""DB"."PUBLIC"."FILMS""#).await.unwrap();
    let notes: Vec<_> = columns.items.iter().map(|item| item.note.clone().unwrap()).collect();
    assert!(notes[0].ends_with("suits primary_key_columns"), "{notes:?}");
    assert!(notes[2].ends_with("suits incremental_column"), "{notes:?}");
    assert!(fake.log().iter().all(|entry| entry["takes_warehouse"] == false));
}

#[tokio::test]
async fn a_schema_of_more_tables_than_one_answer_holds_is_shown_whole() {
    let fake = FakeSnowflake::start();
    fake.many_tables(["DB", "BIG"], 10_050);
    let level = Connected::to(&fake).look("/DB/BIG", ItemKind::Folders, 20_000).await.unwrap();
    let names: Vec<String> = level.items.iter().map(|item| item.name.to_json_text()).collect();
    assert_eq!(names, (0..10_050).map(|at| format!("T{at:05}")).collect::<Vec<_>>());
    let shown = fake.statements();
    let shown: Vec<_> = shown.iter().filter(|text| text.starts_with("SHOW OBJECTS")).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[1].ends_with("FROM 'T09999'"), "{shown:?}");
}

#[tokio::test]
async fn the_first_rows_of_a_table_are_a_query_that_only_whoever_wants_to_see_them_makes() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["V", "text", null]]);
    let rows: Vec<_> = (10..40).map(|id| json!([id.to_string(), "x"])).collect();
    fake.table(["DB", "S", "T"], &columns, &["ID"], &json!(rows));
    let connected = Connected::to(&fake);
    let queries = || fake.log().iter().filter(|entry| entry["takes_warehouse"] == true).count();
    connected.level("/DB/S/T").await.unwrap();
    assert_eq!(queries(), 0);
    let level = connected.look("/DB/S/T", ItemKind::Files, 5).await.unwrap();
    let names: Vec<String> = level.items.iter().map(|item| item.name.to_json_text()).collect();
    assert_eq!(names, ["10.json", "11.json", "12.json", "13.json", "14.json"]);
    assert_eq!(queries(), 1);
}

#[tokio::test]
async fn a_column_that_the_table_lacks_is_reported_by_the_setting_that_names_it() {
    let fake = FakeSnowflake::start();
    fake.sql(&["create table T (ID number(38,0), DOC variant)"]);
    for (setting, value) in [
        ("primary_key_columns", json!(["nope"])),
        ("incremental_column", json!("nope")),
        ("incremental_column", json!("doc")),
    ] {
        let settings = json!({ "primary_key_columns": ["id"], setting: value });
        let connected = Connected::to(&fake).with(&settings);
        let error = connected.table("db.public.t").await.probe().await.unwrap_err();
        assert!(matches!(error, SourceError::Misconfigured { .. }));
        assert!(error.to_string().starts_with(setting), "{error}");
    }
}
