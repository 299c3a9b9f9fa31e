//! The least that fetching a bucket can cost: `object_store`, 64 gets at once, hash, drop.
//!
//! `bare list BUCKET` only lists; `bare get BUCKET` fetches everything. The endpoint and the
//! credentials come from the environment.

use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, aws::AmazonS3Builder};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, verb, bucket] = &std::env::args().collect::<Vec<_>>()[..] else {
        return Err("usage: bare list|get BUCKET".into());
    };
    let store = &AmazonS3Builder::from_env().with_bucket_name(bucket).with_allow_http(true).build()?;
    let listing = store.list(None);
    let (objects, bytes) = if verb == "list" {
        listing.try_fold((0, 0), |(n, b), meta| async move { Ok((n + 1, b + meta.size)) }).await?
    } else {
        listing
            .map_ok(|meta| async move {
                let mut stream = store.get(&meta.location).await?.into_stream();
                let mut hasher = blake3::Hasher::new();
                while let Some(chunk) = stream.try_next().await? {
                    hasher.update(&chunk);
                }
                std::hint::black_box(hasher.finalize());
                Ok(meta.size)
            })
            .try_buffer_unordered(64)
            .try_fold((0, 0), |(n, b), size| async move { Ok((n + 1, b + size)) })
            .await?
    };
    println!("{objects} objects, {bytes} bytes");
    Ok(())
}
