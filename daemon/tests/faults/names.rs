//! Names: what is none is refused with the rule, and what is one survives tmux.

use outlast_client::v1::{
    CreateSessionRequest, Error, ErrorKind, session_service_client::SessionServiceClient,
};
use outlast_testkit::{Client, Random, Sandbox};

use crate::PATIENCE;

const RULE: &str = "[A-Za-z0-9][A-Za-z0-9_.-]*";

const BAD: &[&str] = &[
    "",
    ".",
    "..",
    "-rf",
    "_a",
    "a b",
    "a\nb",
    "#(touch pwned)",
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "=x",
    "a:b",
    "a/b",
    "é",
    "🦀",
    "\u{1b}[2Jx",
    "\u{202e}x",
];

#[test]
fn what_is_no_name_is_refused_with_the_rule() {
    let sandbox = Sandbox::new();
    sandbox.start_daemon();
    let client = Client::new(&sandbox, PATIENCE);
    let huge = "x".repeat(10_000);
    for bad in BAD.iter().copied().chain([huge.as_str()]) {
        let name = format!("--name={bad}");
        let refused = sandbox.outlast(&["run", "-d", &name, "--", "true"]).code(2);
        assert!(refused.err().contains(RULE), "{bad:?}: {refused}");
        assert!(refused.stdout.is_empty(), "{bad:?}: {refused}");
        assert!(
            !refused.stderr.contains(&0x1b),
            "an escape reaches the terminal: {refused}"
        );
        // The daemon does not trust its clients to have looked.
        client.until(async |channel| {
            let request = CreateSessionRequest {
                name: bad.to_owned(),
                ..CreateSessionRequest::default()
            };
            let status = SessionServiceClient::new(channel)
                .create_session(request)
                .await
                .unwrap_err();
            let error = Error::from_status(&status).expect("it is an error of outlast's");
            assert_eq!(error.kind(), ErrorKind::Usage, "{bad:?}: {error:?}");
            assert!(error.message.contains(RULE), "{bad:?}: {error:?}");
            Ok(true)
        });
    }
    assert!(!sandbox.home().join("pwned").exists());
    for noun in ["job", "session"] {
        let list = sandbox.outlast(&[noun, "list", "--json"]).success().json();
        assert_eq!(list.as_array().map(Vec::len), Some(0), "{list}");
    }
}

/// A random name that the rule allows, of any length.
fn name(random: &mut Random) -> String {
    const FIRST: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let rest = [FIRST, b"_.-".as_slice()].concat();
    let mut pick = |from: &[u8]| char::from(from[random.between(0, from.len() as u64) as usize]);
    let first = pick(FIRST);
    let mut text: String = (0..62).map(|_| pick(&rest)).collect();
    text.insert(0, first);
    text.truncate(random.between(1, 64) as usize);
    text
}

#[test]
fn every_name_survives_tmux_and_back() {
    let mut random = Random::from_env();
    let sandbox = Sandbox::new();
    let mut names: Vec<String> = ["0", "a.", "a-", "a..b", "a--", "A", "keeper"]
        .map(str::to_owned)
        .to_vec();
    names.push("x".repeat(63));
    names.extend((0..8).map(|_| name(&mut random)));
    names.sort();
    names.dedup();
    for name in &names {
        let script = "printf 'I am <%s>\\n' \"$1\"; exec cat";
        drop(
            sandbox
                .outlast(&["session", "create", name, "--", "sh", "-c", script, "sh", name])
                .success(),
        );
    }
    for name in &names {
        let shown = sandbox.wait_session(name, |state| state == "running");
        assert_eq!(shown["name"], name.as_str());
        let until = [
            "session",
            "wait",
            name,
            "--until",
            "output",
            "--match",
            "I am <",
            "--timeout",
            "1s",
        ];
        // The line may have come before the wait began; the screen has it then.
        drop(sandbox.outlast(&until));
        drop(sandbox.outlast(&["session", "send", name, "hello"]).success());
        let screen = outlast_testkit::wait_until(PATIENCE, name, || {
            let screen = sandbox.outlast(&["session", "peek", name]).success().out();
            (screen.matches("hello").count() == 2).then_some(screen)
        });
        assert!(screen.contains(&format!("I am <{name}>")), "{name}: {screen}");
    }
    let list = sandbox.outlast(&["session", "list", "--json"]).success().json();
    let mut listed: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, names);
}
