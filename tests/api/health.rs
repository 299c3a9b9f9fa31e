//! `/v1/health*`.

use crate::server::Server;

#[test]
fn health_needs_no_token() {
    let server = Server::start();
    for path in ["/v1/health", "/v1/health/beat", "/v1/health/liveness", "/v1/health/deep"] {
        let body = server.request("GET", path).without_token().send().is(200);
        assert_eq!(body["status"], "OK", "{path}");
    }
}

#[test]
fn deep_health_says_which_part_is_broken() {
    let server = Server::start();
    let well = server.get("/v1/health/deep?metrics=true").is(200);
    assert_eq!(well["errors"], serde_json::Value::Null);
    for absent in ["cache", "vector_store", "inference", "analytics"] {
        assert_eq!(well["data"][absent], false, "{absent} is not in this build");
    }
    assert!(well["meta"]["database_ms"].is_number());

    std::fs::remove_dir_all(server.home.data_dir().join("blobs")).unwrap();
    let ill = server.get("/v1/health/deep").is(200);
    assert_eq!(ill["status"], "DEGRADED");
    assert_eq!(ill["data"]["object_storage"], false);
    assert_eq!(ill["data"]["metadata"], true);
    assert!(ill["errors"]["object_storage"].is_string());
    let data_dir = server.home.data_dir().to_string_lossy().into_owned();
    assert!(!ill.to_string().contains(&data_dir), "no path goes out: {ill}");
}
