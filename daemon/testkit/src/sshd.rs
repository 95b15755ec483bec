//! A real sshd for tests, as the user who runs them: its own directory, host keys, port and environment.
//!
//! Sessions on it have a home and XDG directories of their own (by `SetEnv`, which comes after what sshd sets itself),
//! so the far end is as sealed as the near one. Needs no privileges but for an address in a network namespace.

use std::{
    collections::HashMap,
    env,
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::process::Signal;

use crate::{Accounts, DEADLINE, Gone, NetHost, Process, SshClient, ssh::keygen, wait_until};

/// How often another port is tried when somebody took the chosen one first.
const PORTS_TRIED: u32 = 20;

/// What an sshd is to be like.
#[derive(Debug, Clone)]
pub struct SshdOptions {
    dir: PathBuf,
    address: IpAddr,
    port: Option<u16>,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    keys: Vec<&'static str>,
    authorized: String,
    netns: Option<String>,
    /// What starts it in a view of its own.
    enter: Vec<String>,
    /// Whom its files belong to, where that is another user.
    owner: Option<u32>,
}

impl SshdOptions {
    /// Adds a line of `sshd_config`; it counts before what is there by default.
    #[must_use]
    pub fn option(mut self, line: &str) -> Self {
        self.options.push(line.to_owned());
        self
    }

    /// Sets a variable for its sessions.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Kinds of host keys (`ed25519`, `ecdsa`, `rsa`) in place of ed25519 alone.
    #[must_use]
    pub fn host_keys(mut self, kinds: &[&'static str]) -> Self {
        self.keys = kinds.to_vec();
        self
    }

    /// Lets the key of a client in.
    #[must_use]
    pub fn authorize(self, client: &SshClient) -> Self {
        self.authorize_line(client.public_key().trim())
    }

    /// Adds a line of `authorized_keys`, with options if need be.
    #[must_use]
    pub fn authorize_line(mut self, line: &str) -> Self {
        self.authorized.push_str(line);
        self.authorized.push('\n');
        self
    }

    /// Listens on this address, which must be one of this machine's.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Listens on this port in place of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Runs in the network of a host, on its address and port 22.
    #[must_use]
    pub fn on(mut self, host: &NetHost) -> Self {
        self.address = IpAddr::V4(host.address());
        self.port = Some(22);
        self.netns = Some(host.name().to_owned());
        self
    }

    /// Runs where these accounts exist. Everybody who is let in is let into each of them, and finds the environment of
    /// that account and nothing of what is set here by default.
    #[must_use]
    pub fn among(mut self, accounts: &Accounts) -> Self {
        self.enter.clone_from(&accounts.enter);
        self.environment.clear();
        self
    }

    /// As [`SshdOptions::among`], without privileges: as one of the accounts, which is the only one it serves.
    #[must_use]
    pub fn run_by(self, accounts: &Accounts, name: &str) -> Self {
        let uid = accounts.uid(name);
        let mut options = self.among(accounts);
        let user = [
            "setpriv".to_owned(),
            format!("--reuid={uid}"),
            format!("--regid={uid}"),
        ];
        options.enter.extend(user);
        options.enter.push("--clear-groups".to_owned());
        options.owner = Some(uid);
        options
    }

    /// Makes keys and directories and starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(self) -> Sshd {
        for sub in ["home", "state", "cache", "config", "tmp", "run"] {
            fs::create_dir_all(self.dir.join(sub)).expect("the sshd's directory can be made");
        }
        for kind in &self.keys {
            let key = host_key(&self.dir, kind);
            if !key.exists() {
                keygen(&key, kind, "");
            }
        }
        if let Some(owner) = self.owner {
            for kind in &self.keys {
                chown(host_key(&self.dir, kind), Some(owner), Some(owner)).expect("root gives keys away");
            }
        }
        fs::write(self.dir.join("authorized_keys"), &self.authorized)
            .expect("the sshd's directory can be written");
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root without this directory of the system's.
            fs::create_dir_all("/run/sshd").expect("root can make /run/sshd");
        }
        let mut sshd = Sshd {
            address: SocketAddr::new(self.address, self.port.unwrap_or(0)),
            options: self,
            listener: None,
            connections: Mutex::default(),
        };
        sshd.start();
        sshd
    }

    fn config(&self, port: u16) -> String {
        let dir = self.dir.display();
        let mut text = String::new();
        for line in &self.options {
            let _ = writeln!(text, "{line}");
        }
        for kind in &self.keys {
            let _ = writeln!(text, "HostKey {}", host_key(&self.dir, kind).display());
        }
        // One line, because only the first counts.
        if !self.environment.is_empty() {
            text.push_str("SetEnv");
        }
        for (name, value) in &self.environment {
            let _ = write!(text, " \"{name}={value}\"");
        }
        let _ = write!(
            text,
            "
ListenAddress {}
Port {port}
AuthorizedKeysFile {dir}/authorized_keys
PidFile none
UsePAM no
StrictModes no
UseDNS no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
MaxSessions 1000
",
            self.address
        );
        // Of these the last line counts.
        if !self.options.iter().any(|line| line.starts_with("MaxStartups")) {
            text.push_str("MaxStartups 1000:30:2000\n");
        }
        text
    }
}

