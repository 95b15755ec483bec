//! The effective ssh settings of a host, as `ssh -G` prints them. `ssh` itself reads the user's files, so that
//! aliases, Include and Match count exactly as they do for it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::{
    key,
    known_hosts::{Known, Name},
};
use crate::{
    error::{Cause, ConnectError},
    route::SshRoute,
};

/// How long `ssh -G` may take. It runs what `Match exec` names, and looks names up for `CanonicalizeHostname`.
const WITHIN: Duration = Duration::from_secs(10);

/// How much of what `ssh` complains of is passed on, characters.
const COMPLAINT: usize = 600;

/// An option that has no part in a connection of ours, made to print what paths in the settings are written with:
/// user id, user, host name and home directory. The home directory is that of the password database, not `$HOME`.
const TOKENS: &str = "ControlPath=/%i|%u|%l|%d";

/// What to do about unknown host keys, as the user's configuration has it. There is no "off": that is read as ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Strict {
    /// Refuse unknown keys without asking.
    Yes,
    /// Ask.
    #[default]
    Ask,
    /// Take unknown keys.
    AcceptNew,
}

/// Which addresses count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Family {
    /// All.
    #[default]
    Any,
    /// IPv4 only.
    Inet,
    /// IPv6 only.
    Inet6,
}

/// Which agent has the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Agent {
    /// The one whoever connects names.
    #[default]
    Given,
    /// None.
    None,
    /// The one at this socket.
    At(PathBuf),
}

/// A key to log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The file, of the private key or only the public one.
    pub(crate) file: PathBuf,
    /// The public key, where it can be known without a passphrase.
    pub(crate) public: Option<Vec<u8>>,
    /// Whether the private key needs a passphrase. None: the file has no private key.
    pub(crate) encrypted: Option<bool>,
    /// Whether a certificate lies beside it.
    pub(crate) certified: bool,
}

/// Settings of one host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    /// Name or address to connect to.
    pub(crate) hostname: String,
    /// TCP port.
    pub(crate) port: u16,
    /// User to log in as.
    pub(crate) user: String,
    /// Keys to log in with, in order; those whose file is there.
    pub(crate) identities: Vec<Identity>,
    /// Offer only keys that are named, from files or the agent.
    pub(crate) identities_only: bool,
    /// Which agent has the keys.
    pub(crate) agent: Agent,
    /// Hosts to jump through.
    pub(crate) proxy_jump: Option<String>,
    /// Program that reaches the host.
    pub(crate) proxy_command: Option<String>,
    /// Name the host has in known_hosts files.
    pub(crate) host_key_alias: Option<String>,
    /// The user's known_hosts files; a new key goes to the first.
    pub(crate) user_known_hosts: Vec<PathBuf>,
    /// The system's known_hosts files.
    pub(crate) global_known_hosts: Vec<PathBuf>,
    /// Whether known_hosts files trust a certificate authority for the host.
    pub(crate) host_authority: bool,
    /// What to do about unknown keys.
    pub(crate) strict: Strict,
    /// Write names hashed.
    pub(crate) hash_known_hosts: bool,
    /// Command that prints known hosts.
    pub(crate) known_hosts_command: Option<String>,
    /// File of revoked host keys.
    pub(crate) revoked_host_keys: Option<String>,
    /// Certificates to log in with.
    pub(crate) certificate_files: Vec<PathBuf>,
    /// Log in by GSSAPI where possible.
    pub(crate) gssapi: bool,
    /// Whether there is a ticket for that.
    pub(crate) ticket: bool,
    /// Log in by the key of this machine.
    pub(crate) hostbased: bool,
    /// Log in by keys.
    pub(crate) pubkey: bool,
    /// Log in by password.
    pub(crate) password: bool,
    /// Log in by answering questions.
    pub(crate) keyboard_interactive: bool,
    /// How often to ask for a password.
    pub(crate) password_prompts: usize,
    /// Ask nothing.
    pub(crate) batch: bool,
    /// Order of the ways to log in. Empty: the usual.
    pub(crate) preferred_authentications: Vec<String>,
    /// The agent is wanted on the host.
    pub(crate) forward_agent: bool,
    /// Which addresses count.
    pub(crate) family: Family,
    /// Address or interface to connect from.
    pub(crate) bind: Option<String>,
    /// How long an address may take to answer.
    pub(crate) connect_timeout: Option<Duration>,
    /// Host key algorithms, in order.
    pub(crate) host_key_algorithms: Vec<String>,
    /// Key exchanges that may be used. Empty: all.
    pub(crate) kex_algorithms: Vec<String>,
    /// Ciphers that may be used. Empty: all.
    pub(crate) ciphers: Vec<String>,
    /// Checksums that may be used. Empty: all.
    pub(crate) macs: Vec<String>,
    /// Library of a PKCS#11 token.
    pub(crate) pkcs11_provider: Option<String>,
    /// Variables are set for what is run there.
    pub(crate) set_env: bool,
}

