//! User accounts that exist for one sshd and what runs under it, with the login shells and home directories of people.
//! The machine's own password database stays as it is. Needs root.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process,
    process::Command,
};

use crate::{DEADLINE, Namespace, Sandbox, run};

/// Where numbers of made-up users begin, and how many there are: below 65536, which is all that some containers have.
const FIRST: u32 = 20_000;
const NUMBERS: u32 = 40_000;

/// The most accounts of one kind of test.
const MOST: u32 = 10;

/// Accounts in a view of the password database of their own.
#[derive(Debug)]
pub struct Accounts {
    namespace: Namespace,
    /// Starts a program that sees the accounts.
    pub(crate) enter: Vec<String>,
    dir: PathBuf,
    names: Vec<String>,
}

impl Accounts {
    /// What all their passwords are.
    pub const PASSWORD: &'static str = "open sesame";

    /// Accounts with these names and login shells.
    ///
    /// # Panics
    /// When this is not run by root.
    #[must_use]
    pub fn new(sandbox: &Sandbox, users: &[(&str, &str)]) -> Self {
        Self::with_pam(sandbox, users, None)
    }

    /// As [`Accounts::new`]; an sshd among them asks a stack of PAM modules of its own, with `UsePAM yes`.
    ///
    /// # Panics
    /// When this is not run by root.
    #[must_use]
    pub fn with_pam(sandbox: &Sandbox, users: &[(&str, &str)], stack: Option<&str>) -> Self {
        let dir = sandbox.path().join("accounts");
        fs::create_dir(&dir).expect("the sandbox can be written");
        // Other users have to find their way to their homes.
        for (path, mode) in [(sandbox.path(), 0o711), (&dir, 0o755)] {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(path, mode).expect("the sandbox is ours");
        }
        let names: Vec<String> = users.iter().map(|(name, _)| (*name).to_owned()).collect();
        write_databases(&dir, users);
        let mut setup = String::new();
        for file in ["passwd", "group", "shadow"] {
            let _ = writeln!(setup, "mount --bind \"$1/accounts/{file}\" /etc/{file}");
        }
        if let Some(stack) = stack {
            fs::write(dir.join("pam"), stack).expect("the sandbox can be written");
            setup.push_str("mount --bind \"$1/accounts/pam\" /etc/pam.d/sshd\n");
        }
        let namespace = Namespace::new(sandbox, &setup);
        let words = namespace.command(sandbox, "env");
        let enter = std::iter::once(words.get_program()).chain(words.get_args());
        let enter = enter
            .map(|word| word.to_str().expect("it is ASCII").to_owned())
            .collect();
        Self {
            namespace,
            enter,
            dir,
            names,
        }
    }

    /// Home directory of one of them.
    #[must_use]
    pub fn home(&self, name: &str) -> PathBuf {
        home(&self.dir, name)
    }

    /// Number of one of them.
    ///
    /// # Panics
    /// When there is no such account.
    #[must_use]
    pub fn uid(&self, name: &str) -> u32 {
        let at = self.names.iter().position(|known| known == name);
        uid(at.expect("there is such an account"))
    }

    /// Writes a file into somebody's home directory, as theirs.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, file: &str, text: &str) {
        let (home, owner) = (self.home(name), Some(self.uid(name)));
        let path = home.join(file);
        let parents = path
            .ancestors()
            .skip(1)
            .take_while(|dir| dir.starts_with(&home) && **dir != home);
        fs::create_dir_all(path.parent().expect("it is in a home directory")).expect("a home can be written");
        fs::write(&path, text).expect("a home can be written");
        for made in parents.chain([path.as_path()]) {
            chown(made, owner, owner).expect("root gives files away");
        }
    }

    /// The view of the file system in which they exist.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        // Where tmux has its sockets when the path in the home is too long for one.
        for at in 0..self.names.len() {
            drop(fs::remove_dir_all(format!("/tmp/outlast-{}", uid(at))));
        }
    }
}

fn home(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}

/// Numbers that other tests of the moment do not use.
fn uid(at: usize) -> u32 {
    let own = process::id() % (NUMBERS / MOST) * MOST;
    let at = u32::try_from(at).expect("there are few");
    assert!(at < MOST, "there is room for {MOST} accounts");
    FIRST + own + at
}

/// The machine's own databases, and these accounts.
fn write_databases(dir: &Path, users: &[(&str, &str)]) {
    let mut hash = Command::new("openssl");
    hash.args(["passwd", "-6", Accounts::PASSWORD]);
    let hash = run(hash, DEADLINE).success().word();
    let read = |file| fs::read_to_string(file).expect("the password database can be read by root");
    let (mut passwd, mut group) = (read("/etc/passwd"), read("/etc/group"));
    let mut shadow = read("/etc/shadow");
    for (at, (name, shell)) in users.iter().enumerate() {
        let (uid, home) = (uid(at), home(dir, name));
        let _ = writeln!(passwd, "{name}:x:{uid}:{uid}::{}:{shell}", home.display());
        let _ = writeln!(group, "{name}:x:{uid}:");
        let _ = writeln!(shadow, "{name}:{hash}:19000:0:99999:7:::");
        fs::create_dir(&home).expect("the sandbox can be written");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("the home is ours");
        chown(&home, Some(uid), Some(uid)).expect("root gives directories away");
    }
    for (file, text, mode) in [
        ("passwd", passwd, 0o644),
        ("group", group, 0o644),
        ("shadow", shadow, 0o600),
    ] {
        let path = dir.join(file);
        fs::write(&path, text).expect("the sandbox can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the file is ours");
    }
}
