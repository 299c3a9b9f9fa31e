//! Signing in through the API, with a browser that comes back to `/oauth/callback`.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request};
use catchment::{
    api::{App, Background, access::Access, content::links::Links, router},
    clock::{Clock as _, ManualClock, SystemClock},
    config::Config,
    engine::{Engine, LiveProgress},
    processing::{extract::Extractors, processor::Nudge},
    scheduler::{Bounds, Observers, Scheduler},
    sources::Registry,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    server::{Answer, Server},
    support::{
        catchment::{Catchment, poll_until},
        fake_authority::{CLIENT, FakeAuthority, PUBLIC_CLIENT, SECRET, query_of},
    },
};

/// An installation whose providers are that authority.
fn home(authority: &FakeAuthority) -> Catchment {
    let home = Catchment::new();
    std::fs::create_dir_all(home.data_dir()).unwrap();
    std::fs::write(home.data_dir().join("config.toml"), authority.hosts()).unwrap();
    home
}

fn google() -> Value {
    json!({ "provider_type": "google_drive", "client_id": CLIENT, "client_secret": SECRET })
}

fn microsoft() -> Value {
    json!({ "provider_type": "sharepoint", "client_id": PUBLIC_CLIENT })
}

fn start(server: &Server, body: &Value) -> Value {
    server.post("/v1/sign-ins", body).is(200)
}

fn status(server: &Server, sign_in: &Value) -> Value {
    server.get(&format!("/v1/sign-ins/{}", sign_in["sign_in_id"].as_str().unwrap())).is(200)
}

/// Comes back to an address as a browser that has no session, by the host that the address names.
fn come_back(server: &Server, address: &str) -> Answer {
    let (host, target) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let call = server.request("GET", &format!("/{target}")).without_token();
    call.header("Host", host).header("Sec-Fetch-Site", "cross-site").send()
}

fn connections(server: &Server) -> Vec<Value> {
    let body = server.post("/v1/organizations/connections/list", &json!({})).is(200);
    body["results"].as_array().unwrap().clone()
}

/// Nothing that the authority gave or was sent in confidence is to be read anywhere.
fn keeps_its_secrets(server: &Server) {
    let activity = server.get("/v1/events/log?limit=100").text();
    let list = server.post("/v1/organizations/connections/list", &json!({})).text();
    for told in [server.log(), server.stdout(), activity, list] {
        assert!(!told.contains("canary"), "{told}");
    }
    for file in ["catchment.db", "catchment.db-wal"] {
        let bytes = std::fs::read(server.home.data_dir().join(file)).unwrap_or_default();
        assert!(!bytes.windows(6).any(|bytes| bytes == b"canary"), "{file}");
    }
}

#[test]
fn a_person_who_signs_in_with_google_gets_a_connection() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    let port = server.address.port();
    assert_eq!(sign_in["redirect_uri"], format!("http://127.0.0.1:{port}/oauth/callback"));
    let query = query_of(sign_in["authorize_url"].as_str().unwrap());
    assert_eq!(query["access_type"], "offline");
    assert_eq!(query["prompt"], "consent");
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(query["client_id"], CLIENT, "there is no client but the person's own");
    assert_eq!(query["scope"], "https://www.googleapis.com/auth/drive.readonly");
    assert_eq!(status(&server, &sign_in)["status"], "waiting");

    let page = come_back(&server, &authority.agree(sign_in["authorize_url"].as_str().unwrap()));

    assert_eq!(page.status, 200, "{page}");
    let ended = status(&server, &sign_in);
    assert_eq!(ended["status"], "done", "{ended}");
    let id = ended["connection_id"].as_str().unwrap();
    let next = format!("url=http://{}/#/connections/{id}?test=1\"", server.address);
    assert!(page.text().contains(&next), "{page}");
    assert!(!page.text().contains("canary"), "{page}");
    let connection = server.get(&format!("/v1/organizations/connections/{id}")).is(200);
    assert_eq!(connection["name"], "Google");
    assert_eq!(connection["provider_config"]["credentials"], json!({ "type": "oauth" }));
    keeps_its_secrets(&server);
}

