//! The beds for tests of hosts: a real sshd, a bad network, an address that goes away.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use outlast_testkit::{NetHost, Process, Proxy, Run, Sandbox, Sshd, run, wait_until};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(20);

fn sandbox() -> Sandbox {
    Sandbox::with_programs("/nonexistent".into())
}

/// Runs a command on a host, as whoever finds `ssh` in the sandbox does.
fn ssh(sandbox: &Sandbox, args: &[&str]) -> Run {
    let mut command = sandbox.command("ssh");
    command.args(["-o", "BatchMode=yes"]).args(args);
    run(command, SOON)
}

/// A connection that says `ready` and stays.
fn stay(sandbox: &Sandbox, host: &str) -> Process {
    let mut command = sandbox.command("ssh");
    command.args(["-o", "BatchMode=yes", host, "echo ready; exec cat"]);
    let process = Process::start_with_input(command);
    process.wait_line(|line| line == "ready");
    process
}

#[test]
fn both_ends_see_only_the_sandbox() {
    let sandbox = sandbox();
    let sshd = sandbox.sshd("far");
    let seen = ssh(&sandbox, &["far", "echo $HOME $XDG_STATE_HOME $XDG_CACHE_HOME"]).success();
    let places = [sshd.home(), sshd.state(), sshd.cache()].map(|path| path.display().to_string());
    assert_eq!(seen.word(), places.join(" "));
    let resolved = ssh(&sandbox, &["-G", "--", "anything"]).success().out();
    let known = format!("userknownhostsfile {}\n", sandbox.ssh().known_hosts().display());
    assert!(resolved.contains(&known), "{resolved}");
    let key = format!("identityfile {}\n", sandbox.ssh().key().display());
    assert!(resolved.contains(&key), "{resolved}");
}

#[test]
fn an_sshd_is_as_it_is_told() {
    let sandbox = sandbox();
    let client = sandbox.ssh();
    let mut sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .host_keys(&["ed25519", "ecdsa", "rsa"])
        .env("GIVEN", "a b")
        .option("ForceCommand echo forced $GIVEN")
        .start();
    client.add_config(&sshd.alias("far"));
    let unknown = ssh(&sandbox, &["far", "true"]).code(255);
    assert!(
        unknown.err().contains("Host key verification failed"),
        "{unknown}"
    );
    client.know(&sshd.known_line());
    for kind in ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512"] {
        let algorithm = format!("HostKeyAlgorithms={kind}");
        let forced = ssh(&sandbox, &["-o", &algorithm, "far", "true"]).success();
        assert_eq!(forced.word(), "forced a b");
    }
    let before = sshd.fingerprint("ed25519");
    assert!(before.starts_with("SHA256:"));
    sshd.change_host_keys();
    sshd.restart();
    assert_ne!(sshd.fingerprint("ed25519"), before);
    let changed = ssh(&sandbox, &["far", "true"]).code(255);
    assert!(changed.err().contains("IDENTIFICATION HAS CHANGED"), "{changed}");
    sshd.authorize_only("");
    let refused = ssh(&sandbox, &["-o", "StrictHostKeyChecking=no", "far", "true"]).code(255);
    assert!(refused.err().contains("Permission denied"), "{refused}");
}

#[test]
fn connections_outlive_the_listener_and_can_be_hung_and_cut() {
    let sandbox = sandbox();
    let mut sshd = sandbox.sshd("far");
    let mut first = stay(&sandbox, "far");
    sshd.stop();
    let refused = ssh(&sandbox, &["far", "true"]).code(255);
    assert!(refused.err().contains("Connection refused"), "{refused}");
    first.write(b"still\n");
    first.wait_line(|line| line == "still");
    sshd.start();
    let second = stay(&sandbox, "far");
    assert!(sshd.signal_connections(Signal::STOP) >= 2);
    first.write(b"hung\n");
    // Another one is served meanwhile, and the hung one is not.
    drop(ssh(&sandbox, &["far", "true"]).success());
    assert!(!first.stdout().ends_with(b"hung\n"));
    sshd.signal_connections(Signal::CONT);
    first.wait_line(|line| line == "hung");
    sshd.signal_connections(Signal::KILL);
    for process in [first, second] {
        let cut = process.finish(SOON);
        assert_eq!(cut.exit(), 255, "{cut}");
    }
    wait_until(SOON, "no connection", || {
        sshd.connections().is_empty().then_some(())
    });
}

