//! The parts of AWS that hand out credentials: STS, the container endpoint and the instance
//! metadata service, each faked from its reference and recording what it was asked.

use std::sync::{Arc, Mutex};

use super::{
    sigv4::{self, Account, Clock},
    wire::{Answer, Reply, Request, Wire},
};

/// The temporary credentials that all of these give out.
pub fn temporary_account() -> Account {
    Account {
        access_key: "ASIATEMPORARY".to_owned(),
        secret_key: "temporary-not-a-secret".to_owned(),
        session_token: Some("session+token/==".to_owned()),
    }
}

/// A running fake, with the requests that it saw.
pub struct Cloud {
    wire: Wire,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Cloud {
    fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let log = Arc::clone(&seen);
        let wire = Wire::serve(move |request| {
            log.lock().unwrap().push(request.clone());
            Reply::Answer(answer(request))
        });
        Self { wire, seen }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        self.wire.url()
    }

    /// What it was asked.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// AssumeRole, signed by `caller`, and AssumeRoleWithWebIdentity, unsigned:
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
    pub fn sts(caller: Account) -> Self {
        Self::start(move |request| {
            let action = request.form("Action").unwrap_or_default();
            let allowed = match action.as_str() {
                "AssumeRole" => is_signed(request, &caller),
                "AssumeRoleWithWebIdentity" => request.form("WebIdentityToken").is_some(),
                _ => false,
            };
            if !allowed {
                return Answer::new(
                    403,
                    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                     <Message>not allowed to assume the role</Message></Error></ErrorResponse>",
                );
            }
            let given = temporary_account();
            Answer::new(
                200,
                format!(
                    "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                     <{action}Result><AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s\
                     </Arn><AssumedRoleId>ARO123EXAMPLE123:s</AssumedRoleId></AssumedRoleUser>\
                     <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
                     <SessionToken>{}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
                     </Credentials></{action}Result></{action}Response>",
                    given.access_key,
                    given.secret_key,
                    given.session_token.unwrap(),
                ),
            )
            .header("Content-Type", "text/xml")
        })
    }

    /// The endpoint of AWS_CONTAINER_CREDENTIALS_FULL_URI, which wants `authorization`.
    pub fn container(authorization: &'static str) -> Self {
        Self::start(move |request| {
            if request.header("authorization") == Some(authorization) {
                credentials_document()
            } else {
                Answer::new(403, "{}")
            }
        })
    }

    /// The instance metadata service, version 2:
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
    pub fn instance_metadata() -> Self {
        const TOKEN: &str = "an-imds-token";
        Self::start(|request| {
            if request.method == "PUT" && request.raw_path() == "/latest/api/token" {
                return Answer::new(200, TOKEN)
                    .header("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600");
            }
            if request.header("x-aws-ec2-metadata-token") != Some(TOKEN) {
                return Answer::new(401, "");
            }
            match request.raw_path().trim_end_matches('/') {
                "/latest/meta-data/iam/security-credentials" => Answer::new(200, "the-role"),
                "/latest/meta-data/iam/security-credentials/the-role" => credentials_document(),
                "/latest/meta-data/placement/region" => Answer::new(200, "us-east-1"),
                _ => Answer::new(404, ""),
            }
        })
    }
}

fn credentials_document() -> Answer {
    let given = temporary_account();
    let document = serde_json::json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": "2020-01-01T00:00:00Z",
        "AccessKeyId": given.access_key,
        "SecretAccessKey": given.secret_key,
        "Token": given.session_token,
        "Expiration": "2099-01-01T00:00:00Z",
    });
    Answer::new(200, document.to_string()).header("Content-Type", "application/json")
}

fn is_signed(request: &Request, caller: &Account) -> bool {
    match sigv4::verify(request, std::slice::from_ref(caller), Clock::Checked) {
        Ok(_) => true,
        Err(refusal) => {
            println!("the fake STS refuses: {refusal:?}");
            false
        }
    }
}
