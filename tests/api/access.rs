//! Who may ask, from where, and how much.

use std::{
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    server::{Answer, Server},
    support::catchment::{Catchment, poll_until},
};

/// One of every kind of route.
const EVERY_KIND: [(&str, &str); 8] = [
    ("GET", "/"),
    ("GET", "/style.css"),
    ("GET", "/login?code=x"),
    ("POST", "/login"),
    ("GET", "/openapi.json"),
    ("GET", "/metrics"),
    ("GET", "/v1/health"),
    ("POST", "/v1/namespaces/list"),
];

/// The way from the printed link to the browser's cookie: page, then the form on it.
fn log_in(server: &Server, link: &str) -> Answer {
    let (_, code) = link.trim().split_once("code=").expect("a link with a code");
    let code = code.split_whitespace().next().unwrap();
    let call = server.request("POST", "/login").without_token();
    let call = call.header("Content-Type", "application/x-www-form-urlencoded");
    let origin = format!("http://{}", server.address);
    call.header("Origin", &origin).body(format!("code={code}")).send()
}

fn session(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer}"));
    cookie.split(';').next().unwrap().to_owned()
}

/// The link of the server's second line, which is printed after its address.
fn printed_link(server: &Server) -> String {
    poll_until("the printed link", Duration::from_secs(60), || {
        let said = server.stdout();
        let whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(str::trim_end).find(|line| line.contains("/login?code=")).map(str::to_owned)
    })
}

#[test]
fn a_foreign_host_is_refused_on_every_kind_of_route() {
    let server = Server::start();
    for (method, target) in EVERY_KIND {
        let call = server.request(method, target).header("Host", "evil.example:7400");
        assert_eq!(call.send().fails_with(403)["code"], "host_not_allowed", "{target}");
    }
}

#[test]
fn the_names_of_this_computer_and_those_allowed_are_taken() {
    let server = Server::with_args(&Catchment::new(), &["--allow-host", "nas.example"]);
    for host in ["localhost", "127.0.0.1:7400", "[::1]:80", "LOCALHOST:1", "nas.example:443"] {
        server.request("GET", "/v1/health").header("Host", host).send().is(200);
    }
    let twice = server.request("GET", "/v1/health").header("host", "localhost\r\nHost: evil");
    assert_eq!(twice.send().status, 400);
}

#[test]
fn a_page_of_another_site_changes_nothing_even_with_the_token() {
    let server = Server::start();
    let body = json!({ "namespace_name": "stolen" });
    let post = || server.request("POST", "/v1/namespaces").json(&body);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(
            post().header("Origin", origin).send().fails_with(403)["code"],
            "foreign_origin"
        );
    }
    for site in ["cross-site", "same-site"] {
        post().header("Sec-Fetch-Site", site).send().fails_with(403);
    }
    server.get("/v1/namespaces/stolen").fails_with(404);

    let own = format!("http://{}", server.address);
    post().header("Origin", &own).header("Sec-Fetch-Site", "same-origin").send().is(200);
}

#[test]
fn no_other_site_may_read_responses() {
    let server = Server::start();
    let call = server.request("GET", "/v1/namespaces").header("Origin", "https://evil.example");
    assert_eq!(call.send().header("access-control-allow-origin"), None);
    let preflight = server
        .request("OPTIONS", "/v1/namespaces")
        .header("Origin", "https://evil.example")
        .header("Access-Control-Request-Method", "POST")
        .send();
    assert!(preflight.status >= 400, "{preflight}");
    assert_eq!(preflight.header("access-control-allow-origin"), None);
}

#[test]
fn without_the_token_every_request_is_refused() {
    let server = Server::start();
    let get = |call: crate::server::Call| call.send().fails_with(401);
    get(server.request("GET", "/v1/namespaces").without_token());
    get(server.request("GET", "/v1/nothing").without_token());
    get(server.request("POST", "/v1/health").without_token());
    get(server.request("GET", "/metrics").without_token());
    get(server.request("GET", "/v1/namespaces").header("Authorization", "Bearer nonsense"));
    get(server.request("GET", "/v1/namespaces").header("Authorization", "Basic nonsense"));
}

#[test]
fn a_token_in_the_query_is_refused_and_never_logged() {
    let server = Server::start();
    for name in ["token", "access_token", "api_key", "TOKEN"] {
        let target = format!("/v1/namespaces?{name}={}", server.token);
        assert_eq!(server.get(&target).fails_with(401)["code"], "token_in_query");
    }
    assert!(!server.log().contains(&server.token), "{}", server.log());
}

#[test]
fn the_token_is_a_private_file_that_can_be_made_anew() {
    let server = Server::start();
    let file = server.home.data_dir().join("token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let shown = server.home.run(&["token"]).exits(0).stdout();
    assert_eq!(shown.trim(), server.token);

    let fresh = server.home.run(&["token", "--rotate"]).exits(0).stdout();
    server.get("/v1/namespaces").fails_with(401);
    let bearer = format!("Bearer {}", fresh.trim());
    server.request("GET", "/v1/namespaces").header("Authorization", &bearer).send().is(200);
}

#[test]
fn the_environments_token_counts_instead_of_the_file() {
    let home = Catchment::new();
    drop(Server::on(&home));
    let mut server = Server::on(&home.clone().env("CATCHMENT_TOKEN", "from-the-environment"));
    server.get("/v1/namespaces").fails_with(401);
    server.token = "from-the-environment".to_owned();
    server.get("/v1/namespaces").is(200);
}

#[test]
fn the_printed_link_lets_one_browser_in_once() {
    let server = Server::start();
    let link = printed_link(&server);
    let entered = log_in(&server, &link);
    assert_eq!((entered.status, entered.header("location")), (303, Some("/")), "{entered}");
    let cookie = entered.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(&server.token));

    let ask = |cookie: &str| {
        let call = server.request("GET", "/v1/namespaces").without_token();
        call.header("Cookie", cookie).send()
    };
    ask(&session(&entered)).is(200);
    ask("catchment_1=nonsense").fails_with(401);
    assert_eq!(log_in(&server, &link).status, 403, "the code was used");
    assert!(!server.log().contains(link.split_once("code=").unwrap().1), "{}", server.log());
}

