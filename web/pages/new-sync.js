/**
 * New sync, in one page that never loses input, and the same page to edit an existing one. What is
 * typed is kept in the tab's storage until the sync is started.
 */

import { to } from "../lib/addresses.js";
import { ApiError, at, get, patch, post, wrongAt } from "../lib/api.js";
import { blankConnection, connectionForm, make, placeWords, withoutCredentials } from "../lib/connection-form.js";
import { ask } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { blank, bucketNameFor, forget, keep, kept, ofSync, requestOf, sizeOf } from "../lib/draft.js";
import { counted, interval } from "../lib/format.js";
import { note } from "../lib/notes.js";
import { bar, button, choice, facts, field, input, name, pageHead, pathList, problem } from "../lib/parts.js";
import { settled } from "../lib/soon.js";
import { inWords } from "../lib/words.js";
import { browser } from "./new-sync/browser.js";
import { filterStep } from "./new-sync/filters.js";
import { mappingStep } from "./new-sync/mapping.js";
import { previewOf, previewPanel } from "./new-sync/preview.js";

/**
 * @typedef {{connection_id: string, name: string, provider_type: string}} Reached
 * @typedef {{draft: Ui.ConnectionDraft, busy?: boolean,
 *   error?: unknown}} Making
 * @typedef {{draft: Ui.Draft, connections: Reached[], buckets: Pick<Api.Bucket, "bucket_id" |
 * "bucket_name">[],
 *   making: Making | null, preview: Ui.Preview | null, previewing: boolean, previewError: unknown,
 *   error: unknown, busy: boolean, ready: boolean, home: string, taken: string[]}} State
 */

