//! Sessions from templates.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

use std::fs;

use outlast_client::v1::{CreateSessionRequest, session_service_client::SessionServiceClient};
use outlast_testkit::{Client, DEADLINE, Sandbox, wait_until, write_program};
use serde_json::{Value, json};

const TEMPLATES: &str = r#"
[session_templates.base]
description = "what all have"
env = { LEVEL = "base", WHO = "{{session_name}}@{{host_name}}" }

[session_templates.agent]
inherits = ["base"]
command = ["sh", "-c", 'echo "$WHO $LEVEL $(pwd)" > "$HOME/{{session_name}}.told"; exec sleep 1000']
restart_command = "echo again {{session_name}} > $HOME/again; exec sleep 1000"
cwd = "/usr"
env = { LEVEL = "agent" }

[session_templates.plain]
provider = "mine"

[providers.mine]
binary = "mine-bin"
resume_command = "mine-bin --resume"
"#;

fn create(sandbox: &Sandbox, args: &[&str]) -> Value {
    let create = [&["session", "create", "--json"], args].concat();
    sandbox.outlast(&create).success().json()
}

fn told(sandbox: &Sandbox, file: &str) -> String {
    let path = sandbox.home().join(file);
    wait_until(DEADLINE, &format!("{file} is written"), || {
        let text = fs::read_to_string(&path).ok()?;
        text.ends_with('\n').then_some(text)
    })
}

#[test]
fn a_session_is_what_its_template_said_when_it_was_made() {
    let sandbox = Sandbox::new();
    sandbox.configure(TEMPLATES);
    let made = create(&sandbox, &["one", "--template", "agent"]);
    for (key, value) in [
        ("template", json!("agent")),
        ("provider", Value::Null),
        ("cwd", json!("/usr")),
    ] {
        assert_eq!(made[key], value, "{made}");
    }
    assert_eq!(told(&sandbox, "one.told"), "one@local agent /usr\n");
    let said = ["two", "--template", "agent", "--cwd", "/", "-e", "LEVEL=said"];
    assert_eq!(create(&sandbox, &said)["cwd"], "/");
    assert_eq!(told(&sandbox, "two.told"), "two@local said /\n");

    // The template is another one by now, and the session is not.
    sandbox.configure("[session_templates.agent]\ncommand = 'true'\nrestart_command = 'true'\n");
    drop(sandbox.outlast(&["daemon", "restart"]).success());
    drop(
        sandbox
            .outlast(&["session", "restart", "one", "--force"])
            .success(),
    );
    assert_eq!(told(&sandbox, "again"), "again one\n");
    let shown = sandbox
        .outlast(&["session", "show", "one", "--json"])
        .success()
        .json();
    assert_eq!(
        (&shown["template"], &shown["cwd"]),
        (&json!("agent"), &json!("/usr"))
    );
}

#[test]
fn a_provider_gives_the_program_and_what_resumes_it() {
    let sandbox = Sandbox::new();
    sandbox.configure(TEMPLATES);
    write_program(
        &sandbox.bin().join("mine-bin"),
        "#!/bin/sh\necho \"ran $*\" > ~/ran\nexec sleep 1000\n",
    );
    let made = create(&sandbox, &["web", "--template", "plain"]);
    assert_eq!(
        (&made["provider"], &made["command"]),
        (&json!("mine"), &json!(["mine-bin"]))
    );
    assert_eq!(told(&sandbox, "ran"), "ran \n");
    fs::remove_file(sandbox.home().join("ran")).unwrap();
    drop(
        sandbox
            .outlast(&["session", "restart", "web", "--force"])
            .success(),
    );
    assert_eq!(told(&sandbox, "ran"), "ran --resume\n");
    let made = create(&sandbox, &["other", "--provider", "mine", "--", "sleep", "1000"]);
    assert_eq!(
        (&made["provider"], &made["command"]),
        (&json!("mine"), &json!(["sleep", "1000"]))
    );
}

#[test]
fn templates_are_listed_shown_and_checked() {
    let sandbox = Sandbox::new();
    sandbox.configure(TEMPLATES);
    let listed = sandbox.outlast(&["template", "list", "--json"]).success().json();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["agent", "base", "plain"]);
    let shown = sandbox
        .outlast(&["template", "show", "agent", "--json"])
        .success()
        .json();
    assert_eq!(shown["description"], "what all have", "it is inherited");
    assert_eq!(
        shown["env"],
        json!({ "LEVEL": "agent", "WHO": "{{session_name}}@{{host_name}}" })
    );
    assert_eq!(shown["inherits"], json!(["base"]));
    drop(sandbox.outlast(&["template", "check"]).success());
    let unknown = sandbox.outlast(&["template", "check", "agnet"]).code(3);
    assert!(unknown.err().contains("agent"), "{unknown}");
    let unknown = sandbox
        .outlast(&["session", "create", "x", "--template", "agnet"])
        .code(3);
    assert!(unknown.err().contains("agent"), "{unknown}");
    let unknown = sandbox
        .outlast(&["session", "create", "x", "--provider", "mien"])
        .code(3);
    assert!(unknown.err().contains("mine"), "{unknown}");

    // What the file says now counts, before any daemon has it.
    sandbox.configure("[session_templates.a]\ncommand = 'run {{sesion_name}}'\n");
    let wrong = sandbox.outlast(&["template", "check"]);
    assert_ne!(wrong.exit(), 0, "{wrong}");
    for part in ["config.toml:2:16", "sesion_name", "{{session_name}}"] {
        assert!(wrong.err().contains(part), "{part}: {wrong}");
    }
}

#[test]
fn a_repeated_request_gets_its_session_also_when_the_template_is_gone() {
    let sandbox = Sandbox::new();
    sandbox.configure("[session_templates.t]\ncommand = 'exec sleep 1000'\n");
    drop(sandbox.outlast(&["daemon", "start"]).success());
    let request = CreateSessionRequest {
        request_id: Some("11111111-2222-4333-8444-555555555555".to_owned()),
        name: "web".to_owned(),
        template: Some("t".to_owned()),
        ..CreateSessionRequest::default()
    };
    let ask = || {
        let created = Client::new(&sandbox, DEADLINE).call(async |channel| {
            SessionServiceClient::new(channel)
                .create_session(request.clone())
                .await
        });
        created.session.unwrap().id
    };
    let first = ask();
    sandbox.configure("");
    drop(sandbox.outlast(&["daemon", "restart"]).success());
    assert_eq!(ask(), first);
}