#[test]
fn a_sign_in_whose_connection_does_not_work_says_why_on_its_page_and_in_the_connection() {
    let authority = FakeAuthority::start();
    authority.switch_the_api_off();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    let page = come_back(&server, &authority.agree(sign_in["authorize_url"].as_str().unwrap()));

    let text = page.text();
    assert!(
        text.contains("does not work yet") && text.contains("switch the Drive API on"),
        "{text}"
    );
    assert!(!text.contains("is ready") && !text.contains("refresh"), "{text}");
    let ended = status(&server, &sign_in);
    assert_eq!(ended["status"], "done", "{ended}");
    assert!(ended["error"].as_str().unwrap().contains("switch the Drive API on"), "{ended}");
    let made = &connections(&server)[0];
    assert!(made["last_error"].as_str().unwrap().contains("switch the Drive API on"), "{made}");
}

#[test]
fn a_person_who_leaves_the_box_for_files_unticked_is_told_to_tick_it() {
    let authority = FakeAuthority::start();
    authority.grant_only("openid email");
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    let page = come_back(&server, &authority.agree(sign_in["authorize_url"].as_str().unwrap()));
    assert!(page.text().contains("sign in again, and tick the box"), "{page}");
    let ended = status(&server, &sign_in);
    assert_eq!(ended["status"], "failed", "{ended}");
    assert!(ended["error"].as_str().unwrap().contains("tick the box"), "{ended}");
    assert!(connections(&server).is_empty());
}

#[test]
fn a_person_who_signs_in_with_microsoft_comes_back_to_localhost_and_sends_no_secret() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &microsoft());
    let port = server.address.port();
    assert_eq!(sign_in["redirect_uri"], format!("http://localhost:{port}/oauth/callback"));
    let url = sign_in["authorize_url"].as_str().unwrap();
    assert!(url.contains("/common/oauth2/v2.0/authorize?"), "{url}");
    let scope = &query_of(url)["scope"];
    assert!(scope.contains("offline_access") && !scope.contains("Sites.Read.All"), "{scope}");

    assert_eq!(come_back(&server, &authority.agree(url)).status, 200);

    assert_eq!(status(&server, &sign_in)["status"], "done");
    assert!(authority.seen().iter().all(|seen| !seen.form.contains_key("client_secret")));
    let made = &connections(&server)[0];
    assert_eq!(made["provider_config"]["credentials"], json!({ "type": "delegated" }));
    keeps_its_secrets(&server);
}

#[test]
fn people_of_one_tenant_are_asked_for_its_sites_too() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let mut body = microsoft();
    body["tenant_id"] = "contoso.example".into();
    let sign_in = start(&server, &body);
    let url = sign_in["authorize_url"].as_str().unwrap();
    assert!(url.contains("/contoso.example/oauth2/v2.0/authorize?"), "{url}");
    assert!(query_of(url)["scope"].contains("Sites.Read.All"), "{url}");
}

#[test]
fn a_callback_that_is_opened_twice_is_a_page_that_changes_nothing() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    let address = authority.agree(sign_in["authorize_url"].as_str().unwrap());
    assert_eq!(come_back(&server, &address).status, 200);
    let again = come_back(&server, &address);
    assert_eq!(again.status, 400, "{again}");
    assert!(again.text().contains("<html") && !again.text().contains("canary"), "{again}");
    assert_eq!(status(&server, &sign_in)["status"], "done");
    let codes = authority.seen().into_iter().filter(|seen| seen.form.contains_key("code"));
    assert_eq!((connections(&server).len(), codes.count()), (1, 1));
}

#[test]
fn a_callback_with_a_foreign_state_or_none_changes_nothing() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    let host = server.address;
    for query in ["?state=foreign&code=canary-code", "?code=canary-code", "", "?state=&code="] {
        let page = come_back(&server, &format!("http://{host}/oauth/callback{query}"));
        assert_eq!(page.status, 400, "{page}");
        assert!(!page.text().contains("canary"), "{page}");
    }
    assert_eq!(status(&server, &sign_in)["status"], "waiting");
    assert!(authority.seen().is_empty() && connections(&server).is_empty());
    keeps_its_secrets(&server);
}

