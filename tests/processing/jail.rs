//! Programs that try to get more than they are given: files that this process may read and they may
//! not.

use serde_json::{Value, json};

use crate::{
    ledger::Fixture,
    programs::{collect, define, failures, shell},
};

/// What a script makes of one object, when run in a served pipeline: the documents, and why it
/// failed.
fn made_by(script: &str) -> (Vec<Value>, Vec<(String, String)>) {
    let here = Fixture::new();
    here.home.write_home("outside/secret", "a secret");
    let script = script.replace("{HOME}", here.home.home().to_str().unwrap());
    define(&here.home, "pry", &shell(&script, "output = \"lines\""));
    collect(&here, "pry", Value::Null);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    let failed = failures(&here);
    (here.documents("made"), failed)
}

#[test]
fn files_that_a_program_sends_are_those_in_its_folder_and_nothing_that_a_link_leads_to() {
    let sent = |path: &str| {
        format!(
            "echo '{{\"document\":{{}}}}'; \
             echo '{{\"blob\":{{\"path\":\"{path}\",\"field\":\"file\"}}}}'"
        )
    };
    let done = "echo '{\"done\":true}'";
    let plain = format!("mkdir d; echo fine > d/good; {}; {done}", sent("d/good"));
    let (made, failed) = made_by(&plain);
    assert_eq!((made.len(), failed.len()), (1, 0), "{failed:?}");
    for (what, script) in [
        ("a linked folder", format!("ln -s {{HOME}}/outside d; {}; {done}", sent("d/secret"))),
        ("a link", format!("ln -s {{HOME}}/outside/secret s; {}; {done}", sent("s"))),
        (
            "a folder that becomes a link once a file of it was sent",
            format!(
                "mkdir d; echo fine good > d/secret; {}; sleep 2; \
                 mv d e; ln -s {{HOME}}/outside d; {done}",
                sent("d/secret")
            ),
        ),
        (
            "a file that becomes a link once it was sent",
            format!("echo x > s; {}; sleep 2; ln -sf {{HOME}}/outside/secret s; {done}", sent("s")),
        ),
        ("a file that grows", format!("echo x > s; {}; sleep 2; echo y >> s; {done}", sent("s"))),
    ] {
        let (made, failed) = made_by(&script);
        assert_eq!((made.len(), failed.len()), (0, 1), "{what}: {failed:?}");
        assert_eq!(failed[0].1, "permanent", "{what}: {failed:?}");
    }
}
