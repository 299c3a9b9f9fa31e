//! Snowflake tables as a provider: its settings and credentials, the places that it has, and how
//! people look around in it.

use std::{ffi::OsStr, path::Path, sync::Arc};

use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};

use super::{
    NAME,
    account::Account,
    feed,
    key_pair::PrivateKey,
    names::{self, Name, NotATable},
    source::{self, Snowflake as Tables},
};
use crate::{
    model::{Connection, Cursor, ProviderName},
    sources::{
        Source, SourceError,
        browse::Item,
        provider::{
            Browsing, Filters, Given, Kind, LocationError, Locations, NotAFolder, Opening,
            Presence, Provider, Reader, Schema, Wrong,
            field::{Shape, field, integer, text},
        },
    },
};

/// Snowflake tables.
#[derive(Debug)]
pub struct Snowflake;

const SCHEMA: Schema = Schema {
    model: "SnowflakeConfig",
    settings: &[
        text("account").required(),
        text("warehouse").required(),
        text("database"),
        text("schema"),
        text("role"),
        text("incremental_column"),
        field("primary_key_columns", Shape::Texts),
        integer("query_timeout_seconds", 30, 3600, 300),
        integer("fetch_size", 100, 10_000, 1000),
    ],
    presence: Presence::Required,
    kinds: &[
        Kind {
            tag: "key_pair",
            model: "SnowflakeKeyPairCredentials",
            fields: &[
                text("username").required(),
                text("private_key").required(),
                text("private_key_passphrase"),
            ],
            dropped: &[],
        },
        Kind {
            tag: "username_password",
            model: "SnowflakeUsernamePasswordCredentials",
            fields: &[text("username").required(), text("password").required()],
            dropped: &[],
        },
    ],
};

/// What is given in the place of a private key that is to be made here.
const GENERATE: &str = "generate";

/// What a table's place looks like.
const TABLE: &str = "DATABASE.SCHEMA.TABLE, or SCHEMA.TABLE or TABLE where the connection has the rest; \"double \
     quotes\" around a part make it exact";

impl Provider for Snowflake {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schema(&self) -> Option<&'static Schema> {
        Some(&SCHEMA)
    }

    fn check(&self, given: &Given<'_>) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if let Some(account) = given.text("account")
            && let Err(error) = Account::parse(account)
        {
            let accepted = "ORGANIZATION-ACCOUNT, LOCATOR.REGION, or the address of the account";
            let value = Some(account.into());
            wrong.push(Wrong::invalid("account", value, &error.to_string(), accepted));
        }
        for setting in ["warehouse", "database", "schema", "role"] {
            if let Some(name) = given.text(setting).filter(|name| !name.is_empty())
                && let Err(error) = names::one_name(name)
            {
                let accepted = "a name, with \"double quotes\" around it where it is not plain";
                wrong.push(Wrong::invalid(
                    setting,
                    Some(name.into()),
                    &error.to_string(),
                    accepted,
                ));
            }
        }
        if given.text("warehouse") == Some("") {
            let message = "queries need a warehouse";
            wrong.push(Wrong::invalid("warehouse", Some("".into()), message, "its name"));
        }
        wrong
    }

    /// Makes a key pair where that is asked for: its private half never leaves this installation.
    /// The statement that lets it in comes with the first refused sign-in.
    fn complete(&self, _: &str, secret: &mut Map<String, Value>) -> Result<(), Wrong> {
        if secret.get("private_key").and_then(Value::as_str) != Some(GENERATE) {
            return Ok(());
        }
        let made = PrivateKey::generate().and_then(|key| key.to_pem());
        let pem = made.map_err(|error| {
            Wrong::invalid("credentials.private_key", None, &error.to_string(), "a key in PEM")
        })?;
        secret.insert("private_key".into(), pem.expose_secret().into());
        secret.remove("private_key_passphrase");
        Ok(())
    }

    /// The settings, and where the account is: it tells two connections apart.
    fn connection(&self, given: &Given<'_>) -> Connection {
        let mut stored = Map::new();
        if let Some(Ok(account)) = given.text("account").map(Account::parse) {
            stored.insert("endpoint_url".into(), format!("https://{}", account.host).into());
        }
        stored.insert("config".into(), given.settings.clone().into());
        stored.insert("credentials".into(), given.kind.into());
        Connection { provider: ProviderName::new(self.name()), settings: stored }
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }
}

