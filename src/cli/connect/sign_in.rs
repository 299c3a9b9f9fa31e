//! Signing in from the command line: a browser on this computer comes back to a port that is open
//! for as long as it takes; one elsewhere ends at an address that is pasted here; another device
//! takes a code.

use std::{
    io::{self, BufRead as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
    routing::get,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::{net::TcpListener, sync::mpsc};

use super::{Args, SignInArgs, accepted, ask, named, secret_text, wanted_name};
use crate::{
    api::sign_ins::{
        callback::{self, Finished},
        pending::{Connected, Shown, SignIns, Started, Target, Way},
        returned::Returned,
    },
    cli::{error::CliError, open},
    engine::Engine,
    model::ProviderName,
    sources::{
        Provider,
        oauth::sign_in::{CALLBACK, Client, SignIn},
    },
    store::connections::StoredConnection,
};

/// How often a sign-in on another device is polled.
const POLL: Duration = Duration::from_millis(500);

/// Signs in, and makes or renews the connection.
pub(super) async fn run(
    engine: &Engine,
    provider: &'static dyn Provider,
    with: &'static dyn SignIn,
    args: &Args,
    config: Map<String, Value>,
) -> Result<StoredConnection, CliError> {
    let renewed = match &args.sign_in.renew {
        Some(name) => Some(named(engine, name).await?),
        None => None,
    };
    let stored = match &renewed {
        Some(connection) if connection.provider != provider.name() => {
            let Some(name) = &args.sign_in.renew else { return Err(CliError::usage("--renew")) };
            let message = format!("{name:?} is a connection to {}", connection.provider);
            return Err(CliError::usage(message));
        }
        // Credentials that cannot be opened any more are a reason to sign in again.
        Some(connection) => match engine.vault.credentials(connection.key).await {
            Ok(Some(credentials)) => credentials.read().unwrap_or_default(),
            _ => Map::new(),
        },
        None => Map::new(),
    };
    let client = client(with, &args.sign_in, &stored)?;
    let target = match renewed {
        Some(connection) => Target::Renewed { connection: Box::new(connection), config },
        None => Target::New {
            provider: ProviderName::new(provider.name()),
            name: wanted_name(args, with.with()),
            config,
        },
    };
    accepted(target.accept(with.credentials(&client, "a refresh token")))?;
    let sign_ins = match args.no_test {
        true => SignIns::without_tests(),
        false => SignIns::default(),
    };
    let id = match args.sign_in.device {
        true => on_device(engine, &sign_ins, with, client, target).await?,
        false => in_browser(engine, &sign_ins, with, client, target, args.sign_in.browser).await?,
    };
    match sign_ins.standing(&id, engine.clock().now()) {
        Some(Shown::Done(Connected { id, problem: None })) => named(engine, id.as_str()).await,
        Some(Shown::Done(Connected { id, problem: Some(why) })) => {
            let name = named(engine, id.as_str()).await?.name;
            Err(CliError::failed(format!(
                "you are signed in and the connection {name:?} is stored, but it does not work: \
                 {why}. `catchment connections test {name:?}` tests it again"
            )))
        }
        Some(Shown::Failed(why)) => Err(CliError::failed(why)),
        _ => Err(CliError::failed("nobody signed in in time: run the same command again")),
    }
}

/// The client to sign in with: from the arguments, else that of the connection that is renewed,
/// else asked for.
fn client(
    with: &'static dyn SignIn,
    args: &SignInArgs,
    stored: &Map<String, Value>,
) -> Result<Client, CliError> {
    let own = |name: &str| stored.get(name).and_then(Value::as_str).map(str::to_owned);
    let asks = args.client_id.is_none() && own("client_id").is_none();
    let id = match args.client_id.clone().or_else(|| own("client_id")) {
        Some(id) => id,
        None if ask::can_ask() => {
            writeln!(io::stderr(), "{}", with.how_to_register())?;
            ask::text("Client id", None)?
        }
        None => {
            let message =
                format!("give the id of your client with --client-id.\n{}", with.how_to_register());
            return Err(CliError::usage(message));
        }
    };
    let is_stored = own("client_id").as_deref() == Some(&id);
    let secret = match &args.client_secret_file {
        Some(file) => Some(secret_in(with, &secret_text(file)?)?),
        None if is_stored && own("client_secret").is_some() => own("client_secret"),
        None if ask::can_ask() && (asks || !with.takes_public_clients()) => {
            let label = match with.takes_public_clients() {
                true => "Client secret (Enter: none, for a public client)",
                false => "Client secret",
            };
            Some(ask::secret(label)?)
        }
        None => None,
    };
    let secret = secret.filter(|secret| !secret.is_empty());
    if secret.is_none() && !with.takes_public_clients() {
        return Err(CliError::usage("give the secret of your client with --client-secret-file"));
    }
    let tenant = args.tenant_id.clone().or_else(|| own("tenant_id").filter(|_| is_stored));
    if args.tenant_id.is_some() && !with.has_tenants() {
        return Err(CliError::usage(format!(
            "{} has no tenants: leave --tenant-id out",
            with.with()
        )));
    }
    Ok(Client { id, secret: secret.map(SecretString::from), tenant })
}

/// The secret in a text: all of it, or that of the client which a file from the provider describes.
fn secret_in(with: &dyn SignIn, text: &str) -> Result<String, CliError> {
    let Ok(file) = serde_json::from_str::<Map<String, Value>>(text) else {
        return Ok(text.trim().to_owned());
    };
    let secret = with.client_in(&file).and_then(|client| client.secret);
    let secret = secret.ok_or_else(|| {
        CliError::usage("--client-secret-file: this JSON file has no secret of a client in it")
    })?;
    Ok(secret.expose_secret().to_owned())
}

async fn on_device(
    engine: &Engine,
    sign_ins: &SignIns,
    with: &'static dyn SignIn,
    client: Client,
    target: Target,
) -> Result<String, CliError> {
    let started = sign_ins.start(engine, with, client, target, Way::Device, String::new()).await;
    let Started { id, verification_url, user_code, .. } = started.map_err(CliError::failed)?;
    let (url, code) = (verification_url.unwrap_or_default(), user_code.unwrap_or_default());
    writeln!(io::stderr(), "On any device, open {url}\nand enter the code {code}")?;
    while let Some(Shown::Waiting) = sign_ins.standing(&id, engine.clock().now()) {
        tokio::time::sleep(POLL).await;
    }
    Ok(id)
}

/// What the port is open for.
#[derive(Clone, Debug)]
struct Door {
    engine: Engine,
    sign_ins: SignIns,
    ended: mpsc::Sender<()>,
}

async fn in_browser(
    engine: &Engine,
    sign_ins: &SignIns,
    with: &'static dyn SignIn,
    client: Client,
    target: Target,
    show: bool,
) -> Result<String, CliError> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .map_err(|error| CliError::failed(format!("cannot listen on this computer: {error}")))?;
    let port = listener.local_addr().map_err(CliError::failed)?.port();
    let started = sign_ins
        .start(engine, with, client, target, Way::Browser { port }, String::new())
        .await
        .map_err(CliError::failed)?;
    let (ended, mut end) = mpsc::channel(1);
    let door = Door { engine: engine.clone(), sign_ins: sign_ins.clone(), ended: ended.clone() };
    let router = Router::new().route(CALLBACK, get(come_in)).with_state(door.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::spawn(pasted(door, started.id.clone()));
    invite(with, started.authorize_url.as_deref().unwrap_or_default(), show)?;
    let life = started.expires_at.duration_since(engine.clock().now());
    let life = Duration::try_from(life).unwrap_or_default();
    // Nobody in time is seen by the standing of the sign-in.
    let _ = tokio::time::timeout(life, end.recv()).await;
    // The page that says so has to reach the browser.
    tokio::time::sleep(Duration::from_millis(100)).await;
    serving.abort();
    Ok(started.id)
}

fn invite(with: &'static dyn SignIn, url: &str, show: bool) -> Result<(), CliError> {
    if show && open::show(url).is_ok() {
        writeln!(io::stderr(), "Sign in with {} in the browser.", with.with())?;
        return Ok(());
    }
    writeln!(
        io::stderr(),
        "Sign in with {} in a browser:\n{url}\nIf that browser is on another computer, its last page \
         cannot be shown: paste the address of that page here.",
        with.with()
    )?;
    Ok(())
}

async fn come_in(State(door): State<Door>, request: Request) -> Response {
    if request.method() != Method::GET {
        return StatusCode::NO_CONTENT.into_response();
    }
    let returned = Returned::of(request.uri().query().unwrap_or_default());
    let Some(returned) = returned else { return callback::belongs_to_none() };
    match finish(&door, returned).await {
        Some(finished) => callback::farewell(&finished),
        None => callback::belongs_to_none(),
    }
}

/// Seen through even if the browser leaves: the code is used up.
async fn finish(door: &Door, returned: Returned) -> Option<Finished> {
    let door = door.clone();
    let finishing = tokio::spawn(async move {
        let finished = callback::finish(&door.sign_ins, &door.engine, returned).await;
        if finished.is_some() {
            // Whoever waits may have left.
            let _ = door.ended.send(()).await;
        }
        finished
    });
    finishing.await.ok().flatten()
}

/// Takes addresses that are pasted, until one of them is of this sign-in.
async fn pasted(door: Door, id: String) {
    let (sender, mut lines) = mpsc::channel::<String>(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let door = Arc::new(door);
    while let Some(line) = lines.recv().await {
        let query = line.trim().split_once('?').map_or("", |(_, query)| query);
        let returned = Returned::of(query.split('#').next().unwrap_or_default());
        match returned.filter(|returned| door.sign_ins.is_of(&id, returned)) {
            Some(returned) => drop(finish(&door, returned).await),
            None if line.trim().is_empty() => {}
            None => {
                let words = "this is not the address at which this sign-in ends; paste all of it";
                let _ = writeln!(io::stderr(), "{words}");
            }
        }
    }
}
