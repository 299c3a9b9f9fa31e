/**
 * New sync, in one page that never loses input; and the same page for editing one that exists. What is
 * typed is kept in the tab's storage until the sync is started.
 */

/** @import { Page, Visit } from "../app.js" */
import { to } from "../lib/addresses.js";
import { ApiError, at, get, patch, post } from "../lib/api.js";
import { AMBIENT, blankConnection, configOf, connectionForm } from "../lib/connection-form.js";
import { note } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { SOURCES, blank, bucketNameFor, forget, keep, kept, ofSync, requestOf, sampleOf, sizeOf } from "../lib/draft.js";
import { interval } from "../lib/format.js";
import { bar, button, choice, field, name, problem } from "../lib/parts.js";
import { settled } from "../lib/soon.js";
import { inWords } from "../lib/words.js";
import { browser } from "./new-sync/browser.js";
import { previewOf, previewPanel } from "./new-sync/preview.js";

/** @typedef {import("../lib/draft.js").Draft} Draft */

const LOCAL = { connection_id: "conn_local", name: "This computer", provider_type: "local" };

/** @param {Visit} visit @returns {Page} */
export function open(visit) {
  const [bucketId, syncId] = visit.params;
  const editing = Boolean(syncId);
  /** @type {{draft: Draft, connections: any[], buckets: any[], making: any, preview: any, previewing: boolean,
   *   previewError: any, error: any, busy: boolean, ready: boolean, home: string}} */
  const state = {
    draft: editing ? blank() : kept(), connections: [LOCAL], buckets: [], making: null, preview: null, previewing: false,
    previewError: null, error: null, busy: false, ready: false, home: "/",
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
    places.open(connection_id, source_path || (connection_id === "conn_local" ? state.home : "/"));
  }

  /** @param {Partial<Draft>} change_ */
  function change(change_) {
    Object.assign(state.draft, change_);
    if ("source_path" in change_ && !state.draft.bucket_named && !editing) state.draft.bucket_name = bucketNameFor(state.draft.source_path);
    if ("connection_id" in change_) {
      if (!editing) state.draft.source_path = "";
      browse();
    }
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
        post("/v1/organizations/connections/list", {}, { limit: 100 }),
        get("/v1/buckets", { limit: 100 }), get("/v1/settings"),
      ]);
      state.connections = [LOCAL, ...connections.results.filter((/** @type {any} */ one) => one.status !== "ARCHIVED")];
      state.buckets = buckets.results;
      if (state.ready) return;
      state.ready = true;
      const asked = visit.query.get("provider");
      if (editing) state.draft = ofSync(await get(at.sync(bucketId, syncId)));
      else if (visit.query.get("bucket")) state.draft.bucket_id = visit.query.get("bucket") ?? "";
      if (!state.draft.connection_id || asked) {
        const fitting = state.connections.find((one) => one.provider_type === asked);
        if (asked && !fitting) state.making = { draft: blankConnection(asked), error: null, busy: false };
        const chosen = fitting?.connection_id ?? (asked ? "" : "conn_local");
        if (chosen !== state.draft.connection_id) Object.assign(state.draft, { connection_id: chosen, source_path: "" });
      }
      state.home = settings.home_dir ?? "/";
      browse();
      look();
    },
    view: () => {
      const { draft } = state;
      const connection = state.connections.find((one) => one.connection_id === draft.connection_id);
      const bucketName = state.buckets.find((one) => one.bucket_id === draft.bucket_id)?.bucket_name ?? draft.bucket_name;
      const whole = Boolean(draft.connection_id && draft.source_path && (draft.bucket_id || draft.bucket_name));
      return [
        h("header.page-head", h("div", h("h1", editing ? "Edit sync" : "New sync"),
          h("p", editing ? "What you change here shows its effect in the preview before you save it." : "A standing order: keep a bucket in step with a place. Nothing is copied before you start it."))),
        !state.ready ? null : h("div.split", h("div.steps", step(1, "Where the files are", sourceStep(state, change, visit, editing)),
            step(2, "Which folder", draft.connection_id ? placeStep(state, connection, places, change) : h("p.muted", "Choose or make a connection first.")),
            editing ? null : step(3, "Into which bucket", bucketStep(state, change)),
            step(editing ? 3 : 4, "Which of the files", filterStep(draft, change)),
            step(editing ? 4 : 5, "What becomes of them", mappingStep(state, change)),
            step(editing ? 5 : 6, "When, and what follows", scheduleStep(draft, change))),
          h("aside.aside", { "aria-label": "Preview and summary" },
            h("section.panel.stack", h("h2", "Preview"),
              state.previewing ? bar("Looking at the source", null) : null,
              state.previewError ? problem(state.previewError, look) : previewPanel(state.preview, Boolean(draft.source_path))),
            h("section.panel.stack", h("h2", "In plain words"),
              h("p.summary", inWords(requestOf(draft), { bucket: bucketName, connection: connection?.name })),
              state.error ? problem(state.error) : null,
              h("div.actions", button(state.busy ? "Starting…" : editing ? "Save changes" : "Start syncing", start, { kind: "primary", icon: editing ? "check" : "play", disabled: !whole || state.busy }),
                editing ? h("a.button", { href: to.sync({ bucket_id: bucketId, sync_config_id: syncId }) }, "Cancel") : null))),
        ),
      ];
    },
  };
}

