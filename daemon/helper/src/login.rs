//! The environment a user has after logging in on this host, as the start files of their login shell make it. It is read
//! once and kept: start files can take seconds, and nobody is to pay for them at every command.
//!
//! Refuses to guess: where it cannot be read, programs get the helper's own environment, and [`Login::problem`] says why.

mod answer;
mod clean;
mod read;

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::answer::print;
use crate::{facts, program::Environment, sys};

/// After this time, a login environment that could not be read is tried for again when it is wanted: what hung may hang
/// no more, and a connection lives for weeks.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The login environment of this user.
#[derive(Debug)]
pub(crate) struct Login {
    shell: PathBuf,
    helper_program: PathBuf,
    tasks: TaskTracker,
    leaving: CancellationToken,
    reading: Mutex<Option<watch::Receiver<Option<Arc<Known>>>>>,
}

/// What came of reading it.
#[derive(Debug)]
struct Known {
    read: Result<Environment, String>,
    at: Instant,
}

impl Login {
    /// Nothing is read yet. `shell` is used in place of the one the password database names; the reading is one of
    /// `tasks` and is given up when `leaving` is cancelled.
    pub(crate) fn new(
        shell: Option<PathBuf>,
        helper_program: PathBuf,
        tasks: TaskTracker,
        leaving: CancellationToken,
    ) -> Self {
        Self {
            shell: shell.unwrap_or_else(facts::shell),
            helper_program,
            tasks,
            leaving,
            reading: Mutex::default(),
        }
    }

    /// The login shell.
    pub(crate) fn shell(&self) -> &Path {
        &self.shell
    }

    /// What a login begins with: our own environment less what is nobody's business, with what every login has.
    pub(crate) fn beginning(&self) -> Environment {
        let mut env = clean::beginning(env::vars_os());
        let user = sys::user();
        let home = user.as_ref().map(|user| user.home.clone());
        let name = user.map(|user| user.name);
        for (variable, value) in [
            ("HOME", home.map(PathBuf::into_os_string)),
            ("USER", name.clone().map(Into::into)),
            ("LOGNAME", name.map(Into::into)),
            ("PATH", Some(clean::DEFAULT_PATH.into())),
        ] {
            if let Some(value) = value {
                env.entry(variable.into()).or_insert(value);
            }
        }
        env.insert("SHELL".into(), self.shell.clone().into());
        env
    }

    /// The login environment for something that outlives this connection: nothing of the connection is in it. Waits
    /// until it is read.
    pub(crate) async fn lasting(&self) -> Environment {
        let beginning = self.beginning();
        clean::lasting(self.read().await.unwrap_or_else(|| beginning.clone()), &beginning)
    }

    /// The login environment for something that ends with this connection. Waits until it is read.
    pub(crate) async fn passing(&self) -> Environment {
        let beginning = self.beginning();
        let env = self.lasting().await;
        clean::with_connection(env, &beginning)
    }

    /// Why the login environment could not be read, as far as is known now.
    pub(crate) fn problem(&self) -> Option<String> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let known = reading.as_ref()?.borrow().clone();
        known?.read.as_ref().err().cloned()
    }

    /// Starts reading, unless that was done. Inside a tokio runtime.
    pub(crate) fn begin(&self) {
        drop(self.reading());
    }

    async fn read(&self) -> Option<Environment> {
        let mut reading = self.reading();
        // No answer is that of a helper that leaves.
        let known = reading.wait_for(Option::is_some).await.ok()?.clone();
        known?.read.as_ref().ok().cloned()
    }

    fn reading(&self) -> watch::Receiver<Option<Arc<Known>>> {
        // It is whole after every single operation on it.
        let mut slot = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = slot.as_ref() {
            let again = reading
                .borrow()
                .as_ref()
                .is_some_and(|known| known.read.is_err() && known.at.elapsed() >= AGAIN_AFTER);
            if !again {
                return reading.clone();
            }
        }
        let (sender, receiver) = watch::channel(None);
        let question = read::Question {
            shell: self.shell.clone(),
            helper_program: self.helper_program.clone(),
            env: self.beginning(),
            leaving: self.leaving.clone(),
        };
        self.tasks.spawn(async move {
            let read = question.ask().await;
            if let Err(problem) = &read {
                if question.leaving.is_cancelled() {
                    return;
                }
                tracing::warn!("{problem}");
            }
            let at = Instant::now();
            sender.send_replace(Some(Arc::new(Known { read, at })));
        });
        *slot = Some(receiver.clone());
        receiver
    }
}