impl Settings {
    /// Whether nothing but the network is between this machine and the host.
    pub(crate) fn is_direct(&self) -> bool {
        self.proxy_jump.is_none() && self.proxy_command.is_none()
    }

    /// The name under which the key of the host is known.
    pub(crate) fn name_of_key(&self) -> String {
        Name::of(self).as_str().to_owned()
    }

    /// All known_hosts files.
    pub(crate) fn known_hosts(&self) -> impl Iterator<Item = &PathBuf> {
        self.user_known_hosts.iter().chain(&self.global_known_hosts)
    }
}

/// Asks `program -G`.
pub(super) async fn ask(program: &Path, route: &SshRoute) -> Result<Settings, ConnectError> {
    check(route)?;
    let mut command = Command::new(program);
    command
        .args(arguments(route))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match timeout(WITHIN, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            Ok(settings(&String::from_utf8_lossy(&output.stdout), route))
        }
        Ok(Ok(output)) => Err(complaint(&output)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(settings(&plain(route), route)),
        Ok(Err(error)) => Err(ConnectError::new(
            Cause::Misconfigured,
            format!("starting {}: {error}", program.display()),
        )),
        Err(_elapsed) => Err(ConnectError::new(
            Cause::Misconfigured,
            format!(
                "ssh took more than {} s to read its configuration",
                WITHIN.as_secs()
            ),
        )
        .with_hint("a `Match exec` in ~/.ssh/config may hang")),
    }
}

/// Refuses what could be taken for an option, or is no name at all.
fn check(route: &SshRoute) -> Result<(), ConnectError> {
    let odd = |text: &str| {
        text.is_empty() || text.starts_with('-') || text.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    let refused = |what: &str, text: &str| {
        Err(ConnectError::new(
            Cause::Misconfigured,
            format!("{text:?} is no {what}"),
        ))
    };
    if odd(&route.destination) {
        return refused("host name", &route.destination);
    }
    if let Some(user) = route.user.as_ref().filter(|user| odd(user)) {
        return refused("user name", user);
    }
    if let Some(jump) = route.jump.as_ref().filter(|jump| odd(jump)) {
        return refused("host to jump through", jump);
    }
    match route.identities.iter().find(|file| there(file).is_none()) {
        Some(file) => Err(ConnectError::new(
            Cause::Misconfigured,
            format!("there is no key {}", file.display()),
        )),
        None => Ok(()),
    }
}

/// The file to name for an identity: that of the private key, or of the public one when the agent has the other.
pub(crate) fn there(file: &Path) -> Option<PathBuf> {
    [file.to_owned(), beside(file, ".pub")]
        .into_iter()
        .find(|file| file.exists())
}

fn arguments(route: &SshRoute) -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<std::ffi::OsString> = vec!["-G".into(), "-T".into(), "-o".into(), TOKENS.into()];
    let mut option = |name: &str, value: std::ffi::OsString| {
        arguments.push(name.into());
        arguments.push(value);
    };
    if let Some(user) = &route.user {
        option("-l", user.into());
    }
    if let Some(port) = route.port {
        option("-p", port.to_string().into());
    }
    if let Some(jump) = &route.jump {
        option("-J", jump.into());
    }
    for file in &route.identities {
        option("-i", there(file).unwrap_or_else(|| file.clone()).into());
    }
    arguments.extend(["--".into(), (&route.destination).into()]);
    arguments
}

fn complaint(output: &Output) -> ConnectError {
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(COMPLAINT).collect();
    let message = if said.is_empty() {
        format!("ssh refuses its configuration ({})", output.status)
    } else {
        format!("ssh refuses its configuration: {said}")
    };
    ConnectError::new(Cause::Misconfigured, message).with_hint("mend ~/.ssh/config or the address")
}

/// What `ssh -G` would print of the essentials where there is no `ssh`.
fn plain(route: &SshRoute) -> String {
    let home = env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    let home = home.display();
    let user = env::var("USER")
        .or_else(|_| env::var("LOGNAME"))
        .unwrap_or_default();
    let mut text = format!(
        "hostname {}\nuser {}\nport {}\ncontrolpath /|{user}||{home}\n\
         userknownhostsfile {home}/.ssh/known_hosts {home}/.ssh/known_hosts2\n\
         globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\n",
        route.destination.to_lowercase(),
        route.user.as_ref().unwrap_or(&user),
        route.port.unwrap_or(22),
    );
    if let Some(jump) = &route.jump {
        text.push_str(&format!("proxyjump {jump}\n"));
    }
    if route.identities.is_empty() {
        for name in ["rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk"] {
            text.push_str(&format!("identityfile ~/.ssh/id_{name}\n"));
        }
    }
    for file in &route.identities {
        text.push_str(&format!("identityfile {}\n", file.display()));
    }
    text
}

