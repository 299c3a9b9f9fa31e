// What the modules of the interface hand each other. None of it is shipped: the interface is
// JavaScript whose comments name these types, and `npm run types` checks it against them.

declare global {
  namespace Ui {
    /** What is to be drawn. */
    type Drawing = {
      tag: string; props: Props; children: Drawing[]; key?: string | number; text?: string; dom?: Element | Text;
      unmount?: (() => void) | void;
    };
    /** A drawing, text, a number, an array of these, or nothing (null, false …). */
    type Child = Drawing | string | number | boolean | null | undefined | Child[];
    /** An event of a field. */
    type FieldEvent = Event & { target: HTMLInputElement };
    type Props = {
      [name: string]: unknown; key?: string | number;
      onclick?: (event: MouseEvent) => unknown; oninput?: (event: FieldEvent) => unknown;
      onchange?: (event: FieldEvent) => unknown; onsubmit?: (event: SubmitEvent) => unknown;
      onkeydown?: (event: KeyboardEvent) => unknown; mount?: (element: HTMLElement) => (() => void) | void;
    };

    /**
     * What a page is given: its part of the address, what it kept when it was left here, and ways
     * to draw itself and to open others. `go` opens another address, `rewrite` changes the query of
     * the address without opening the page anew.
     */
    type Visit = {
      params: string[]; query: URLSearchParams; kept: unknown; redraw: () => void; refresh: () => Promise<void>;
      go: (address: string) => void; rewrite: (query: Record<string, string | undefined>) => void;
    };
    /**
     * `refresh` loads what the page shows: when it opens, and when the server is back. `ticks`: it
     * shows relative times, and is drawn every second. `keep`: what it wants back when Back returns
     * here. `moved`: shows another query of its own address, without being opened anew.
     */
    type Page = {
      title: () => string; view: () => Child; refresh?: () => Promise<unknown>; event?: (event: Api.LiveEvent) => void;
      ticks?: boolean; wide?: boolean; keep?: () => unknown;
      moved?: (query: URLSearchParams, kept: unknown) => Promise<void>; close?: () => void;
    };
    type OpenPage = (visit: Visit) => Page;

    /**
     * `key` is its path in `provider_config`; a `secret` is never shown again, `json` is a whole
     * object, pasted as it was downloaded, and secret too, `list` is separated by commas. `for`:
     * only for that type of credentials.
     */
    type ConnectionField = { key: string; label: string; hint?: string; kind?: "secret" | "json" | "list"; for?: string };
    /**
     * How the places of a provider are called, and what is above them all. `level`: how deep the
     * places are, where nothing above them can be synced and what is below them is only shown.
     */
    type PlaceWords = { label: string; placeholder: string; hint: string; top: string; level?: number };
    /** `types`: of its credentials, the usual one first. */
    type Provider = {
      id: string; label: string; name: string; types: [type: string, label: string][]; fields: ConnectionField[];
      place: PlaceWords;
    };
    /**
     * What a person typed. `stored` are the settings of the connection that is edited, which the
     * values begin with; `type` is that of the credentials.
     */
    type ConnectionDraft = {
      provider: string; name: string; type?: string; values: Record<string, string>; stored?: Record<string, unknown>;
    };

    type MappingRow = { target: string; source: string; value: string; transform: string };
    /**
     * `places` has the place that was chosen in each connection, `making` a connection that is
     * being written.
     */
    type Draft = {
      connection_id: string; source_path: string; bucket_id: string; bucket_name: string; bucket_named: boolean;
      include: string; exclude: string; extensions: string; mime: string; min: string; max: string; after: string;
      before: string; metadata: { field: string; operator: string; value: string }[]; mapping: MappingRow[];
      sync_mode: string; interval: number; on_update: boolean; on_delete: boolean; on_filter_drift: boolean;
      skip_duplicates: boolean; description: string; places: Record<string, string>; making: ConnectionDraft | null;
    };
    type Change = (change: Partial<Draft>) => void;
    type Preview = {
      add: number; update: number; remove: number; exclude: number; fail: number; same: number; bytes: number;
      looked: number; whole: boolean; held: boolean; rules: [rule: string, count: number][];
      items: { path: string; verdict: string; size: number | null; why: string }[]; notices: Api.Notice[];
    };

    /**
     * `retry`: what is tried again, and when. `done` and `total` count entries; `rate` is bytes a
     * second, `eta` seconds, `files` those in flight.
     */
    type Progress = {
      phase: string; done: number; total: number | null; bytes: number; bytesTotal: number | null;
      rate: number | null; eta: number | null; files: string[]; counts: Api.Counts;
      retry: { attempt: number; at: string; reason: string } | null;
    };

    type Folder = { kind: "folder"; path: string; name: string };
    type Item = {
      kind: "object"; id: string; path: string; name: string; size: number | null; mime: string;
      modified: string | null; added: string | null; blob: string | null;
    };
    /** What is shown: a folder (`prefix`), or with a search or a type, everything below it. */
    type Place = { prefix: string; search: string; sort: string; type: string };
    /** `all` is everything that a place shows, named by nothing but the place. */
    type Chosen =
      | { kind: "object"; id: string; path: string } | { kind: "folder"; path: string }
      | { kind: "all"; place: Place; path: string; count: number };

    /** Which objects, as a person says it. */
    type Which = { folder: string; name: string; kind: string };
    /** Failures of one reason. */
    type FailureGroup = { error_type: string; error: string; count: number; objects: Api.FailedInPipeline[] };

    type SignInDraft = { clientId: string; clientSecret: string; tenantId: string; name: string };
    /** `check` returns what is wrong. */
    type SignInField = {
      key: keyof SignInDraft; label: string; hint: string; secret?: boolean; optional?: boolean;
      check: (value: string) => string | null;
    };
    type Step = { title: string; body: Child; href?: string; go?: string; done?: string; fields?: SignInField[] };
    /** `renews`: the kinds of credentials that a sign-in makes. */
    type SignIn = { id: string; with: string; what: string; steps: Step[]; renews: string[]; onDevices: boolean };

    /** Settings of a sync that words are made of. */
    type SettingsInWords =
      & Partial<Pick<Api.Sync, "connection_id" | "source_path" | "polling_interval_seconds" | "file_filters" | "skip_duplicates">>
      & { sync_mode?: string; reconcile?: Partial<Api.Sync["reconcile"]> | null };
  }
}

export {};