#[async_trait]
impl Reader for Snowflake {
    async fn open(&self, opening: Opening<'_>) -> Result<Arc<dyn Source>, SourceError> {
        Ok(Arc::new(Tables::open(&opening)?))
    }

    fn offers(&self) -> &'static [&'static str] {
        &["column"]
    }

    fn last_row(&self, cursor: &Cursor) -> Option<String> {
        feed::last_key(cursor)
    }
}

impl Locations for Snowflake {
    fn accepted(&self) -> &'static str {
        TABLE
    }

    fn place(&self, source_path: &str, _: &Path) -> Result<Vec<u8>, String> {
        table_place(source_path).map_err(|error| format!("is not a table: {error}"))
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[NAME]
    }

    fn example(&self) -> &'static str {
        "snowflake://DATABASE.SCHEMA.TABLE"
    }

    fn addressed(&self, scheme: &str, rest: &OsStr) -> Result<Vec<u8>, LocationError> {
        let address = format!("{scheme}://{}", rest.to_string_lossy());
        let Some(text) = rest.to_str() else { return Err(LocationError::NotText(address)) };
        table_place(text).map_err(|error| LocationError::NoPlace {
            address,
            problem: error.to_string(),
            accepted: self.example().to_owned(),
        })
    }

    fn suggested_name(&self, source_path: &[u8]) -> String {
        let text = String::from_utf8_lossy(source_path);
        let parts = names::parse_parts(&text).unwrap_or_default();
        let plain: Vec<&str> = parts.iter().map(Name::as_str).collect();
        let name = plain.join(".").replace(['/', '\0'], "-");
        name.trim_start_matches(['-', '.']).chars().filter(|c| !c.is_control()).take(100).collect()
    }
}

/// A table's place, spelled the one way that it is stored.
fn table_place(text: &str) -> Result<Vec<u8>, NotATable> {
    Ok(names::spelled(&names::parse_parts(text)?).into_bytes())
}

impl Filters for Snowflake {
    fn refused(&self, key: &str) -> Option<&'static str> {
        (key == "where").then_some("is not added to statements: filter with a view, and sync that")
    }
}

#[async_trait]
impl Browsing for Snowflake {
    fn root(&self) -> Vec<u8> {
        source::folder(&[])
    }

    /// `/`, `/DATABASE/SCHEMA/TABLE` in the catalogue's spelling, or the id of an item.
    fn browsed(&self, path: &str) -> Result<Vec<u8>, NotAFolder> {
        let names = match path.starts_with('"') {
            true => names::parse_parts(path).map_err(|_| NotAFolder {
                message: "this is not a quoted name",
                accepted: "an id as it was listed, as in \"DATABASE\".\"SCHEMA\"",
            })?,
            false => {
                let parts = path.split('/').filter(|part| !part.is_empty());
                parts.map(Name::exact).collect()
            }
        };
        match names.len() {
            0..=3 => Ok(source::folder(&names)),
            _ => Err(NotAFolder {
                message: "columns have nothing below them",
                accepted: "/, /DATABASE, /DATABASE/SCHEMA or /DATABASE/SCHEMA/TABLE",
            }),
        }
    }

