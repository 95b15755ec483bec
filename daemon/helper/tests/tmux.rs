//! Our words through a real tmux.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::{path::Path, sync::Arc};

use outlast_helper::{
    service::SessionConfig,
    tmux::{Client, Error, Place, Tmux, quote::Commands},
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use tempfile::TempDir;

struct Server {
    tmux: Arc<Tmux>,
    client: Client,
    place: Place,
    temp: TempDir,
}

impl Server {
    async fn start() -> Self {
        let temp = tempfile::Builder::new()
            .prefix("ol")
            .rand_bytes(5)
            .tempdir_in("/tmp")
            .unwrap();
        let place = Place::choose(temp.path()).unwrap();
        let config = SessionConfig {
            history_limit: 1234,
            user_copy_mode_keys: false,
        };
        let tmux = Tmux::new(place.clone(), config, false);
        let client = tmux.connect().await.expect("these tests need tmux 3.2 or newer");
        Self {
            tmux,
            client,
            place,
            temp,
        }
    }

    fn file(&self, name: &str) -> String {
        self.temp.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let socket: &Path = &self.place.socket;
        let _ = std::process::Command::new("tmux")
            .arg("-S")
            .arg(socket)
            .arg("kill-server")
            .status();
    }
}

/// Bytes as people and attackers would write them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(1_u8..=255, 1..80),
        r#"[-;$~#%{}"'\\ \n\t=@:.()a-z]{1,40}"#.prop_map(String::into_bytes),
        Just(b"#(touch pwned)#{pid}%H%%begin 1 1 1\n%end 1 1 1\n; kill-server \\; $HOME ~root -x".to_vec()),
        Just(b";".to_vec()),
        Just(b"x\\;".to_vec()),
        "\\PC{1,20}".prop_map(String::into_bytes),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_argument_arrives_as_it_is() {
    let server = Server::start().await;
    let file = server.file("buffer");
    let client = server.client.clone();
    let runtime = tokio::runtime::Handle::current();
    let property = move || {
        let mut runner = TestRunner::default();
        runner
            .run(&bytes(), |bytes| {
                let commands = Commands::one([b"set-buffer".as_slice(), b"-b", b"x", b"--", &bytes])
                    .unwrap()
                    .then(["save-buffer", "-b", "x", &file])
                    .unwrap();
                let replies = runtime.block_on(client.run(commands)).unwrap();
                prop_assert_eq!(replies.len(), 2);
                prop_assert_eq!(std::fs::read(&file).unwrap(), bytes);
                Ok(())
            })
            .unwrap();
    };
    tokio::task::spawn_blocking(property).await.unwrap();
    // No reply was taken for another's.
    let answer = server
        .client
        .line(Commands::one(["display-message", "-p", "still here"]).unwrap())
        .await;
    assert_eq!(answer.unwrap(), "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_to_those_who_asked() {
    let server = Server::start().await;
    let asked: Vec<_> = (0..200)
        .map(|number| {
            let client = server.client.clone();
            tokio::spawn(async move {
                let text = format!("answer {number}");
                let say = Commands::one(["display-message", "-p", &text]).unwrap();
                if number % 3 == 0 {
                    let fail = say.then(["has-session", "-t", "=nobody"]).unwrap();
                    let after = fail.then(["display-message", "-p", "never"]).unwrap();
                    let refused = client.run(after).await.unwrap_err();
                    assert!(matches!(refused, Error::Refused(text) if text.contains("nobody")));
                } else {
                    assert_eq!(client.line(say).await.unwrap(), text);
                }
            })
        })
        .collect();
    for asked in asked {
        asked.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_is_noticed_and_started_when_needed() {
    let server = Server::start().await;
    let mut view = server.tmux.view();
    view.wait_for(|view| view.up).await.unwrap();
    let new = [
        "new-session",
        "-d",
        "-s",
        "o-1",
        "--",
        "/bin/sh",
        "-c",
        "exec sleep 600",
    ];
    server.client.run(Commands::one(new).unwrap()).await.unwrap();
    view.wait_for(|view| view.sessions.get("o-1") == Some(&0))
        .await
        .unwrap();
    let kill = Commands::one(["kill-server"]).unwrap();
    // It may end before it has answered.
    let _ = server.client.run(kill).await;
    view.wait_for(|view| !view.up && view.sessions.is_empty())
        .await
        .unwrap();
    assert!(server.client.has_ended());
    let question = Commands::one(["list-sessions"]).unwrap();
    assert!(matches!(
        server.client.run(question.clone()).await,
        Err(Error::Gone)
    ));
    let client = server.tmux.connect().await.unwrap();
    client.run(question).await.unwrap();
    view.wait_for(|view| view.up).await.unwrap();
    let limit = client
        .line(Commands::one(["show-options", "-gv", "history-limit"]).unwrap())
        .await;
    assert_eq!(limit.unwrap(), "1234");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_client_that_ends_is_replaced() {
    let server = Server::start().await;
    let mut view = server.tmux.view();
    let new = [
        "new-session",
        "-d",
        "-s",
        "o-1",
        "--",
        "/bin/sh",
        "-c",
        "exec sleep 600",
    ];
    server.client.run(Commands::one(new).unwrap()).await.unwrap();
    view.wait_for(|view| view.sessions.len() == 1).await.unwrap();
    let pid = server
        .client
        .line(Commands::one(["display-message", "-p", "#{client_pid}"]).unwrap())
        .await
        .unwrap();
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    server.client.on_end().await;
    let client = server.tmux.connect().await.unwrap();
    let list = client
        .run(Commands::one(["list-clients"]).unwrap())
        .await
        .unwrap();
    assert_eq!(list.first().unwrap().lines.len(), 1);
    assert!(view.borrow_and_update().up && view.borrow().sessions.len() == 1);
}