#[test]
fn looking_at_a_callback_ahead_does_not_use_it_up() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    let address = authority.agree(sign_in["authorize_url"].as_str().unwrap());
    let (_, target) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    server.request("HEAD", &format!("/{target}")).without_token().send();
    assert_eq!(status(&server, &sign_in)["status"], "waiting");
    assert_eq!(come_back(&server, &address).status, 200);
}

#[test]
fn a_persons_refusal_is_shown_in_the_providers_words() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    let page = come_back(&server, &authority.refuse(sign_in["authorize_url"].as_str().unwrap()));
    assert!(page.text().contains("access_denied"), "{page}");
    let ended = status(&server, &sign_in);
    assert_eq!(ended["status"], "failed");
    let error = ended["error"].as_str().unwrap();
    assert!(error.contains("access_denied") && error.contains("declined"), "{error}");
    assert!(connections(&server).is_empty() && authority.seen().is_empty());
}

#[test]
fn what_a_provider_says_of_a_refusal_is_text_on_the_page() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    let query = query_of(sign_in["authorize_url"].as_str().unwrap());
    let address = format!(
        "{}?state={}&error=%3Cscript%3Ealert(1)%3C/script%3E",
        query["redirect_uri"], query["state"]
    );
    let page = come_back(&server, &address).text();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
}

#[tokio::test]
async fn a_sign_in_that_is_late_has_expired() {
    let authority = FakeAuthority::start();
    let home = home(&authority);
    let config = Config::load(Some(home.data_dir().to_owned())).unwrap();
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let engine = Engine::open(&config, clock.clone(), Arc::new(Registry)).unwrap();
    let progress = LiveProgress::default();
    let watched = progress.clone();
    let observers: Observers = Arc::new(move |job| watched.watch(job));
    let scheduler = Scheduler::start(engine.clone(), Bounds::default(), observers);
    let access = Access::open(&config, config.serve.listen, Some("token")).unwrap();
    let links = Links::open(&config.data_dir, access.token().clone()).unwrap();
    let stopping = CancellationToken::new();
    let background = Background {
        scheduler: &scheduler,
        live_progress: progress,
        extractors: Extractors::new("catchment".into(), config.data_dir.join("scratch")),
        processor: Nudge::default(),
    };
    let app = App::new(engine, config, access, links, background, stopping);
    let router = router(app);
    let ask = async |method: &str, target: &str, body: String| {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("Host", "127.0.0.1:7400")
            .header("Authorization", "Bearer token")
            .body(Body::from(body))
            .unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        (status, axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap())
    };
    let (_, sign_in) = ask("POST", "/v1/sign-ins", google().to_string()).await;
    let sign_in: Value = serde_json::from_slice(&sign_in).unwrap();
    let address = authority.agree(sign_in["authorize_url"].as_str().unwrap());
    let (_, target) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    clock.set(clock.now() + Duration::from_secs(10 * 60));

    assert_eq!(ask("GET", &format!("/{target}"), String::new()).await.0, 400);

    let place = format!("/v1/sign-ins/{}", sign_in["sign_in_id"].as_str().unwrap());
    let (_, status) = ask("GET", &place, String::new()).await;
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["status"], "expired");
    assert!(authority.seen().is_empty());
    scheduler.stop().await;
}

#[test]
fn a_server_that_gives_no_lasting_sign_in_makes_no_connection() {
    let authority = FakeAuthority::start();
    authority.give_no_refresh_tokens();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    come_back(&server, &authority.agree(sign_in["authorize_url"].as_str().unwrap()));
    let ended = status(&server, &sign_in);
    assert_eq!(ended["status"], "failed");
    assert!(ended["error"].as_str().unwrap().contains("no refresh token"), "{ended}");
    assert!(connections(&server).is_empty());
}

#[test]
fn the_address_at_which_a_browser_elsewhere_ended_can_be_handed_in() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    let other = start(&server, &google());
    let answer = format!("/v1/sign-ins/{}/answer", sign_in["sign_in_id"].as_str().unwrap());
    let foreign = authority.agree(other["authorize_url"].as_str().unwrap());
    for wrong in ["http://127.0.0.1/oauth/callback", "nonsense?x=1", &foreign] {
        let blamed = server.post(&answer, &json!({ "url": wrong })).blames("url");
        assert!(blamed.get("value").is_none(), "{blamed}");
    }
    let address = authority.agree(sign_in["authorize_url"].as_str().unwrap());
    let ended = server.post(&answer, &json!({ "url": address })).is(200);
    assert_eq!(ended["status"], "done", "{ended}");
    server.post(&answer, &json!({ "url": address })).blames("url");
    assert_eq!(status(&server, &other)["status"], "waiting");
    keeps_its_secrets(&server);
}

