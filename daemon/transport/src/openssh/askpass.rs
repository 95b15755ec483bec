//! Questions of `ssh` on their way to whoever connects: `ssh` runs `outlast-helper` for each, which hands it over a
//! socket in a directory that is this user's alone.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::{net::sockopt::socket_peercred, process::geteuid};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    process::Command,
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout},
};

use crate::{
    ask::{self, Question, QuestionKind, Secret},
    connect::{Attempt, OnStep, Step, Trust},
    error::{Cause, ConnectError},
    place::Place,
    ssh::Settings,
};

/// Longest question that is read, bytes.
const QUESTION_MAX: u64 = 16 << 10;

/// How long our own program may take to say what is asked.
const QUESTION_WITHIN: Duration = Duration::from_secs(10);

/// How long a person may take. Hosts give up sooner (`LoginGraceTime`, two minutes as a rule).
const ANSWER_WITHIN: Duration = Duration::from_secs(600);

/// Listens for the questions of one `ssh`. Ends when dropped.
pub(crate) struct Askpass {
    /// Where the questions come in.
    socket: PathBuf,
    asked: Arc<Asked>,
    listening: AbortHandle,
    _place: Place,
}

/// What was asked, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    waiting: AtomicUsize,
    /// The connection stands: the host's key and ours are accepted.
    stands: AtomicBool,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    /// The key that was asked about last.
    key_shown: Option<KeyShown>,
    /// When a question ended last, with an answer or without.
    answered: Option<Instant>,
    /// A question that nobody answered.
    unanswered: Option<QuestionKind>,
    passphrases: Vec<(PathBuf, Secret)>,
}

/// A key that had to be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyShown {
    /// `SHA256:…`.
    pub(super) fingerprint: String,
    /// Whose key it is, where it is not the host's own but that of a machine on the way.
    pub(super) on_the_way: Option<String>,
}

impl Asked {
    /// When somebody was being asked last: now, while an answer is waited for.
    pub(crate) fn last(&self) -> Option<Instant> {
        if self.waiting.load(Ordering::Acquire) > 0 {
            return Some(Instant::now());
        }
        self.notes().answered
    }

    /// Takes notice that the connection stands.
    pub(crate) fn stands(&self) {
        self.stands.store(true, Ordering::Release);
    }

    /// Whether the connection stood once.
    pub(super) fn has_stood(&self) -> bool {
        self.stands.load(Ordering::Acquire)
    }

    /// The key that was asked about last.
    pub(super) fn key_shown(&self) -> Option<KeyShown> {
        self.notes().key_shown.clone()
    }

    /// The last question that nobody answered.
    pub(super) fn unanswered(&self) -> Option<QuestionKind> {
        self.notes().unanswered.clone()
    }

    /// Passphrases that were given last; once the connection stands, they fit.
    pub(crate) fn passphrases(&self) -> Vec<(PathBuf, Secret)> {
        self.notes().passphrases.clone()
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Askpass {
    /// Begins to listen. `give_up` is used when a password is asked for and nobody answers: `ssh` would send empty ones
    /// then, which hosts count against the user.
    ///
    /// # Errors
    /// When there can be no such socket.
    pub(super) fn start(
        attempt: &Attempt,
        settings: &Settings,
        give_up: oneshot::Sender<()>,
    ) -> Result<Self, ConnectError> {
        let failed = |error: io::Error| {
            let text = format!("making a socket for the questions of ssh: {error}");
            ConnectError::new(Cause::Misconfigured, text)
        };
        let place = Place::new("ask").map_err(failed)?;
        let socket = place.join("s");
        let asked = Arc::new(Asked::default());
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        let _ = fs::set_permissions(&socket, fs::Permissions::from_mode(0o600));
        let asker = Arc::new(Asker {
            asked: Arc::clone(&asked),
            questions: attempt.questions.clone(),
            known: attempt.passphrases.clone(),
            trust: attempt.trust.clone(),
            host: (!settings.is_direct()).then(|| settings.name_of_key()),
            on_step: Arc::clone(&attempt.on_step),
            give_up: Mutex::new(Some(give_up)),
        });
        let listening = tokio::spawn(listen(listener, asker)).abort_handle();
        Ok(Self {
            socket,
            asked,
            listening,
            _place: place,
        })
    }

    /// What was asked.
    pub(crate) fn asked(&self) -> Arc<Asked> {
        Arc::clone(&self.asked)
    }

    /// Makes `ssh` ask here.
    ///
    /// # Errors
    /// When the program that hands the questions over is not installed.
    pub(super) fn set(&self, ssh: &mut Command, attempt: &Attempt) -> Result<(), ConnectError> {
        // The one of this machine, or one that is for machines like it.
        let names = [
            "outlast-helper".to_owned(),
            format!("outlast-helper-{}-linux-musl", env::consts::ARCH),
        ];
        let helper = names.iter().find_map(|name| {
            let mut paths = attempt.helper.libraries.iter().map(|dir| dir.join(name));
            paths.find(|path| path.is_file())
        });
        let Some(helper) = helper else {
            let error = ConnectError::new(Cause::Misconfigured, "outlast-helper is not installed here");
            return Err(error.with_hint("it belongs beside outlastd: install outlast again"));
        };
        ssh.env("SSH_ASKPASS", helper)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env(outlast_helper::askpass::SOCKET, &self.socket);
        // Before OpenSSH 8.4 it asks only where there is a display.
        if env::var_os("DISPLAY").is_none() {
            ssh.env("DISPLAY", "none");
        }
        Ok(())
    }
}

impl Drop for Askpass {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

struct Asker {
    asked: Arc<Asked>,
    questions: mpsc::Sender<ask::Asked>,
    known: Vec<(PathBuf, Secret)>,
    trust: Trust,
    /// What `ssh` calls the host when it asks about a key, where it may ask about others on the way to it.
    host: Option<String>,
    on_step: OnStep,
    give_up: Mutex<Option<oneshot::Sender<()>>>,
}

async fn listen(listener: UnixListener, asker: Arc<Asker>) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let asker = Arc::clone(&asker);
                serving.spawn(async move { asker.serve(stream).await });
            }
            Some(_) = serving.join_next() => {}
        }
    }
}

