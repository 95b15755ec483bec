//! Forwarded ports, until Ctrl-C.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
};

use futures::{StreamExt as _, stream};
use outlast_client::v1::{self, Error, ErrorKind, Link, forward_host_response};
use rustix::process::Signal;
use tonic::Status;

use crate::{
    exec::{read_line, send, wait_line},
    fake::{Fake, Heard, Script, finish, outlast},
};

fn listening(port: u32) -> Result<v1::ForwardHostResponse, Status> {
    event(forward_host_response::Event::Listening(v1::ForwardListening {
        address: "127.0.0.1".to_owned(),
        port,
    }))
}

fn event(event: forward_host_response::Event) -> Result<v1::ForwardHostResponse, Status> {
    Ok(v1::ForwardHostResponse { event: Some(event) })
}

fn link(link: Link, error: Option<&str>) -> Result<v1::ForwardHostResponse, Status> {
    event(forward_host_response::Event::Link(v1::LinkChange {
        link: link.into(),
        error: error.map(str::to_owned),
    }))
}

fn forward(fake: &Fake, args: &[&str]) -> Command {
    let mut command = outlast(fake.home(), &["--no-start"]);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn ports_are_forwarded_until_ctrl_c() {
    use forward_host_response::Event;
    let asked = Heard::default();
    let kept = Arc::clone(&asked);
    let fake = Fake::start(Script {
        forward_host: Some(Box::new(move |request: v1::ForwardHostRequest| {
            let port = if request.local_port == 0 {
                40_001
            } else {
                request.local_port
            };
            kept.lock().unwrap().push(request);
            let told = [
                listening(port),
                link(Link::Up, None),
                link(Link::Backoff, Some("the network is \u{1b}down.")),
                link(Link::Up, None),
                event(Event::Problem("db:5432 refused the \u{1b}connection".to_owned())),
            ];
            stream::iter(told).chain(stream::pending()).boxed()
        })),
        ..Script::default()
    });
    let mut child = forward(
        &fake,
        &[
            "host",
            "forward",
            "build1",
            "8080:80",
            "0:[::1]:443",
            "--address",
            "127.0.0.2",
        ],
    )
    .spawn()
    .unwrap();
    // They come to listen in any order.
    let mut lines = [read_line(&mut child), read_line(&mut child)];
    lines.sort();
    assert_eq!(
        lines,
        [
            "forwarding 127.0.0.1:40001 to [::1]:443 by way of build1\n",
            "forwarding 127.0.0.1:8080 to build1:80\n"
        ]
    );
    // Both have told all there is before the end: the problem of the second comes last.
    let mut stderr = child.stderr.take().unwrap();
    let mut err = String::new();
    while err.matches("warning").count() < 2 {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        err.push(char::from(byte[0]));
    }
    send(&child, Signal::INT);
    child.stderr = Some(stderr);
    let ran = finish(child);
    assert_eq!(ran.code, 130);
    assert!(
        ran.err.ends_with("no longer forwarding to host build1\n"),
        "{}",
        ran.err
    );
    assert!(
        err.contains("outlast: host build1 is away (the network is \\edown); connections wait\n"),
        "{err}"
    );
    assert!(err.contains("outlast: host build1 is back\n"), "{err}");
    assert!(
        err.contains("warning: db:5432 refused the \\econnection"),
        "{err}"
    );
    let mut asked = asked.lock().unwrap();
    asked.sort_by_key(|request| request.local_port);
    assert_eq!(
        asked[0],
        v1::ForwardHostRequest {
            host: "build1".to_owned(),
            local_address: Some("127.0.0.2".to_owned()),
            local_port: 0,
            remote_address: Some("::1".to_owned()),
            remote_port: 443,
        }
    );
}

#[test]
fn after_a_break_the_same_port_is_asked_for_and_an_announced_stop_names_the_command() {
    let asked = Heard::default();
    let kept = Arc::clone(&asked);
    let fake = Fake::start(Script {
        forward_host: Some(Box::new(move |request: v1::ForwardHostRequest| {
            let mut asked = kept.lock().unwrap();
            asked.push(request.local_port);
            if asked.len() < 3 {
                stream::iter([listening(40_001)]).boxed()
            } else {
                let stop = Error::new(ErrorKind::Stopping, "outlastd is stopping").into_status();
                stream::iter([listening(40_001), Err(stop)]).boxed()
            }
        })),
        ..Script::default()
    });
    let ran = finish(
        forward(&fake, &["host", "forward", "build1", "0:80"])
            .spawn()
            .unwrap(),
    );
    assert_eq!(
        (ran.code, ran.text().as_str()),
        (7, "forwarding 127.0.0.1:40001 to build1:80\n")
    );
    assert_eq!(
        ran.err,
        "error: outlastd is stopping\nhint: outlast host forward build1 40001:80\n"
    );
    assert_eq!(*asked.lock().unwrap(), [0, 40_001, 40_001]);
}

#[test]
fn each_port_is_forwarded_or_reported_on_its_own() {
    let fake = Fake::start(Script {
        forward_host: Some(Box::new(|request: v1::ForwardHostRequest| {
            if request.local_port == 80 {
                let taken = Error::new(ErrorKind::NotPermitted, "port 80 needs root").into_status();
                return stream::iter([Err(taken)]).boxed();
            }
            stream::iter([listening(request.local_port)])
                .chain(stream::pending())
                .boxed()
        })),
        ..Script::default()
    });
    let mut child = forward(&fake, &["host", "forward", "build1", "80", "8080"])
        .spawn()
        .unwrap();
    wait_line(&mut child, "forwarding 127.0.0.1:8080 to build1:8080\n");
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    err.read_line(&mut first).unwrap();
    assert_eq!(first, "error: port 80 needs root\n");
    child.stderr = Some(err.into_inner());
    send(&child, Signal::INT);
    assert_eq!(finish(child).code, 130);
    let ran = fake.outlast(&["host", "forward", "build1", "80"]);
    assert_eq!(ran.code, 5);
    for ports in ["x", "0", "::1:80"] {
        assert_eq!(fake.outlast(&["host", "forward", "build1", ports]).code, 2);
    }
}

#[test]
fn who_gives_up_names_the_whole_command() {
    let home = Arc::new(OnceLock::<PathBuf>::new());
    let known = Arc::clone(&home);
    let fake = Fake::start(Script {
        forward_host: Some(Box::new(move |_| {
            // There is no way back, so that it is not tried for long.
            let directory = known.get().unwrap().join("outlast");
            fs::rename(&directory, directory.with_extension("gone")).unwrap();
            fs::write(&directory, "").unwrap();
            stream::iter([listening(8080)]).boxed()
        })),
        ..Script::default()
    });
    home.set(fake.home().path().to_owned()).unwrap();
    let ran = fake.outlast(&[
        "host",
        "forward",
        "build1",
        "8080:db:80",
        "--address",
        "127.0.0.2",
    ]);
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(
        ran.err
            .ends_with("hint: outlast host forward build1 8080:db:80 --address 127.0.0.2\n"),
        "{}",
        ran.err
    );
}
