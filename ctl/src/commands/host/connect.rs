//! Connecting to a host while somebody looks: each step is told, each question is put to the person at the terminal.

use outlast_client::{
    client::ClientError,
    v1::{
        self, Answer, CheckEnd, CheckHostRequest, CheckHostResponse, CheckOpen, CheckStep, ErrorKind, Link,
        Question, QuestionKind, check_host_request::Event as Say, check_host_response::Event as Hear,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    ask,
    cli::AcceptKey,
    context::Context,
    error::{Failure, Result},
    follow::{PATIENCE, Patience, cut},
    pump::remark,
    render::escape::escape,
};

/// Messages on their way to the daemon: the opening, and one answer at a time.
const QUEUE: usize = 4;

/// The step that only says what the host can do: without tmux there are no sessions there, and it is connected all the
/// same.
const TMUX: &str = "tmux";

/// What is asked for when a host is connected to.
pub fn open(ctx: &Context, host: &str, anew: bool, accept: &AcceptKey) -> CheckOpen {
    CheckOpen {
        host: host.to_owned(),
        anew,
        accept_new: accept.accept_new,
        accept_key: accept.accept_key.clone(),
        interactive: ask::can(ctx),
    }
}

/// Connects, telling each step as it is taken, to the end of the attempt. When the connection to the daemon breaks the
/// attempt is made again; `steps` are those of the last one.
///
/// # Errors
/// When no attempt came to an end: the daemon refused, or is gone.
pub async fn connect(
    ctx: &Context,
    open: &CheckOpen,
    steps: &mut Vec<CheckStep>,
    told: impl Fn(&CheckStep) -> Result<()>,
) -> Result<CheckEnd> {
    let mut patience = Patience::new(PATIENCE);
    loop {
        steps.clear();
        match once(ctx, open, steps, &told).await? {
            Ok(end) => return Ok(end),
            Err(error) if error.can_go_on() => patience.reconnect(ctx, error).await?,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn once(
    ctx: &Context,
    open: &CheckOpen,
    steps: &mut Vec<CheckStep>,
    told: &impl Fn(&CheckStep) -> Result<()>,
) -> Result<std::result::Result<CheckEnd, ClientError>> {
    let (send, receive) = mpsc::channel(QUEUE);
    // The queue is new and has room.
    let _ = send.try_send(message(Say::Open(open.clone())));
    let daemon = ctx.daemon().await?;
    let mut hosts = daemon.hosts();
    let call = hosts.check_host(ReceiverStream::new(receive));
    let mut messages = match daemon.answer(call).await {
        Ok(messages) => messages,
        Err(error) => return Ok(Err(error)),
    };
    let mut next = None;
    loop {
        let event = match next.take() {
            Some(event) => event,
            None => match hear(&mut messages).await {
                Ok(event) => event,
                Err(error) => return Ok(Err(error)),
            },
        };
        match event {
            Hear::Step(step) => {
                told(&step)?;
                steps.push(step);
            }
            Hear::End(end) => return Ok(Ok(end)),
            Hear::Question(question) => {
                let id = question.id;
                tokio::select! {
                    text = put(&question) => {
                        let answer = Answer { id, text: text? };
                        // A call that is over says so by itself.
                        let _ = send.send(message(Say::Answer(answer))).await;
                    }
                    // Waiting was too long for the other end; what comes says so.
                    event = hear(&mut messages) => {
                        remark("\n");
                        match event {
                            Ok(event) => next = Some(event),
                            Err(error) => return Ok(Err(error)),
                        }
                    }
                }
            }
        }
    }
}

/// The next event.
async fn hear(messages: &mut Streaming<CheckHostResponse>) -> std::result::Result<Hear, ClientError> {
    loop {
        match messages.message().await {
            Ok(Some(CheckHostResponse { event: Some(event) })) => return Ok(event),
            // A message of a later protocol.
            Ok(Some(CheckHostResponse { event: None })) => {}
            Ok(None) => return Err(cut()),
            Err(status) => return Err(status.into()),
        }
    }
}

/// Puts a question to the person at the terminal. None when it is declined.
async fn put(question: &Question) -> Result<Option<String>> {
    let text = question.text.trim_end();
    match question.kind() {
        QuestionKind::HostKey => {
            let fingerprint = question.fingerprint.as_deref().unwrap_or_default();
            remark(&format!("{}\n", crate::render::escape::escape_lines(text)));
            if !text.contains(fingerprint) {
                remark(&format!("its fingerprint is {}\n", escape(fingerprint)));
            }
            loop {
                let typed = ask::line("Trust this key? (yes, no, or the fingerprint) ", true).await?;
                let Some(typed) = typed else { return Ok(None) };
                match typed.trim() {
                    "yes" => return Ok(Some("yes".to_owned())),
                    "no" => return Ok(None),
                    same if same == fingerprint && !same.is_empty() => return Ok(Some(same.to_owned())),
                    other if other.starts_with("SHA256:") => {
                        remark("that is not the fingerprint of the key it shows\n");
                    }
                    _ => remark("type yes, no, or the fingerprint\n"),
                }
            }
        }
        // Never shown, whatever is said.
        QuestionKind::Passphrase | QuestionKind::Password => ask::line(&format!("{text} "), false).await,
        QuestionKind::Unspecified => ask::line(&format!("{text} "), question.echo).await,
    }
}

/// Whether an attempt came out well: the host is connected, and no step of the attempt says otherwise. A host may be
/// connected from before.
pub fn went_well(end: &CheckEnd, steps: &[CheckStep]) -> bool {
    end.ok && first_failed(steps).is_none()
}

/// The step that is the cause of a failure.
fn first_failed(steps: &[CheckStep]) -> Option<&CheckStep> {
    steps.iter().find(|step| !step.ok && step.step != TMUX)
}

/// The failure that an attempt stands for which did not come out well: its first cause, and what helps.
pub fn failure(name: &str, steps: &[CheckStep], host: Option<&v1::Host>) -> Failure {
    let link = host.map_or(Link::Unspecified, v1::Host::link);
    let kind = match link {
        Link::AuthFailed | Link::HostkeyChanged => ErrorKind::Unauthenticated,
        _ => ErrorKind::Unreachable,
    };
    let cause = first_failed(steps)
        .map(|step| step.message.as_str())
        .filter(|message| !message.is_empty())
        .or_else(|| host.and_then(|host| host.error.as_deref()))
        .unwrap_or("no connection could be made, and nothing says why");
    let failure = Failure::new(kind, cause).about(name);
    match host.and_then(|host| host.hint.as_deref()) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn message(event: Say) -> CheckHostRequest {
    CheckHostRequest { event: Some(event) }
}
