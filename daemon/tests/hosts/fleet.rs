//! Fifty hosts at once: they connect, are listed, lose their network together and come back without a storm.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use outlast_client::v1::{
    AddHostRequest, CommandAddress, Host, Link, ListHostsRequest, SshAddress, add_host_request::Address,
    host_service_client::HostServiceClient,
};
use outlast_testkit::{Client, Proxy, Sandbox, Sshd, wait_until};

use crate::{
    PATIENCE,
    bed::{alias, known_at},
};

/// Hosts by ssh, each an sshd on a port of its own behind a proxy of its own, and hosts by a command, which are cut off
/// by nothing.
const BY_SSH: u64 = 50;
const BY_COMMAND: u64 = 10;

/// Sshds that are started at once.
const STARTED_AT_ONCE: usize = 5;

/// What one host may cost the daemon, in kB.
const HOST_MAX: u64 = 5 * 1024;

fn status(pid: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn hosts(client: &Client) -> Vec<Host> {
    let listed = client.call(async |channel| {
        HostServiceClient::new(channel)
            .list_hosts(ListHostsRequest {})
            .await
    });
    listed
        .hosts
        .into_iter()
        .filter(|host| host.kind != "local")
        .collect()
}

fn up(client: &Client) -> usize {
    hosts(client)
        .iter()
        .filter(|host| host.link() == Link::Up)
        .count()
}

/// A machine of the fleet, and the way to it.
struct Machine {
    proxy: Proxy,
    sshd: Sshd,
}

/// Where all machines keep the helper: that each is sent its own is no part of this.
fn cache(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join("cache-of-all")
}

/// Machines with keys and ports of their own, which are reached as `h0`, `h1` and so on.
fn machines(sandbox: &Sandbox) -> Vec<Machine> {
    let ssh = sandbox.ssh();
    let cache = cache(sandbox).display().to_string();
    let one = |number: u64| {
        let sshd = Sshd::options(&sandbox.path().join(format!("m{number}")))
            .authorize(&ssh)
            .env("XDG_CACHE_HOME", &cache)
            .start();
        let proxy = Proxy::new(sshd.address());
        Machine { proxy, sshd }
    };
    let started: Vec<(u64, Machine)> = thread::scope(|scope| {
        let one = &one;
        let some = |first| {
            move || {
                (first as u64..BY_SSH)
                    .step_by(STARTED_AT_ONCE)
                    .map(|n| (n, one(n)))
                    .collect()
            }
        };
        let threads: Vec<_> = (0..STARTED_AT_ONCE)
            .map(|first| scope.spawn::<_, Vec<_>>(some(first)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let (mut known, mut config) = (String::new(), String::new());
    for (number, machine) in &started {
        let at = machine.proxy.address();
        known.push_str(&known_at(&machine.sshd, at.port()));
        known.push('\n');
        config.push_str(&alias(&format!("h{number}"), at.ip(), at.port()));
    }
    ssh.know(&known);
    ssh.add_config(&config);
    started.into_iter().map(|(_, machine)| machine).collect()
}

fn accepted(machines: &[Machine]) -> u64 {
    machines.iter().map(|machine| machine.proxy.accepted()).sum()
}

#[test]
fn fifty_hosts_survive_a_cut_together() {
    let sandbox = Sandbox::new();
    let pid = sandbox.start_daemon();
    let began = Instant::now();
    let mut machines = machines(&sandbox);
    println!("{} sshds are up after {:?}", machines.len(), began.elapsed());
    let client = Client::new(&sandbox, PATIENCE);
    assert_eq!(hosts(&client).len(), 0);
    let before = status(pid, "VmRSS");
    let began = Instant::now();
    for number in 0..BY_SSH + BY_COMMAND {
        let address = if number < BY_SSH {
            Address::Ssh(SshAddress {
                destination: format!("h{number}"),
                ..SshAddress::default()
            })
        } else {
            let home = sandbox.path().join(format!("box{number}"));
            fs::create_dir(&home).unwrap();
            let set = |name: &str| format!("{name}={}", home.display());
            Address::Command(CommandAddress {
                command: vec![
                    "env".to_owned(),
                    set("HOME"),
                    set("XDG_STATE_HOME"),
                    format!("XDG_CACHE_HOME={}", cache(&sandbox).display()),
                    "sh".to_owned(),
                ],
            })
        };
        client.call(async |channel| {
            let request = AddHostRequest {
                name: format!("h{number}"),
                address: Some(address.clone()),
                ..AddHostRequest::default()
            };
            HostServiceClient::new(channel).add_host(request).await
        });
    }
    let all = usize::try_from(BY_SSH + BY_COMMAND).unwrap();
    wait_until(PATIENCE, "all to be connected", || {
        (up(&client) == all).then_some(())
    });
    let connections = accepted(&machines);
    println!(
        "{all} hosts connected in {:?} with {connections} connections",
        began.elapsed()
    );
    assert!(connections <= BY_SSH + 5, "{connections} connections");
    let (after, threads) = (status(pid, "VmRSS"), status(pid, "Threads"));
    let each = after.saturating_sub(before) / (BY_SSH + BY_COMMAND);
    println!("{before} kB before, {after} kB after: {each} kB a host; {threads} threads");
    assert!(each <= HOST_MAX, "{each} kB a host");
    let began = Instant::now();
    assert_eq!(hosts(&client).len(), all);
    println!("a list of them takes {:?}", began.elapsed());

    let began = Instant::now();
    for machine in &mut machines {
        machine.proxy.refuse();
        machine.proxy.cut();
    }
    wait_until(PATIENCE, "the loss of all", || {
        (up(&client) == usize::try_from(BY_COMMAND).unwrap()).then_some(())
    });
    println!("all lost after {:?}", began.elapsed());
    // Long enough for each to fail more than once.
    wait_until(PATIENCE, "attempts that fail", || {
        let failed = hosts(&client)
            .iter()
            .filter(|host| host.reason.as_deref() == Some("refused"))
            .count();
        (failed == usize::try_from(BY_SSH).unwrap() && began.elapsed() > Duration::from_secs(2)).then_some(())
    });
    for machine in &mut machines {
        machine.proxy.heal();
    }
    let began = Instant::now();
    let mut most = 0;
    wait_until(PATIENCE, "all to be back", || {
        let open = machines.iter().map(|machine| machine.proxy.open()).sum::<usize>();
        let up = up(&client);
        most = most.max((open + usize::try_from(BY_COMMAND).unwrap()).saturating_sub(up));
        (up == all).then_some(())
    });
    let again = accepted(&machines) - connections;
    println!(
        "all back after {:?} with {again} connections, at most {most} of them being made at once",
        began.elapsed()
    );
    assert!(again <= BY_SSH + 8, "{again} connections for {BY_SSH} hosts");
    println!(
        "{} kB and {} threads now",
        status(pid, "VmRSS"),
        status(pid, "Threads")
    );
}
