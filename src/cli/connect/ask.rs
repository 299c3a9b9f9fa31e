//! Questions to the person at the terminal. What is secret is not shown while it is typed.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::{Map, Value};

use crate::{
    cli::error::CliError,
    sources::{
        Provider,
        provider::{Kind, Presence, field::Field},
    },
};

/// Whether there is somebody to ask.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Asks for one of several answers; returns its index.
pub(super) fn choice(question: &str, answers: &[&str]) -> Result<usize, CliError> {
    let mut out = io::stderr().lock();
    writeln!(out, "{question}")?;
    for (number, answer) in (1..).zip(answers) {
        writeln!(out, "  {number}  {answer}")?;
    }
    drop(out);
    loop {
        let given = text("Number", Some("1"))?;
        match given.parse::<usize>() {
            Ok(number) if (1..=answers.len()).contains(&number) => return Ok(number - 1),
            _ => writeln!(io::stderr(), "write a number from 1 to {}", answers.len())?,
        }
    }
}

/// Asks for a line.
pub(super) fn text(label: &str, default: Option<&str>) -> Result<String, CliError> {
    let mut out = io::stderr().lock();
    match default {
        Some(default) => write!(out, "{label} [{default}]: ")?,
        None => write!(out, "{label}: ")?,
    }
    out.flush()?;
    let mut line = String::new();
    if io::stdin().read_line(&mut line).map_err(CliError::failed)? == 0 {
        return Err(CliError::usage(format!("{label} is needed, and nobody answers")));
    }
    Ok(match (line.trim(), default) {
        ("", Some(default)) => default.to_owned(),
        (line, _) => line.to_owned(),
    })
}

/// Asks for a line that is not shown.
pub(super) fn secret(label: &str) -> Result<String, CliError> {
    rpassword::prompt_password(format!("{label}: ")).map_err(|error| {
        CliError::usage(format!("{label} is needed, and nobody can be asked for it ({error})"))
    })
}

/// Asks for the credentials of a provider, field by field; `None` where it needs none and gets
/// none.
pub(super) fn credentials(provider: &dyn Provider) -> Result<Option<Map<String, Value>>, CliError> {
    let Some(schema) = provider.schema() else { return Ok(None) };
    if !can_ask() {
        return match schema.presence {
            Presence::Optional => Ok(None),
            Presence::Required => Err(CliError::usage(format!(
                "{} needs credentials: give them with --credentials FILE, or - for standard input",
                provider.name()
            ))),
        };
    }
    let kinds: Vec<&str> = schema.kinds.iter().map(|kind| kind.tag).collect();
    let kind = match kinds.as_slice() {
        [_] => schema.kinds.first(),
        kinds => schema.kinds.get(choice("Which credentials?", kinds)?),
    };
    kind.map(fields).transpose()
}

fn fields(kind: &Kind) -> Result<Map<String, Value>, CliError> {
    let mut given = Map::new();
    given.insert("type".to_owned(), kind.tag.into());
    for field in kind.fields {
        let label = match field.is_required() {
            true => field.name().to_owned(),
            false => format!("{} (Enter: none)", field.name()),
        };
        let value = match is_secret(field) {
            true => secret(&label)?,
            false => text(&label, None)?,
        };
        if !value.is_empty() {
            given.insert(field.name().to_owned(), field.value_of(&value));
        }
    }
    Ok(given)
}

/// Whether what a field of credentials holds must not be shown: by its name, as no provider calls
/// an id a secret.
fn is_secret(field: &Field) -> bool {
    let name = field.name();
    ["secret", "token", "password", "passphrase", "private_key"]
        .iter()
        .any(|word| name.contains(word) && !name.ends_with("_id"))
}
