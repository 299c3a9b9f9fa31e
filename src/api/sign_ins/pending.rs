//! The sign-ins that are under way, and how the last ones ended. In memory only: what they hold is
//! secret and good for minutes. Bounded, and forgotten an hour after they end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::returned::Returned;
use crate::{
    engine::{
        Engine,
        connections::{ConnectionError, NewName},
    },
    model::{ConnectionId, ProviderName},
    sources::{
        self, Accepted, Wrong,
        oauth::sign_in::{Begun, Client, OnDevice, Poll, SignIn, SignInError},
    },
    store::connections::StoredConnection,
};

/// How long a person has to sign in.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// How long it is remembered how a sign-in ended.
const MEMORY: Duration = Duration::from_secs(60 * 60);
/// Most sign-ins that are remembered at once.
const MOST: usize = 100;

/// What is to come of a sign-in.
#[derive(Clone, Debug)]
pub enum Target {
    /// A new connection.
    New {
        /// Its provider.
        provider: ProviderName,
        /// Its name.
        name: NewName,
        /// Its settings.
        config: Map<String, Value>,
    },
    /// New credentials for a connection.
    Renewed {
        /// Which one.
        connection: Box<StoredConnection>,
        /// Settings to change.
        config: Map<String, Value>,
    },
}

impl Target {
    /// The provider that the connection leads to.
    #[must_use]
    pub fn provider(&self) -> &ProviderName {
        match self {
            Self::New { provider, .. } => provider,
            Self::Renewed { connection, .. } => &connection.settings.provider,
        }
    }

    /// The settings and credentials that come of it.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn accept(&self, credentials: Map<String, Value>) -> Result<Accepted, Vec<Wrong>> {
        let with = |config: &Map<String, Value>| {
            let mut config = config.clone();
            config.insert("credentials".to_owned(), credentials.into());
            Value::Object(config)
        };
        match self {
            Self::New { provider, config, .. } => sources::accept(provider, &with(config)),
            Self::Renewed { connection, config } => {
                sources::amend(&connection.settings, &with(config))
            }
        }
    }
}

/// How a person signs in.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// With a browser that comes back to this port.
    Browser {
        /// Of this machine.
        port: u16,
    },
    /// On another device.
    Device,
}

/// A sign-in that waits for a person.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its id.
    pub id: String,
    /// Where the person signs in.
    pub authorize_url: Option<String>,
    /// Where the provider sends the browser back to.
    pub redirect_uri: Option<String>,
    /// Where the person enters the code, on another device.
    pub verification_url: Option<String>,
    /// That code.
    pub user_code: Option<String>,
    /// Until when.
    pub expires_at: Timestamp,
}

/// The connection that came of a sign-in.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Its id.
    pub id: ConnectionId,
    /// Why it does not work, as its test found.
    pub problem: Option<String>,
}

/// How a sign-in stands, as it may be shown.
#[derive(Clone, Debug)]
pub enum Shown {
    /// The person has not come back yet.
    Waiting,
    /// This connection came of it.
    Done(Connected),
    /// Why it failed.
    Failed(String),
    /// The person did not come back in time.
    Expired,
}

/// A sign-in whose browser has come back: nobody else gets it.
#[derive(Debug)]
pub struct Taken {
    /// Its id.
    pub id: String,
    /// What it began with.
    pub begun: Arc<Begun>,
    /// What is to come of it.
    pub target: Target,
    /// The address of the interface that it began in.
    pub back_to: String,
}

/// See the module. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SignIns {
    all: Arc<Mutex<HashMap<String, Pending>>>,
    /// Whether connections are kept as they come.
    skips_tests: bool,
}

#[derive(Debug)]
struct Pending {
    step: Step,
    target: Target,
    back_to: String,
    expires_at: Timestamp,
}

#[derive(Debug)]
enum Step {
    Browser(Arc<Begun>),
    Device,
    /// The provider is being asked for tokens.
    Finishing,
    Done(Connected),
    Failed(String),
}

impl Pending {
    fn waits(&self) -> bool {
        matches!(self.step, Step::Browser(_) | Step::Device)
    }
}

impl SignIns {
    /// Those of somebody who wants connections not to be tested.
    #[must_use]
    pub fn without_tests() -> Self {
        Self { skips_tests: true, ..Self::default() }
    }

