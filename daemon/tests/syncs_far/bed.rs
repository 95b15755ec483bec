//! A sandbox with a host called `far` behind a proxy, and a sync to it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use outlast_testkit::{DEADLINE, Gone, Proxy, Run, Sandbox, SshClient, Sshd, run, wait_until};
use rustix::process::Signal;
use serde_json::Value;

use crate::PATIENCE;

/// Name of the sync of most tests.
pub const NAME: &str = "mirror";

/// A sandbox, its host `far`, a source and a target. Neither the target nor a sync is there at first.
pub struct Bed {
    pub proxy: Proxy,
    pub sshd: Sshd,
    pub sandbox: Sandbox,
    pub source: PathBuf,
    pub target: PathBuf,
}

impl Bed {
    /// A new one with an empty source.
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        let client = sandbox.ssh();
        let sshd = Sshd::options(&sandbox.path().join("far"))
            .authorize(&client)
            .start();
        let proxy = Proxy::new(sshd.address());
        know(&client, &sshd, &proxy);
        drop(sandbox.outlast(&["host", "add", "far", "far"]).success());
        let source = sandbox.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).unwrap();
        let target = sshd.home().join("mirror");
        Self {
            proxy,
            sshd,
            sandbox,
            source,
            target,
        }
    }

    /// Adds the sync and waits for the first copy.
    pub fn add(&self, options: &[&str]) -> Run {
        let mut args = vec!["sync", "add", NAME, text(&self.source), "far:mirror"];
        args.extend(options);
        self.sandbox.outlast_within(PATIENCE, &args)
    }

    /// Takes the host away, and waits until that is seen.
    pub fn unplug(&mut self) {
        self.proxy.refuse();
        self.proxy.cut();
        self.wait_link(|link| link != "up");
    }

    /// Brings it back, and waits until that is seen.
    pub fn plug_in(&mut self) {
        self.proxy.heal();
        self.wait_link(|link| link == "up");
    }

    fn wait_link(&self, fits: impl Fn(&str) -> bool) {
        wait_until(DEADLINE, "the link to be so", || {
            let shown = self.sandbox.outlast(&["host", "show", "far", "--json"]).success();
            fits(shown.json()["link"].as_str()?).then_some(())
        });
    }

    /// What `sync show` knows. None when nobody answers, as after a kill.
    pub fn seen(&self) -> Option<Value> {
        let shown = self.sandbox.outlast(&["sync", "show", NAME, "--json"]);
        (shown.exit() == 0).then(|| shown.json())
    }

    /// Waits until `sync show` tells what fits.
    pub fn wait(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        wait_until(DEADLINE * 2, what, || {
            let seen = self.seen()?;
            if seen["state"] != last["state"] {
                println!("{} {} {}", seen["state"], seen["reason"], seen["message"]);
            }
            last = seen;
            fits(&last).then(|| last.clone())
        })
    }

    /// Waits until the sync is halted, and gives back why.
    pub fn wait_halted(&self) -> String {
        let seen = self.wait("a halt", |seen| seen["state"] == "halted");
        seen["reason"].as_str().unwrap().to_owned()
    }

    /// One attempt to have everything there.
    pub fn flush(&self) -> Run {
        self.sandbox
            .outlast_within(PATIENCE * 2, &["sync", "flush", NAME])
    }

    /// Has everything there but what problems tell: attempts it again while the host is away, goes on after a pause and
    /// where so much is to be deleted that it is to be confirmed. Gives back the sync as it is then.
    pub fn settle(&self) -> Value {
        wait_until(PATIENCE, "everything to be there", || {
            let flushed = self.flush();
            match flushed.exit() {
                0 | 1 => return self.seen(),
                4 => {
                    let seen = self.seen()?;
                    let reason = seen["reason"].as_str().unwrap_or("paused");
                    println!("halted or paused: {reason}, {}", seen["message"]);
                    let ours = ["paused", "mass_deletion", "source_emptied"];
                    assert!(
                        ours.contains(&reason),
                        "halted for no reason of the test's: {seen}"
                    );
                    drop(self.sandbox.outlast(&["sync", "resume", NAME, "--confirm"]));
                }
                code => println!("flush: {code}, {}", flushed.err()),
            }
            None
        })
    }

    /// Ends the helpers there that serve the daemon, as a crash does.
    pub fn kill_helpers(&self) {
        let serves = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"serve")
        };
        let all = self.sandbox.processes();
        all.into_iter()
            .filter(serves)
            .filter_map(Gone::watch)
            .for_each(|helper| helper.signal(Signal::KILL));
    }

    /// Runs git in the source.
    pub fn git(&self, args: &[&str]) -> Run {
        let mut command = self.sandbox.command("git");
        command.current_dir(&self.source).args(args);
        run(command, PATIENCE).success()
    }

    /// Makes the source a repository.
    pub fn init(&self) {
        drop(self.git(&["init", "-q", "-b", "main"]));
        drop(self.git(&["config", "user.name", "Somebody"]));
        drop(self.git(&["config", "user.email", "somebody@example.org"]));
    }
}

/// The problems of a sync, as kind and path.
pub fn problems(sync: &Value) -> Vec<(String, String)> {
    let problems = sync["problems"].as_array().unwrap();
    let word = |problem: &Value, key: &str| problem[key].as_str().unwrap().to_owned();
    let mut all: Vec<_> = problems
        .iter()
        .map(|problem| (word(problem, "kind"), word(problem, "path")))
        .collect();
    all.sort();
    all
}

/// A path of the sandbox's, which is text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Tells a client of an sshd that is reached through a proxy.
fn know(client: &SshClient, sshd: &Sshd, proxy: &Proxy) {
    let (ip, port) = (proxy.address().ip(), proxy.address().port());
    let line = sshd.known_line();
    let (_, key) = line.split_once(' ').unwrap();
    client.know(&format!("[{ip}]:{port} {key}"));
    client.add_config(&format!("Host far\n  HostName {ip}\n  Port {port}\n"));
}