/** @param {Record<string, any>} settings */
const withoutNull = (settings) => Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null));

/** @param {Draft} draft @param {string | undefined} syncId @param {AbortSignal} signal */
function askPreview(draft, syncId, signal) {
  if (Number.isNaN(sizeOf(draft.min)) || Number.isNaN(sizeOf(draft.max))) {
    throw new ApiError(422, { message: "A size is a number with a unit, such as 10 MB." });
  }
  const { connection_id, source_path, ...settings } = requestOf(draft);
  const about = syncId ? { sync_config_id: syncId, ...settings } : withoutNull({ connection_id, source_path, ...settings });
  // A bucket that is yet to be made has nothing that could matter.
  const where = draft.bucket_id ? at.bucket(draft.bucket_id) : "/v1";
  return post(`${where}/syncs/preview`, { ...about, sample_size: 40 }, {}, signal);
}

/** @param {number} number @param {string} title @param {any} body */
const step = (number, title, body) =>
  h("section.panel.step", { key: title, "aria-label": title }, h("h2", h("i", { "aria-hidden": "true" }, number), title), body);

/** @param {any} state @param {(change: Partial<Draft>) => void} change @param {Visit} visit @param {boolean} editing */
function sourceStep(state, change, visit, editing) {
  if (editing) {
    const connection = state.connections.find((/** @type {any} */ one) => one.connection_id === state.draft.connection_id);
    return h("p", name(connection?.name ?? state.draft.connection_id), h("small", " The connection of a sync stays; make a new sync for another."));
  }
  const making = state.making;
  const save = async () => {
    Object.assign(making, { busy: true, error: null });
    visit.redraw();
    try {
      const made = await post("/v1/organizations/connections", {
        name: making.draft.name, provider_type: making.draft.provider, provider_config: { credentials: AMBIENT, ...configOf(making.draft) }, test_before_save: true,
      });
      state.connections.push(made);
      state.making = null;
      note("The connection works and is kept.");
      change({ connection_id: made.connection_id });
    } catch (error) {
      Object.assign(making, { busy: false, error });
      visit.redraw();
    }
  };
  return [
    h("fieldset", h("legend.sr", "Connection"), h("div.radios", state.connections.map((/** @type {any} */ one) => h("label", { key: one.connection_id, class: "radio" },
        h("input", {
          type: "radio", name: "connection", value: one.connection_id, checked: !making && state.draft.connection_id === one.connection_id,
          onchange: () => { state.making = null; change({ connection_id: one.connection_id }); },
        }),
        h("span", name(one.name), h("small", one.provider_type === "local" ? "A folder, watched for changes" : one.provider_type)))),
      h("label", { key: "new", class: "radio" },
        h("input", { type: "radio", name: "connection", checked: Boolean(making), onchange: () => { state.making = { draft: blankConnection(), error: null, busy: false }; change({ connection_id: "" }); } }),
        h("span", "A new connection", h("small", "S3, Tigris and their like"))))),
    making ? connectionForm({ ...making, redraw: visit.redraw, submit: save, action: "Test and keep" }) : null,
  ];
}

