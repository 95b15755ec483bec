//! Fifty hosts at once: they connect, are listed, lose their network together and come back without a storm.

use std::{
    fs,
    time::{Duration, Instant},
};

use outlast_client::v1::{
    AddHostRequest, CommandAddress, Host, Link, ListHostsRequest, SshAddress, add_host_request::Address,
    host_service_client::HostServiceClient,
};
use outlast_testkit::{Client, Proxy, Sandbox, wait_until};

use crate::{
    PATIENCE,
    bed::{alias, known_at},
};

/// Hosts by ssh, all on one sshd behind one proxy, and hosts by a command.
const BY_SSH: u64 = 40;
const BY_COMMAND: u64 = 10;

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

#[test]
fn fifty_hosts_survive_a_cut_together() {
    let sandbox = Sandbox::new();
    let pid = sandbox.start_daemon();
    let ssh = sandbox.ssh();
    let sshd = outlast_testkit::Sshd::options(&sandbox.path().join("far"))
        .authorize(&ssh)
        .start();
    let mut proxy = Proxy::new(sshd.address());
    ssh.know(&known_at(&sshd, proxy.address().port()));
    ssh.add_config(&alias("h*", proxy.address().ip(), proxy.address().port()));
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
            let home = sandbox.path().join(format!("far/h{number}"));
            fs::create_dir(&home).unwrap();
            let set = |name: &str| format!("{name}={}", home.display());
            Address::Command(CommandAddress {
                command: vec![
                    "env".to_owned(),
                    set("HOME"),
                    set("XDG_STATE_HOME"),
                    format!("XDG_CACHE_HOME={}", sshd.cache().display()),
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
    let connections = proxy.accepted();
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
    proxy.refuse();
    proxy.cut();
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
    proxy.heal();
    let began = Instant::now();
    let mut most = 0;
    wait_until(PATIENCE, "all to be back", || {
        let (open, up) = (proxy.open(), up(&client));
        most = most.max((open + usize::try_from(BY_COMMAND).unwrap()).saturating_sub(up));
        (up == all).then_some(())
    });
    let again = proxy.accepted() - connections;
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