/// A running sshd, or one that was stopped. It is killed with all its connections when dropped.
#[derive(Debug)]
pub struct Sshd {
    options: SshdOptions,
    address: SocketAddr,
    listener: Option<Process>,
    /// Connections of listeners that are gone.
    connections: Mutex<HashMap<u32, Gone>>,
}

impl Sshd {
    /// An sshd that keeps its files in a directory of its own. Nobody is let in yet.
    #[must_use]
    pub fn options(dir: &Path) -> SshdOptions {
        let at = |sub: &str| dir.join(sub).display().to_string();
        let environment = [
            ("HOME", at("home")),
            ("XDG_STATE_HOME", at("state")),
            ("XDG_CACHE_HOME", at("cache")),
            ("XDG_CONFIG_HOME", at("config")),
            ("XDG_RUNTIME_DIR", at("run")),
            ("TMPDIR", at("tmp")),
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ),
        ];
        SshdOptions {
            dir: dir.to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: None,
            options: Vec::new(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            keys: vec!["ed25519"],
            authorized: String::new(),
            netns: None,
            enter: Vec::new(),
            owner: None,
        }
    }

    /// An sshd that lets this client in and that the client knows, reached as `alias`.
    #[must_use]
    pub fn known(dir: &Path, client: &SshClient, alias: &str) -> Self {
        let sshd = Self::options(dir).authorize(client).start();
        client.know(&sshd.known_line());
        client.add_config(&sshd.alias(alias));
        sshd
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Home directory of its sessions.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.options.dir.join("home")
    }