#[test]
fn a_person_signs_in_on_another_device() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let mut body = microsoft();
    body["device"] = true.into();
    let sign_in = start(&server, &body);
    assert_eq!(sign_in["user_code"], "ABCD-1234");
    assert_eq!(sign_in["verification_url"], "https://microsoft.com/devicelogin");
    assert_eq!(sign_in["authorize_url"], Value::Null);
    assert!(!sign_in.to_string().contains("canary"), "{sign_in}");
    authority.agree_on_devices();
    let ended = poll_until("the sign-in", Duration::from_secs(30), || {
        let now = status(&server, &sign_in);
        (now["status"] != "waiting").then_some(now)
    });
    assert_eq!(ended["status"], "done", "{ended}");
    keeps_its_secrets(&server);
}

#[test]
fn google_offers_no_sign_in_on_another_device_and_says_what_does() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let mut body = google();
    body["device"] = true.into();
    let error = server.post("/v1/sign-ins", &body).fails_with(409);
    assert!(error["message"].as_str().unwrap().contains("paste the address"), "{error}");
}

#[test]
fn a_connection_is_renewed_with_the_client_that_it_has_and_works_again() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let sign_in = start(&server, &google());
    come_back(&server, &authority.agree(sign_in["authorize_url"].as_str().unwrap()));
    let id = status(&server, &sign_in)["connection_id"].clone();
    let place = format!("/v1/organizations/connections/{}", id.as_str().unwrap());
    server.patch(&place, &json!({ "status": "SUSPENDED" })).is(200);

    let again = json!({ "provider_type": "google_drive", "connection_id": id });
    let again = start(&server, &again);
    let query = query_of(again["authorize_url"].as_str().unwrap());
    assert_eq!(query["client_id"], CLIENT);
    come_back(&server, &authority.agree(again["authorize_url"].as_str().unwrap()));

    let ended = status(&server, &again);
    assert_eq!((&ended["status"], &ended["connection_id"]), (&json!("done"), &id));
    assert_eq!(server.get(&place).is(200)["status"], "ACTIVE");
    assert_eq!(connections(&server).len(), 1);
}

#[test]
fn what_cannot_become_a_sign_in_is_refused_before_anybody_is_sent_anywhere() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    let refused = |field: &str, change: Value| {
        let mut body = google();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        server.post("/v1/sign-ins", &body).blames(field)
    };
    refused("provider_type", json!({ "provider_type": "s3" }));
    refused("client_id", json!({ "client_id": null }));
    let blamed = refused("client_secret", json!({ "client_secret": null }));
    assert_eq!(blamed["type"], "missing");
    refused("tenant_id", json!({ "tenant_id": "common" }));
    refused("provider_config.credentials", json!({ "provider_config": { "credentials": {} } }));
    refused("provider_config.nonsense", json!({ "provider_config": { "nonsense": 1 } }));
    let body = json!({ "provider_type": "google_drive", "connection_id": "conn_none" });
    server.post("/v1/sign-ins", &body).fails_with(404);
    server.get("/v1/sign-ins/sign_none").fails_with(404);
    server.request("POST", "/v1/sign-ins").without_token().json(&google()).send().fails_with(401);
    keeps_its_secrets(&server);
}

#[test]
fn a_second_sign_in_gets_a_name_of_its_own_and_a_taken_name_is_refused() {
    let authority = FakeAuthority::start();
    let server = Server::on(&home(&authority));
    for _ in 0..2 {
        let sign_in = start(&server, &google());
        come_back(&server, &authority.agree(sign_in["authorize_url"].as_str().unwrap()));
    }
    let names: Vec<_> = connections(&server).iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["Google-2", "Google"]);
    let mut body = google();
    body["name"] = "Google".into();
    server.post("/v1/sign-ins", &body).fails_with(409);
}
