//! What becomes of a connection: cut, silent, disturbed, closed.

use std::{
    fs,
    time::{Duration, Instant},
};

use outlast_client::helper_v1::PingRequest;
use outlast_testkit::{Gone, Proxy, Sshd, wait_until};
use outlast_transport::{
    connect::{Attempt, Connection},
    error::Cause,
    route::{Route, SshCarrier, SshRoute},
};
use rustix::process::Signal;

use crate::bed::{Bed, DEADLINE, closed, connected, try_connect};

/// A host behind a proxy.
async fn host(bed: &Bed, carrier: SshCarrier) -> (Sshd, Proxy, Connection) {
    let sshd = bed.sshd().start();
    bed.install(&sshd.cache().join("outlast/helper"));
    let proxy = Proxy::new(sshd.address());
    let address = proxy.address();
    let client = bed.client();
    client.add_config(&format!(
        "Host far\n  HostName {}\n  Port {}\n  HostKeyAlias far\n",
        address.ip(),
        address.port()
    ));
    let key = sshd.known_line();
    let (_, key) = key.split_once(' ').unwrap();
    client.know(&format!("far {key}"));
    let route = SshRoute {
        carrier: Some(carrier),
        ..bed.ssh("far")
    };
    let connection = connected(bed.attempt(Route::Ssh(route))).await;
    (sshd, proxy, connection)
}

async fn a_cut_is_heard_at_once(carrier: SshCarrier) {
    let bed = Bed::new();
    let (_sshd, proxy, mut connection) = host(&bed, carrier).await;
    let start = Instant::now();
    proxy.cut();
    assert_eq!(closed(&mut connection).await.cause, Cause::Cut);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(connection.client.clone().ping(PingRequest {}).await.is_err());
}

async fn silence_is_noticed_within_15_s(carrier: SshCarrier) {
    let bed = Bed::new();
    let (_sshd, proxy, mut connection) = host(&bed, carrier).await;
    let start = Instant::now();
    proxy.stall();
    assert_eq!(closed(&mut connection).await.cause, Cause::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(16), "{:?}", start.elapsed());
    assert!(connection.client.clone().ping(PingRequest {}).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_is_heard_at_once_by_the_program() {
    a_cut_is_heard_at_once(SshCarrier::Ssh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_noticed_within_15_s_by_the_program() {
    silence_is_noticed_within_15_s(SshCarrier::Ssh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_is_heard_at_once_by_the_library() {
    a_cut_is_heard_at_once(SshCarrier::Ssh2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_noticed_within_15_s_by_the_library() {
    silence_is_noticed_within_15_s(SshCarrier::Ssh2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_that_is_killed_is_told() {
    let bed = Bed::new();
    bed.install(&bed.helpers());
    let mut connection = connected(bed.attempt(bed.command("echo $$ >$ROOT/pid; exec sh"))).await;
    let pid = fs::read_to_string(bed.path().join("pid")).unwrap();
    let helper = Gone::watch(pid.trim().parse().unwrap()).unwrap();
    helper.signal(Signal::KILL);
    let reason = closed(&mut connection).await;
    assert_eq!(reason.cause, Cause::Cut);
    assert!(reason.message.contains("helper"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_leaves_nothing_here() {
    let bed = Bed::new();
    bed.install(&bed.helpers());
    let script = "sleep 600 & echo $! $$ >$ROOT/pid; exec sh";
    let mut connection = connected(bed.attempt(bed.command(script))).await;
    let pids = fs::read_to_string(bed.path().join("pid")).unwrap();
    let watched: Vec<Gone> = pids
        .split_whitespace()
        .map(|pid| Gone::watch(pid.parse().unwrap()).unwrap())
        .collect();
    let client = connection.client.clone();
    let mut word = connection.closed.clone();
    drop(connection);
    assert!(watched.iter().all(|process| process.within(DEADLINE)));
    word.wait_for(Option::is_some).await.unwrap();
    assert!(client.clone().ping(PingRequest {}).await.is_err());
    // A half-made one neither.
    connection = connected(bed.attempt(bed.command(script))).await;
    drop(connection);
    let attempt = bed.attempt(bed.command("echo $$ >$ROOT/half; exec sleep 600"));
    let half = tokio::spawn(try_connect(attempt));
    let file = bed.path().join("half");
    let pid = wait_until(DEADLINE, "the start", || {
        fs::read_to_string(&file).ok()?.trim().parse().ok()
    });
    let process = Gone::watch(pid).unwrap();
    half.abort();
    assert!(process.within(DEADLINE));
}

/// A start file that leaves something running that prints writes into the protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chatter_is_told_for_what_it_is() {
    let bed = Bed::new();
    bed.install(&bed.helpers());
    let script = "(until [ -e $ROOT/go ]; do sleep 0.05; done; echo chatter of a background job) & exec sh";
    let mut connection = connected(bed.attempt(bed.command(script))).await;
    fs::write(bed.path().join("go"), "").unwrap();
    let reason = closed(&mut connection).await;
    assert_eq!(reason.cause, Cause::Protocol);
    assert!(reason.hint.unwrap().contains("start file"));
}

/// The far end of the connection hangs, and everything else there goes on.
async fn a_hung_sshd_is_noticed(carrier: SshCarrier) {
    let bed = Bed::new();
    let (sshd, _proxy, mut connection) = host(&bed, carrier).await;
    let start = Instant::now();
    assert!(sshd.signal_connections(Signal::STOP) >= 1);
    assert_eq!(closed(&mut connection).await.cause, Cause::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(16), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_sshd_is_noticed_by_the_program() {
    a_hung_sshd_is_noticed(SshCarrier::Ssh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_sshd_is_noticed_by_the_library() {
    a_hung_sshd_is_noticed(SshCarrier::Ssh2).await;
}

/// A host that accepts and says nothing.
async fn an_attempt_does_not_hang_on_a_silent_host(carrier: SshCarrier) {
    let bed = Bed::new();
    let sshd = bed.sshd().start();
    let proxy = Proxy::new(sshd.address());
    proxy.stall();
    bed.client().add_config(&format!(
        "Host far\n  HostName 127.0.0.1\n  Port {}\n",
        proxy.address().port()
    ));
    let route = SshRoute {
        carrier: Some(carrier),
        ..bed.ssh("far")
    };
    let attempt = Attempt {
        within: Duration::from_secs(1),
        ..bed.attempt(Route::Ssh(route))
    };
    let error = try_connect(attempt).await.unwrap_err();
    assert_eq!(error.cause, Cause::TimedOut, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_does_not_hang_on_a_silent_host_by_the_program() {
    an_attempt_does_not_hang_on_a_silent_host(SshCarrier::Ssh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_does_not_hang_on_a_silent_host_by_the_library() {
    an_attempt_does_not_hang_on_a_silent_host(SshCarrier::Ssh2).await;
}
