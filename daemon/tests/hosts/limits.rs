//! Hosts that ration connections and sessions.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
    thread,
    time::Duration,
};

use outlast_testkit::{Sandbox, Sshd};

use crate::{
    bed::{add_by, for_both, seen},
    links::special,
    watch::wait_link,
};

#[test]
fn few_sessions_a_connection_are_enough_for_many_programs() {
    thread::scope(|scope| {
        for (transport, most) in [("ssh2", 1), ("ssh2", 10), ("ssh", 1), ("ssh", 10)] {
            scope.spawn(move || many_programs(transport, most));
        }
    });
}

/// More of everything at once than the host lets sessions be on a connection.
fn many_programs(transport: &str, most: u32) {
    let sandbox = Sandbox::new();
    let sshd = special(&sandbox, &[&format!("MaxSessions {most}")]);
    add_by(&sandbox, transport);
    let before = connections(&sshd);
    let gate = sshd.home().join("go-on");
    let wait = "echo here; while [ ! -e go-on ]; do sleep 0.05; done; echo done";
    let exec = ["host", "exec", "far", "--", "sh", "-c", wait];
    let all: Vec<_> = (0..12).map(|_| sandbox.spawn(&exec)).collect();
    for process in &all {
        process.wait_line(|line| line == "here");
    }
    let create = ["session", "create", "web", "--host", "far", "--", "cat"];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session("web", |state| state == "running");
    std::fs::write(gate, "").unwrap();
    for process in all {
        let ran = process.finish(outlast_testkit::DEADLINE).success();
        assert_eq!(ran.out(), "here\ndone\n");
    }
    assert_eq!(seen(&sandbox, "far")["link"], "up");
    let made = connections(&sshd) - before;
    assert!(made <= 1, "{made} more connections by {transport}");
}

fn connections(sshd: &Sshd) -> usize {
    sshd.log().matches("Connection from").count()
}

/// A connection that nobody logs in on, as of somebody who tries passwords.
fn idler(sshd: &Sshd) -> TcpStream {
    let stream = TcpStream::connect(sshd.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut banner = String::new();
    BufReader::new(&stream).read_line(&mut banner).unwrap();
    assert!(banner.starts_with("SSH-2.0-"), "{banner:?}");
    stream
}

#[test]
fn a_host_that_takes_no_more_connections_is_told_and_reached_when_there_is_room() {
    for_both(no_more_connections);
}

fn no_more_connections(transport: &str) {
    let sandbox = Sandbox::new();
    let sshd = special(&sandbox, &["MaxStartups 1:100:1"]);
    let stranger = idler(&sshd);
    let add = ["host", "add", "far", "far", "--transport", transport];
    let refused = sandbox.outlast(&add).code(6);
    println!("{refused}");
    let told = refused.err().to_lowercase();
    assert!(!told.contains("panicked") && told.contains("error:"), "{refused}");
    assert!(told.contains("hint:"), "{refused}");

    drop(sandbox.outlast(&[&add[..], &["--no-check"]].concat()).success());
    let host = wait_link(&sandbox, &["backoff"]);
    println!("{host}");
    assert!(host["next_try_at"].is_string(), "{host}");
    let job = ["run", "-d", "--host", "far", "--", "echo", "at last"];
    let job = sandbox.outlast(&job).success().word();
    drop(stranger);
    sandbox.wait_job(&job, |state| state == "succeeded");
    assert_eq!(seen(&sandbox, "far")["link"], "up");

    // A loss while there is no room is a loss like any other.
    let stranger = idler(&sshd);
    sshd.signal_connections(rustix::process::Signal::KILL);
    drop(stranger);
    let run = ["run", "--host", "far", "--", "echo", "again"];
    assert_eq!(sandbox.outlast(&run).success().out(), "again\n");
}