    /// `$XDG_CACHE_HOME` of its sessions.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.options.dir.join("cache")
    }

    /// `$XDG_STATE_HOME` of its sessions.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.options.dir.join("state")
    }

    /// A `Host` block for a client's configuration that reaches it as `alias`.
    #[must_use]
    pub fn alias(&self, alias: &str) -> String {
        format!(
            "Host {alias}\n  HostName {}\n  Port {}\n",
            self.address.ip(),
            self.address.port()
        )
    }

    /// A line of `known_hosts` for each of its host keys.
    ///
    /// # Panics
    /// When a key is not there.
    #[must_use]
    pub fn known_line(&self) -> String {
        let host = format!("[{}]:{}", self.address.ip(), self.address.port());
        let host = if self.address.port() == 22 {
            self.address.ip().to_string()
        } else {
            host
        };
        let lines: Vec<String> = self
            .options
            .keys
            .iter()
            .map(|kind| {
                let public = host_key(&self.options.dir, kind).with_extension("pub");
                let public = fs::read_to_string(public).expect("the host key is there");
                format!("{host} {}", public.trim())
            })
            .collect();
        lines.join("\n")
    }

    /// `SHA256:…` of its host key of a kind.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn fingerprint(&self, kind: &str) -> String {
        let mut command = Command::new("ssh-keygen");
        command.arg("-lf").arg(host_key(&self.options.dir, kind));
        let told = crate::run(command, DEADLINE).success().out();
        told.split(' ')
            .nth(1)
            .expect("ssh-keygen tells the fingerprint")
            .to_owned()
    }

    /// Makes new host keys, as a reinstalled machine has. They count from the next start.
    pub fn change_host_keys(&mut self) {
        for kind in self.options.keys.clone() {
            let key = host_key(&self.options.dir, kind);
            let _ = fs::remove_file(&key);
            let _ = fs::remove_file(key.with_extension("pub"));
            keygen(&key, kind, "");
        }
    }

    /// Adds a line of `sshd_config` that counts before what was there, from the next start.
    pub fn add_option(&mut self, line: &str) {
        self.options.options.insert(0, line.to_owned());
    }

    /// Sets a variable for sessions, from the next start.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.options = self.options.clone().env(name, value);
    }

    /// Writes who is let in anew. Counts at once.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn authorize_only(&mut self, lines: &str) {
        lines.clone_into(&mut self.options.authorized);
        fs::write(self.options.dir.join("authorized_keys"), lines)
            .expect("the sshd's directory can be written");
    }

    /// Starts to listen, on the same port as before.
    ///
    /// # Panics
    /// When it does not, or did already.
    pub fn start(&mut self) {
        assert!(self.listener.is_none(), "it listens already");
        for _ in 0..PORTS_TRIED {
            let port = match self.address.port() {
                0 => free_port(self.options.address),
                port => port,
            };
            if let Some(listener) = self.try_start(port) {
                self.address.set_port(port);
                self.listener = Some(listener);
                return;
            }
        }
        panic!("no port is free for an sshd on {}", self.options.address);
    }

    fn try_start(&self, port: u16) -> Option<Process> {
        let config = self.options.dir.join("sshd_config");
        fs::write(&config, self.options.config(port)).expect("the sshd's directory can be written");
        let sshd = sshd_program();
        let mut words = self.options.enter.clone();
        if let Some(name) = &self.options.netns {
            words.extend(["ip", "netns", "exec", name].map(str::to_owned));
        }
        words.push(sshd.to_str().expect("its path is ASCII").to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.args(["-D", "-e", "-f"]).arg(&config);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let listener = Process::start(command);
        wait_until(DEADLINE, "the sshd", || {
            let said = String::from_utf8_lossy(&listener.stderr()).into_owned();
            if said.contains("Server listening on") {
                return Some(true);
            }
            let ended = !listener.is_running();
            assert!(
                !ended || said.is_empty() || said.contains("Address already in use"),
                "sshd did not start: {said}"
            );
            (ended && !said.is_empty()).then_some(false)
        })
        .then_some(listener)
    }

    /// Stops listening; connections go on.
    pub fn stop(&mut self) {
        drop(self.connections());
        if let Some(listener) = self.listener.take() {
            listener.signal(Signal::KILL);
            let _ = listener.finish(DEADLINE);
        }
    }

    /// Kills the listener, lets the connections go on, and listens again.
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// What it said on standard error since it was started last.
    #[must_use]
    pub fn log(&self) -> String {
        let listener = self.listener.as_ref();
        listener.map_or_else(String::new, |listener| {
            String::from_utf8_lossy(&listener.stderr()).into_owned()
        })
    }

    /// Process ids of the sshd processes behind its living connections: one for each, or two where it drops privileges.
    #[must_use]
    pub fn connections(&self) -> Vec<u32> {
        let mut known = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = &self.listener {
            for pid in descendants(listener.pid()) {
                if let Some(hold) = Gone::watch(pid) {
                    known.entry(pid).or_insert(hold);
                }
            }
        }
        known.retain(|_, hold| !hold.within(Duration::ZERO));
        known.keys().copied().collect()
    }

    /// Sends a signal to the sshd processes behind its connections: KILL cuts them, STOP makes them hang, CONT lets them
    /// go on. Says how many there were.
    pub fn signal_connections(&self, signal: Signal) -> usize {
        drop(self.connections());
        let known = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for hold in known.values() {
            hold.signal(signal);
        }
        known.len()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Stopped first, so that nothing is accepted between the look and the end.
        if let Some(listener) = &self.listener {
            listener.signal(Signal::STOP);
        }
        self.signal_connections(Signal::KILL);
    }
}

fn host_key(dir: &Path, kind: &str) -> PathBuf {
    dir.join(format!("host_{kind}"))
}

fn sshd_program() -> PathBuf {
    // It insists on being called by its whole path.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join("sshd"))
        .find(|sshd| sshd.is_file())
        .expect("sshd is not there: install openssh-server")
}

fn free_port(address: IpAddr) -> u16 {
    let probe = TcpListener::bind((address, 0)).expect("a port can be had");
    probe.local_addr().expect("a listener has an address").port()
}

/// Every sshd that comes from a process: its children's children included, other programs not.
fn descendants(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut parents = vec![of];
    let all = sshds();
    while let Some(parent) = parents.pop() {
        for (pid, _) in all.iter().filter(|(_, its_parent)| *its_parent == parent) {
            found.push(*pid);
            parents.push(*pid);
        }
    }
    found
}

/// Every sshd on the machine with its parent. (A login shell that was not yet replaced by its program counts as one for
/// an instant, because it is one.)
fn sshds() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc").expect("/proc can be read").flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (front, rest) = stat.rsplit_once(") ")?;
            let (_, name) = front.split_once(" (")?;
            let parent = rest.split(' ').nth(1)?.parse().ok()?;
            is_sshd(name).then_some((pid, parent))
        })
        .collect()
}

/// Since OpenSSH 9.8 what serves a connection is a program of its own: `sshd-session`, and `sshd-auth` before that.
fn is_sshd(name: &str) -> bool {
    name == "sshd" || name.starts_with("sshd-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_sshd_are_known_by_name() {
        for name in ["sshd", "sshd-session", "sshd-auth"] {
            assert!(is_sshd(name), "{name}");
        }
        for name in ["ssh", "sshdog", "ssh-agent"] {
            assert!(!is_sshd(name), "{name}");
        }
    }
}