impl Asker {
    async fn serve(&self, mut stream: UnixStream) {
        if !socket_peercred(&stream).is_ok_and(|peer| peer.uid == geteuid()) {
            return;
        }
        let mut bytes = Vec::new();
        let mut limited = (&mut stream).take(QUESTION_MAX);
        let read = timeout(QUESTION_WITHIN, limited.read_to_end(&mut bytes)).await;
        if !matches!(read, Ok(Ok(_))) {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((kind, text)) = text.split_once('\0') else {
            return;
        };
        if kind == "none" {
            // Something to know, like that a key wants to be touched; ssh ends the asking itself.
            (self.on_step)(Step {
                name: "authenticate",
                took: Duration::ZERO,
                ok: true,
                message: text.trim().to_owned(),
            });
            let _ = stream.read(&mut [0]).await;
            return;
        }
        if let Some(answer) = self.answer(question(text)).await {
            let answer = [b"+", answer.expose().as_bytes()].concat();
            let _ = stream.write_all(&answer).await;
        }
    }

    async fn answer(&self, question: Question) -> Option<Secret> {
        let kind = question.kind.clone();
        let answer = match &kind {
            QuestionKind::HostKey { fingerprint } => {
                let on_the_way = whose(&question.text).filter(|whose| {
                    let host = self.host.as_deref();
                    host.is_some_and(|host| !host.eq_ignore_ascii_case(whose))
                });
                let is_own = on_the_way.is_none();
                let again = self.note_key(fingerprint, on_the_way);
                match &self.trust {
                    Trust::AcceptKey(wanted) if is_own && wanted == fingerprint && !again => {
                        Some(Secret::new(wanted.clone()))
                    }
                    Trust::AcceptKey(_) if is_own => None,
                    // Told of the host alone, `ssh` takes new keys of others for a matter to ask about.
                    Trust::AcceptNew if !is_own && !again => Some(Secret::new("yes".to_owned())),
                    Trust::Ask | Trust::AcceptNew | Trust::AcceptKey(_) => self.ask(question).await,
                }
            }
            QuestionKind::Passphrase { file } => {
                let known = self.known_passphrase(file);
                let answer = match known {
                    Some(known) => Some(known),
                    None => self.ask(question).await,
                };
                if let Some(answer) = &answer {
                    self.note_passphrase(file, answer);
                }
                answer
            }
            QuestionKind::Password | QuestionKind::Other => self.ask(question).await,
        };
        if answer.is_none() {
            let is_password = matches!(kind, QuestionKind::Password | QuestionKind::Other);
            self.asked.notes().unanswered = Some(kind);
            let give_up = self.give_up.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(give_up) = give_up.filter(|_| is_password) {
                let _ = give_up.send(());
            }
        }
        answer
    }

    async fn ask(&self, question: Question) -> Option<Secret> {
        self.asked.waiting.fetch_add(1, Ordering::AcqRel);
        let (answer, answered) = oneshot::channel();
        let asked = ask::Asked { question, answer };
        let answer = async {
            self.questions.send(asked).await.ok()?;
            answered.await.ok()?
        };
        let answer = timeout(ANSWER_WITHIN, answer).await.ok().flatten();
        self.asked.notes().answered = Some(Instant::now());
        self.asked.waiting.fetch_sub(1, Ordering::AcqRel);
        answer
    }

    /// True when it was asked about this key before, so that the answer did not do.
    fn note_key(&self, fingerprint: &str, on_the_way: Option<&str>) -> bool {
        if fingerprint.is_empty() {
            return true;
        }
        let now = KeyShown {
            fingerprint: fingerprint.to_owned(),
            on_the_way: on_the_way.map(str::to_owned),
        };
        let mut notes = self.asked.notes();
        let again = notes.key_shown.as_ref() == Some(&now);
        notes.key_shown = Some(now);
        again
    }

    /// The passphrase that is known for a file, the first time it is asked for: when it is asked for again, it was wrong.
    fn known_passphrase(&self, file: &Path) -> Option<Secret> {
        let tried = self
            .asked
            .notes()
            .passphrases
            .iter()
            .any(|(known, _)| known == file);
        let known = self.known.iter().find(|(known, _)| known == file && !tried);
        known.map(|(_, passphrase)| passphrase.clone())
    }

    fn note_passphrase(&self, file: &Path, passphrase: &Secret) {
        let passphrases = &mut self.asked.notes().passphrases;
        passphrases.retain(|(known, _)| known != file);
        passphrases.push((file.to_owned(), passphrase.clone()));
    }
}

/// What `ssh` wants to know, from its words.
fn question(text: &str) -> Question {
    let trimmed = text.trim();
    let kind = if trimmed.contains("yes/no") || trimmed.starts_with("Please type 'yes'") {
        QuestionKind::HostKey {
            fingerprint: super::explain::fingerprint(trimmed).unwrap_or_default(),
        }
    } else if let Some(file) = passphrase_file(trimmed) {
        QuestionKind::Passphrase { file }
    } else if trimmed.ends_with("'s password:") {
        QuestionKind::Password
    } else {
        QuestionKind::Other
    };
    Question {
        echo: matches!(kind, QuestionKind::HostKey { .. }),
        kind,
        text: trimmed.to_owned(),
    }
}

/// Whose key is asked about: `The authenticity of host 'NAME (ADDRESS)' can't be established.`
fn whose(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("authenticity of host '")?;
    let name = rest.split(['(', '\'']).next()?.trim();
    (!name.is_empty()).then_some(name)
}

/// `Enter passphrase for key '/home/me/.ssh/id_ed25519':`
fn passphrase_file(text: &str) -> Option<PathBuf> {
    let rest = text.strip_prefix("Enter passphrase for ")?;
    let rest = rest.strip_prefix("key ").unwrap_or(rest);
    let file = rest.trim_end_matches(':').trim_matches('\'');
    file.starts_with('/').then(|| PathBuf::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_apart() {
        let host_key = "The authenticity of host '[127.0.0.1]:2222 ([127.0.0.1]:2222)' can't be established.\n\
            ED25519 key fingerprint is SHA256:abc+/09.\nThis key is not known by any other names.\n\
            Are you sure you want to continue connecting (yes/no/[fingerprint])? ";
        let kinds = [
            (
                host_key,
                QuestionKind::HostKey {
                    fingerprint: "SHA256:abc+/09".to_owned(),
                },
            ),
            (
                "Enter passphrase for key '/home/me/.ssh/a b': ",
                QuestionKind::Passphrase {
                    file: "/home/me/.ssh/a b".into(),
                },
            ),
            ("me@host's password: ", QuestionKind::Password),
            ("(me@host) Verification code: ", QuestionKind::Other),
            (
                "Enter PIN for ED25519-SK key /home/me/.ssh/id: ",
                QuestionKind::Other,
            ),
        ];
        assert_eq!(whose(host_key), Some("[127.0.0.1]:2222"));
        let through = "The authenticity of host 'far (<no hostip for proxy command>)' can't be established.";
        assert_eq!(whose(through), Some("far"));
        assert_eq!(whose("Please type 'yes', 'no' or the fingerprint: "), None);
        for (text, kind) in kinds {
            assert_eq!(question(text).kind, kind, "{text}");
        }
    }
}
