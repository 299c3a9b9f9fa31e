//! S3 is reached with the credentials that AWS's own tools would use, and nobody else sees them.

use crate::support::{
    catchment::{Catchment, Run},
    cloud::{Cloud, temporary_account},
    fake_s3::{BUCKET, FakeS3, Fault, Kind, On},
    sigv4::Account,
};

const SOURCE: &str = "s3://catchment-test";
const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

fn long_lived() -> Account {
    Account {
        access_key: "AKIDPROFILE".to_owned(),
        secret_key: "profile-not-a-secret".to_owned(),
        session_token: None,
    }
}

/// A server that takes nothing but this account's signatures.
fn only_for(account: Account) -> FakeS3 {
    let s3 = FakeS3::start();
    s3.put("key", "x");
    s3.only_accept(account);
    s3
}

/// A client that has nothing yet but the server's address.
fn without_credentials(s3: &FakeS3) -> Catchment {
    Catchment::new().with_endpoint(&s3.endpoint().url)
}

fn brings_the_object(run: Run) {
    assert_eq!(run.exits(0).summary().synced, 1);
}

fn ini(section: &str, account: &Account) -> String {
    let token = account.session_token.iter().map(|token| format!("aws_session_token = {token}\n"));
    format!(
        "[{section}]\naws_access_key_id = {}\naws_secret_access_key = {}\n{}",
        account.access_key,
        account.secret_key,
        token.collect::<String>()
    )
}

#[test]
fn a_session_token_from_the_environment_is_sent_and_signed() {
    let s3 = only_for(temporary_account());
    let account = temporary_account();
    let catchment = without_credentials(&s3)
        .env("AWS_ACCESS_KEY_ID", account.access_key)
        .env("AWS_SECRET_ACCESS_KEY", account.secret_key)
        .env("AWS_SESSION_TOKEN", account.session_token.unwrap());

    brings_the_object(catchment.sync(SOURCE));
}

#[test]
fn the_default_profile_of_the_credentials_file_is_used() {
    let s3 = only_for(long_lived());
    let catchment = without_credentials(&s3);
    catchment.write_home(".aws/credentials", ini("default", &long_lived()));

    brings_the_object(catchment.sync(SOURCE));
}

#[test]
fn a_profile_is_chosen_by_flag_and_by_environment() {
    let s3 = only_for(long_lived());
    let catchment = without_credentials(&s3);
    let other = Account { access_key: "AKIDOTHER".to_owned(), ..long_lived() };
    let file = ini("default", &other) + &ini("studio", &long_lived());
    catchment.write_home(".aws/credentials", file);

    brings_the_object(catchment.sync_with(SOURCE, &["--profile", "studio"]));
    let catchment = catchment.env("AWS_PROFILE", "studio");
    assert_eq!(catchment.sync(SOURCE).exits(0).summary().unchanged, 1);
}

#[test]
fn a_profile_names_the_region() {
    let s3 = only_for(long_lived());
    let catchment = without_credentials(&s3);
    catchment.write_home(".aws/credentials", ini("studio", &long_lived()));
    catchment.write_home(".aws/config", "[profile studio]\nregion = eu-central-1\n");

    brings_the_object(catchment.sync_with(SOURCE, &["--profile", "studio"]));

    assert!(all_signed_for(&s3, "/eu-central-1/s3/"));
}

#[test]
fn the_region_is_chosen_by_flag() {
    let s3 = only_for(long_lived());
    let catchment = without_credentials(&s3);
    catchment.write_home(".aws/credentials", ini("default", &long_lived()));

    brings_the_object(catchment.sync_with(SOURCE, &["--region", "ap-south-1"]));

    assert!(all_signed_for(&s3, "/ap-south-1/s3/"));
}

fn all_signed_for(s3: &FakeS3, scope: &str) -> bool {
    s3.requests().iter().all(|seen| {
        seen.request.header("authorization").is_some_and(|header| header.contains(scope))
    })
}

