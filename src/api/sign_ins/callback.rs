//! `GET /oauth/callback`: a provider sends the browser back. It needs no session of ours, for the
//! provider's redirect brings none (the cookie is `SameSite=Strict`): the sign-in's state, good
//! once and for ten minutes, and PKCE carry it.

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
};

use super::{
    pending::{Connected, SignIns},
    returned::{Outcome, Returned},
};
use crate::{
    api::{
        App,
        error::ApiError,
        html::{self, escape},
    },
    engine::Engine,
    sources::oauth::sign_in::declined,
};

/// How the sign-in ended that a browser came back to.
#[derive(Debug)]
pub struct Finished {
    /// The connection, or why there is none.
    pub outcome: Result<Connected, String>,
    /// The address of the interface's page that continues from here.
    pub next: String,
}

/// Ends the sign-in that a browser came back to; `None` where it belongs to none that waits.
pub async fn finish(sign_ins: &SignIns, engine: &Engine, returned: Returned) -> Option<Finished> {
    let taken = sign_ins.take(&returned, engine.clock().now())?;
    let outcome = match returned.outcome {
        Outcome::Declined { error, description } => {
            Err(declined(taken.begun.with(), &error, &description))
        }
        Outcome::Code(code) => match taken.begun.finish(engine.grants(), &code).await {
            Ok(credentials) => sign_ins.connect(engine, &taken.target, credentials).await,
            Err(error) => Err(error.to_string()),
        },
    };
    sign_ins.end(&taken.id, outcome.clone());
    let interface = &taken.back_to;
    let next = match &outcome {
        Ok(Connected { id, .. }) => format!("{interface}/#/connections/{id}?test=1"),
        Err(_) => {
            let provider = taken.target.provider();
            format!("{interface}/#/sign-in/{provider}?ended={}", taken.id)
        }
    };
    Some(Finished { outcome, next })
}

/// The route of the server.
pub(in crate::api) async fn callback(State(app): State<App>, request: Request) -> Response {
    // A look ahead must not use the sign-in up.
    if request.method() != Method::GET {
        return StatusCode::NO_CONTENT.into_response();
    }
    let Some(returned) = Returned::of(request.uri().query().unwrap_or_default()) else {
        return belongs_to_none();
    };
    // Seen through even if the browser leaves: the code is used up, and the sign-in must be kept.
    let (sign_ins, engine) = (app.sign_ins.clone(), app.engine.clone());
    let finished = tokio::spawn(async move { finish(&sign_ins, &engine, returned).await }).await;
    app.scheduler.nudge();
    match finished {
        Ok(Some(finished)) => page(&finished),
        Ok(None) => belongs_to_none(),
        Err(error) => ApiError::internal(error).into_response(),
    }
}

/// A state that is foreign, used or late: nothing has changed.
#[must_use]
pub fn belongs_to_none() -> Response {
    let body = "<p>This sign-in was used already, is older than ten minutes, or was not begun here. \
                Nothing has changed. Begin again from Catchment.</p>";
    html::page(StatusCode::BAD_REQUEST, None, body)
}

/// What a browser shows that has come back to a command.
#[must_use]
pub fn farewell(finished: &Finished) -> Response {
    let words = match &finished.outcome {
        Ok(Connected { problem: None, .. }) => {
            "You are signed in. Close this page and go back to the terminal.".to_owned()
        }
        Ok(Connected { problem: Some(why), .. }) => format!(
            "You are signed in, but the connection does not work yet: {}. Close this page and go \
             back to the terminal.",
            escape(why.trim_end_matches('.'))
        ),
        Err(why) => escape(why),
    };
    html::page(StatusCode::OK, None, &format!("<p>{words}</p>"))
}

/// What a browser shows that has come back; it moves on to the interface by itself.
#[must_use]
pub fn page(finished: &Finished) -> Response {
    let link = escape(&finished.next);
    match &finished.outcome {
        Ok(Connected { problem: Some(why), .. }) => {
            let body = format!(
                "<p>You are signed in, but the connection does not work yet.</p><p>{}</p>\
                 <p>Put that right, then test the connection: \
                 <a href=\"{link}\">Go on to Catchment</a></p>",
                escape(why)
            );
            html::page(StatusCode::OK, None, &body)
        }
        Ok(Connected { problem: None, .. }) => {
            let body = format!(
                "<p>You are signed in. The connection is ready.</p>\
                 <p><a href=\"{link}\">Go on to Catchment</a></p>"
            );
            html::page(StatusCode::OK, Some(&finished.next), &body)
        }
        Err(why) => {
            let body = format!(
                "<p>{}</p><p>No connection was made or changed.</p>\
                 <p><a href=\"{link}\">Back to Catchment</a></p>",
                escape(why)
            );
            html::page(StatusCode::OK, None, &body)
        }
    }
}