const LOCAL = { connection_id: "conn_local", name: "This computer", provider_type: "local" };

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const [bucketId, syncId] = visit.params;
  const editing = Boolean(syncId);
  /**
   * @type {State}
   */
  const state = {
    draft: editing ? blank() : kept(), connections: [LOCAL], buckets: [], making: null, preview: null, previewing: false,
    previewError: null, error: null, busy: false, ready: false, home: "/", taken: [],
  };
  /** @type {AbortController | undefined} */
  let asking;

  const places = browser({ redraw: visit.redraw, choose: (path) => change({ source_path: path }) });

  const look = settled(async () => {
    asking?.abort();
    const { draft } = state;
    if (!draft.connection_id || !draft.source_path) {
      Object.assign(state, { preview: null, previewError: null, previewing: false });
      visit.redraw();
      return;
    }
    asking = new AbortController();
    const { signal } = asking;
    state.previewing = true;
    visit.redraw();
    try {
      state.preview = previewOf(await askPreview(draft, syncId, signal));
      state.previewError = null;
    } catch (error) {
      if (signal.aborted) return;
      state.preview = null;
      state.previewError = error;
    }
    state.previewing = false;
    visit.redraw();
  }, 500);

  /** Shows the folders of the place that is chosen, or where a person would begin. */
  function browse() {
    const { connection_id, source_path } = state.draft;
    const provider = state.connections.find((one) => one.connection_id === connection_id)?.provider_type ?? "";
    places.open(connection_id, provider, source_path || (provider === "local" ? state.home : "/"), placeWords(provider));
  }

  /** Begins as the address asks, once: from then on, what the person chose stands. */
  function asked() {
    const { draft, connections } = state;
    const [provider, bucket] = [visit.query.get("provider"), visit.query.get("bucket")];
    visit.rewrite({});
    if (bucket) draft.bucket_id = bucket;
    if (draft.making) write(draft.making);
    const fitting = connections.find((one) => one.provider_type === provider)?.connection_id;
    if (provider && !fitting && draft.making?.provider !== provider) write(blankConnection(provider));
    else if (fitting) write(null);
    if (provider || !(draft.connection_id || draft.making)) change({ connection_id: fitting ?? (provider ? "" : "conn_local") });
  }

  /**
   * Begins to write a connection, or stops.
   * @param {Ui.ConnectionDraft | null} draft
   */
  function write(draft) {
    state.making = draft && { draft };
    state.draft.making = draft && withoutCredentials(draft);
  }

  /** @param {Partial<Ui.Draft>} change_ */
  function change(change_) {
    const { draft } = state;
    if (change_.connection_id !== undefined) {
      draft.places[draft.connection_id] = draft.source_path;
      draft.source_path = draft.places[change_.connection_id] ?? "";
    }
    Object.assign(draft, change_);
    if ("source_path" in change_ && !state.draft.bucket_named && !editing) state.draft.bucket_name = bucketNameFor(state.draft.source_path);
    if ("connection_id" in change_) browse();
    if (!editing) keep(state.draft);
    look();
    visit.redraw();
  }

  async function start() {
    Object.assign(state, { busy: true, error: null });
    visit.redraw();
    try {
      const { draft } = state;
      if (editing) {
        if (state.preview && removals(state) && !(await agreed({ ...state, preview: state.preview }))) {
          state.busy = false;
          visit.redraw();
          return;
        }
        const { connection_id: _, source_path: __, ...settings } = requestOf(draft);
        await patch(at.sync(bucketId, syncId), settings);
        note("Saved.");
        visit.go(to.sync({ bucket_id: bucketId, sync_config_id: syncId }));
        return;
      }
      if (!draft.bucket_id) {
        const bucket = await post("/v1/buckets", { bucket_name: draft.bucket_name, bucket_schema: { properties: {} } });
        // Should the sync be refused, the bucket is there: it is picked, not made again.
        change({ bucket_id: bucket.bucket_id });
        state.buckets.push(bucket);
      }
      const sync = await post(`${at.bucket(draft.bucket_id)}/syncs`, withoutNull(requestOf(draft)));
      forget();
      note("The sync was started.");
      visit.go(to.sync(sync));
    } catch (error) {
      Object.assign(state, { busy: false, error });
      visit.redraw();
    }
  }

  return {
    title: () => (editing ? "Edit sync" : "New sync"),
    close: () => { look.stop(); asking?.abort(); },
    refresh: async () => {
      const [connections, buckets, settings] = await Promise.all([
        post("/v1/organizations/connections/list", {}, { limit: 1000 }),
        get("/v1/buckets", { limit: 1000 }), get("/v1/settings"),
      ]);
      state.connections = [LOCAL, ...connections.results.filter((one) => one.status !== "ARCHIVED")];
      state.buckets = buckets.results;
      if (state.ready) return;
      state.ready = true;
      state.home = settings.home_dir ?? "/";
      if (editing) {
        const [sync, objects] = await Promise.all([get(at.sync(bucketId, syncId)), post(`${at.bucket(bucketId)}/objects/list`, {}, { limit: 50 })]);
        state.draft = ofSync(sync);
        state.taken = objects.results.filter((one) => one.source?.sync_config_id === syncId).map((one) => one.key_prefix ?? "");
      } else asked();
      browse();
      look();
    },
    view: () => {
      const { draft } = state;
      const connection = state.connections.find((one) => one.connection_id === draft.connection_id);
      const bucketName = state.buckets.find((one) => one.bucket_id === draft.bucket_id)?.bucket_name ?? draft.bucket_name;
      const whole = Boolean(draft.connection_id && draft.source_path && (draft.bucket_id || draft.bucket_name));
      const seen = (state.preview?.items ?? []).filter((item) => item.verdict !== "exclude").map((item) => item.path);
      /** @type {[title: string, body: Ui.Child][]} */
      const steps = [
        ["Where the files are", editing
          ? facts([["Connection", name(connection?.name ?? draft.connection_id)], ["Place", name(draft.source_path)], ["Bucket", name(bucketName)], ["", "These stay. For another place, make a new sync."]])
          : sourceStep(state, change, write)],
        ...(editing ? [] : /** @type {[string, Ui.Child][]} */ ([
          ["Which folder", draft.connection_id ? placeStep(state, connection, places, change) : h("p.muted", "Choose or create a connection first.")],
          ["Into which bucket", bucketStep(state, change)],
        ])),
        ["Which files", filterStep(draft, change)],
        ["How they are stored", mappingStep(draft, (seen.length ? seen : state.taken).slice(0, 3), change)],
        ["When, and what happens to changes", scheduleStep(draft, change)],
      ];
      return [
        pageHead(editing ? "Edit sync" : "New sync", editing ? "The preview shows the effect of your changes before you save them." : "Keeps a bucket up to date with a place. Nothing is copied until you start it."),
        !state.ready ? null : h("div.split", h("div.steps", steps.map(([title, body], index) =>
            h("section.panel.step", { key: title, "aria-label": title }, h("h2", h("i", { "aria-hidden": "true" }, index + 1), title), body))),
          h("aside.aside", { "aria-label": "Preview and summary" },
            h("section.panel.stack", h("h2", "Preview"),
              state.previewing ? bar("Listing the source", null) : null,
              state.previewError ? problem(state.previewError, look) : previewPanel(state.preview, Boolean(draft.source_path))),
            h("section.panel.stack", h("h2", "In plain words"),
              editing && removals(state) ? h("p.bad", { role: "status" }, state.preview?.held
                ? `${removalWords(state)} would be removed, which is so many that they are held until you approve.`
                : `Saving this removes ${removalWords(state)} from the bucket: what no longer matches, or is gone from the source.`) : null,
              h("p.summary", inWords(requestOf(draft), { bucket: bucketName, connection: connection?.name })),
              state.error ? problem(state.error) : null,
              h("div.actions", button(state.busy ? "Starting…" : editing ? saveWords(state) : "Start syncing", start, { kind: editing && removals(state) ? "danger" : "primary", icon: editing ? "check" : "play", disabled: !whole || state.busy }),
                editing ? h("a.button", { href: to.sync({ bucket_id: bucketId, sync_config_id: syncId }) }, "Cancel") : null))),
        ),
      ];
    },
  };
}

