//! Logging in with what a person types: a password, or answers to what the host asks.

use ssh2::{ErrorCode, KeyboardInteractivePrompt, Prompt};

use super::{
    super::wire::{Trouble, Wire},
    ANSWER_WITHIN, Login, Means, Outcome,
};
use crate::{ask::QuestionKind, error::ConnectError};

impl Login<'_> {
    /// Answers what the host asks.
    pub(super) fn by_questions(&mut self) -> Result<Outcome, ConnectError> {
        for turn in 0..self.means.settings.password_prompts.max(1) {
            let mut person = Person {
                means: self.means,
                wire: self.wire,
                asked: 0,
                silent: false,
            };
            let outcome = self.wire.finish(ANSWER_WITHIN, |session| {
                session.userauth_keyboard_interactive(self.user, &mut person)
            });
            let (asked, silent) = (person.asked, person.silent);
            if silent {
                return Err(self.unanswered("keyboard-interactive"));
            }
            match self.typed(outcome, "answers to the host's questions", turn == 0)? {
                Outcome::Refused if asked > 0 => {}
                done => return Ok(done),
            }
        }
        Ok(Outcome::Refused)
    }

    pub(super) fn by_password(&mut self) -> Result<Outcome, ConnectError> {
        let settings = self.means.settings;
        for turn in 0..settings.password_prompts.max(1) {
            let again = if turn == 0 { "" } else { " (that was not it)" };
            let text = format!("Password of {} on {}{again}:", settings.user, settings.hostname);
            let answer = if settings.batch {
                None
            } else {
                self.means.asking.ask(QuestionKind::Password, text, false)
            };
            let Some(password) = answer else {
                return Err(self.unanswered("password"));
            };
            let outcome = self.wire.finish(ANSWER_WITHIN, |session| {
                session.userauth_password(self.user, password.expose())
            });
            match self.typed(outcome, "a password", turn == 0)? {
                Outcome::Refused => {}
                done => return Ok(done),
            }
        }
        Ok(Outcome::Refused)
    }

    /// What the host made of something typed. Whether a refused one was right and not enough is asked the first time
    /// only: the question counts as a try.
    fn typed(
        &mut self,
        outcome: Result<(), Trouble>,
        name: &str,
        first: bool,
    ) -> Result<Outcome, ConnectError> {
        match outcome {
            Ok(()) => {
                name.clone_into(&mut self.by);
                Ok(Outcome::In)
            }
            Err(Trouble::Library(error))
                if error.code() == ErrorCode::Session(-18) && !error.message().starts_with("Waiting") =>
            {
                self.refused += 1;
                let before = self.methods.clone();
                if first {
                    self.ask_methods()?;
                }
                if before.is_some() && before != self.methods {
                    self.tried
                        .push(format!("{name}: accepted, but the host wants more"));
                    return Ok(Outcome::More);
                }
                self.tried.push(format!("{name}: refused"));
                Ok(Outcome::Refused)
            }
            Err(trouble) => Err(self.ended(trouble)),
        }
    }

    /// Nobody answered.
    fn unanswered(&mut self, way: &str) -> ConnectError {
        self.tried.push(format!("{way}: nobody was there to answer"));
        if self.hint.is_none() {
            self.hint = Some("`outlast host check NAME` in a terminal asks for it".to_owned());
        }
        self.rejected()
    }
}

/// Passes the host's questions on.
struct Person<'a> {
    means: &'a Means<'a>,
    wire: &'a Wire,
    asked: usize,
    silent: bool,
}

impl KeyboardInteractivePrompt for Person<'_> {
    fn prompt<'p>(&mut self, _user: &str, instructions: &str, prompts: &[Prompt<'p>]) -> Vec<String> {
        let mut answers = Vec::new();
        for prompt in prompts {
            self.asked += 1;
            let password = !prompt.echo && prompt.text.to_lowercase().contains("password");
            let kind = if password {
                QuestionKind::Password
            } else {
                QuestionKind::Other
            };
            let text = format!("{instructions}\n{}", prompt.text).trim().to_owned();
            let silent = self.silent || self.means.settings.batch;
            let answer = if silent {
                None
            } else {
                self.means.asking.ask(kind, text, prompt.echo)
            };
            match answer {
                Some(answer) => answers.push(answer.expose().to_owned()),
                None => {
                    // An empty answer would count as a wrong one: leave instead.
                    self.silent = true;
                    let _ = rustix::net::shutdown(&self.wire.socket, rustix::net::Shutdown::Both);
                    answers.push(String::new());
                }
            }
        }
        answers
    }
}