#[test]
fn tigris_is_signed_for_the_region_auto() {
    let s3 = only_for(long_lived());
    let catchment = without_credentials(&s3);
    catchment.write_home(".aws/credentials", ini("default", &long_lived()));

    brings_the_object(catchment.sync(format!("tigris://{BUCKET}")));

    assert!(all_signed_for(&s3, "/auto/s3/"));
}

#[test]
fn a_profile_that_assumes_a_role_with_an_external_id_does() {
    let s3 = only_for(temporary_account());
    let sts = Cloud::sts(long_lived());
    let catchment = without_credentials(&s3).env("AWS_ENDPOINT_URL_STS", sts.url());
    catchment.write_home(".aws/credentials", ini("base", &long_lived()));
    let profile = format!(
        "[profile reader]\nrole_arn = {ROLE}\nsource_profile = base\nexternal_id = ext-42\n\
         region = us-east-1\n"
    );
    catchment.write_home(".aws/config", profile);

    brings_the_object(catchment.sync_with(SOURCE, &["--profile", "reader"]));

    let asked = &sts.requests()[0];
    assert_eq!(asked.form("RoleArn").as_deref(), Some(ROLE));
    assert_eq!(asked.form("ExternalId").as_deref(), Some("ext-42"));
}

#[test]
fn a_role_with_an_external_id_is_assumed_by_flag() {
    let s3 = only_for(temporary_account());
    let sts = Cloud::sts(long_lived());
    let catchment = without_credentials(&s3).env("AWS_ENDPOINT_URL_STS", sts.url());
    catchment.write_home(".aws/credentials", ini("default", &long_lived()));

    let arguments = ["--role-arn", ROLE, "--external-id", "ext-42"];
    brings_the_object(catchment.sync_with(SOURCE, &arguments));

    let asked = &sts.requests()[0];
    assert_eq!(asked.form("RoleArn").as_deref(), Some(ROLE));
    assert_eq!(asked.form("ExternalId").as_deref(), Some("ext-42"));
}

#[test]
fn a_role_that_may_not_be_assumed_is_the_connections_failure() {
    let s3 = only_for(temporary_account());
    let sts = Cloud::sts(temporary_account());
    let catchment = without_credentials(&s3).env("AWS_ENDPOINT_URL_STS", sts.url());
    catchment.write_home(".aws/credentials", ini("default", &long_lived()));

    let run = catchment.sync_with(SOURCE, &["--role-arn", ROLE]).exits(1);

    assert_eq!(run.summary().failed, 0);
    run.says(&["AccessDenied"]);
}

#[test]
fn a_web_identity_is_exchanged_for_credentials() {
    let s3 = only_for(temporary_account());
    let sts = Cloud::sts(long_lived());
    let catchment = without_credentials(&s3);
    let token = catchment.write_home("token", "a.web.identity");
    let catchment = catchment
        .env("AWS_ENDPOINT_URL_STS", sts.url())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", token)
        .env("AWS_ROLE_ARN", ROLE);

    brings_the_object(catchment.sync(SOURCE));

    let asked = &sts.requests()[0];
    assert_eq!(asked.form("WebIdentityToken").as_deref(), Some("a.web.identity"));
    assert_eq!(asked.form("RoleArn").as_deref(), Some(ROLE));
}

#[test]
fn a_container_role_is_used() {
    let s3 = only_for(temporary_account());
    let container = Cloud::container("let-me-in");
    let catchment = without_credentials(&s3)
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/creds", container.url()))
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let-me-in");

    brings_the_object(catchment.sync(SOURCE));
}

