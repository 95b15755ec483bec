//! What is measured on: a daemon, two hosts, and an `ssh` that keeps a connection to each as its peer.

#![allow(dead_code, reason = "not every benchmark uses all of it")]

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Process, Proxy, Sandbox, SshClient, Sshd, run, wait_until};

/// How far the far host is, one way.
const ONE_WAY: Duration = Duration::from_millis(20);

/// A sandbox whose daemon is connected to `near` and `far`.
pub(crate) struct Bed {
    pub(crate) near: Machine,
    pub(crate) far: Machine,
    /// Last, because what runs in it is ended with it.
    pub(crate) sandbox: Sandbox,
}

/// A host, with what the peer needs to reach it.
pub(crate) struct Machine {
    /// Its name, for outlast and for ssh.
    pub(crate) name: &'static str,
    pub(crate) sshd: Sshd,
    ssh: PathBuf,
    config: PathBuf,
    control: PathBuf,
    _master: Process,
    _proxy: Option<Proxy>,
}

impl Bed {
    /// Both hosts, connected.
    pub(crate) fn new() -> Self {
        let bed = Self::unconnected();
        for machine in [&bed.near, &bed.far] {
            drop(
                bed.sandbox
                    .outlast(&["host", "add", machine.name, machine.name])
                    .success(),
            );
        }
        bed
    }

    /// Both hosts, not yet added.
    pub(crate) fn unconnected() -> Self {
        let sandbox = Sandbox::new();
        let client = sandbox.ssh();
        let near = sandbox.sshd("near");
        let far = Sshd::options(&sandbox.path().join("far"))
            .authorize(&client)
            .start();
        let proxy = Proxy::new(far.address());
        proxy.delay(ONE_WAY);
        know(&client, &far, proxy.address());
        sandbox.start_daemon();
        Self {
            near: Machine::new("near", near, None, &sandbox, &client),
            far: Machine::new("far", far, Some(proxy), &sandbox, &client),
            sandbox,
        }
    }

    /// A command of ours.
    pub(crate) fn ours(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command("outlast");
        command.args(args);
        command
    }

    /// The peer's command on a host, over the connection that it keeps.
    pub(crate) fn theirs(&self, machine: &Machine, args: &[&str]) -> Command {
        let mut command = machine.command(&self.sandbox);
        command.arg("-S").arg(&machine.control);
        command.arg(machine.name).args(args);
        command
    }

    /// The peer's command on a host, over a connection of its own.
    pub(crate) fn theirs_anew(&self, machine: &Machine, options: &[&str], args: &[&str]) -> Command {
        let mut command = machine.command(&self.sandbox);
        command.args(["-S", "none"]).args(options);
        command.arg(machine.name).args(args);
        command
    }
}

impl Machine {
    fn new(
        name: &'static str,
        sshd: Sshd,
        proxy: Option<Proxy>,
        sandbox: &Sandbox,
        client: &SshClient,
    ) -> Self {
        let (ssh, config) = (real_ssh(), client.config());
        let control = sandbox.path().join(format!("control-{name}"));
        let mut master = sandbox.command(ssh.to_str().expect("the path of ssh is text"));
        master.arg("-F").arg(&config).args(["-M", "-N", "-S"]);
        master.arg(&control).arg(name);
        let master = Process::start(master);
        let machine = Self {
            name,
            sshd,
            ssh,
            config,
            control,
            _master: master,
            _proxy: proxy,
        };
        wait_until(DEADLINE, "the peer's connection", || {
            let mut command = machine.command(sandbox);
            command
                .arg("-S")
                .arg(&machine.control)
                .args(["-O", "check", name]);
            (run(command, DEADLINE).exit() == 0).then_some(())
        });
        machine
    }

    /// The words that begin a command of the peer's, over the connection that it keeps: for programs that start `ssh`.
    pub(crate) fn kept(&self) -> Vec<String> {
        self.words(&self.control.display().to_string())
    }

    /// The same over a connection of its own.
    pub(crate) fn anew(&self) -> Vec<String> {
        self.words("none")
    }

    fn words(&self, control: &str) -> Vec<String> {
        let (ssh, config) = (self.ssh.display().to_string(), self.config.display().to_string());
        vec![ssh, "-F".to_owned(), config, "-S".to_owned(), control.to_owned()]
    }

    /// The real program, not the sandbox's script around it: that would cost the peer a shell.
    fn command(&self, sandbox: &Sandbox) -> Command {
        let mut command = sandbox.command(self.ssh.to_str().expect("the path of ssh is text"));
        command.arg("-F").arg(&self.config);
        command
    }
}

/// Makes the far host known under its name at the proxy's address.
fn know(client: &SshClient, sshd: &Sshd, at: SocketAddr) {
    client.add_config(&format!(
        "Host far\n  HostName {}\n  Port {}\n  HostKeyAlias far\n",
        at.ip(),
        at.port()
    ));
    let line = sshd.known_line();
    let (_host, key) = line.split_once(' ').expect("a known host has a key");
    client.know(&format!("far {key}"));
}

fn real_ssh() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    env::split_paths(&path)
        .map(|dir| dir.join("ssh"))
        .find(|ssh| ssh.is_file())
        .expect("ssh is not there: install openssh-client")
}

/// A plain socket to something as far away as the far host, that sends back what it gets.
pub(crate) struct Floor {
    stream: TcpStream,
    _proxy: Proxy,
}

impl Floor {
    /// Connects.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let proxy = Proxy::new(listener.local_addr().expect("a listener has an address"));
        proxy.delay(ONE_WAY);
        let stream = TcpStream::connect(proxy.address()).expect("the proxy listens");
        stream.set_nodelay(true).expect("a socket can be set");
        thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            let _ = stream.set_nodelay(true);
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
        });
        Self {
            stream,
            _proxy: proxy,
        }
    }

    /// Milliseconds for a byte there and back.
    pub(crate) fn round_trip(&mut self) -> f64 {
        let start = Instant::now();
        self.stream.write_all(&[1]).expect("the echo listens");
        self.stream.read_exact(&mut [0]).expect("the echo answers");
        start.elapsed().as_secs_f64() * 1e3
    }
}

/// Milliseconds from the start of a command to the first byte it prints; it is waited for, and must end well.
pub(crate) fn first_byte(mut command: Command) -> f64 {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().expect("the command can be started");
    let mut out = child.stdout.take().expect("stdout is piped");
    out.read_exact(&mut [0]).expect("the command prints something");
    let took = start.elapsed().as_secs_f64() * 1e3;
    let mut rest = Vec::new();
    let _ = out.read_to_end(&mut rest);
    assert!(
        child.wait().expect("a child can be waited for").success(),
        "{command:?}"
    );
    took
}