/// The lines of `ssh -G`: a word and what follows it.
fn lines(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.lines().filter_map(|line| {
        let (word, value) = line.split_once(' ')?;
        let value = value.trim();
        (!value.is_empty()).then(|| (word.to_ascii_lowercase(), value))
    })
}

/// Reads the settings, and looks at the files they name.
fn settings(text: &str, route: &SshRoute) -> Settings {
    let mut settings = Settings {
        port: 22,
        gssapi: false,
        pubkey: true,
        password: true,
        keyboard_interactive: true,
        password_prompts: 3,
        ..Settings::default()
    };
    let mut files = Vec::new();
    let mut tokens = Tokens::default();
    for (word, value) in lines(text) {
        match word.as_str() {
            "controlpath" => tokens.take(value),
            "identityfile" => files.push(value.to_owned()),
            _ => set(&mut settings, &word, value),
        }
    }
    tokens.name(route, &settings);
    settings.identities = files
        .iter()
        .filter_map(|file| identity(tokens.path(file)))
        .collect();
    let known = [&mut settings.user_known_hosts, &mut settings.global_known_hosts];
    for path in known.into_iter().flatten() {
        tokens.at_home(path);
    }
    settings.certificate_files = paths_of(&settings.certificate_files, &tokens);
    if let Agent::At(path) = &settings.agent {
        settings.agent = agent(&tokens, &path.to_string_lossy());
    }
    settings.ticket = has_ticket(&tokens.uid);
    settings.host_authority = Known::read(settings.known_hosts(), &Name::of(&settings)).has_authority();
    settings
}

/// Takes one line in.
fn set(settings: &mut Settings, word: &str, value: &str) {
    let yes = || matches!(value, "yes" | "true");
    let some = || (value != "none").then(|| value.to_owned());
    let list = || value.split(',').map(str::to_owned).collect();
    match word {
        "hostname" => value.clone_into(&mut settings.hostname),
        "user" => value.clone_into(&mut settings.user),
        "port" => settings.port = value.parse().unwrap_or(settings.port),
        "identitiesonly" => settings.identities_only = yes(),
        "identityagent" => settings.agent = Agent::At(value.into()),
        "proxyjump" => settings.proxy_jump = some(),
        "proxycommand" => settings.proxy_command = some(),
        "hostkeyalias" => settings.host_key_alias = some(),
        "userknownhostsfile" => settings.user_known_hosts = paths(value),
        "globalknownhostsfile" => settings.global_known_hosts = paths(value),
        "stricthostkeychecking" => {
            settings.strict = match value {
                "yes" | "true" => Strict::Yes,
                "accept-new" => Strict::AcceptNew,
                _ => Strict::Ask,
            };
        }
        "hashknownhosts" => settings.hash_known_hosts = yes(),
        "knownhostscommand" => settings.known_hosts_command = some(),
        "revokedhostkeys" => settings.revoked_host_keys = some(),
        "certificatefile" => settings.certificate_files.push(value.into()),
        "gssapiauthentication" => settings.gssapi = yes(),
        "hostbasedauthentication" => settings.hostbased = yes(),
        // It is also "host-bound" and "unbound".
        "pubkeyauthentication" => settings.pubkey = !matches!(value, "no" | "false"),
        "passwordauthentication" => settings.password = yes(),
        "kbdinteractiveauthentication" | "challengeresponseauthentication" => {
            settings.keyboard_interactive = yes();
        }
        "numberofpasswordprompts" => settings.password_prompts = value.parse().unwrap_or(3),
        "batchmode" => settings.batch = yes(),
        "preferredauthentications" => settings.preferred_authentications = list(),
        // It is also the socket of the agent to forward.
        "forwardagent" => settings.forward_agent = !matches!(value, "no" | "false"),
        "addressfamily" => {
            settings.family = match value {
                "inet" => Family::Inet,
                "inet6" => Family::Inet6,
                _ => Family::Any,
            };
        }
        "bindaddress" | "bindinterface" => settings.bind = some(),
        "connecttimeout" => settings.connect_timeout = value.parse().ok().map(Duration::from_secs),
        "hostkeyalgorithms" => settings.host_key_algorithms = list(),
        "kexalgorithms" => settings.kex_algorithms = list(),
        "ciphers" => settings.ciphers = list(),
        "macs" => settings.macs = list(),
        "pkcs11provider" => settings.pkcs11_provider = some(),
        // The type of a terminal comes with the terminal.
        "setenv" => settings.set_env |= !value.starts_with("TERM="),
        _ => {}
    }
}