#[test]
fn an_instance_role_is_used() {
    let s3 = only_for(temporary_account());
    let metadata = Cloud::instance_metadata();
    let catchment = without_credentials(&s3)
        .without_env("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url());

    brings_the_object(catchment.sync(SOURCE));
}

#[test]
fn a_credential_process_is_used() {
    let s3 = only_for(temporary_account());
    let catchment = without_credentials(&s3);
    let account = temporary_account();
    let answer = serde_json::json!({
        "Version": 1,
        "AccessKeyId": account.access_key,
        "SecretAccessKey": account.secret_key,
        "SessionToken": account.session_token,
        "Expiration": "2099-01-01T00:00:00Z",
    });
    let file = catchment.write_home("answer.json", answer.to_string());
    let profile = format!("[default]\ncredential_process = cat {}\n", file.display());
    catchment.write_home(".aws/config", profile);

    brings_the_object(catchment.sync(SOURCE));
}

/// Whatever is said of its end.
#[test]
fn a_token_of_a_credential_process_that_expires_in_the_middle_of_a_run_is_renewed_once() {
    let s3 = only_for(temporary_account());
    let catchment = without_credentials(&s3);
    for number in 0..30 {
        s3.put(format!("key {number:02}"), "x");
    }
    s3.page_size(10);
    let answer = |account: &Account| {
        let answer = serde_json::json!({
            "Version": 1,
            "AccessKeyId": account.access_key,
            "SecretAccessKey": account.secret_key,
            "SessionToken": account.session_token,
            "Expiration": "2099-01-01T00:00:00Z",
        });
        catchment.write_home("answer.json", answer.to_string())
    };
    let file = answer(&temporary_account());
    let script = format!("echo asked >> asked\ncat {}\n", file.display());
    let script = catchment.write_home("process.sh", script);
    let profile = format!("[default]\ncredential_process = sh {}\n", script.display());
    catchment.write_home(".aws/config", profile);
    s3.inject(Fault::error(On::Listing, 500, "InternalError").after(2));

    let run = catchment.start_sync::<&str>(SOURCE, &[]);
    s3.wait_until("the third page is tried again", |seen| {
        seen.iter().filter(|seen| seen.kind == Kind::List).count() > 3
    });
    let next = Account { session_token: Some("another".to_owned()), ..temporary_account() };
    answer(&next);
    s3.only_accept(next);
    s3.heal();

    assert_eq!(run.ends().exits(0).summary().failed, 0);
    catchment.holds_exactly(BUCKET, &s3.contents());
    let asked = std::fs::read_to_string(catchment.home().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 2);
}

#[test]
fn a_public_bucket_needs_no_credentials_and_gets_none() {
    let s3 = FakeS3::start();
    s3.put("key", "x");
    s3.make_public();
    let catchment = Catchment::reaching(&s3.endpoint());

    brings_the_object(catchment.sync_with(SOURCE, &["--anonymous"]));

    let signed = s3.requests().iter().any(|seen| seen.request.header("authorization").is_some());
    assert!(!signed);
}

#[test]
fn requester_pays_is_sent_with_every_request() {
    let s3 = FakeS3::start();
    s3.put("key", "x");
    let catchment = Catchment::reaching(&s3.endpoint());

    brings_the_object(catchment.sync_with(SOURCE, &["--requester-pays"]));

    for seen in s3.requests() {
        assert_eq!(seen.request.header("x-amz-request-payer"), Some("requester"));
    }
}

#[test]
fn credentials_never_follow_a_redirect_to_another_host() {
    for on in [On::Listing, On::AnyGet] {
        let (s3, other) = (FakeS3::start(), FakeS3::start());
        s3.put("key", "x");
        other.put("key", "of a stranger");
        s3.inject(Fault::redirect(on, &other.url_under_another_name()));
        let catchment = Catchment::reaching(&s3.endpoint());

        let run = catchment.sync(SOURCE);

        assert!(matches!(run.code(), Some(1 | 3)), "{run}");
        for seen in other.requests() {
            let headers = &seen.request.headers;
            let leaks = |(name, _): &(String, String)| {
                name == "authorization" || name.starts_with("x-amz-security")
            };
            assert!(!headers.iter().any(leaks), "credentials went to a stranger: {seen:?}");
        }
    }
}

#[test]
fn an_endpoint_from_the_environment_is_used() {
    let s3 = FakeS3::start();
    s3.put("key", "x");
    let endpoint = s3.endpoint();
    let catchment = Catchment::new()
        .env("AWS_ACCESS_KEY_ID", endpoint.access_key)
        .env("AWS_SECRET_ACCESS_KEY", endpoint.secret_key)
        .env("AWS_ENDPOINT_URL_S3", endpoint.url);

    brings_the_object(catchment.sync(SOURCE));
}
