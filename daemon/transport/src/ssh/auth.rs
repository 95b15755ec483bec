//! Logging in, with what the settings allow and in the order of OpenSSH: keys that were named, keys of the agent, key
//! files, then what a person types. Never asks by itself; without an answer it fails and says what would have helped.

mod keys;
pub(super) mod offers;
mod typed;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    BY_PROGRAM,
    agent::AgentKey,
    ask::Asking,
    config::Settings,
    key, reach,
    wire::{Patience, Trouble, Wire},
};
use crate::{
    ask::Secret,
    error::{Cause, ConnectError},
};

/// How long the host may take for one answer. PAM waits for seconds after a wrong password.
const ANSWER_WITHIN: Patience = Patience::Each(Duration::from_secs(30));

/// With so few keys the first is offered without asking what the host allows: one round trip less. With more, the
/// question may not cost one of the tries that `MaxAuthTries` of the host gives.
const FEW: usize = 3;

/// How many ways to log in a host may want one after another.
const FACTORS: usize = 5;

/// What there is to log in with.
pub(super) struct Means<'a> {
    pub(super) settings: &'a Settings,
    /// Files that were named for this host, which are offered first.
    pub(super) named: &'a [PathBuf],
    /// Keys of the agent, and the socket of the relay to it.
    pub(super) agent: Option<(&'a [AgentKey], &'a Path)>,
    /// Passphrases that are known.
    pub(super) passphrases: &'a [(PathBuf, Secret)],
    pub(super) asking: &'a Asking,
    /// Why there is no agent, when there should be one.
    pub(super) agent_trouble: Option<String>,
}

/// How one way to log in came out.
enum Outcome {
    In,
    /// It was right, but the host wants more.
    More,
    Refused,
}

/// Logs in. Answers the passphrases that were asked for and fit, and by what it was, for people.
pub(super) fn log_in(
    wire: &Wire,
    means: &Means<'_>,
) -> Result<(Vec<(PathBuf, Secret)>, String), ConnectError> {
    let mut login = Login {
        wire,
        means,
        user: &means.settings.user,
        methods: None,
        tried: Vec::new(),
        refused: 0,
        hint: None,
        fit: Vec::new(),
        by: String::new(),
    };
    login.run()?;
    Ok((login.fit, login.by))
}

struct Login<'a> {
    wire: &'a Wire,
    means: &'a Means<'a>,
    user: &'a str,
    /// What the host allows now, once asked.
    methods: Option<Vec<String>>,
    /// What was tried and how it came out, for the message.
    tried: Vec<String>,
    /// How many tries the host counts.
    refused: usize,
    hint: Option<String>,
    fit: Vec<(PathBuf, Secret)>,
    /// What was accepted.
    by: String,
}

