//! The authorization servers of Google and Microsoft, from their documentation: they check what
//! they are sent, rotate refresh tokens, and end a sign-in whose refresh token is used twice, as
//! RFC 9700 (section 4.14.2) has it. Knows nothing of files.
//!
//! - <https://developers.google.com/identity/protocols/oauth2/native-app>
//! - <https://developers.google.com/identity/protocols/oauth2/service-account>
//! - <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow>
//! - <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code>

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::wire::{Answer, Delivery, Reply, Request, Wire};

/// The client that it knows.
pub const CLIENT: &str = "client-1";
/// That client's secret; a public client has none.
pub const SECRET: &str = "canary-client-secret";
/// A public client.
pub const PUBLIC_CLIENT: &str = "public-client-1";

/// A running authorization server; it stops when dropped.
pub struct FakeAuthority {
    wire: Wire,
    state: Arc<Mutex<State>>,
}

/// A request for tokens, as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its path.
    pub path: String,
    /// Its form.
    pub form: BTreeMap<String, String>,
}

struct State {
    /// The refresh token that is good now, by sign-in.
    current: BTreeMap<u32, String>,
    /// Those that were good once.
    used: BTreeMap<String, u32>,
    /// Authorization codes, each good once: redirect address, challenge, client.
    codes: BTreeMap<String, (String, String, String)>,
    /// What people grant, whatever they are asked for; `None`: what they are asked for.
    grants: Option<String>,
    is_api_off: bool,
    /// Device codes, and whether somebody has agreed.
    devices: BTreeMap<String, bool>,
    access: BTreeSet<String>,
    rotates: bool,
    gives_refresh_tokens: bool,
    delay: Duration,
    drip: Option<Duration>,
    scripted: VecDeque<(u16, Value)>,
    seen: Vec<Seen>,
    reused: u32,
    number: u32,
    /// The public key (DER, PKCS #1) of the service account.
    service_key: Option<Vec<u8>>,
    assertions: Vec<Value>,
}

