//! `catchment connect`: makes a connection to a provider, or renews one. People sign in with a
//! browser or on another device where the provider can; other secrets come from a prompt, a file or
//! standard input, never from the command line, where other users of the computer can read them.

mod ask;
mod sign_in;

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{Exit, Outcome, Settings, error::CliError, output};
use crate::{
    engine::{
        Engine,
        connections::{ConnectionError, NewName},
    },
    model::{Connection, ProviderName},
    sources::{self, Accepted, Provider, Wrong, provider::Schema},
    store::connections::{self as stored, StoredConnection},
};

const EXAMPLES: &str = "\
Examples:
  catchment connect google_drive                   asks for your client, then signs in
  catchment connect google_drive --credentials key.json    a service account's key file
  catchment connect sharepoint --client-id ID --device     signs in on another device
  catchment connect google_drive --renew \"Google\"          signs in again
  catchment connect s3 --name media --set region=eu-central-1 --credentials keys.json

A credentials file is a JSON object such as {\"access_key_id\": \"…\", \"secret_access_key\": \"…\"};
`-` reads it from standard input.";

/// Arguments of `catchment connect`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The provider, as in google_drive, sharepoint, snowflake, iconik, s3 or tigris
    provider: String,

    /// What to call the connection [default: after the provider]
    #[arg(long)]
    name: Option<String>,

    /// A setting of the connection (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// A JSON file with the credentials, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["client_id", "device"])]
    credentials: Option<PathBuf>,

    #[command(flatten, next_help_heading = "Signing in")]
    sign_in: SignInArgs,

    /// Keep the connection without testing it
    #[arg(long)]
    no_test: bool,

    /// Print the connection as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments about signing in.
#[derive(Debug, clap::Args)]
pub(super) struct SignInArgs {
    /// The id of your client with Google or Microsoft
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,

    /// A file with the secret of that client, or - for standard input
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,

    /// Microsoft: your tenant, or common, organizations or consumers [default: common]
    #[arg(long, value_name = "TENANT")]
    tenant_id: Option<String>,

    /// Sign in on another device, with a code
    #[arg(long)]
    device: bool,

    /// Open the browser instead of printing the address
    #[arg(long, conflicts_with = "device")]
    browser: bool,

    /// Give this connection a new sign-in, instead of making one
    #[arg(long, value_name = "CONNECTION", conflicts_with_all = ["name", "credentials"])]
    renew: Option<String>,
}

/// Runs it.
pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let provider = configurable(&args.provider)?;
    let engine = settings.engine()?;
    let config = given_settings(provider.schema(), &args.set)?;
    let connection = match (&args.credentials, provider.sign_in()) {
        (None, Some(with)) if !wants_other_credentials(provider, &args)? => {
            sign_in::run(&engine, provider, with, &args, config).await?
        }
        (file, _) => {
            let credentials = match file {
                Some(file) => Some(credentials_in(provider, file)?),
                None => ask::credentials(provider)?,
            };
            add(&engine, provider, &args, config, credentials).await?
        }
    };
    print(&connection, args.json)?;
    Ok(Exit::Done)
}

/// The provider of that name, if connections to it can be made.
fn configurable(name: &str) -> Result<&'static dyn Provider, CliError> {
    let all = || sources::providers().filter(|provider| provider.schema().is_some());
    all().find(|provider| provider.name() == name).ok_or_else(|| {
        let (read, kept): (Vec<_>, Vec<_>) = all().partition(|it| it.reader().is_some());
        let meant = match read.iter().chain(&kept).find(|provider| is_meant(**provider, name)) {
            Some(provider) => format!("did you mean {}? Write", provider.name()),
            None => "write".to_owned(),
        };
        CliError::usage(format!(
            "there is no provider {name:?}: {meant} one of {}. This build also stores connections \
             to {}, and does not sync from them yet",
            names(&read),
            names(&kept)
        ))
    })
}

fn names(providers: &[&dyn Provider]) -> String {
    providers.iter().map(|provider| provider.name()).collect::<Vec<_>>().join(", ")
}

/// Whether a word that is no provider's name is another word for that one: the scheme of its
/// addresses, or its name, or part of that, written otherwise.
fn is_meant(provider: &dyn Provider, word: &str) -> bool {
    let plain = |text: &str| {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
    };
    let (word, own) = (plain(word), plain(provider.name()));
    let mut schemes = provider.reader().map_or(&[][..], |reader| reader.schemes()).iter();
    schemes.any(|scheme| *scheme == word)
        || word.len() > 2 && (own.contains(&word) || word.contains(&own))
}

