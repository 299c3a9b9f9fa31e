/** Syncs that were deleted: kept, so that their history can be read. */

import { at, post } from "./api.js";

/** Those of some buckets. @param {{bucket_id: string}[]} buckets @returns {Promise<Api.Sync[]>} */
export async function deletedSyncs(buckets) {
  const pages = await Promise.all(buckets.map(({ bucket_id }) => post(`${at.bucket(bucket_id)}/syncs/list`, { status: "ARCHIVED" }, { limit: 100 })));
  return pages.flatMap((page) => page.results);
}