impl FakeAuthority {
    /// Starts one that rotates refresh tokens.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            current: BTreeMap::new(),
            used: BTreeMap::new(),
            codes: BTreeMap::new(),
            grants: None,
            is_api_off: false,
            devices: BTreeMap::new(),
            access: BTreeSet::new(),
            rotates: true,
            gives_refresh_tokens: true,
            delay: Duration::ZERO,
            drip: None,
            scripted: VecDeque::new(),
            seen: Vec::new(),
            reused: 0,
            number: 0,
            service_key: None,
            assertions: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let wire = Wire::serve(move |request| answer(&shared, request));
        Self { wire, state }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        self.wire.url()
    }

    /// The `[hosts]` of a `config.toml` that lead here, Google's and Microsoft's APIs included.
    pub fn hosts(&self) -> String {
        let url = self.url();
        format!(
            "[hosts]\ngoogle_api = \"{url}\"\ngoogle_token = \"{url}\"\ngoogle_accounts = \
             \"{url}\"\nmicrosoft_graph = \"{url}\"\nmicrosoft_login = \"{url}\"\n"
        )
    }

    /// A refresh token of a new sign-in.
    pub fn refresh_token(&self) -> String {
        self.lock().new_sign_in()
    }

    /// Leaves refresh tokens as they are, as Google does.
    pub fn keep_refresh_tokens(&self) {
        self.rotate_refresh_tokens(false);
    }

    /// Whether each refresh token is good once.
    pub fn rotate_refresh_tokens(&self, rotates: bool) {
        self.lock().rotates = rotates;
    }

    /// Gives access tokens only, as a server does that was not asked for offline access.
    pub fn give_no_refresh_tokens(&self) {
        self.lock().gives_refresh_tokens = false;
    }

    /// Lets people grant only that from now on, as those do who leave a box unticked.
    pub fn grant_only(&self, scope: &str) {
        self.lock().grants = Some(scope.to_owned());
    }

    /// Switches Google's API off for the client's project.
    pub fn switch_the_api_off(&self) {
        self.lock().is_api_off = true;
    }

    /// Takes that long for each token.
    pub fn take(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// Sends its answers in pieces of one byte, with a pause after each.
    pub fn drip(&self, pause: Duration) {
        self.lock().drip = Some(pause);
    }

    /// Answers the next request for a token with this error.
    pub fn refuse_next(&self, status: u16, error: Value) {
        self.lock().scripted.push_back((status, error));
    }

    /// Ends every sign-in: the person has taken the consent back.
    pub fn revoke_all(&self) {
        self.lock().current.clear();
    }

    /// Lets access tokens expire, whatever was said of their life.
    pub fn expire_access_tokens(&self) {
        self.lock().access.clear();
    }

    /// Accepts assertions that this key (DER, PKCS #1 public) verifies.
    pub fn trust(&self, public_key: Vec<u8>) {
        self.lock().service_key = Some(public_key);
    }

    /// The claims of the assertions that it accepted.
    pub fn assertions(&self) -> Vec<Value> {
        self.lock().assertions.clone()
    }

    /// Whether that access token is good.
    pub fn admits(&self, access_token: &str) -> bool {
        self.lock().access.contains(access_token)
    }

    /// Says of access tokens whether they are good, for as long as this server runs.
    pub fn watcher(&self) -> impl Fn(&str) -> bool + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move |token| state.lock().unwrap().access.contains(token)
    }

    /// The requests for tokens.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// How often a refresh token was used that was good once.
    pub fn reused(&self) -> u32 {
        self.lock().reused
    }

    /// The refresh tokens that are good now.
    pub fn good_refresh_tokens(&self) -> Vec<String> {
        self.lock().current.values().cloned().collect()
    }

    /// Follows an authorize address as a person who agrees; answers the address that the browser is
    /// sent back to.
    pub fn agree(&self, authorize_url: &str) -> String {
        let query = query_of(authorize_url);
        let code = self.lock().code_for(&query);
        format!("{}?state={}&code={code}", query["redirect_uri"], escaped(&query["state"]))
    }

    /// Follows an authorize address as a person who does not agree.
    pub fn refuse(&self, authorize_url: &str) -> String {
        let query = query_of(authorize_url);
        format!(
            "{}?state={}&error=access_denied&error_description=The%20user%20declined",
            query["redirect_uri"],
            escaped(&query["state"])
        )
    }

    /// Agrees on another device to all that wait.
    pub fn agree_on_devices(&self) {
        self.lock().devices.values_mut().for_each(|agreed| *agreed = true);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// The query of an address.
pub fn query_of(address: &str) -> BTreeMap<String, String> {
    url::Url::parse(address)
        .unwrap_or_else(|error| panic!("{error}: {address:?}"))
        .query_pairs()
        .into_owned()
        .collect()
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn answer(state: &Mutex<State>, request: &Request) -> Reply {
    let path = request.raw_path().to_owned();
    let form: BTreeMap<String, String> =
        url::form_urlencoded::parse(&request.body).into_owned().collect();
    if path.ends_with("/authorize") || path == "/o/oauth2/v2/auth" {
        return consent_page(&mut state.lock().unwrap(), request).into();
    }
    if path.ends_with("/devicecode") {
        return state.lock().unwrap().device(&form).into();
    }
    if path == "/drive/v3/about" {
        return state.lock().unwrap().who(request).into();
    }
    if path != "/token" && !path.ends_with("/oauth2/v2.0/token") {
        return Answer::new(404, "").into();
    }
    let delay = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen { path, form: form.clone() });
        state.delay
    };
    std::thread::sleep(delay);
    let mut state = state.lock().unwrap();
    let (status, body) = match state.scripted.pop_front() {
        Some(scripted) => scripted,
        None => state.tokens(&form),
    };
    let mut answer =
        Answer::new(status, body.to_string()).header("Content-Type", "application/json");
    if let Some(pause) = state.drip {
        answer.delivery = Delivery::Paced(1, pause);
    }
    answer.into()
}

/// What a person sees: a button to agree and one to refuse.
fn consent_page(state: &mut State, request: &Request) -> Answer {
    let query = query_of(&format!("http://fake{}", request.target));
    for needed in ["client_id", "redirect_uri", "scope", "state", "code_challenge"] {
        assert!(query.contains_key(needed), "{needed} is missing: {query:?}");
    }
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["code_challenge_method"], "S256");
    let code = state.code_for(&query);
    let back = format!("{}?state={}", query["redirect_uri"], escaped(&query["state"]));
    Answer::new(
        200,
        format!(
            "<!doctype html><title>Consent</title><h1>Catchment wants to read your files</h1>\
             <a id=agree href=\"{back}&amp;code={code}\">Allow</a> \
             <a id=refuse href=\"{back}&amp;error=access_denied\">Cancel</a>"
        ),
    )
    .header("Content-Type", "text/html")
}

impl State {
    /// What Google says of who is signed in.
    fn who(&self, request: &Request) -> Answer {
        let bearer = request.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
        let off = json!({ "error": {
            "code": 403, "message": "Google Drive API has not been used in project 1 before",
            "errors": [{ "reason": "accessNotConfigured" }],
        } });
        let (status, body) = match bearer.is_some_and(|token| self.access.contains(token)) {
            true if self.is_api_off => (403, off),
            true => (200, json!({ "user": { "emailAddress": "me@example.org" } })),
            false => (401, json!({ "error": { "code": 401, "message": "Invalid Credentials" } })),
        };
        Answer::new(status, body.to_string()).header("Content-Type", "application/json")
    }

