//! Logging in with keys: of the agent, and of files with their passphrases.

use std::path::{Path, PathBuf};

use ssh2::ErrorCode;

use super::{
    super::{BY_PROGRAM, agent::AgentKey, config::Identity, key, wire::Trouble},
    ANSWER_WITHIN, Login, Outcome,
    offers::Offer,
};
use crate::{
    ask::{QuestionKind, Secret},
    error::ConnectError,
};

/// How often a person may mistype the passphrase of a key, as for OpenSSH.
const PASSPHRASES: usize = 3;

/// A key, as people know it.
pub(super) fn name(offer: &Offer<'_>) -> String {
    match offer {
        Offer::Agent(agent_key) => format!(
            "the agent's {} key {} ({})",
            key::short(&agent_key.public),
            key::fingerprint(&agent_key.public),
            agent_key.comment,
        ),
        Offer::File(identity) => {
            let kind = identity.public.as_deref().map_or("", key::short);
            format!("the key {} {kind}", identity.file.display())
                .trim_end()
                .to_owned()
        }
    }
}

/// What became of one key.
enum Key {
    In,
    More,
    Refused,
    /// The host would take it, but it could not be used.
    Unsigned,
}

impl<'a> Login<'a> {
    /// Offers one key after another.
    pub(super) fn by_key(
        &mut self,
        offers: &mut impl Iterator<Item = Offer<'a>>,
    ) -> Result<Outcome, ConnectError> {
        for offer in offers {
            let outcome = match offer {
                Offer::Agent(agent_key) => self.by_agent_key(agent_key)?,
                Offer::File(identity) => self.by_file(identity)?,
            };
            match outcome {
                Outcome::Refused => {}
                done => return Ok(done),
            }
            // What the host allows is worth knowing before the second key is offered for nothing.
            if self.methods.is_none() {
                self.ask_methods()?;
            }
            let allowed = |methods: &Vec<String>| methods.iter().any(|one| one == "publickey");
            if !self.methods.as_ref().is_none_or(allowed) {
                break;
            }
        }
        Ok(Outcome::Refused)
    }