/** @param {any} state @param {any} connection @param {any} places @param {(change: Partial<Draft>) => void} change */
function placeStep(state, connection, places, change) {
  const local = connection?.provider_type === "local";
  const wrong = state.error?.fields?.find((/** @type {any} */ one) => one.field.endsWith("source_path"))?.message;
  return [
    field(local ? "Folder" : "Bucket and prefix", h("input", {
      type: "text", spellcheck: "false", autocomplete: "off", value: state.draft.source_path, placeholder: local ? "/home/you/Pictures" : "bucket/prefix",
      oninput: (event) => change({ source_path: event.target.value }),
    }), { id: "source-path", hint: local ? "An absolute path. Everything below it is taken, hidden files too." : "Without a prefix, the whole bucket.", error: wrong }),
    places.view(),
  ];
}

/** @param {any} state @param {(change: Partial<Draft>) => void} change */
function bucketStep({ draft, buckets, error }, change) {
  const wrong = error?.fields?.find((/** @type {any} */ one) => one.field.endsWith("bucket_name"))?.message;
  return h("div.fields", field("Bucket", choice("bucket", draft.bucket_id, [["", "A new bucket"], ...buckets.map((/** @type {any} */ bucket) => [bucket.bucket_id, bucket.bucket_name])], (bucket_id) => change({ bucket_id })), { id: "bucket", hint: "Several syncs may fill one bucket." }),
    draft.bucket_id ? null : field("Its name", h("input", {
      type: "text", maxlength: 100, value: draft.bucket_name, placeholder: "pictures", oninput: (event) => change({ bucket_name: event.target.value, bucket_named: event.target.value !== "" }),
    }), { id: "bucket-name", error: wrong }));
}

/** @param {Draft} draft @param {(change: Partial<Draft>) => void} change */
function filterStep(draft, change) {
  /** @param {string} label @param {keyof Draft} key @param {string} placeholder @param {any} [hint] @param {string} [type] */
  const text = (label, key, placeholder, hint, type = "text") => field(label, h("input", {
    type, value: draft[key], placeholder, spellcheck: "false", oninput: (event) => change({ [key]: event.target.value }),
  }), { id: `filter-${key}`, hint, error: (key === "min" || key === "max") && Number.isNaN(sizeOf(String(draft[key]))) ? "A number with a unit, such as 10 MB" : null });
  /** @param {string} label @param {keyof Draft} key @param {string} placeholder */
  const patterns = (label, key, placeholder) => field(label, h("textarea", {
    rows: 2, value: draft[key], placeholder, spellcheck: "false", oninput: (event) => change({ [key]: event.target.value }),
  }), { id: `filter-${key}`, hint: "One a line. Without / a pattern fits names in any folder." });
  const metadata = draft.metadata;
  return [
    h("p.muted", "All of these must let a file through. Empty lets everything through."),
    h("div.fields", patterns("Take only", "include", "*.jpg\n2024/**"), patterns("Leave out", "exclude", "*.tmp\n**/node_modules/**")),
    h("div.fields", text("Extensions", "extensions", "jpg png mp4"), text("Types", "mime", "image/* video/mp4")),
    h("details", { open: Boolean(draft.min || draft.max || draft.after || draft.before || metadata.length) }, h("summary", "Size, date and metadata"),
      h("div.stack", h("div.fields", text("At least", "min", "10 KB"), text("At most", "max", "2 GB"), text("Changed after", "after", "", undefined, "date"), text("Changed before", "before", "", undefined, "date")),
        metadata.map((filter, index) => h("div", { key: index, class: "fields" },
          field("Metadata field", h("input", { type: "text", value: filter.field, placeholder: "author", oninput: (event) => { filter.field = event.target.value; change({ metadata }); } }), { id: `metadata-${index}` }),
          field("Compares", choice(`operator-${index}`, filter.operator, ["contains", "not_contains", "equals", "not_equals", "gt", "lt", "gte", "lte", "exists"].map((operator) => [operator, operator.replace("_", " ")]), (operator) => { filter.operator = operator; change({ metadata }); }), { id: `operator-${index}` }),
          field("With", h("input", { type: "text", value: filter.value, oninput: (event) => { filter.value = event.target.value; change({ metadata }); } }), { id: `with-${index}` }),
          h("div.actions", button("Remove", () => change({ metadata: metadata.filter((_, other) => other !== index) }), { kind: "small quiet", icon: "cross" })))),
        h("div", button("Add a metadata filter", () => change({ metadata: [...metadata, { field: "", operator: "contains", value: "" }] }), { kind: "small", icon: "plus" })))),
  ];
}

