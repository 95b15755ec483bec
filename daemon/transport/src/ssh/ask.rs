//! How the thread of a connection asks a person: through the task that waits for the connection, so that a question
//! ends when nobody waits any more.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::ask::{Asked, Question, QuestionKind, Secret};

/// How long a person may take. A host ends the connection after two minutes anyway (`LoginGraceTime`).
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Where the thread's questions go.
pub(super) struct Asking(pub(super) mpsc::Sender<Asked>);

impl Asking {
    /// Asks, and waits for the answer. None: nobody answers.
    pub(super) fn ask(&self, kind: QuestionKind, text: String, echo: bool) -> Option<Secret> {
        let (answer, heard) = oneshot::channel();
        let question = Question { kind, text, echo };
        self.0.blocking_send(Asked { question, answer }).ok()?;
        heard.blocking_recv().ok()?
    }
}

/// Passes a question of the thread's on.
pub(super) async fn pass_on(asked: Asked, to: &mpsc::Sender<Asked>) {
    let (answer, heard) = oneshot::channel();
    let ask = async {
        let question = asked.question;
        to.send(Asked { question, answer }).await.ok()?;
        heard.await.ok()?
    };
    let given = timeout(ANSWER_WITHIN, ask).await.unwrap_or_default();
    let _ = asked.answer.send(given);
}
