//! An `ssh` that sees nothing of the person who runs the tests: a program of that name which is the real one with a
//! configuration, a key and known hosts of its own.
//!
//! OpenSSH takes `~` from the password database, whatever `$HOME` says, so only `-F` seals it; that is what the program
//! adds. It lies in a directory that goes first in `PATH`.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{DEADLINE, run};

/// A user's side of ssh, in a directory.
#[derive(Debug, Clone)]
pub struct SshClient {
    dir: PathBuf,
    program: PathBuf,
}

impl SshClient {
    /// A client that keeps its files in `dir` and its program in `bin`, which are made. It has an ed25519 key without a
    /// passphrase and knows no host.
    ///
    /// # Panics
    /// When they cannot be made, or OpenSSH's client is not installed.
    #[must_use]
    pub fn new(dir: &Path, bin: &Path) -> Self {
        fs::create_dir_all(dir).expect("the client's directory can be made");
        fs::create_dir_all(bin).expect("the program's directory can be made");
        let client = Self {
            dir: dir.to_owned(),
            program: bin.join("ssh"),
        };
        if !client.program.exists() {
            keygen(&client.key(), "ed25519", "");
            fs::write(client.known_hosts(), "").expect("the client's directory can be written");
            let config = format!(
                "Host *\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  IdentityFile {}\n",
                client.known_hosts().display(),
                client.key().display()
            );
            fs::write(client.config(), config).expect("the client's directory can be written");
            let script = format!(
                "#!/bin/sh\nexec {} -F '{}' \"$@\"\n",
                real_ssh().display(),
                client.config().display()
            );
            write_program(&client.program, &script);
        }
        client
    }

    /// The program: the real `ssh`, sealed.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// The hosts it knows.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    /// Its private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.join("id_ed25519")
    }

    /// Its public key, one line.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn public_key(&self) -> String {
        fs::read_to_string(self.dir.join("id_ed25519.pub")).expect("the public key is there")
    }

    /// Adds to the configuration; it counts before what is there.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn add_config(&self, text: &str) {
        let before = fs::read_to_string(self.config()).expect("the configuration is there");
        fs::write(self.config(), format!("{text}\n{before}")).expect("the client's directory can be written");
    }

    /// Adds lines to the known hosts.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn know(&self, lines: &str) {
        let mut text = fs::read_to_string(self.known_hosts()).unwrap_or_default();
        text.push_str(lines);
        text.push('\n');
        fs::write(self.known_hosts(), text).expect("the client's directory can be written");
    }
}

/// Makes a key pair: `path` and `path.pub`.
///
/// # Panics
/// When `ssh-keygen` is missing or refuses.
pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", passphrase, "-C", "test"]);
    if kind == "rsa" {
        // Half the time of the default, and strong enough to be taken.
        command.args(["-b", "2048"]);
    }
    command.arg("-f").arg(path);
    drop(run(command, DEADLINE).success());
}

/// Writes a program that a test puts in somebody's way.
///
/// # Panics
/// When it cannot be written.
pub fn write_program(path: &Path, text: &str) {
    fs::write(path, text).expect("the program can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the program can be made one");
}

/// The system's own `ssh`, wherever a wrapper of that name may be in front of it.
fn real_ssh() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    env::split_paths(&path)
        .map(|dir| dir.join("ssh"))
        .find(|ssh| ssh.is_file())
        .expect("ssh is not there: install openssh-client")
}