/// Paths between blanks. They are whole ones or begin at home, as old versions print them, so a word that does not begin
/// as one belongs to the path before it.
fn paths(value: &str) -> Vec<PathBuf> {
    let mut paths: Vec<String> = Vec::new();
    let begins = |word: &str| word.starts_with('/') || word.starts_with("~/");
    for word in value.split(' ') {
        match paths.last_mut() {
            Some(last) if !begins(word) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => paths.push(word.to_owned()),
        }
    }
    let real = paths.into_iter().filter(|path| begins(path));
    real.map(PathBuf::from).collect()
}

fn paths_of(values: &[PathBuf], tokens: &Tokens) -> Vec<PathBuf> {
    let paths = values.iter().map(|value| tokens.path(&value.to_string_lossy()));
    paths.filter(|path| path.exists()).collect()
}

fn agent(tokens: &Tokens, value: &str) -> Agent {
    match value {
        "none" => Agent::None,
        "SSH_AUTH_SOCK" | "$SSH_AUTH_SOCK" | "${SSH_AUTH_SOCK}" => Agent::Given,
        _ => Agent::At(match value.strip_prefix('$') {
            Some(name) => env::var_os(name.trim_matches(['{', '}']))
                .unwrap_or_default()
                .into(),
            None => tokens.path(value),
        }),
    }
}

/// Looks at an identity's files. None: there are none.
fn identity(file: PathBuf) -> Option<Identity> {
    let private = key::private(&file).unwrap_or_else(|error| {
        tracing::warn!("{} is not readable: {error}", file.display());
        None
    });
    let read = |file: &Path| key::parse(&fs::read_to_string(file).ok()?);
    let public = match &private {
        Some(private) => private.public.clone(),
        None => read(&beside(&file, ".pub")).or_else(|| read(&file)),
    };
    (private.is_some() || public.is_some()).then(|| Identity {
        certified: beside(&file, "-cert.pub").exists(),
        encrypted: private.map(|private| private.encrypted),
        public,
        file,
    })
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether there is a Kerberos ticket, as far as a look can tell.
fn has_ticket(uid: &str) -> bool {
    env::var_os("KRB5CCNAME").is_some_and(|name| !name.is_empty())
        || (!uid.is_empty() && Path::new(&format!("/tmp/krb5cc_{uid}")).exists())
}

/// What paths in the settings are written with.
#[derive(Debug, Default)]
struct Tokens {
    uid: String,
    user: String,
    here: String,
    home: String,
    host: String,
    given: String,
    remote: String,
    port: String,
    alias: String,
}

impl Tokens {
    /// Takes what [`TOKENS`] became.
    fn take(&mut self, value: &str) {
        let mut parts = value.trim_start_matches('/').splitn(4, '|').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        (self.uid, self.user, self.here, self.home) = (next(), next(), next(), next());
    }

    fn name(&mut self, route: &SshRoute, settings: &Settings) {
        self.host.clone_from(&settings.hostname);
        self.given.clone_from(&route.destination);
        self.remote.clone_from(&settings.user);
        self.port = settings.port.to_string();
        self.alias = settings
            .host_key_alias
            .clone()
            .unwrap_or_else(|| self.given.clone());
    }

    /// Makes a path that begins at home a whole one.
    fn at_home(&self, path: &mut PathBuf) {
        if let Ok(rest) = path.strip_prefix("~") {
            *path = Path::new(&self.home).join(rest);
        }
    }

    /// The path that is meant.
    fn path(&self, text: &str) -> PathBuf {
        let text = match text.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => format!("{}{rest}", self.home),
            _ => text.to_owned(),
        };
        let mut path = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['%', '$']) {
            let (before, from) = rest.split_at(at);
            path.push_str(before);
            let (value, length) = self.token(from);
            path.push_str(&value);
            rest = from.get(length..).unwrap_or_default();
        }
        path.push_str(rest);
        path.into()
    }

    /// What stands at the beginning of a text for something else, and how long that is. What is not known stands for
    /// itself.
    fn token(&self, text: &str) -> (String, usize) {
        if let Some((name, _)) = text.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
            return (env::var(name).unwrap_or_default(), name.len() + 3);
        }
        let first = |host: &str| host.split('.').next().unwrap_or_default().to_owned();
        let value = match text.as_bytes().get(..2) {
            Some(b"%%") => "%".to_owned(),
            Some(b"%d") => self.home.clone(),
            Some(b"%h") => self.host.clone(),
            Some(b"%i") => self.uid.clone(),
            Some(b"%k") => self.alias.clone(),
            Some(b"%L") => first(&self.here),
            Some(b"%l") => self.here.clone(),
            Some(b"%n") => self.given.clone(),
            Some(b"%p") => self.port.clone(),
            Some(b"%r") => self.remote.clone(),
            Some(b"%u") => self.user.clone(),
            _ => return (text.chars().take(1).collect(), 1),
        };
        (value, 2)
    }
}

#[cfg(test)]
mod tests;
