//! The fields of an object, as filters, orders and counts name them: `o` is its row.

use crate::{
    model::FieldPath,
    store::filter::{Fields, Operand},
};

/// The fields of the objects of a bucket.
#[derive(Clone, Debug)]
pub(in crate::store) struct ObjectFields {
    /// Public id of the bucket.
    pub(in crate::store) bucket_id: String,
}

/// The blobs of the object; `ob` and `b` are the rows.
pub(super) const BLOBS: &str =
    "object_blobs ob JOIN blobs b ON b.blob_key = ob.blob_key WHERE ob.object_key = o.object_key";

impl Fields for ObjectFields {
    fn operand(&self, field: &FieldPath) -> Operand {
        let parts: Vec<&str> = field.parts().iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["object_id"] => Operand::Exact("o.id"),
            ["bucket_id"] => Operand::Constant(self.bucket_id.clone()),
            ["key_prefix" | "path"] | ["source", "path"] => Operand::Path("o.path"),
            ["size_bytes"] | ["source", "size_bytes"] => Operand::Integer("o.size"),
            ["mime_type"] => Operand::Text("o.mime"),
            ["status"] => Operand::Constant(super::UNPROCESSED.to_owned()),
            ["created_at"] => Operand::Milliseconds("o.created_at_ms"),
            ["updated_at"] => Operand::Milliseconds("o.updated_at_ms"),
            ["source", "modified_at"] => Operand::Nanoseconds("o.modified_ns"),
            ["source", "etag"] => {
                Operand::Exact("(SELECT e.etag FROM entries e WHERE e.entry_key = o.entry_key)")
            }
            ["source", "source_object_id"] => Operand::Exact(
                "(SELECT CAST(e.source_id AS TEXT) FROM entries e WHERE e.entry_key = o.entry_key)",
            ),
            ["source", "sync_config_id"] => Operand::Exact(
                "(SELECT s.id FROM entries e JOIN syncs s USING (sync_key)
                  WHERE e.entry_key = o.entry_key)",
            ),
            ["source", "connection_id"] => Operand::Exact(
                "(SELECT c.id FROM entries e JOIN syncs s USING (sync_key)
                  JOIN connections c USING (connection_key) WHERE e.entry_key = o.entry_key)",
            ),
            ["source", "provider"] => Operand::Exact(
                "(SELECT c.provider FROM entries e JOIN syncs s USING (sync_key)
                  JOIN connections c USING (connection_key) WHERE e.entry_key = o.entry_key)",
            ),
            // Few are: so that an index of theirs finds them.
            ["released"] => {
                Operand::Flag("(o.entry_key IN (SELECT entry_key FROM entries WHERE released = 1))")
            }
            ["edited_fields"] => Operand::Many(
                "json_each(o.edits) edit WHERE edit.key IS NOT NULL",
                Box::new(Operand::Exact("edit.key")),
            ),
            ["source", "metadata", ..] => Operand::json("o.metadata", &field.parts()[2..]),
            ["blobs", rest @ ..] => of_a_blob(rest, &field.parts()[1..]),
            _ => Operand::json("o.fields", field.parts()),
        }
    }
}

fn of_a_blob(parts: &[&str], names: &[String]) -> Operand {
    let one = match parts {
        ["blob_id"] => Operand::Exact("coalesce(nullif(ob.id, ''), blob_id_of(o.id, ob.property))"),
        ["property"] => Operand::Text("ob.property"),
        ["type"] => Operand::Text("coalesce(ob.type, type_of_mime(coalesce(ob.mime, o.mime)))"),
        ["details", "size_bytes"] => Operand::Integer("b.size"),
        ["details", "mime_type"] => Operand::Text("coalesce(ob.mime, o.mime)"),
        ["details", "filename"] => Operand::Text("coalesce(ob.filename, file_name_of(o.path))"),
        ["details", "hash"] => Operand::Exact("'blake3:' || lower(hex(b.hash))"),
        ["properties", ..] => Operand::json("ob.metadata", &names[1..]),
        _ => return Operand::Nothing,
    };
    Operand::Many(BLOBS, Box::new(one))
}
