//! One grant per connection: its tokens are renewed once, kept before they are used, and a refusal
//! says what to do.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use catchment::{
    clock::{Clock as _, ManualClock, SystemClock},
    config::Hosts,
    model::{Connection, ConnectionId, Credentials, ProviderName},
    secrets::Vault,
    sources::{
        SourceError,
        oauth::{Authority, Grant, Grants, google::Google, microsoft::Microsoft},
    },
    store::{Store, connections},
};
use serde_json::json;

use crate::support::fake_authority::{CLIENT, FakeAuthority, PUBLIC_CLIENT, SECRET};

/// An installation with one connection.
struct House {
    dir: tempfile::TempDir,
    hosts: Arc<Hosts>,
    clock: Arc<ManualClock>,
    key: i64,
}

/// A process at work in it.
struct Process {
    vault: Vault,
    grants: Grants,
}

impl House {
    async fn new(authority: &FakeAuthority, credentials: &Credentials) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = authority.hosts();
        let hosts: Hosts = toml::from_str(file.strip_prefix("[hosts]\n").unwrap()).unwrap();
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let house = Self { dir, hosts: Arc::new(hosts), clock, key: 0 };
        let process = house.process();
        let id = ConnectionId::generate();
        let new = connections::NewConnection {
            sealed: Some(process.vault.seal(&id, credentials).await.unwrap()),
            id: id.clone(),
            name: "drive".to_owned(),
            settings: Connection {
                provider: ProviderName::new("google_drive"),
                settings: serde_json::Map::new(),
            },
            description: None,
            metadata: serde_json::Map::new(),
            write_enabled: false,
        };
        let store = house.store();
        let now = house.clock.now();
        store.write(move |tx| connections::insert(tx, &new, now)).await.unwrap();
        let kept = store.read(move |db| connections::named(db, id.as_str())).await.unwrap();
        Self { key: kept.unwrap().key, ..house }
    }

    fn store(&self) -> Store {
        Store::open(self.dir.path()).unwrap()
    }

    fn process(&self) -> Process {
        let vault = Vault::new(self.store(), self.dir.path(), None, self.clock.clone());
        Process { vault, grants: Grants::default() }
    }

    /// The connection's grant in a process, as a run that begins there would get it.
    async fn grant(&self, process: &Process) -> Arc<Grant> {
        let credentials = process.vault.credentials(self.key).await.unwrap().unwrap();
        process.grants.of(&credentials, self.authority(&credentials), self.clock.clone())
    }

    fn authority(&self, credentials: &Credentials) -> Arc<dyn Authority> {
        match credentials.expose_json().contains("tenant_id") {
            true => Arc::new(Microsoft { hosts: self.hosts.clone() }),
            false => Arc::new(Google { hosts: self.hosts.clone(), subject: None }),
        }
    }

    fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now() + time);
    }
}

fn google(refresh_token: &str) -> Credentials {
    Credentials::from_json(
        json!({
            "type": "oauth", "client_id": CLIENT, "client_secret": SECRET,
            "refresh_token": refresh_token,
        })
        .to_string(),
    )
}

fn delegated(client: &str, secret: Option<&str>, refresh_token: &str) -> Credentials {
    let mut fields = json!({
        "type": "delegated", "tenant_id": "common", "client_id": client,
        "refresh_token": refresh_token,
    });
    if let Some(secret) = secret {
        fields["client_secret"] = secret.into();
    }
    Credentials::from_json(fields.to_string())
}

fn application(secret: &str) -> Credentials {
    Credentials::from_json(
        json!({
            "type": "client_credentials", "tenant_id": "contoso.example",
            "client_id": CLIENT, "client_secret": secret,
        })
        .to_string(),
    )
}