/**
 * How many objects the edit would remove, as far as the preview knows.
 * @param {State} state @returns {number}
 */
const removals = ({ preview }) => preview?.remove ?? 0;

/** @param {State} state */
const removalWords = (state) => counted(removals(state), "object");

/** @param {State} state */
const saveWords = (state) => (removals(state) === 0 ? "Save changes" : state.preview?.held ? `Save, and hold ${counted(removals(state), "removal")}` : `Save, and remove ${removalWords(state)}`);

/** Asks before saving what removes objects. @param {State & {preview: Ui.Preview}} state */
const agreed = (state) => ask({
  title: state.preview.held ? "Save these changes?" : `Remove ${removalWords(state)} from the bucket?`,
  body: [h("p", `The next run finds ${removalWords(state)} that no longer match or are gone from the source`, state.preview.held ? ", and holds their removal until you approve it." : ", and removes them. The source is never changed."),
    pathList(state.preview.items.filter((item) => item.verdict === "remove").map((item) => item.path), removals(state))],
  action: saveWords(state),
  danger: !state.preview.held,
  run: async () => {},
});

/** @param {object} settings */
const withoutNull = (settings) => Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null));

/** @param {Ui.Draft} draft @param {string | undefined} syncId @param {AbortSignal} signal */
function askPreview(draft, syncId, signal) {
  if (Number.isNaN(sizeOf(draft.min)) || Number.isNaN(sizeOf(draft.max))) {
    throw new ApiError(422, { message: "A size is a number with a unit, such as 10 MB." });
  }
  const { connection_id, source_path, ...settings } = requestOf(draft);
  const about = syncId ? { sync_config_id: syncId, ...settings } : withoutNull({ connection_id, source_path, ...settings });
  // A bucket that is yet to be made has nothing that could matter.
  const body = { ...about, sample_size: 40 };
  return draft.bucket_id ? post(`${at.bucket(draft.bucket_id)}/syncs/preview`, body, {}, signal) : post("/v1/syncs/preview", body, {}, signal);
}

/**
 * @param {State} state @param {Ui.Change} change
 * @param {(draft: Ui.ConnectionDraft | null) => void} write
 */
