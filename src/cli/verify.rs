//! `catchment verify`: checks every stored byte against its hash.

use std::{
    io::Write as _,
    sync::{Arc, atomic::AtomicU64},
};

use super::{Exit, Outcome, Settings, bucket, output};
use crate::engine::verify::{self, Damage, Repair, Verified};

/// Arguments of `catchment verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment verify                    every bucket
  catchment verify photos --repair    one bucket; fetch again what is damaged

Exit code 1 when something is damaged and was not repaired.")]
pub(super) struct Args {
    /// Only this bucket
    bucket: Option<String>,

    /// Fetch what is damaged again from its source
    #[arg(long)]
    repair: bool,

    /// Print one JSON event per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let engine =
        if args.repair { settings.existing_engine()? } else { settings.reading_engine()? };
    let bucket_key = match &args.bucket {
        Some(name) => Some(bucket(&engine.store, name).await?.key),
        None => None,
    };
    let progress = Arc::new(AtomicU64::new(0));
    let verified = verify::verify(&engine, bucket_key, args.repair, progress).await?;
    let left = verified.damaged.iter().filter(|found| found.repair != Some(Repair::Done)).count();
    let mut out = std::io::stdout().lock();
    for damage in &verified.damaged {
        if args.json {
            output::json_line(&mut out, &damage_json(damage))?;
        } else {
            writeln!(out, "{}", damage_text(damage))?;
        }
    }
    if args.json {
        output::json_line(&mut out, &summary_json(&verified, left))?;
    } else {
        writeln!(out, "{}", summary_text(&verified, left))?;
    }
    Ok(if left == 0 { Exit::Done } else { Exit::Failed })
}

fn damage_text(damage: &Damage) -> String {
    let repair = match &damage.repair {
        None => String::new(),
        Some(Repair::Done) => "\n  repaired from the source".to_owned(),
        Some(Repair::Failed(reason)) => format!("\n  not repaired: {reason}"),
    };
    let objects: String = damage
        .objects
        .iter()
        .map(|object| format!("\n  affects {}/{}", object.bucket, object.path))
        .collect();
    format!("damaged: {} ({}){objects}{repair}", damage.hash, damage.problem)
}

fn damage_json(damage: &Damage) -> serde_json::Value {
    let objects: Vec<_> = damage
        .objects
        .iter()
        .map(|object| {
            serde_json::json!({
                "bucket": object.bucket,
                "path": object.path.to_json_text(),
                "path_bytes": object.path.base64_if_not_utf8(),
                "object_id": object.id,
            })
        })
        .collect();
    let (repaired, reason) = match &damage.repair {
        None => (None, None),
        Some(Repair::Done) => (Some(true), None),
        Some(Repair::Failed(reason)) => (Some(false), Some(reason)),
    };
    serde_json::json!({
        "event": "damaged",
        "hash": damage.hash.to_string(),
        "size": damage.size,
        "problem": damage.problem,
        "objects": objects,
        "repaired": repaired,
        "repair_error": reason,
    })
}

fn summary_text(verified: &Verified, left: usize) -> String {
    let (blobs, bytes) = (output::counted(verified.blobs, "blob"), output::size(verified.bytes));
    match (verified.damaged.len(), left) {
        (0, _) => format!("{blobs}, {bytes}: all whole"),
        (found, 0) => format!("{blobs}, {bytes}: {found} damaged, all repaired"),
        (found, left) => format!(
            "{blobs}, {bytes}: {found} damaged, {left} not repaired{}",
            if left == found { "; --repair fetches them again" } else { "" }
        ),
    }
}

fn summary_json(verified: &Verified, left: usize) -> serde_json::Value {
    serde_json::json!({
        "event": "summary",
        "status": if left == 0 { "completed" } else { "damaged" },
        "blobs": verified.blobs,
        "bytes": verified.bytes,
        "damaged": verified.damaged.len(),
        "repaired": verified.damaged.len() - left,
    })
}
