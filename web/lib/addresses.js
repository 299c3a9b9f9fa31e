/** Addresses of this app's own pages. */

import { queryString } from "./api.js";

const part = encodeURIComponent;

export const to = {
  /** @param {string} bucket @param {object} [query] */
  bucket: (bucket, query) => `#/buckets/${part(bucket)}${queryString(query)}`,
  /** @param {string} bucket */
  trash: (bucket) => `#/buckets/${part(bucket)}/trash`,
  /** @param {string} bucket @param {string} object @param {object} [query] where it was listed */
  object: (bucket, object, query) => `#/buckets/${part(bucket)}/objects/${part(object)}${queryString(query)}`,
  /** @param {{bucket_id: string, sync_config_id: string}} sync @param {string} [show] */
  sync: (sync, show) => `#/buckets/${part(sync.bucket_id)}/syncs/${part(sync.sync_config_id)}${queryString({ show })}`,
  /** @param {{bucket_id: string, sync_config_id: string}} sync */
  edit: (sync) => `${to.sync(sync)}/edit`,
  /** @param {string} connection */
  connection: (connection) => `#/connections/${part(connection)}`,
  /** @param {string} collection @param {object} [query] */
  pipeline: (collection, query) => `#/pipelines/${part(collection)}${queryString(query)}`,
  /** @param {string} provider @param {object} [query] */
  signIn: (provider, query) => `#/sign-in/${part(provider)}${queryString(query)}`,
  /** @param {object} [query] */
  newSync: (query) => `#/new${queryString(query)}`,
};