    fn by_agent_key(&mut self, agent_key: &AgentKey) -> Result<Outcome, ConnectError> {
        let name = name(&Offer::Agent(agent_key));
        let Some((_, relay)) = self.means.agent else {
            return Ok(Outcome::Refused);
        };
        let user = self.user;
        // The agent's own functions wait for it, not for the host, and never say EAGAIN.
        let prepared = (|| {
            let mut agent = self.wire.session.agent()?;
            agent.set_identity_path(relay)?;
            agent.connect()?;
            agent.list_identities()?;
            let found = agent.identities()?;
            Ok((agent, found))
        })();
        let (agent, found) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                let error: ssh2::Error = error;
                self.tried
                    .push(format!("{name}: the agent fails: {}", error.message()));
                return Ok(Outcome::Refused);
            }
        };
        let Some(identity) = found.iter().find(|one| one.blob() == agent_key.public) else {
            self.tried.push(format!("{name}: the agent has it no more"));
            return Ok(Outcome::Refused);
        };
        let outcome = self
            .wire
            .finish(ANSWER_WITHIN, |_| agent.userauth(user, identity));
        let outcome = self.judged(outcome, &name)?;
        Ok(match outcome {
            Key::In => Outcome::In,
            Key::More => Outcome::More,
            Key::Refused => Outcome::Refused,
            Key::Unsigned => {
                self.tried
                    .push(format!("{name}: the host takes it, but the agent did not sign"));
                self.hint = Some("unlock the agent, or let it confirm".to_owned());
                Outcome::Refused
            }
        })
    }

    fn by_file(&mut self, identity: &Identity) -> Result<Outcome, ConnectError> {
        let file = &identity.file;
        let name = name(&Offer::File(identity));
        let text = match key::private(file) {
            Ok(Some(private)) => private.text,
            Ok(None) => {
                self.tried
                    .push(format!("{name}: the agent does not have its private half"));
                return Ok(Outcome::Refused);
            }
            Err(error) => {
                self.tried.push(format!("{name}: {error}"));
                return Ok(Outcome::Refused);
            }
        };
        let public = identity.public.as_deref().map(key::line);
        let mut known: Vec<Secret> = Vec::new();
        if identity.encrypted == Some(true) {
            let of_file = |(path, _): &&(PathBuf, Secret)| path == file;
            let of_file = self.means.passphrases.iter().filter(of_file);
            known.extend(of_file.map(|(_, secret)| secret.clone()));
        }
        let mut asked = 0;
        let mut known = known.into_iter();
        // Without a passphrase the host is asked whether it would take the key at all, before a person is asked.
        let mut passphrase: Option<(Secret, bool)> = known.next().map(|secret| (secret, false));
        let mut first = true;
        loop {
            // A key whose public half is hidden cannot be offered without the passphrase.
            let can = public.is_some() || identity.encrypted != Some(true) || passphrase.is_some();
            let outcome = if can {
                let with = passphrase.as_ref().map(|(secret, _)| secret.expose());
                let outcome = self.wire.finish(ANSWER_WITHIN, |session| {
                    session.userauth_pubkey_memory(self.user, public.as_deref(), &text, with)
                });
                self.judged(outcome, &name)?
            } else {
                Key::Unsigned
            };
            match outcome {
                Key::In | Key::More => {
                    if let Some((secret, true)) = passphrase {
                        self.fit.push((file.clone(), secret));
                    }
                    return Ok(if matches!(outcome, Key::In) {
                        Outcome::In
                    } else {
                        Outcome::More
                    });
                }
                Key::Refused => return Ok(Outcome::Refused),
                Key::Unsigned if identity.encrypted != Some(true) => {
                    self.tried.push(format!("{name}: the library cannot read it"));
                    self.hint = Some(BY_PROGRAM.to_owned());
                    return Ok(Outcome::Refused);
                }
                Key::Unsigned => {}
            }
            if let Some(next) = known.next() {
                passphrase = Some((next, false));
                continue;
            }
            let again = if first { "" } else { " (that was not it)" };
            first = false;
            let answer = if asked < PASSPHRASES {
                self.ask_passphrase(file, again)
            } else {
                None
            };
            match answer {
                Some(secret) => passphrase = Some((secret, true)),
                None => {
                    let why = if asked == 0 {
                        "its passphrase is not known"
                    } else {
                        "its passphrase was wrong"
                    };
                    self.tried.push(format!("{name}: {why}"));
                    self.hint = Some(format!(
                        "`ssh-add {}` gives it to your agent; `outlast host check NAME` in a terminal asks for the passphrase",
                        file.display()
                    ));
                    return Ok(Outcome::Refused);
                }
            }
            asked += 1;
        }
    }

    fn ask_passphrase(&self, file: &Path, again: &str) -> Option<Secret> {
        if self.means.settings.batch {
            return None;
        }
        let kind = QuestionKind::Passphrase {
            file: file.to_owned(),
        };
        let text = format!("Passphrase of the key {}{again}:", file.display());
        let answer = self.means.asking.ask(kind, text, false);
        answer.filter(|answer| !answer.expose().is_empty())
    }

    /// What the host and the library made of a key.
    fn judged(&mut self, outcome: Result<(), Trouble>, name: &str) -> Result<Key, ConnectError> {
        let error = match outcome {
            Ok(()) => {
                name.clone_into(&mut self.by);
                return Ok(Key::In);
            }
            Err(Trouble::Library(error)) => error,
            Err(trouble) => return Err(self.ended(trouble)),
        };
        match (error.code(), error.message()) {
            (_, message) if message.starts_with("Waiting for") => Err(self.ended(Trouble::Library(error))),
            // The host refused it before any signature.
            (ErrorCode::Session(-18), _) => {
                self.refused += 1;
                self.tried.push(format!("{name}: refused"));
                Ok(Key::Refused)
            }
            // It would take it, but there is no signature: the passphrase is missing or wrong, or the agent refuses.
            (ErrorCode::Session(-19), message) if message.starts_with("Callback") => Ok(Key::Unsigned),
            (ErrorCode::Session(-16 | -48 | -17), _) => Ok(Key::Unsigned),
            (ErrorCode::Session(-19), _) => {
                // The signature was answered by a failure: refused, or right and not enough. Only what the host allows
                // from here on tells.
                self.refused += 1;
                let before = self.methods.clone();
                self.ask_methods()?;
                let now = self.methods.clone().unwrap_or_default();
                let more = match &before {
                    Some(before) => *before != now,
                    None => !now.iter().any(|one| one == "publickey"),
                };
                if more {
                    self.tried
                        .push(format!("{name}: accepted, but the host wants more"));
                    return Ok(Key::More);
                }
                self.tried.push(format!("{name}: refused"));
                Ok(Key::Refused)
            }
            _ => Err(self.ended(Trouble::Library(error))),
        }
    }
}