fn refusal(outcome: Result<impl std::fmt::Debug, SourceError>) -> String {
    match outcome {
        Err(error @ SourceError::SignInAgain { .. }) => error.to_string(),
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test]
async fn many_who_need_a_token_at_once_cost_one_request() {
    let authority = FakeAuthority::start();
    authority.take(Duration::from_millis(200));
    let house = House::new(&authority, &google(&authority.refresh_token())).await;
    let grant = house.grant(&house.process()).await;
    let tokens = futures_util::future::join_all((0..20).map(|_| grant.token())).await;
    let first = tokens[0].as_ref().unwrap().expose();
    assert!(tokens.iter().all(|token| token.as_ref().unwrap().expose() == first));
    assert!(authority.admits(first));
    assert_eq!(authority.seen().len(), 1);
}

#[tokio::test]
async fn a_token_is_kept_for_its_life_and_shared_by_all_runs_of_a_connection() {
    let authority = FakeAuthority::start();
    let house = House::new(&authority, &google(&authority.refresh_token())).await;
    let process = house.process();
    for _ in 0..3 {
        house.grant(&process).await.token().await.unwrap();
        house.pass(Duration::from_secs(1000));
    }
    assert_eq!(authority.seen().len(), 1);
    house.pass(Duration::from_secs(600));
    house.grant(&process).await.token().await.unwrap();
    assert_eq!(authority.seen().len(), 2);
}

#[tokio::test]
async fn requests_refused_together_renew_their_token_once() {
    let authority = FakeAuthority::start();
    let house = House::new(&authority, &google(&authority.refresh_token())).await;
    let grant = house.grant(&house.process()).await;
    let refused = grant.token().await.unwrap();
    let again = futures_util::future::join_all((0..10).map(|_| grant.token_after(&refused))).await;
    assert!(again.iter().all(|token| token.as_ref().unwrap().expose() != refused.expose()));
    assert_eq!(authority.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_renew_at_once_never_use_a_refresh_token_twice() {
    let authority = FakeAuthority::start();
    authority.take(Duration::from_millis(30));
    let house =
        House::new(&authority, &delegated(CLIENT, Some(SECRET), &authority.refresh_token())).await;
    let (one, other) = (house.process(), house.process());
    for _ in 0..5 {
        let (one, other) = (house.grant(&one).await, house.grant(&other).await);
        let (one, other) = tokio::join!(one.token(), other.token());
        assert!(authority.admits(one.unwrap().expose()));
        assert!(authority.admits(other.unwrap().expose()));
        house.pass(Duration::from_secs(3600));
    }
    assert_eq!(authority.reused(), 0);
    assert_eq!(authority.seen().len(), 10);
}

#[tokio::test]
async fn a_process_that_ends_before_it_uses_its_token_leaves_the_new_secret_behind() {
    let authority = FakeAuthority::start();
    let house =
        House::new(&authority, &delegated(PUBLIC_CLIENT, None, &authority.refresh_token())).await;
    drop(house.grant(&house.process()).await.token().await.unwrap());
    let next = house.process();
    let kept = next.vault.credentials(house.key).await.unwrap().unwrap();
    assert!(kept.expose_json().contains(&authority.good_refresh_tokens()[0]));
    house.grant(&next).await.token().await.unwrap();
    assert_eq!(authority.reused(), 0);
}

#[tokio::test]
async fn a_renewal_is_seen_through_when_the_run_that_asked_for_it_is_stopped() {
    let authority = FakeAuthority::start();
    let house =
        House::new(&authority, &delegated(PUBLIC_CLIENT, None, &authority.refresh_token())).await;
    authority.take(Duration::from_millis(300));
    let process = house.process();
    let grant = house.grant(&process).await;
    let stopped = tokio::time::timeout(Duration::from_millis(100), grant.token()).await;
    assert!(stopped.is_err());
    grant.token().await.unwrap();
    assert_eq!((authority.seen().len(), authority.reused()), (1, 0));
    let kept = process.vault.credentials(house.key).await.unwrap().unwrap();
    assert!(kept.expose_json().contains(&authority.good_refresh_tokens()[0]));
}

#[tokio::test]
async fn a_process_that_died_while_renewing_keeps_others_waiting_for_half_a_minute_at_most() {
    let authority = FakeAuthority::start();
    let house = House::new(&authority, &google(&authority.refresh_token())).await;
    let dead = house.process().vault.credentials(house.key).await.unwrap().unwrap();
    assert!(dead.keeper().unwrap().claim().await.unwrap());
    let grant = house.grant(&house.process()).await;
    let waiting = tokio::spawn(async move { grant.token().await });
    tokio::time::timeout(Duration::from_millis(300), async {
        while authority.seen().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_err();
    house.pass(Duration::from_secs(31));
    waiting.await.unwrap().unwrap();
    assert_eq!(authority.seen().len(), 1);
}

#[tokio::test]
async fn a_new_key_to_the_vault_in_the_middle_of_a_renewal_loses_no_secret() {
    let authority = FakeAuthority::start();
    let house =
        House::new(&authority, &delegated(PUBLIC_CLIENT, None, &authority.refresh_token())).await;
    authority.take(Duration::from_millis(300));
    let process = house.process();
    let grant = house.grant(&process).await;
    let renewing = tokio::spawn(async move { grant.token().await });
    while authority.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    house.process().vault.rotate().await.unwrap();
    renewing.await.unwrap().unwrap();
    let kept = process.vault.credentials(house.key).await.unwrap().unwrap();
    assert!(kept.expose_json().contains(&authority.good_refresh_tokens()[0]));
}

#[tokio::test]
async fn a_sign_in_that_a_person_enters_during_a_renewal_counts() {
    let authority = FakeAuthority::start();
    let house = House::new(&authority, &google("canary-refresh-of-yesterday")).await;
    authority.take(Duration::from_millis(300));
    let process = house.process();
    let grant = house.grant(&process).await;
    let renewing = tokio::spawn(async move { grant.token().await });
    while authority.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let store = house.store();
    let key = house.key;
    let kept = store.read(move |db| connections::by_key(db, key)).await.unwrap();
    let entered = google(&authority.refresh_token());
    let sealed = process.vault.seal(&kept.id, &entered).await.unwrap();
    let now = house.clock.now();
    store.write(move |tx| connections::update(tx, &kept, Some(&sealed), now)).await.unwrap();
    assert!(authority.admits(renewing.await.unwrap().unwrap().expose()));
}

#[tokio::test]
async fn a_revoked_sign_in_says_sign_in_again_and_is_not_asked_for_again_at_once() {
    let authority = FakeAuthority::start();
    for (credentials, words) in [
        (google(&authority.refresh_token()), "sign in again"),
        (delegated(CLIENT, Some(SECRET), &authority.refresh_token()), "sign in again"),
        (delegated(CLIENT, Some("canary-expired"), &authority.refresh_token()), "new secret"),
        (application("canary-expired"), "new secret"),
    ] {
        authority.revoke_all();
        let before = authority.seen().len();
        let house = House::new(&authority, &credentials).await;
        let grant = house.grant(&house.process()).await;
        let refusals = futures_util::future::join_all((0..5).map(|_| grant.token())).await;
        for refused in refusals {
            let message = refusal(refused);
            assert!(message.contains(words) && !message.contains("canary"), "{message}");
        }
        assert_eq!(authority.seen().len(), before + 1);
    }
}

#[tokio::test]
async fn an_expired_client_secret_says_so_and_where_to_make_a_new_one() {
    let authority = FakeAuthority::start();
    let house = House::new(&authority, &application(SECRET)).await;
    let description = "AADSTS7000222: The provided client secret keys are expired.";
    authority.refuse_next(
        401,
        json!({
            "error": "invalid_client", "error_description": description,
            "error_codes": [7_000_222],
        }),
    );
    let message = refusal(house.grant(&house.process()).await.token().await);
    for words in ["has expired", "AADSTS7000222", "new secret", "https://entra.microsoft.com"] {
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_server_that_stumbles_is_no_refusal() {
    let authority = FakeAuthority::start();
    let house = House::new(&authority, &google(&authority.refresh_token())).await;
    let grant = house.grant(&house.process()).await;
    authority.refuse_next(503, json!({ "error": "temporarily_unavailable" }));
    assert!(matches!(grant.token().await, Err(SourceError::Transient { .. })));
    authority.refuse_next(429, json!({ "error": "rate_limited" }));
    assert!(matches!(grant.token().await, Err(SourceError::RateLimited { .. })));
    authority.refuse_next(400, json!("a proxy's page"));
    assert!(matches!(grant.token().await, Err(SourceError::Transient { .. })));
    grant.token().await.unwrap();
}

#[tokio::test]
async fn a_token_that_comes_a_byte_a_second_is_given_up_after_twenty() {
    let authority = FakeAuthority::start();
    let house = House::new(&authority, &google(&authority.refresh_token())).await;
    let grant = house.grant(&house.process()).await;
    authority.drip(Duration::from_secs(1));
    let began = std::time::Instant::now();
    let error = grant.token().await.unwrap_err();
    assert!(matches!(error, SourceError::Timeout { .. }), "{error:?}");
    assert!(error.to_string().contains("in 20 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_repeats_what_it_was_sent_puts_no_secret_into_a_message() {
    let authority = FakeAuthority::start();
    let refresh = authority.refresh_token();
    let house = House::new(&authority, &google(&refresh)).await;
    let repeats = format!("bad: {refresh} and {SECRET}");
    authority.refuse_next(400, json!({ "error": "invalid_grant", "error_description": repeats }));
    let message = refusal(house.grant(&house.process()).await.token().await);
    assert!(!message.contains("canary") && message.contains("[redacted]"), "{message}");
}

#[tokio::test]
async fn an_application_signs_in_with_its_secret_and_takes_no_lease() {
    let authority = FakeAuthority::start();
    let house = House::new(&authority, &application(SECRET)).await;
    let other = house.process().vault.credentials(house.key).await.unwrap().unwrap();
    assert!(other.keeper().unwrap().claim().await.unwrap());
    let token = house.grant(&house.process()).await.token().await.unwrap();
    assert!(authority.admits(token.expose()));
    assert_eq!(authority.seen()[0].path, "/contoso.example/oauth2/v2.0/token");
}

#[tokio::test]
async fn a_service_account_signs_for_itself_and_for_a_person() {
    let authority = FakeAuthority::start();
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    authority.trust(key.public_key().as_ref().to_vec());
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let base64 = BASE64_STANDARD.encode(der.as_ref());
    let credentials = Credentials::from_json(
        json!({
            "type": "service_account", "project_id": "p", "private_key_id": "key-1",
            "private_key": format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n"),
            "client_email": "robot@p.iam.gserviceaccount.com", "client_id": "123",
        })
        .to_string(),
    );
    let house = House::new(&authority, &credentials).await;
    let process = house.process();
    for subject in [None, Some("ada@example.org".to_owned())] {
        let google = Google { hosts: house.hosts.clone(), subject: subject.clone() };
        let grant = process.grants.of(&credentials, Arc::new(google), house.clock.clone());
        assert!(authority.admits(grant.token().await.unwrap().expose()));
        let claims = authority.assertions().pop().unwrap();
        assert_eq!(claims["sub"], json!(subject));
        assert_eq!(claims["iss"], "robot@p.iam.gserviceaccount.com");
        assert_eq!(claims["scope"], "https://www.googleapis.com/auth/drive.readonly");
        assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
        assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|iat| iat + 3600));
    }
    authority.refuse_next(401, json!({ "error": "unauthorized_client" }));
    let google = Google { hosts: house.hosts.clone(), subject: Some("ada@example.org".into()) };
    let grant = process.grants.of(&credentials, Arc::new(google), house.clock.clone());
    let message = grant.token().await.unwrap_err().to_string();
    for words in ["ada@example.org", "delegation", "client id 123", "drive.readonly"] {
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn neither_tokens_nor_credentials_can_be_printed() {
    let authority = FakeAuthority::start();
    let house = House::new(&authority, &google(&authority.refresh_token())).await;
    let process = house.process();
    let grant = house.grant(&process).await;
    let token = grant.token().await.unwrap();
    for printed in [format!("{token:?}"), format!("{grant:?}"), format!("{:?}", process.grants)] {
        assert!(!printed.contains("canary"), "{printed}");
    }
}
