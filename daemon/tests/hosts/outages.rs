//! The way to a host breaks in the middle of a job and an attached session: nothing is lost, nothing is told wrong, and all
//! comes back by itself.

use std::{fs, time::Duration};

use outlast_testkit::{DEADLINE, Gone, Sandbox, wait_until};
use rustix::process::Signal;

use crate::{
    bed::{add_by, far, far_by_network, far_by_proxy, for_both, seen},
    watch::Watch,
};

/// How long a broken link may go unnoticed where nobody says that it is broken.
const NOTICED_WITHIN: Duration = Duration::from_secs(17);

/// How long where somebody does.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_network_that_lets_nothing_through() {
    for_both(silence);
}

fn silence(transport: &str) {
    let (sandbox, sshd, net) = far_by_network(transport);
    let watch = Watch::begin(&sandbox, &sshd);
    net.cut();
    println!(
        "a silent network is noticed after {:?}",
        watch.wait_away(NOTICED_WITHIN)
    );
    watch.is_told_at_the_terminal();
    // Some attempts fail meanwhile.
    wait_until(DEADLINE, "an attempt that fails", || {
        let host = seen(&sandbox, "far");
        (host["link"] == "backoff" && host["reason"].is_string()).then_some(())
    });
    watch.states_are_right();
    net.heal();
    watch.wait_back();
    watch.end();
}

#[test]
fn a_machine_that_is_unplugged() {
    let (sandbox, sshd, net) = far_by_network("ssh2");
    let watch = Watch::begin(&sandbox, &sshd);
    net.unplug();
    println!(
        "an unplugged machine is noticed after {:?}",
        watch.wait_away(NOTICED_WITHIN)
    );
    watch.is_told_at_the_terminal();
    net.heal();
    watch.wait_back();
    watch.end();
}

#[test]
fn connections_that_are_reset() {
    let (sandbox, sshd, proxy) = far_by_proxy();
    let watch = Watch::begin(&sandbox, &sshd);
    for _ in 0..3 {
        proxy.cut();
        watch.wait_back();
    }
    println!("{} connections", proxy.accepted());
    watch.end();
}

#[test]
fn a_network_that_refuses_for_a_while() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    let watch = Watch::begin(&sandbox, &sshd);
    proxy.refuse();
    proxy.cut();
    println!("a reset is noticed after {:?}", watch.wait_away(HEARD_WITHIN));
    watch.is_told_at_the_terminal();
    wait_until(DEADLINE, "an attempt that is refused", || {
        (seen(&sandbox, "far")["reason"] == "refused").then_some(())
    });
    proxy.heal();
    watch.wait_back();
    watch.end();
}

#[test]
fn an_sshd_child_that_is_killed() {
    let (sandbox, sshd) = far();
    let watch = Watch::begin(&sandbox, &sshd);
    assert!(sshd.signal_connections(Signal::KILL) > 0);
    watch.wait_back();
    watch.end();
}

#[test]
fn an_sshd_child_that_is_stopped() {
    for_both(stopped);
}

fn stopped(transport: &str) {
    let sandbox = Sandbox::new();
    let sshd = sandbox.sshd("far");
    add_by(&sandbox, transport);
    let watch = Watch::begin(&sandbox, &sshd);
    assert!(sshd.signal_connections(Signal::STOP) > 0);
    println!(
        "a stopped sshd is noticed after {:?}",
        watch.wait_away(NOTICED_WITHIN)
    );
    // Others are served, so it comes back by itself.
    watch.wait_back();
    watch.end();
    sshd.signal_connections(Signal::CONT);
}

#[test]
fn an_sshd_that_is_restarted() {
    let (sandbox, mut sshd) = far();
    let watch = Watch::begin(&sandbox, &sshd);
    sshd.stop();
    sshd.signal_connections(Signal::KILL);
    println!(
        "a killed sshd is noticed after {:?}",
        watch.wait_away(HEARD_WITHIN)
    );
    watch.is_told_at_the_terminal();
    sshd.start();
    watch.wait_back();
    watch.end();
}

#[test]
fn a_helper_that_is_killed() {
    let (sandbox, sshd) = far();
    let watch = Watch::begin(&sandbox, &sshd);
    let helpers = helpers(&sandbox);
    assert!(!helpers.is_empty());
    for helper in &helpers {
        helper.signal(Signal::KILL);
    }
    watch.wait_back();
    watch.end();
}

#[test]
fn a_daemon_that_is_killed() {
    let (sandbox, sshd) = far();
    let watch = Watch::begin(&sandbox, &sshd);
    sandbox.kill_daemon().unwrap();
    sandbox.start_daemon();
    watch.wait_back();
    watch.end();
}

/// What serves a daemon at the far end.
fn helpers(sandbox: &Sandbox) -> Vec<Gone> {
    let serves = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"serve")
    };
    sandbox
        .processes()
        .iter()
        .filter(|pid| serves(pid))
        .filter_map(|pid| Gone::watch(*pid))
        .collect()
}
