//! A sandbox with a host called `far`, reached in one of several ways.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    thread,
};

use outlast_testkit::{
    DEADLINE, Gone, Namespace, NetHost, Process, Proxy, Run, Sandbox, Sshd, run, write_program,
};

/// A sandbox and its host `far`, connected.
pub fn far() -> (Sandbox, Sshd) {
    let sandbox = Sandbox::new();
    let sshd = sandbox.sshd("far");
    add(&sandbox);
    (sandbox, sshd)
}

/// As [`far`], through a proxy.
pub fn far_by_proxy() -> (Sandbox, Sshd, Proxy) {
    let sandbox = Sandbox::new();
    let (sshd, proxy) = behind_proxy(&sandbox);
    add(&sandbox);
    (sandbox, sshd, proxy)
}

/// An sshd that is reached as `far` through a proxy. It is not added.
pub fn behind_proxy(sandbox: &Sandbox) -> (Sshd, Proxy) {
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .start();
    let proxy = Proxy::new(sshd.address());
    client.know(&known_at(&sshd, proxy.address().port()));
    client.add_config(&alias("far", proxy.address().ip(), proxy.address().port()));
    (sshd, proxy)
}

/// As [`far`], with a network of its own; what carries the connection is `ssh2` or `ssh`.
pub fn far_by_network(transport: &str) -> (Sandbox, Sshd, NetHost) {
    let sandbox = Sandbox::new();
    let net = NetHost::new();
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .on(&net)
        .start();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    add_by(&sandbox, transport);
    (sandbox, sshd, net)
}

/// A `Host` block.
pub fn alias(name: &str, address: IpAddr, port: u16) -> String {
    format!("Host {name}\n  HostName {address}\n  Port {port}\n")
}

/// The line of `known_hosts` for a key of an sshd that is reached at another port.
pub fn known_at(sshd: &Sshd, port: u16) -> String {
    let line = sshd.known_line();
    let (_, key) = line.split_once(' ').unwrap();
    format!("[{}]:{port} {key}", Ipv4Addr::LOCALHOST)
}

/// Adds `far`.
pub fn add(sandbox: &Sandbox) {
    let added = sandbox.outlast(&["host", "add", "far", "far"]).success();
    println!("{}", added.out());
}

/// Adds `far`, carried by `ssh2` or `ssh`.
pub fn add_by(sandbox: &Sandbox, transport: &str) {
    let add = ["host", "add", "far", "far", "--transport", transport];
    drop(sandbox.outlast(&add).success());
}

/// Runs a test for both carriers of ssh at once: it waits for most of its time.
pub fn for_both(test: fn(&str)) {
    thread::scope(|scope| {
        for transport in ["ssh2", "ssh"] {
            scope.spawn(move || test(transport));
        }
    });
}

/// What `host list` knows of a host. Unlike `host show` it changes nothing.
pub fn seen(sandbox: &Sandbox, name: &str) -> serde_json::Value {
    let listed = sandbox.outlast(&["host", "list", "--json"]).success().json();
    let hosts = listed.as_array().unwrap();
    hosts.iter().find(|host| host["name"] == name).unwrap().clone()
}

/// Runs `outlast` with something on its standard input.
pub fn outlast_with(sandbox: &Sandbox, input: &[u8], args: &[&str]) -> Run {
    let mut command = sandbox.command("outlast");
    command.args(args);
    let mut process = Process::start_with_input(command);
    process.write(input);
    process.close_input();
    process.finish(DEADLINE)
}

/// Runs `outlast` with more variables in its environment.
pub fn outlast_in(sandbox: &Sandbox, env: &[(&str, &str)], args: &[&str]) -> Run {
    let mut command = sandbox.command("outlast");
    command.args(args).envs(env.iter().copied());
    run(command, DEADLINE)
}

/// Names of what lies in a directory.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Where the shells of an sshd run that forces its sessions through this: on this machine, until [`Entrance::lead`] says
/// otherwise.
pub struct Entrance(PathBuf);

impl Entrance {
    /// A new one in a sandbox.
    pub fn new(sandbox: &Sandbox) -> Self {
        let entrance = Self(sandbox.path().join("enter"));
        write_program(&entrance.0, "#!/bin/sh\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n");
        entrance
    }

    /// The line of `sshd_config`.
    pub fn option(&self) -> String {
        format!("ForceCommand {}", self.0.display())
    }

    /// From now on they run in a namespace.
    pub fn lead(&self, sandbox: &Sandbox, to: &Namespace) {
        let shell = to.command(sandbox, "sh");
        let words: Vec<String> = shell
            .get_args()
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        let script = format!(
            "#!/bin/sh\nexec nsenter {} -c \"$SSH_ORIGINAL_COMMAND\"\n",
            words.join(" ")
        );
        write_program(&self.0, &script);
    }
}

/// An sshd behind an entrance, reached as `far`. It is not added.
pub fn behind(entrance: &Entrance, sandbox: &Sandbox) -> Sshd {
    let client = sandbox.ssh();
    let sshd = Sshd::options(&sandbox.path().join("far"))
        .authorize(&client)
        .option(&entrance.option())
        .start();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    sshd
}

/// Everything that runs at the far end, sshd's own processes aside.
pub fn processes_there(sandbox: &Sandbox, sshd: &Sshd) -> Vec<Gone> {
    let there = format!("{}/", sshd.dir().display());
    let is_there = |pid: &u32| {
        let file = |name| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let told = [file("environ"), file("cmdline")].concat();
        let ours = told.windows(there.len()).any(|window| window == there.as_bytes());
        ours && !file("comm").starts_with(b"sshd")
    };
    let all = sandbox.processes();
    all.iter()
        .filter(|pid| is_there(pid))
        .filter_map(|pid| Gone::watch(*pid))
        .collect()
}