#[test]
fn looking_at_the_link_does_not_use_it_up() {
    let server = Server::start();
    let link = printed_link(&server);
    let target = &link[link.find("/login").unwrap()..];
    for _ in 0..3 {
        let page = server.request("GET", target).without_token().send();
        assert_eq!(page.status, 200);
        assert_eq!(page.header("set-cookie"), None);
    }
    assert_eq!(log_in(&server, &link).status, 303);
}

#[test]
fn another_process_makes_a_new_link() {
    let server = Server::start();
    let link = server.home.run(&["open"]).exits(0).stdout();
    assert!(link.starts_with(&format!("http://{}/login?code=", server.address)), "{link}");
    assert_eq!(log_in(&server, &link).status, 303);

    let home = server.home.clone();
    server.stop();
    home.run(&["open"]).exits(2).says(&["no server is running"]);
}

#[test]
fn of_two_servers_on_a_data_directory_the_first_is_found_once_the_second_has_stopped() {
    let first = Server::start();
    let second = Server::on(&first.home);
    let link = first.home.run(&["open"]).exits(0).stdout();
    assert!(link.starts_with(&format!("http://{}/", second.address)), "{link}");
    second.stop();
    let link = first.home.run(&["open"]).exits(0).stdout();
    assert!(link.starts_with(&format!("http://{}/", first.address)), "{link}");
}

#[test]
fn a_link_is_good_for_ten_minutes() {
    let home = Catchment::new();
    let server = Server::on(&home);
    // Made under a clock that is eleven minutes behind.
    let link = home.at_time("-11m").run(&["open"]).exits(0).stdout();
    assert_eq!(log_in(&server, &link).status, 403);
}

#[test]
fn a_session_ends_with_logout_and_with_the_tokens_rotation() {
    let server = Server::start();
    let one = session(&log_in(&server, &printed_link(&server)));
    let other = session(&log_in(&server, &server.home.run(&["open"]).exits(0).stdout()));
    let ask = |cookie: &str| {
        let call = server.request("GET", "/v1/namespaces").without_token();
        call.header("Cookie", cookie).send()
    };
    let own = format!("http://{}", server.address);
    let logout = server.request("POST", "/logout").without_token().header("Cookie", &one);
    assert_eq!(logout.header("Origin", &own).send().status, 303);
    ask(&one).fails_with(401);
    ask(&other).is(200);
    server.home.run(&["token", "--rotate"]).exits(0);
    ask(&other).fails_with(401);
}

#[test]
fn a_session_counts_for_nothing_in_requests_of_other_pages() {
    let server = Server::start();
    let cookie = session(&log_in(&server, &printed_link(&server)));
    let body = json!({ "namespace_name": "films" });
    let post = || {
        let call = server.request("POST", "/v1/namespaces").without_token().json(&body);
        call.header("Cookie", &cookie)
    };
    post().send().fails_with(401);
    post().header("Sec-Fetch-Site", "same-site").send().fails_with(403);
    let get = server.request("GET", "/v1/namespaces").without_token().header("Cookie", &cookie);
    get.header("Sec-Fetch-Site", "same-site").send().fails_with(401);
    post().header("Sec-Fetch-Site", "same-origin").send().is(200);
}

#[test]
fn guessing_a_login_code_is_slowed_down_and_the_token_works_on() {
    let server = Server::start();
    let guess = || log_in(&server, "http://localhost/login?code=guess").status;
    let answers: Vec<u16> = (0..12).map(|_| guess()).collect();
    assert_eq!(answers[..10], [403; 10]);
    assert_eq!(answers[10..], [429; 2]);

    server.get("/v1/namespaces").is(200);
    let right = log_in(&server, &printed_link(&server));
    assert_eq!(right.status, 303, "somebody else's wrong codes do not lock out a right one");
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let server = Server::start();
    let body = vec![b' '; 16 * 1024 * 1024 + 1];
    let call = server.request("POST", "/v1/namespaces").header("Content-Type", "application/json");
    call.body(body).send().fails_with(413);
}

#[test]
fn headers_that_are_too_long_are_refused() {
    let server = Server::start();
    let long = "x".repeat(33 * 1024);
    server.request("GET", "/v1/health").header("X-Long", &long).send().fails_with(431);
    let longer = "x".repeat(200 * 1024);
    let answer = server.request("GET", "/v1/health").header("X-Long", &longer).send();
    assert_eq!(answer.status, 431);
}

#[test]
fn a_request_that_arrives_too_slowly_is_cut_off() {
    let server = Server::start();
    let start = Instant::now();
    let mut slow = std::net::TcpStream::connect(server.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    slow.write_all(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX-S").unwrap();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());

    let call = server.request("POST", "/v1/namespaces").header("Content-Length", "1000");
    let answer = call.body("{").send();
    answer.fails_with(408);
}

#[test]
fn every_response_has_the_security_headers() {
    let server = Server::start();
    let refused = server.request("GET", "/").header("Host", "evil.example").send();
    let answers = [
        server.get("/"),
        server.get("/v1/health"),
        server.get("/v1/no"),
        server.get("/docs"),
        refused,
    ];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{answer}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{answer}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{answer}");
        assert!(!policy.contains("unsafe"), "{answer}");
        assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")), "{answer}");
    }
}
