//! `catchment documents`: prints the documents of a collection.

use super::{Exit, Outcome, Settings, error::CliError, output};
use crate::store::{
    namespaces,
    processing::{
        collections::{self, Collection},
        documents::{self, Document, query::Query},
    },
};

/// Arguments of `catchment documents`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment documents facts                     id and object of each document
  catchment documents facts --json              all of each, one a line
  catchment documents facts --search 'oak 2026' those that have these words")]
pub(super) struct Args {
    /// The collection, by name or id
    collection: String,

    /// Only documents that have every one of these words
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,

    /// Print the documents as JSON, one a line
    #[arg(long)]
    json: bool,
}

/// Documents that are read at once.
const PAGE: u32 = 500;

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let Some(store) = settings.store()? else {
        return Err(no_collection(&args.collection, &[]));
    };
    let wanted = args.collection.clone();
    let (found, all) = store
        .read(move |db| {
            let namespace = namespaces::default(db)?.key;
            let all = collections::of_namespace(db, namespace)?;
            Ok((collections::named(db, namespace, &wanted)?, all))
        })
        .await?;
    let collection = found.ok_or_else(|| no_collection(&args.collection, &all))?;
    let search = args.search.as_deref();
    let query = Query::new(collection.key, collection.id.as_str(), None, search, None)
        .map_err(|problem| CliError::usage(problem.message))?;
    let mut after = None;
    let mut out = std::io::stdout().lock();
    loop {
        let (query, behind) = (query.clone(), after.take());
        let (places, page) = store
            .read(move |db| {
                let places = query.keys(db, behind.as_ref(), 0, PAGE)?;
                let page = documents::by_keys(db, places.iter().map(|place| place.key()))?;
                Ok((places, page))
            })
            .await?;
        for document in &page {
            print(&mut out, document, args.json)?;
        }
        match places.last() {
            Some(last) if places.len() == PAGE as usize => after = Some(last.clone()),
            _ => return Ok(Exit::Done),
        }
    }
}

fn print(
    out: &mut impl std::io::Write,
    document: &Document,
    as_json: bool,
) -> Result<(), CliError> {
    if as_json {
        let mut told = document.body.clone();
        told.insert("document_id".to_owned(), document.id.to_string().into());
        let object = document.object_id.as_ref().map(ToString::to_string);
        told.insert("object_id".to_owned(), object.into());
        return output::json_line(out, &told);
    }
    let object = document.object_id.as_ref().map_or("by hand", |id| id.as_str());
    writeln!(out, "{}  {object}", document.id)?;
    Ok(())
}

fn no_collection(name: &str, all: &[Collection]) -> CliError {
    let known: Vec<&str> = all.iter().map(|collection| collection.name.as_str()).collect();
    CliError::failed(match known.is_empty() {
        true => format!("there is no collection {name:?}: there are none yet"),
        false => format!("there is no collection {name:?}; there are: {}", known.join(", ")),
    })
}