impl<'a> Login<'a> {
    fn run(&mut self) -> Result<(), ConnectError> {
        let keys = self.means.agent.map(|(keys, _)| keys).unwrap_or_default();
        let mut offers = offers::offers(self.means.settings, self.means.named, keys);
        // The library passes on half of what such a key signs with.
        offers.retain(|offer| {
            let fido = offer.public().is_some_and(key::is_fido);
            if fido {
                self.tried
                    .push(format!("{}: the library cannot use FIDO keys", keys::name(offer)));
                self.hint = Some(BY_PROGRAM.to_owned());
            }
            !fido
        });
        let blind = self.means.settings.pubkey && !offers.is_empty() && offers.len() <= FEW;
        if !blind && self.ask_methods()? {
            "nothing (the host wants none)".clone_into(&mut self.by);
            return Ok(());
        }
        let mut offers = offers.into_iter();
        'factors: for _ in 0..FACTORS {
            for way in self.ways() {
                if self
                    .methods
                    .as_ref()
                    .is_some_and(|allowed| !allowed.contains(&way))
                {
                    continue;
                }
                let outcome = match way.as_str() {
                    "publickey" => self.by_key(&mut offers)?,
                    "keyboard-interactive" => self.by_questions()?,
                    "password" => self.by_password()?,
                    _ => Outcome::Refused,
                };
                match outcome {
                    Outcome::In => return Ok(()),
                    Outcome::More => continue 'factors,
                    Outcome::Refused => {}
                }
                if self.methods.is_none() {
                    self.ask_methods()?;
                }
            }
            break;
        }
        Err(self.rejected())
    }

    /// The ways to log in that the settings allow, in order.
    fn ways(&self) -> Vec<String> {
        let settings = self.means.settings;
        let mut ways = settings.preferred_authentications.clone();
        if ways.is_empty() {
            ways = ["publickey", "keyboard-interactive", "password"]
                .map(str::to_owned)
                .to_vec();
        }
        ways.retain(|way| match way.as_str() {
            "publickey" => settings.pubkey,
            "keyboard-interactive" => settings.keyboard_interactive,
            "password" => settings.password,
            _ => false,
        });
        ways
    }

    /// Asks the host what it allows. True: it asks for nothing.
    fn ask_methods(&mut self) -> Result<bool, ConnectError> {
        let user = self.user;
        let found = self.wire.finish(ANSWER_WITHIN, |session| {
            // The text belongs to the session; a copy does not.
            session.auth_methods(user).map(str::to_owned)
        });
        if self.wire.session.authenticated() {
            return Ok(true);
        }
        let found = found.map_err(|trouble| self.ended(trouble))?;
        self.methods = Some(found.split(',').map(str::to_owned).collect());
        Ok(false)
    }

    /// The connection ended while logging in.
    fn ended(&self, trouble: Trouble) -> ConnectError {
        let what = match trouble {
            Trouble::Late => {
                return ConnectError::new(Cause::TimedOut, "the host did not answer while logging in");
            }
            Trouble::System(error) => return reach::failed(&error, "logging in"),
            Trouble::Library(error) => error.message().to_owned(),
        };
        // A host that has enough of us closes in good order. A connection that was reset or timed out has no other end
        // any more, and says nothing of what the host thinks of our keys.
        if self.refused > 0 && rustix::net::getpeername(&self.wire.socket).is_ok() {
            let tries = self.refused;
            return ConnectError::new(
                Cause::AuthRejected,
                format!(
                    "{} ended the connection after {tries} refused tries; tried: {}",
                    self.means.settings.hostname,
                    self.tried.join("; ")
                ),
            )
            .with_hint("it may allow no more (MaxAuthTries): name the one key that fits with --identity FILE, or set IdentitiesOnly");
        }
        ConnectError::new(
            Cause::Cut,
            format!("the host ended the connection while logging in: {what}"),
        )
    }

    /// Nothing was accepted.
    fn rejected(&self) -> ConnectError {
        let settings = self.means.settings;
        let mut tried = self.tried.clone();
        if let Some(trouble) = &self.means.agent_trouble {
            tried.push(trouble.clone());
        }
        let tried = if tried.is_empty() {
            "there is no key here".to_owned()
        } else {
            tried.join("; ")
        };
        let allows = match &self.methods {
            Some(methods) => format!(" (it allows {})", methods.join(", ")),
            None => String::new(),
        };
        let message = format!("{} refuses {}{allows}: {tried}", settings.hostname, settings.user);
        let gssapi = |methods: &Vec<String>| methods.iter().any(|one| one == "gssapi-with-mic");
        let kerberos = settings.gssapi && self.methods.as_ref().is_some_and(gssapi);
        // Whether there is a ticket cannot be seen here, where it is in no file.
        let by_ticket = kerberos.then(|| format!("for a Kerberos ticket: {BY_PROGRAM}"));
        let hint = self.hint.clone().or(by_ticket).unwrap_or_else(|| {
            "put a public key of yours into the host's authorized_keys (ssh-copy-id), or name the key with --identity FILE"
                .to_owned()
        });
        ConnectError::new(Cause::AuthRejected, message).with_hint(hint)
    }
}