    fn next(&mut self, what: &str) -> String {
        self.number += 1;
        format!("canary-{what}-{}", self.number)
    }

    fn new_sign_in(&mut self) -> String {
        let token = self.next("refresh");
        self.current.insert(self.number, token.clone());
        token
    }

    fn code_for(&mut self, query: &BTreeMap<String, String>) -> String {
        let code = self.next("code");
        let granted = (
            query["redirect_uri"].clone(),
            query["code_challenge"].clone(),
            query["client_id"].clone(),
        );
        self.codes.insert(code.clone(), granted);
        code
    }

    fn device(&mut self, form: &BTreeMap<String, String>) -> Answer {
        assert!(form.contains_key("client_id") && form.contains_key("scope"), "{form:?}");
        let code = self.next("device");
        self.devices.insert(code.clone(), false);
        let body = json!({
            "device_code": code, "user_code": "ABCD-1234", "interval": 1, "expires_in": 900,
            "verification_uri": "https://microsoft.com/devicelogin",
            "message": "go there",
        });
        Answer::new(200, body.to_string())
    }

    fn tokens(&mut self, form: &BTreeMap<String, String>) -> (u16, Value) {
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        if field("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer"
            && let Some(refused) = refused_client(field("client_id"), form.get("client_secret"))
        {
            return refused;
        }
        match field("grant_type") {
            "refresh_token" => self.refreshed(field("refresh_token")),
            "authorization_code" => match self.codes.remove(field("code")) {
                Some((redirect, challenge, client)) => {
                    let verifier = Sha256::digest(field("code_verifier"));
                    assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(verifier), challenge);
                    assert_eq!((field("redirect_uri"), field("client_id")), (&*redirect, &*client));
                    let refresh = self.gives_refresh_tokens.then(|| self.new_sign_in());
                    (200, self.given(refresh))
                }
                None => no_grant("the code was used or never given"),
            },
            "urn:ietf:params:oauth:grant-type:device_code" => {
                match self.devices.get(field("device_code")) {
                    Some(true) => {
                        self.devices.remove(field("device_code"));
                        let refresh = self.new_sign_in();
                        (200, self.given(Some(refresh)))
                    }
                    Some(false) => (400, json!({ "error": "authorization_pending" })),
                    None => (400, json!({ "error": "expired_token" })),
                }
            }
            "client_credentials" => {
                assert_eq!(field("scope"), "https://graph.microsoft.com/.default");
                (200, self.given(None))
            }
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
                match self.verified(field("assertion")) {
                    Some(claims) => {
                        self.assertions.push(claims);
                        (200, self.given(None))
                    }
                    None => no_grant("Invalid JWT Signature."),
                }
            }
            other => panic!("no grant of the type {other:?}"),
        }
    }

    fn refreshed(&mut self, token: &str) -> (u16, Value) {
        let known = self.current.iter().find(|(_, current)| *current == token);
        if let Some((&sign_in, _)) = known {
            if !self.rotates {
                return (200, self.given(None));
            }
            let new = self.next("refresh");
            self.used.insert(token.to_owned(), sign_in);
            self.current.insert(sign_in, new.clone());
            return (200, self.given(Some(new)));
        }
        if let Some(sign_in) = self.used.get(token) {
            self.reused += 1;
            self.current.remove(sign_in);
        }
        no_grant("Token has been expired or revoked.")
    }

    fn given(&mut self, refresh: Option<String>) -> Value {
        let access = self.next("access");
        self.access.insert(access.clone());
        let mut body = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": 3599,
        });
        if let Some(granted) = &self.grants {
            body["scope"] = granted.as_str().into();
        }
        if let Some(refresh) = refresh {
            body["refresh_token"] = refresh.into();
        }
        body
    }

    fn verified(&self, assertion: &str) -> Option<Value> {
        let (signed, signature) = assertion.rsplit_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
            self.service_key.as_ref()?,
        );
        key.verify(signed.as_bytes(), &signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

fn no_grant(why: &str) -> (u16, Value) {
    (400, json!({ "error": "invalid_grant", "error_description": why }))
}

/// A confidential client must send its secret, a public one none.
fn refused_client(client: &str, secret: Option<&String>) -> Option<(u16, Value)> {
    let refused = |code: u64, why: &str| {
        let description = format!("AADSTS{code}: {why}");
        let error = json!({
            "error": "invalid_client", "error_description": description, "error_codes": [code],
        });
        Some((401, error))
    };
    match (client, secret.map(String::as_str)) {
        (CLIENT, Some(SECRET)) | (PUBLIC_CLIENT, None) => None,
        (PUBLIC_CLIENT, Some(_)) => refused(700_025, "Client is public"),
        (CLIENT, None) => refused(7_000_218, "The request body must contain client_secret."),
        _ => refused(7_000_215, "Invalid client secret provided."),
    }
}
