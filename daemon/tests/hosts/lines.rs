//! Lines that lose, delay and swallow what is sent over them.

use std::{
    fs,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Namespace, NetHost, Proxy, Sandbox, Sshd, Terminal, wait_until};
use rustix::process::Signal;

use crate::{
    bed::{add_by, alias, far_by_network, for_both, known_at, seen},
    watch::wait_link,
};

/// What an answer from what is known may take on a busy machine; the figures are printed.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Packets of a hundred, each way.
const LOST: u8 = 5;

/// How often sshd was connected to.
fn connections(sshd: &Sshd) -> usize {
    sshd.log().matches("Connection from").count()
}

/// Asks for what is known again and again while something runs. The longest that took.
fn answers_while(sandbox: &Sandbox, name: &str, runs: impl Fn() -> bool) -> Duration {
    let mut longest = Duration::ZERO;
    while runs() {
        let asked = Instant::now();
        let shown = sandbox.outlast(&["job", "show", name, "--json"]).success().json();
        longest = longest.max(asked.elapsed());
        assert_eq!(shown["link"], "up", "{shown}\n{}", seen(sandbox, "far"));
    }
    assert!(longest < AT_ONCE, "an answer took {longest:?}");
    longest
}

/// Cuts the connection and waits for another one.
fn again(sandbox: &Sandbox, sshd: &Sshd) {
    let arrived = seen(sandbox, "far")["observed_at"].clone();
    sshd.signal_connections(Signal::KILL);
    wait_until(DEADLINE, "another connection", || {
        let host = seen(sandbox, "far");
        (host["link"] == "up" && host["observed_at"] != arrived).then_some(())
    });
}

/// Numbered lines, slowly enough to be many packets.
const NUMBERS: &str = "n=0; while [ $n -lt 300 ]; do n=$((n+1)); echo \"line $n\"; sleep 0.005; done";

fn numbers() -> String {
    (1..=300).map(|n| format!("line {n}\n")).collect()
}

#[test]
fn a_line_that_loses_packets_loses_nothing_else() {
    for_both(lossy);
}

fn lossy(transport: &str) {
    let (sandbox, sshd, net) = far_by_network(transport);
    net.lose(LOST);
    let before = connections(&sshd);
    let began = Instant::now();
    let job = sandbox.spawn(&[
        "run", "--host", "far", "--name", "count", "--", "sh", "-c", NUMBERS,
    ]);
    job.wait_bytes(1);
    let longest = answers_while(&sandbox, "count", || job.is_running());
    let ran = job.finish(DEADLINE).success();
    assert!(ran.out() == numbers(), "{ran}");
    println!(
        "{transport}: 300 lines took {:?}; the longest answer meanwhile {longest:?}",
        began.elapsed()
    );
    let create = [
        "session",
        "create",
        "web",
        "--host",
        "far",
        "--",
        "sh",
        "-c",
        "echo ready; exec cat",
    ];
    drop(sandbox.outlast(&create).success());
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    terminal.wait_text("ready");
    terminal.enter("typed");
    terminal.wait_screen("the echo", |screen| screen.matches("typed").count() == 2);
    assert_eq!(connections(&sshd), before, "the line was taken for dead");
    assert_eq!(seen(&sandbox, "far")["link"], "up");
    // Connections can be made over it, too.
    let began = Instant::now();
    again(&sandbox, &sshd);
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
    println!("{transport}: back after {:?}", began.elapsed());
}

#[test]
fn a_line_that_is_slow_and_far_and_loses_packets_is_one_link_and_no_storm() {
    for_both(worst);
}

/// 300 ms there and back, 20 kbit/s, and one packet of twenty lost.
fn worst(transport: &str) {
    let sandbox = Sandbox::new();
    let net = NetHost::new();
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .on(&net)
        .start();
    let proxy = Proxy::new(sshd.address());
    client.know(&known_at(&sshd, proxy.address().port()));
    client.add_config(&alias("far", proxy.address().ip(), proxy.address().port()));
    add_by(&sandbox, transport);
    net.lose(LOST);
    proxy.delay(Duration::from_millis(150));
    proxy.throttle(Some(2500));
    let before = proxy.accepted();
    let began = Instant::now();
    let script = "head -c 7999 /dev/zero | tr '\\0' x; echo";
    let job = sandbox.spawn(&["run", "--host", "far", "--name", "slow", "--", "sh", "-c", script]);
    job.wait_bytes(1);
    let longest = answers_while(&sandbox, "slow", || job.is_running());
    assert_eq!(job.finish(DEADLINE).success().stdout.len(), 8000);
    println!(
        "{transport}: 8 kB took {:?}; the longest answer meanwhile {longest:?}",
        began.elapsed()
    );
    assert_eq!(proxy.accepted(), before, "the line was taken for dead");
    proxy.cut();
    let began = Instant::now();
    wait_link(&sandbox, &["down", "backoff", "connecting"]);
    wait_link(&sandbox, &["up"]);
    let made = proxy.accepted() - before;
    println!(
        "{transport}: back after {:?} with {made} connections",
        began.elapsed()
    );
    assert!(made <= 3, "{made} connections");
}

#[test]
fn a_network_that_swallows_one_family_is_passed_by_with_the_other() {
    for_both(swallowed_family);
}

/// A name with an IPv6 address from which nothing comes back, and an IPv4 address that works.
fn swallowed_family(transport: &str) {
    let sandbox = Sandbox::new();
    let net = NetHost::new();
    let nowhere = net.swallowing();
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .on(&net)
        .start();
    let (name, works) = ("both-families.test", sshd.address().ip().to_string());
    let hosts = sandbox.path().join("hosts");
    let swallowed = format!("{nowhere} {name}\n{works} {name}\n127.0.0.1 localhost\n");
    // Written in place, since it is that file which is seen as the system's.
    let only_one = swallowed
        .lines()
        .skip(1)
        .fold(String::new(), |all, line| all + line + "\n");
    fs::write(&hosts, if transport == "ssh" { &only_one } else { &swallowed }).unwrap();
    client.know(&sshd.known_line().replace(&works, name));
    client.add_config(&format!("Host far\n  HostName {name}\n"));
    // Names are looked up by the daemon, and by the ssh that it runs.
    let view = Namespace::new(&sandbox, "mount --bind \"$1/hosts\" /etc/hosts");
    drop(view.outlast(&sandbox, &["daemon", "start"]).success());
    let began = Instant::now();
    add_by(&sandbox, transport);
    println!("{transport}: connected after {:?}", began.elapsed());
    drop(sandbox.outlast(&["run", "--host", "far", "--", "true"]).success());
    // OpenSSH tries one address after the other, each for as long as an attempt may take: seconds for a host of which
    // nothing is known, a moment for one that was reached before.
    fs::write(&hosts, swallowed).unwrap();
    let found = view
        .run(&sandbox, DEADLINE, "getent", &["ahosts", name])
        .success()
        .out();
    assert!(
        found.starts_with(&nowhere.to_string()),
        "the other family goes first: {found}"
    );
    let began = Instant::now();
    again(&sandbox, &sshd);
    println!("{transport}: back after {:?}", began.elapsed());
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "one family kept the other waiting"
    );
    drop(sandbox.outlast(&["host", "exec", "far", "--", "true"]).success());
}
