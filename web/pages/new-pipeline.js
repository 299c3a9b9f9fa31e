/** A new pipeline in one page, or an existing one: from, do, keep, try on three files, save. */

import { to } from "../lib/addresses.js";
import { ApiError, at, get, patch, post } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { face } from "../lib/face.js";
import { bytes, counted, duration } from "../lib/format.js";
import { note } from "../lib/notes.js";
import { itemOf } from "../lib/objects.js";
import { bar, button, choice, facts, field, input, name, pageHead, problem, said } from "../lib/parts.js";
import { KINDS, conditionWords, conditionsOf, extractorName, extractors, pipeline, pipelineAt, trigger, tryOut, whichOf } from "../lib/pipelines.js";
import { fits, parametersFrom, schemaForm, typedFrom } from "../lib/schema-form.js";
import { settled } from "../lib/soon.js";

/** How many files a pipeline is tried on. */
const TRIED = 3;

/** @param {Ui.Visit} visit @returns {Ui.Page} */
export function open(visit) {
  const [id] = visit.params;
  /**
   * `which` is null where the filters of a stored pipeline say what this page cannot; they stay.
   * @type {{one: Api.Pipeline | null, name: string, bucket: string, which: Ui.Which | null,
   *   extractor: string, typed: Record<string, string>, keep: "none" | "some" | "all",
   *   kept: string, backfill: boolean, known: Api.Extractor[],
   *   buckets: {bucket_id: string, bucket_name: string, bucket_schema?: {properties?: object}}[],
   *   count: number | null, size: number, samples: Api.Object_[], tried: Api.Tried | null,
   *   trying: boolean, tryError: unknown, error: unknown, busy: boolean, ready: boolean}}
   */
  const state = {
    one: null, name: "", bucket: visit.query.get("bucket") ?? "", which: { folder: visit.query.get("folder") ?? "", name: "", kind: "" }, extractor: "",
    typed: {}, keep: "none", kept: "", backfill: true, known: [], buckets: [], count: null, size: 0, samples: [], tried: null, trying: false,
    tryError: null, error: null, busy: false, ready: false,
  };
  let asked = 0;

  /** @returns {Api.Conditions | null} */
  const conditions = () => (state.which ? conditionsOf(state.which) : state.one?.source.source_filters?.filters ?? null);

  /** Counts what the filters leave, and finds files to try. */
  const look = settled(async () => {
    if (!state.bucket) return;
    const mine = (asked += 1);
    const filters = conditions();
    try {
      const answer = await post(`${at.bucket(state.bucket)}/objects/list`, filters ? { filters } : {}, { limit: TRIED, include_total: true });
      if (mine !== asked) return;
      Object.assign(state, { count: answer.pagination.total ?? 0, samples: answer.results });
    } catch (error) {
      if (mine === asked) state.error = error;
    }
    visit.redraw();
  }, 250);

  const chosen = () => state.known.find((one) => extractorName(one) === state.extractor);

  /** @returns {Api.ExtractorSettings} */
  function settings() {
    const one = /** @type {Api.Extractor} */ (chosen());
    const parameters = parametersFrom(one.parameter_schema, state.typed);
    const paths = state.keep === "some" ? state.kept.split(",").map((path) => path.trim()).filter(Boolean) : [];
    return {
      feature_extractor_name: one.feature_extractor_name, version: one.version,
      ...(Object.keys(parameters).length ? { parameters: { ...parameters, extractor_type: one.feature_extractor_name } } : {}),
      include_all_source_fields: state.keep === "all",
      ...(paths.length ? { field_passthrough: paths.map((source_path) => ({ source_path })) } : {}),
    };
  }

  /** @param {Partial<typeof state>} wanted */
  function change(wanted) {
    if (wanted.extractor && wanted.extractor !== state.extractor) state.typed = {};
    Object.assign(state, wanted, { tried: null, tryError: null, error: null });
    look();
    visit.redraw();
  }

  async function attemptTry() {
    Object.assign(state, { trying: true, tried: null, tryError: null });
    visit.redraw();
    try {
      state.tried = await tryOut(state.bucket, state.samples.map((object) => object.object_id), settings());
    } catch (error) {
      state.tryError = error;
    }
    state.trying = false;
    visit.redraw();
  }

  async function save() {
    Object.assign(state, { busy: true, error: null });
    visit.redraw();
    try {
      const filters = conditions();
      const made = id
        ? await patch(pipelineAt(id), { collection_name: state.name, feature_extractor: settings(), source_filters: filters && { filters } })
        : await post("/v1/collections", {
          collection_name: state.name, feature_extractor: settings(),
          source: { type: "bucket", bucket_ids: [state.bucket], ...(filters ? { source_filters: { filters } } : {}) },
        });
      if (!id && state.backfill && state.count) await trigger(made.collection_id);
      note("Saved.");
      visit.go(to.pipeline(made.collection_id));
    } catch (error) {
      Object.assign(state, { busy: false, error });
      visit.redraw();
    }
  }

  return {
    title: () => (id ? "Edit pipeline" : "New pipeline"),
    close: look.stop,
    refresh: async () => {
      const [known, { results }] = await Promise.all([extractors(), get("/v1/buckets", { limit: 1000 })]);
      Object.assign(state, { known, buckets: results });
      if (state.ready) return;
      if (id) fill(await pipeline(id));
      else if (!state.bucket) state.bucket = results[0]?.bucket_id ?? "";
      state.extractor ||= known[0] ? extractorName(known[0]) : "";
      state.ready = true;
      look();
    },
    view: () => {
      if (!state.ready) return pageHead(id ? "Edit pipeline" : "New pipeline");
      if (state.buckets.length === 0) return [pageHead("New pipeline"), h("p", "There is no bucket yet: ", h("a", { href: "#/new" }, "make a sync first"), ".")];
      const one = chosen();
      const whole = Boolean(state.bucket && state.name.trim().length >= 3 && one && fits(one.parameter_schema, state.typed));
      /** @type {[string, Ui.Child][]} */
      const steps = [["From", from()], ["Do", does()], ["Keep", keeps()], [`Try on ${TRIED} files`, tries(whole)], ["Save", saves(whole)]];
      return [
        pageHead(id ? "Edit pipeline" : "New pipeline", "Objects of a bucket go through an extractor and become documents."),
        h("div.steps", steps.map(([title, body], index) => h("section.panel.stack", { key: title, "aria-label": title }, h("h2.numbered", h("i", { "aria-hidden": "true" }, index + 1), title), body))),
      ];
    },
  };

  /** Begins with what is stored. @param {Api.Pipeline} one */
  function fill(one) {
    const { parameters, include_all_source_fields, field_passthrough } = one.feature_extractor;
    const kept = (field_passthrough ?? []).map((each) => each.source_path).join(", ");
    Object.assign(state, {
      one, name: one.collection_name, bucket: (one.source.bucket_ids ?? one.source.inherited_bucket_ids)?.[0] ?? "", which: whichOf(one.source.source_filters?.filters),
      extractor: extractorName(one.feature_extractor), typed: typedFrom(parameters ?? {}), keep: include_all_source_fields ? "all" : kept ? "some" : "none", kept,
    });
  }

  function from() {
    const { which } = state;
    const total = h("p", { role: "status" }, state.count === null ? "Counting…" : [h("b", counted(state.count, "object")), state.count === 1 ? " goes through it now." : " go through it now."]);
    return [
      h("div.fields",
        id ? null : field("Bucket", choice("bucket", state.bucket, state.buckets.map((one) => [one.bucket_id, one.bucket_name]), (bucket) => change({ bucket, count: null })), { id: "pipeline-bucket" }),
        which ? [
          field("Kind", choice("kind", which.kind, KINDS, (kind) => change({ which: { ...which, kind } })), { id: "pipeline-kind" }),
          field("Folder", input(which.folder, (folder) => change({ which: { ...which, folder } }), { placeholder: "2024/" }), { id: "pipeline-folder", hint: "The start of their path. Empty: the whole bucket" }),
          field("Path contains", input(which.name, (name_) => change({ which: { ...which, name: name_ } }), { placeholder: ".jpg" }), { id: "pipeline-name-filter" }),
        ] : null),
      id ? facts([["Bucket", name(state.buckets.find((one) => one.bucket_id === state.bucket)?.bucket_name ?? state.bucket)]]) : null,
      which ? null : h("p.muted", `Only ${conditionWords(state.one?.source.source_filters?.filters)}, which were set through the API and stay.`),
      total,
    ];
  }

  function does() {
    const one = chosen();
    return [
      h("div.radios", { role: "radiogroup", "aria-label": "Extractor" }, state.known.map((each) => h("label.radio", { key: extractorName(each) },
        h("input", { type: "radio", name: "extractor", checked: state.extractor === extractorName(each), onchange: () => change({ extractor: extractorName(each) }) }),
        h("span", extractorName(each), h("small", said(each.description)), each.accepts.includes("*/*") ? null : h("small", `For ${each.accepts.join(", ")}`))))),
      h("p.muted", "You can add extractors as files in the extractors folder of the data directory: your own programs and services. They cannot be added here, so nobody who reaches this page can run a program."),
      one ? h("p", { role: "status" }, whereTo(one)) : null,
      one ? notKeptFrom(one) : null,
      one ? schemaForm(one.parameter_schema, state.typed, () => change({}), wrongFields("parameters.")) : h("p.bad", `The extractor ${state.extractor} is not here any more. Choose another one.`),
    ];
  }

  /** Where objects go through an extractor. @param {Api.Extractor} one */
  function whereTo(one) {
    if (one.not_confined.includes("service")) return `Sends each object to the service that the extractor ${one.feature_extractor_name} is set up with.`;
    return one.network ? `The program of the extractor ${one.feature_extractor_name} may use the network.` : "Nothing leaves this computer.";
  }

  /** What the kernel of this computer cannot keep a program from. @param {Api.Extractor} one */
  function notKeptFrom(one) {
    const what = one.not_confined.filter((each) => each !== "service");
    return what.length ? h("p.muted", `The kernel of this computer does not keep extractors from: ${what.join(", ")}. Choose only programs that you trust with your files.`) : null;
  }

  function keeps() {
    const known = Object.keys(state.buckets.find((one) => one.bucket_id === state.bucket)?.bucket_schema?.properties ?? {});
    return [
      h("div.fields", field("Fields of the object that its documents carry", choice("keep", state.keep, [["none", "None"], ["some", "Some"], ["all", "All"]], (keep) => change({ keep: /** @type {typeof state.keep} */ (keep) })), { id: "pipeline-keep", hint: "When only these change, documents are updated and nothing is extracted again." }),
        state.keep === "some" ? field("Which", input(state.kept, (kept) => change({ kept }), { placeholder: known.join(", ") || "album, year" }), { id: "pipeline-kept", hint: "Names, separated by commas" }) : null),
    ];
  }

  /** @param {boolean} whole */
  function tries(whole) {
    const can = Boolean(chosen()) && state.samples.length > 0;
    return [
      h("p.muted", can ? ["Nothing is saved. Tried on: ", state.samples.map((object) => h("span.faced", { key: object.object_id }, face(state.bucket, itemOf(object), 64, visit.redraw), name(object.key_prefix), " "))] : "There is no object to try it on yet."),
      h("div.actions", button(state.trying ? "Trying…" : "Try", attemptTry, { icon: "play", disabled: !can || (!whole && state.name !== ""), busy: state.trying })),
      state.trying ? bar("Trying", null) : null,
      state.tryError ? problem(state.tryError) : null,
      state.tried ? h("div.stack", { "aria-live": "polite" }, state.tried.results.map((result) => h("article.tried", { key: result.object_id, "aria-label": result.key_prefix },
        h("h3", name(result.key_prefix), h("small", ` ${counted(result.documents.length, "document")} in ${duration(result.duration_ms / 1000)}${result.memory_bytes === null ? "" : `, ${bytes(result.memory_bytes)} of memory`}`)),
        result.error ? h("p.bad", said(result.error)) : null,
        result.documents.slice(0, 3).map((document, index) => h("pre", { key: index, tabindex: "0" }, JSON.stringify(document, null, 2))),
        result.documents.length > 3 ? h("p.muted", `and ${counted(result.documents.length - 3, "more document")}`) : null,
        result.log ? h("details", h("summary", "What the extractor said"), h("pre", { tabindex: "0" }, result.log)) : null))) : null,
    ];
  }

  /** @param {boolean} whole */
  function saves(whole) {
    const wrong = wrongFields("");
    return [
      field("Name", input(state.name, (name_) => { state.name = name_; visit.redraw(); }, { maxlength: 100, placeholder: "photo-facts" }), { id: "pipeline-name", hint: "3 to 100 characters", error: wrong.collection_name }),
      id ? h("p.muted", "If you change the settings, existing documents are marked as outdated and stay. Nothing is processed again unless you ask for it.")
        : h("label.check", h("input", { type: "checkbox", checked: state.backfill, onchange: (event) => { state.backfill = event.target.checked; visit.redraw(); } }),
          h("span", `Also the ${counted(state.count ?? 0, "object")} that are here${estimate()}`, h("small", "Otherwise only objects that are added or changed from now on."))),
      state.error ? problem(state.error) : null,
      h("div.actions", button(state.busy ? "Saving…" : "Save", save, { kind: "primary", icon: "check", disabled: !whole || state.busy }),
        id ? h("a.button", { href: to.pipeline(id) }, "Cancel") : null),
    ];
  }

  /** How long all will take, from what was tried. */
  function estimate() {
    const times = state.tried?.results.filter((result) => !result.error).map((result) => result.duration_ms) ?? [];
    if (times.length === 0 || !state.count) return "";
    return ` (about ${duration((times.reduce((sum, ms) => sum + ms, 0) / times.length / 1000) * state.count)}, from the try)`;
  }

  /**
   * The wrong fields of the last request, below a prefix.
   * @param {string} below @returns {Record<string, string>}
   */
  function wrongFields(below) {
    const fields = state.error instanceof ApiError ? state.error.fields : [];
    return Object.fromEntries(fields.filter((one) => one.field.includes(below)).map((one) => [one.field.slice(one.field.indexOf(below) + below.length), one.message]));
  }
}