/** @param {any} state @param {(change: Partial<Draft>) => void} change */
function mappingStep({ draft, preview }, change) {
  const { mapping } = /** @type {Draft} */ (draft);
  const paths = (preview?.items ?? []).filter((/** @type {any} */ item) => item.verdict !== "exclude").slice(0, 3).map((/** @type {any} */ item) => item.path);
  return [
    h("p.muted", mapping.length === 0
      ? "Each file becomes an object with one blob, content. Add fields to give objects properties from paths, names, tags or metadata."
      : "Without a row for the file itself, objects have fields and no content."),
    mapping.map((row, index) => {
      /** @param {Partial<import("../lib/draft.js").MappingRow>} to */
      const set = (to) => { Object.assign(row, to); change({ mapping }); };
      const [, , key, placeholder] = SOURCES.find(([type]) => type === row.source) ?? SOURCES[0];
      const samples = paths.map((/** @type {string} */ path) => sampleOf(row, path)).filter((/** @type {any} */ value) => value !== null);
      return h("div.mapping", { key: index },
        field("Property", h("input", { type: "text", value: row.target, placeholder: "album", oninput: (event) => set({ target: event.target.value }) }), { id: `target-${index}` }),
        field("comes from", choice(`from-${index}`, row.source, SOURCES.map(([type, label]) => [type, label]), (source) => set({ source })), { id: `from-${index}` }),
        key ? field(key, h("input", { type: "text", value: row.value, placeholder, oninput: (event) => set({ value: event.target.value }) }), { id: `key-${index}` }) : h("span"),
        row.source === "file" ? h("span") : field("made", choice(`made-${index}`, row.transform, [["", "as it is"], ["lowercase", "lower case"], ["uppercase", "upper case"], ["trim", "trimmed"], ["json_parse", "from JSON"]], (transform) => set({ transform })), { id: `made-${index}` }),
        button(h("span.sr", `Remove ${row.target || "this property"}`), () => change({ mapping: mapping.filter((_, other) => other !== index) }), { kind: "quiet", icon: "cross" }),
        h("p.sample", samples.length
          ? ["For instance: ", samples.map((/** @type {string} */ value, /** @type {number} */ at_) => [at_ ? ", " : "", name(value)])]
          : ["tag", "metadata"].includes(row.source) ? "Its values are read with the files." : paths.length ? "None of the first files has it." : ""));
    }),
    h("div.actions", button("Add a property", () => change({ mapping: [...(mapping.length ? mapping : [{ target: "content", source: "file", value: "", transform: "" }]), { target: "", source: "folder_path", value: "", transform: "" }] }), { kind: "small", icon: "plus" })),
  ];
}

/** @param {Draft} draft @param {(change: Partial<Draft>) => void} change */
function scheduleStep(draft, change) {
  /** @param {string} label @param {string} note_ @param {"on_update" | "on_delete" | "on_filter_drift" | "skip_duplicates"} key */
  const check = (label, note_, key) => h("label.check", h("input", { type: "checkbox", checked: draft[key], onchange: (event) => change({ [key]: event.target.checked }) }),
    h("span", label, h("small", note_)));
  const local = draft.connection_id === "conn_local";
  return [
    h("div.fields", field("Runs", choice("mode", draft.sync_mode, [["continuous", "again and again"], ["initial_only", "once"]], (sync_mode) => change({ sync_mode })), { id: "mode" }),
      draft.sync_mode === "continuous" ? field("Every", choice("interval", String(draft.interval), [...new Set([30, 60, 120, 300, 600, 900, draft.interval])].sort((a, b) => a - b).map((seconds) => [String(seconds), interval(seconds)]), (seconds) => change({ interval: Number(seconds) })),
        { id: "interval", hint: local ? "Changes are also seen as they happen." : "Unchanged files cost nothing but their line in the listing." }) : null),
    h("div.stack", check("Follow changes", "A file that changes there changes here.", "on_update"),
      check("Follow removals", "A file removed there is removed here. More than half of them at once is held until you say so.", "on_delete"),
      check("Apply the filters to what is already here", "Objects that no longer pass are removed.", "on_filter_drift"),
      check("Skip duplicates", "A file whose bytes are already in the bucket makes no second object. Bytes are stored once either way.", "skip_duplicates")),
    field("A note for yourself", h("input", { type: "text", maxlength: 500, value: draft.description, oninput: (event) => change({ description: event.target.value }) }), { id: "description" }),
  ];
}