    fn below(&self, parent: &str, item: &Item) -> (String, String) {
        let id = item.id.clone().unwrap_or_default();
        let parent = match parent.starts_with('"') {
            true => {
                let parts = names::parse_parts(parent).unwrap_or_default();
                parts.iter().map(Name::as_str).collect::<Vec<_>>().join("/")
            }
            false => parent.trim_matches('/').to_owned(),
        };
        let separator = if parent.is_empty() { "" } else { "/" };
        (id, format!("/{parent}{separator}{}", item.name.to_json_text()))
    }

    async fn test(&self, source: &dyn Source) -> Result<String, SourceError> {
        source.probe().await?;
        Ok("Connection test succeeded: signed in, and the warehouse may be used".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{model::EntryPath, sources::accept};

    fn config(change: &Value) -> Value {
        let mut config = json!({
            "account": "org-acc", "warehouse": "load_wh",
            "credentials": {"type": "username_password", "username": "u", "password": "pat"},
        });
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        config
    }

    fn wrong(change: &Value) -> Vec<String> {
        let outcome = accept(&ProviderName::new("snowflake"), &config(change));
        outcome.unwrap_err().into_iter().map(|wrong| wrong.field).collect()
    }

    #[test]
    fn a_wrong_setting_is_reported_by_its_field() {
        assert_eq!(wrong(&json!({"account": "a b"})), ["provider_config.account"]);
        assert_eq!(wrong(&json!({"warehouse": "my-wh"})), ["provider_config.warehouse"]);
        assert_eq!(wrong(&json!({"role": "a.b"})), ["provider_config.role"]);
    }

    #[test]
    fn a_key_that_is_asked_for_is_made_here_and_stored_as_pem() {
        let config = config(&json!({"credentials": {
            "type": "key_pair", "username": "u", "private_key": GENERATE,
        }}));
        let accepted = accept(&ProviderName::new("snowflake"), &config).unwrap();
        let stored: Value = accepted.credentials.unwrap().read().unwrap();
        let pem = stored["private_key"].as_str().unwrap();
        assert!(PrivateKey::read(pem, None).is_ok());
    }

    #[test]
    fn two_connections_to_one_account_have_one_identity_however_it_is_spelled() {
        let identity = |account: &str| {
            let accepted =
                accept(&ProviderName::new("snowflake"), &config(&json!({"account": account})));
            accepted.unwrap().connection.identity()
        };
        assert_eq!(identity("ORG-ACC"), identity("https://app.snowflake.com/org/acc"));
        assert_ne!(identity("org-acc"), identity("org-other"));
    }

    #[test]
    fn a_table_is_one_place_however_it_is_spelled() {
        let place = |text: &str| Snowflake.place(text, Path::new("/data")).map(String::from_utf8);
        assert_eq!(place("db.\"S\".orders").unwrap().unwrap(), "DB.S.ORDERS");
        assert_eq!(place("\"a/b\"").unwrap().unwrap(), "\"a/b\"");
        assert!(place("db.s.my-table").unwrap_err().contains("\"my-table\""));
        let rest = OsStr::new("db.s.t");
        assert_eq!(Snowflake.addressed("snowflake", rest).unwrap(), b"DB.S.T");
        assert_eq!(Snowflake.address(&EntryPath::new("DB.S.T")), "snowflake://DB.S.T");
    }

    #[test]
    fn a_bucket_is_named_after_the_table() {
        assert_eq!(Snowflake.suggested_name(b"DB.S.ORDERS"), "DB.S.ORDERS");
        assert_eq!(Snowflake.suggested_name(b"\"-a/b\""), "a-b");
    }

    #[test]
    fn what_is_listed_can_be_sent_back_by_id_or_path() {
        let level = |path: &str| Snowflake.browsed(path).unwrap();
        assert_eq!(level("/"), Snowflake.root());
        assert_eq!(level("/DB/S"), level(r#""DB"."S""#));
        assert_eq!(level("/db"), level(r#""db""#));
        assert_ne!(level("/db"), level("/DB"));
        assert!(Snowflake.browsed("/a/b/c/d").is_err());
        assert!(Snowflake.browsed("\"a").is_err());
    }
}