/// Whether somebody who could sign in would rather bring other credentials; asked only where
/// nothing on the command line says it.
fn wants_other_credentials(provider: &dyn Provider, args: &Args) -> Result<bool, CliError> {
    let SignInArgs { client_id, renew, device, .. } = &args.sign_in;
    if client_id.is_some() || renew.is_some() || *device || !ask::can_ask() {
        return Ok(false);
    }
    let way = ask::choice(
        &format!("How is {} reached?", provider.name()),
        &["Sign in as a person", "Enter the credentials of an application or a service account"],
    )?;
    Ok(way == 1)
}

/// The settings that `--set` gives.
fn given_settings(
    schema: Option<&Schema>,
    given: &[String],
) -> Result<Map<String, Value>, CliError> {
    let mut settings = Map::new();
    for pair in given {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(CliError::usage(format!("--set {pair:?}: write KEY=VALUE")));
        };
        let fields = schema.map_or(&[][..], |schema| schema.settings);
        let Some(field) = fields.iter().find(|field| field.name() == key) else {
            let known: Vec<&str> = fields.iter().map(|field| field.name()).collect();
            return Err(CliError::usage(format!(
                "--set {key}: there is no such setting; there are: {}. Credentials come from \
                 --credentials or a prompt",
                known.join(", ")
            )));
        };
        settings.insert(key.to_owned(), field.value_of(value));
    }
    Ok(settings)
}

/// The credentials in a file.
fn credentials_in(provider: &dyn Provider, file: &Path) -> Result<Map<String, Value>, CliError> {
    let text = secret_text(file)?;
    let given: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
        // The error names a place, not what is there.
        CliError::usage(format!(
            "{}: this is no JSON object with credentials (line {}, column {})",
            file.display(),
            error.line(),
            error.column()
        ))
    })?;
    match provider.sign_in().and_then(|with| with.client_in(&given)) {
        None => Ok(given),
        Some(client) => Err(CliError::usage(format!(
            "{file}: this is a client that people sign in through, and no credentials. Sign in with \
             it: catchment connect {} --client-id {} --client-secret-file {file}",
            provider.name(),
            client.id,
            file = file.display(),
        ))),
    }
}

/// The text of a file, or of standard input for `-`.
fn secret_text(file: &Path) -> Result<zeroize::Zeroizing<String>, CliError> {
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = match file.as_os_str() == "-" {
        true => io::stdin().read_to_string(&mut text).map(drop),
        false => {
            std::fs::File::open(file).and_then(|mut it| it.read_to_string(&mut text)).map(drop)
        }
    };
    read.map_err(|error| CliError::File { path: file.to_owned(), error })?;
    Ok(text)
}

async fn add(
    engine: &Engine,
    provider: &dyn Provider,
    args: &Args,
    mut config: Map<String, Value>,
    credentials: Option<Map<String, Value>>,
) -> Result<StoredConnection, CliError> {
    if let Some(credentials) = credentials {
        config.insert("credentials".to_owned(), credentials.into());
    }
    let accepted = accepted(sources::accept(&ProviderName::new(provider.name()), &config.into()))?;
    let name = wanted_name(args, provider.name());
    Ok(engine.add_connection(name, accepted, !args.no_test).await?)
}

fn wanted_name(args: &Args, default: &str) -> NewName {
    match &args.name {
        Some(name) => NewName::Exactly(name.clone()),
        None => NewName::Like(default.to_owned()),
    }
}

fn accepted(outcome: Result<Accepted, Vec<Wrong>>) -> Result<Accepted, CliError> {
    outcome.map_err(|wrong| {
        let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        CliError::usage(told.join("\n  "))
    })
}

fn print(connection: &StoredConnection, as_json: bool) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    if as_json {
        let Connection { provider, .. } = &connection.settings;
        let value = json!({
            "connection_id": connection.id, "name": connection.name, "provider": provider,
            "status": connection.status,
        });
        return output::json_line(&mut out, &value);
    }
    let state = match sources::reader(&connection.settings.provider) {
        Some(_) => "ready",
        None => sources::NOT_READ,
    };
    writeln!(out, "connection {:?} is {state}: {}", connection.name, connection.id)?;
    Ok(())
}

/// The connection of that id or name.
pub(super) async fn named(engine: &Engine, name: &str) -> Result<StoredConnection, CliError> {
    let wanted = name.to_owned();
    let found = engine.store.read(move |db| stored::named(db, &wanted)).await?;
    found.ok_or_else(|| {
        CliError::usage(format!(
            "there is no connection {name:?}: `catchment connections` lists those there are"
        ))
    })
}

impl From<ConnectionError> for CliError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::NameTaken(_) => Self::usage(error),
            error => Self::failed(error),
        }
    }
}