    /// Begins one.
    ///
    /// # Errors
    /// Where the provider refuses the client, or cannot be asked.
    pub async fn start(
        &self,
        engine: &Engine,
        with: &'static dyn SignIn,
        client: Client,
        target: Target,
        way: Way,
        back_to: String,
    ) -> Result<Started, SignInError> {
        let id = format!("sign_{}", ulid::Ulid::generate());
        let (hosts, now) = (engine.hosts(), engine.clock().now());
        let mut started = Started {
            id: id.clone(),
            authorize_url: None,
            redirect_uri: None,
            verification_url: None,
            user_code: None,
            expires_at: now + LIFE,
        };
        let step = match way {
            Way::Browser { port } => {
                let begun = Begun::new(with, client, hosts, port)?;
                started.authorize_url = Some(begun.authorize_url());
                started.redirect_uri = Some(begun.redirect_uri().to_owned());
                Step::Browser(Arc::new(begun))
            }
            Way::Device => {
                let begun = OnDevice::begin(with, client, hosts, engine.grants()).await?;
                started.verification_url = Some(begun.verification_url.clone());
                started.user_code = Some(begun.user_code.clone());
                started.expires_at = now + begun.life;
                tokio::spawn(wait_for_device(self.clone(), engine.clone(), id.clone(), begun));
                Step::Device
            }
        };
        let pending = Pending { step, target, back_to, expires_at: started.expires_at };
        let mut all = self.lock();
        all.retain(|_, known| now < known.expires_at + MEMORY);
        if all.len() >= MOST
            && let Some(oldest) = all.iter().min_by_key(|(_, known)| known.expires_at)
        {
            let oldest = oldest.0.clone();
            all.remove(&oldest);
        }
        all.insert(id, pending);
        Ok(started)
    }

    /// How one stands; `None` for one that is not known (any more).
    #[must_use]
    pub fn standing(&self, id: &str, now: Timestamp) -> Option<Shown> {
        let all = self.lock();
        let pending = all.get(id)?;
        Some(match &pending.step {
            Step::Browser(_) | Step::Device if now >= pending.expires_at => Shown::Expired,
            Step::Browser(_) | Step::Device | Step::Finishing => Shown::Waiting,
            Step::Done(connection) => Shown::Done(connection.clone()),
            Step::Failed(why) => Shown::Failed(why.clone()),
        })
    }

    /// Whether a browser that came back belongs to that sign-in, which still waits for it.
    #[must_use]
    pub fn is_of(&self, id: &str, returned: &Returned) -> bool {
        self.lock().get(id).is_some_and(|pending| match &pending.step {
            Step::Browser(begun) => returned.has_state(begun.expose_state()),
            _ => false,
        })
    }

    /// Takes the sign-in that a browser came back to: once, in time, and only by its own state.
    #[must_use]
    pub fn take(&self, returned: &Returned, now: Timestamp) -> Option<Taken> {
        let mut all = self.lock();
        all.iter_mut().find_map(|(id, pending)| {
            let Step::Browser(begun) = &pending.step else { return None };
            if !returned.has_state(begun.expose_state()) || now >= pending.expires_at {
                return None;
            }
            let begun = Arc::clone(begun);
            pending.step = Step::Finishing;
            let (target, back_to) = (pending.target.clone(), pending.back_to.clone());
            Some(Taken { id: id.clone(), begun, target, back_to })
        })
    }

    /// Writes down how one ended.
    pub fn end(&self, id: &str, outcome: Result<Connected, String>) {
        if let Some(pending) = self.lock().get_mut(id) {
            pending.step = match outcome {
                Ok(connection) => Step::Done(connection),
                Err(why) => Step::Failed(why),
            };
        }
    }

    /// Makes or renews the connection, and tests it: somebody may have signed in well, and the
    /// provider's API be off.
    pub(super) async fn connect(
        &self,
        engine: &Engine,
        target: &Target,
        credentials: Map<String, Value>,
    ) -> Result<Connected, String> {
        let connection = stored(engine, target, credentials).await?;
        let tested = match self.skips_tests {
            true => Ok(String::new()),
            false => engine
                .test_stored_connection(&connection)
                .await
                .unwrap_or_else(|error| Err(error.to_string())),
        };
        Ok(Connected { id: connection.id, problem: tested.err() })
    }

    fn waits(&self, id: &str, now: Timestamp) -> Option<Target> {
        let all = self.lock();
        let pending = all.get(id)?;
        (pending.waits() && now < pending.expires_at).then(|| pending.target.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pending>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks until somebody has signed in on another device, or the time is over.
async fn wait_for_device(sign_ins: SignIns, engine: Engine, id: String, mut begun: OnDevice) {
    let mut wait = begun.interval();
    loop {
        tokio::time::sleep(wait).await;
        let Some(target) = sign_ins.waits(&id, engine.clock().now()) else { return };
        match begun.poll(engine.grants()).await {
            Ok(Poll::Waiting(longer)) => wait = longer,
            Ok(Poll::Done(credentials)) => {
                let outcome = sign_ins.connect(&engine, &target, credentials).await;
                return sign_ins.end(&id, outcome);
            }
            Err(error) => return sign_ins.end(&id, Err(error.to_string())),
        }
    }
}

async fn stored(
    engine: &Engine,
    target: &Target,
    credentials: Map<String, Value>,
) -> Result<StoredConnection, String> {
    let accepted = target.accept(credentials).map_err(|wrong| {
        let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        wrong.join("; ")
    })?;
    let connected = match target {
        Target::New { name, .. } => engine.add_connection(name.clone(), accepted, false).await,
        Target::Renewed { connection, .. } => engine.renew_connection(connection, accepted).await,
    };
    connected.map_err(|error: ConnectionError| error.to_string())
}