function sourceStep(state, change, write) {
  const { making } = state;
  const save = async () => {
    if (!making) return;
    Object.assign(making, { busy: true, error: null });
    change({});
    try {
      const made = await make(making.draft);
      state.connections.push(made);
      write(null);
      change({ connection_id: made.connection_id });
    } catch (error) {
      Object.assign(making, { busy: false, error });
      change({});
    }
  };
  /**
   * @param {string} id
   * @param {Ui.Child} title
   * @param {string} about
   * @param {boolean} checked
   * @param {() => void} choose
   */
  const radio = (id, title, about, checked, choose) => h("label", { key: id, class: "radio" },
    h("input", { type: "radio", name: "connection", value: id, checked, onchange: choose }), h("span", title, h("small", about)));
  return [
    h("fieldset", h("legend.sr", "Connection"), h("div.radios",
      state.connections.map(({ connection_id, name: called, provider_type }) =>
        radio(connection_id, name(called), provider_type === "local" ? "A folder, watched for changes" : provider_type, !making && state.draft.connection_id === connection_id,
          () => { write(null); change({ connection_id }); })),
      radio("new", "A new connection", "S3, Tigris, Google Drive, SharePoint, Snowflake, Iconik", Boolean(making), () => { write(blankConnection()); change({ connection_id: "" }); }))),
    making ? connectionForm({ ...making, changed: () => change({ making: withoutCredentials(making.draft) }), submit: save, action: "Test and save" }) : null,
  ];
}

/**
 * @param {State} state @param {Reached | undefined} connection
 * @param {ReturnType<typeof browser>} places @param {Ui.Change} change
 */
function placeStep(state, connection, places, change) {
  const words = placeWords(connection?.provider_type);
  const wrong = wrongAt(state.error, "source_path");
  return [
    field(words.label, input(state.draft.source_path, (source_path) => change({ source_path }), { placeholder: words.placeholder }),
      { id: "source-path", hint: words.hint, error: wrong }),
    places.view(),
  ];
}

/** @param {State} state @param {Ui.Change} change */
function bucketStep({ draft, buckets, error }, change) {
  const wrong = wrongAt(error, "bucket_name");
  return h("div.fields", field("Bucket", choice("bucket", draft.bucket_id, [["", "A new bucket"], ...buckets.map((bucket) => [bucket.bucket_id, bucket.bucket_name])], (bucket_id) => change({ bucket_id })), { id: "bucket", hint: "Several syncs can share a bucket." }),
    draft.bucket_id ? null : field("Its name", input(draft.bucket_name, (bucket_name) => change({ bucket_name, bucket_named: bucket_name !== "" }), { maxlength: 100, placeholder: "pictures" }), { id: "bucket-name", error: wrong }));
}

/** @param {Ui.Draft} draft @param {Ui.Change} change */
function scheduleStep(draft, change) {
  /**
   * @param {string} label
   * @param {string} note_
   * @param {"on_update" | "on_delete" | "on_filter_drift" | "skip_duplicates"} key
   */
  const check = (label, note_, key) => h("label.check", h("input", { type: "checkbox", checked: draft[key], onchange: (event) => change({ [key]: event.target.checked }) }),
    h("span", label, h("small", note_)));
  const local = draft.connection_id === "conn_local";
  return [
    h("div.fields", field("Runs", choice("mode", draft.sync_mode, [["continuous", "continuously"], ["initial_only", "once"]], (sync_mode) => change({ sync_mode })), { id: "mode" }),
      draft.sync_mode === "continuous" ? field("Every", choice("interval", String(draft.interval), [...new Set([30, 60, 120, 300, 600, 900, draft.interval])].sort((a, b) => a - b).map((seconds) => [String(seconds), interval(seconds)]), (seconds) => change({ interval: Number(seconds) })),
        { id: "interval", hint: local ? "Changes are also noticed as they happen." : "An unchanged file costs nothing beyond its line in the listing." }) : null),
    h("div.stack", check("Follow changes", "A file that changes at the source is updated here.", "on_update"),
      check("Follow removals", "A file removed from the source is removed here. More than half of them at once are held until you approve.", "on_delete"),
      check("Apply filters to existing objects", "Objects that no longer match the filters are removed.", "on_filter_drift"),
      check("Skip duplicates", "Skip files whose content is already in the bucket. Bytes are stored once either way.", "skip_duplicates")),
    field("A note for yourself", input(draft.description, (description) => change({ description }), { maxlength: 500 }), { id: "description" }),
  ];
}