#[test]
fn nothing_of_an_sshd_stays() {
    let sandbox = sandbox();
    let sshd = sandbox.sshd("far");
    let process = stay(&sandbox, "far");
    drop(sshd);
    let cut = process.finish(SOON);
    assert_eq!(cut.exit(), 255, "{cut}");
    let refused = ssh(&sandbox, &["far", "true"]).code(255);
    assert!(refused.err().contains("Connection refused"), "{refused}");
}

/// A server that gives every byte back.
fn echo() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = listener.try_clone().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = accepting.accept() {
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut back = stream.try_clone().unwrap();
                std::io::copy(&mut stream, &mut back)
            });
        }
    });
    listener
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn round_trip(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    start.elapsed()
}

#[test]
fn a_proxy_delays_without_slowing() {
    let server = echo();
    let proxy = Proxy::new(server.local_addr().unwrap());
    let mut stream = connect(&proxy);
    round_trip(&mut stream);
    proxy.delay(Duration::from_millis(50));
    let quickest = (0..5).map(|_| round_trip(&mut stream)).min().unwrap();
    assert!(quickest >= Duration::from_millis(100), "{quickest:?}");
    assert!(quickest < Duration::from_millis(150), "{quickest:?}");
    // 8 MB at one piece a round trip would take 12 s.
    let start = Instant::now();
    let mut writing = stream.try_clone().unwrap();
    let writer = thread::spawn(move || writing.write_all(&vec![7; 8 << 20]));
    stream.read_exact(&mut vec![0; 8 << 20]).unwrap();
    writer.join().unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn a_proxy_is_as_slow_as_it_is_told() {
    let server = echo();
    let proxy = Proxy::new(server.local_addr().unwrap());
    proxy.throttle(Some(200_000));
    let mut stream = connect(&proxy);
    let start = Instant::now();
    stream.write_all(&[7; 100_000]).unwrap();
    stream.read_exact(&mut [0; 100_000]).unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(480), "{took:?}");
}

#[test]
fn a_proxy_stalls_cuts_refuses_and_heals() {
    let server = echo();
    let mut proxy = Proxy::new(server.local_addr().unwrap());
    let mut stream = connect(&proxy);
    round_trip(&mut stream);
    proxy.stall();
    stream.write_all(b"x").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "nothing comes through");
    stream.set_read_timeout(Some(SOON)).unwrap();
    proxy.heal();
    stream.read_exact(&mut [0]).unwrap();
    proxy.refuse();
    round_trip(&mut stream);
    assert!(TcpStream::connect(proxy.address()).is_err());
    proxy.heal();
    let mut second = connect(&proxy);
    round_trip(&mut second);
    assert_eq!((proxy.accepted(), proxy.open()), (2, 2));
    proxy.cut();
    for stream in [&mut stream, &mut second] {
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    round_trip(&mut connect(&proxy));
}

#[test]
fn a_host_of_its_own_network_goes_away_and_comes_back() {
    let sandbox = sandbox();
    let host = NetHost::new();
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .on(&host)
        .start();
    client.know(&sshd.known_line());
    let address = host.address().to_string();
    let mut process = stay(&sandbox, &address);
    host.cut();
    process.write(b"one\n");
    let silent = ssh(&sandbox, &["-o", "ConnectTimeout=1", &address, "true"]).code(255);
    assert!(silent.err().contains("timed out"), "{silent}");
    assert!(process.is_running() && !process.stdout().ends_with(b"one\n"));
    host.heal();
    process.wait_line(|line| line == "one");
    host.unplug();
    let gone = ssh(&sandbox, &["-o", "ConnectTimeout=10", &address, "true"]).code(255);
    assert!(gone.err().contains("No route to host"), "{gone}");
    host.heal();
    process.write(b"two\n");
    process.wait_line(|line| line == "two");
}
