//! What the keys have done.

use outlast_client::v1::{
    CancelJobRequest, InterruptSessionRequest, Keys, SendSessionRequest, StopSessionRequest,
    send_session_request::Input,
};

use super::input::{Deed, In};
use crate::{
    context::{Context, request_id},
    error::Result,
};

/// Does it, and says what came of it.
pub async fn perform(ctx: &Context, deed: Deed) -> In {
    match attempt(ctx, deed).await {
        Ok(outcome) => In::Done(outcome),
        Err(failure) => In::failed(failure).unwrap_or_else(|_| In::Failed("it failed".to_owned(), None)),
    }
}

async fn attempt(ctx: &Context, deed: Deed) -> Result<String> {
    match deed {
        Deed::Send { id, name, text } => {
            // Nothing typed is Enter, which is what many a question waits for.
            let (input, enter) = if text.is_empty() {
                (
                    Input::Keys(Keys {
                        keys: vec!["Enter".to_owned()],
                    }),
                    false,
                )
            } else {
                (Input::Text(text), true)
            };
            let request = SendSessionRequest {
                request_id: request_id(),
                session: id,
                input: Some(input),
                enter,
                raw: false,
            };
            ctx.call(request, |daemon, request| async move {
                daemon.sessions().send_session(request).await
            })
            .await?;
            Ok(format!("sent to session {name}"))
        }
        Deed::Interrupt { id, name } => {
            let request = InterruptSessionRequest {
                request_id: request_id(),
                session: id,
            };
            ctx.call(request, |daemon, request| async move {
                daemon.sessions().interrupt_session(request).await
            })
            .await?;
            Ok(format!("session {name} was sent Ctrl-C"))
        }
        Deed::Stop { id, name } => {
            let request = StopSessionRequest {
                request_id: request_id(),
                session: id,
                grace: None,
            };
            let answer = ctx
                .call(request, |daemon, request| async move {
                    daemon.sessions().stop_session(request).await
                })
                .await?;
            Ok(ending("session", &name, "stopped", answer.already_ended))
        }
        Deed::Cancel { id, name } => {
            let request = CancelJobRequest {
                request_id: request_id(),
                job: id,
                grace: None,
            };
            let answer = ctx
                .call(request, |daemon, request| async move {
                    daemon.jobs().cancel_job(request).await
                })
                .await?;
            Ok(ending("job", &name, "cancelled", answer.already_ended))
        }
    }
}

fn ending(noun: &str, name: &str, done: &str, already: bool) -> String {
    if already {
        format!("{noun} {name} had ended before")
    } else {
        format!("{noun} {name} is being {done}")
    }
}
