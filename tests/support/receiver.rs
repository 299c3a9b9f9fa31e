//! A receiver of webhooks: keeps what it is sent, verifies signatures by the documented rule with
//! an HMAC of its own, and fails or stalls when it is told to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::support::{
    catchment::poll_until,
    wire::{Answer, Reply, Request, Wire},
};

/// No delivery of these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// What a receiver does with a delivery.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    /// Answers with this status.
    Status(u16),
    /// Says nothing.
    Stall,
    /// Sends it elsewhere.
    Redirect,
}

/// A delivery as it came.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The request.
    pub request: Request,
    /// Its body.
    pub body: Value,
    /// What was done with it.
    pub mood: Mood,
}

/// A running receiver.
pub struct Receiver {
    wire: Wire,
    seen: Arc<Mutex<Vec<Delivery>>>,
    moods: Arc<Mutex<(VecDeque<Mood>, Mood)>>,
}

impl Receiver {
    /// A receiver that takes everything.
    pub fn start() -> Self {
        let seen: Arc<Mutex<Vec<Delivery>>> = Arc::default();
        let moods = Arc::new(Mutex::new((VecDeque::new(), Mood::Status(200))));
        let (kept, mood_of) = (seen.clone(), moods.clone());
        let wire = Wire::serve(move |request| {
            let mood = {
                let mut moods = mood_of.lock().unwrap();
                let always = moods.1;
                moods.0.pop_front().unwrap_or(always)
            };
            let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
            kept.lock().unwrap().push(Delivery { request: request.clone(), body, mood });
            match mood {
                Mood::Status(status) => Answer::new(status, "").into(),
                Mood::Stall => Reply::Silence,
                Mood::Redirect => {
                    Answer::new(307, "").header("Location", "http://127.0.0.1:1/").into()
                }
            }
        });
        Self { wire, seen, moods }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("{}/hook", self.wire.url())
    }

    /// Does this with the next deliveries, one after the other.
    pub fn next(&self, moods: &[Mood]) {
        self.moods.lock().unwrap().0.extend(moods);
    }

    /// Does this with all that come besides.
    pub fn always(&self, mood: Mood) {
        self.moods.lock().unwrap().1 = mood;
    }

    /// All that came so far.
    pub fn seen(&self) -> Vec<Delivery> {
        self.seen.lock().unwrap().clone()
    }

    /// The bodies that it took, in order.
    pub fn taken(&self) -> Vec<Value> {
        let took = |delivery: &Delivery| matches!(delivery.mood, Mood::Status(200..300));
        self.seen().into_iter().filter(took).map(|delivery| delivery.body).collect()
    }

    /// Waits until it has taken so many, and returns them.
    pub fn waits_for(&self, count: usize) -> Vec<Value> {
        poll_until("deliveries", DEADLINE, || {
            let taken = self.taken();
            (taken.len() >= count).then_some(taken)
        })
    }
}

/// Whether a delivery is signed with this secret: `t=…,v1=HMAC-SHA256("t." + body)`.
pub fn is_signed(delivery: &Delivery, secret: &str) -> bool {
    let Some(header) = delivery.request.header("x-mixpeek-signature") else { return false };
    let part = |name: &str| header.split(',').find_map(|part| part.strip_prefix(name));
    let (Some(at), Some(signature)) = (part("t="), part("v1=")) else { return false };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(&delivery.request.body);
    let hex: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    hex == signature
}
