//! A connection made before somebody's eyes: the steps go to the client, and so do the questions, whose answers come back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use outlast_client::v1::{
    Answer, CheckEnd, CheckHostRequest, CheckHostResponse, CheckOpen, CheckStep, Error, ErrorKind,
    Question as QuestionMessage, QuestionKind as Kind, check_host_request::Event as In,
    check_host_response::Event as Out,
};
use outlast_model::host::Link;
use outlast_transport::{
    ask::{Asked, QuestionKind, Secret},
    connect::{Step, Trust},
};
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

use super::{Check, Host, agent::Agent, attempt};
use crate::{
    app::App,
    rpc::{
        convert,
        host::{message, not_connected, unknown_host},
        relay,
        status::failure,
    },
};

/// Questions under way: they are asked one after the other.
const QUESTIONS: usize = 4;

/// How long the host may take to show its key.
const TRUST_WITHIN: Duration = Duration::from_secs(10);

/// Longest answer, bytes: far beyond any passphrase.
const ANSWER_MAX: usize = 4096;

type Answers = mpsc::Sender<Result<CheckHostResponse, Status>>;

/// Serves one check to its end.
pub async fn serve(app: Arc<App>, input: Streaming<CheckHostRequest>, answers: Answers) {
    let shutdown = app.shutdown.clone();
    let work = async {
        let end = serve_one(&app, input, &answers).await?;
        Ok(out(Out::End(end)))
    };
    relay::to_the_end(&shutdown, &answers, work).await;
}

fn out(event: Out) -> CheckHostResponse {
    CheckHostResponse { event: Some(event) }
}

async fn serve_one(
    app: &App,
    mut input: Streaming<CheckHostRequest>,
    answers: &Answers,
) -> Result<CheckEnd, Status> {
    let open = |message: CheckHostRequest| match message.event {
        Some(In::Open(open)) => Some(open),
        _ => None,
    };
    let open = relay::opening(&mut input, "a check begins with `open`", open).await?;
    let host = app
        .hosts
        .get(&open.host)
        .ok_or_else(|| unknown_host(&open.host))?;
    let (steps, mut told) = Check::steps();
    let (questions, mut asked) = mpsc::channel::<Asked>(QUESTIONS);
    let (done, mut over) = oneshot::channel();
    let check = Check {
        anew: open.anew,
        trust: trust_of(&open),
        questions: open.interactive.then_some(questions),
        steps,
        done,
    };
    if host.is_local() {
        look_here(&host, check).await;
    } else if host.check(check).await.is_none() {
        return Err(unknown_host(&open.host).into());
    }
    let mut waiting: HashMap<u32, oneshot::Sender<Option<Secret>>> = HashMap::new();
    let mut number = 0;
    let mut listening = true;
    let ended = loop {
        tokio::select! {
            biased;
            Some(step) = told.recv() => say(answers, Out::Step(step_message(step))).await?,
            Some(question) = asked.recv() => {
                number += 1;
                let text = question_message(number, &question);
                waiting.insert(number, question.answer);
                say(answers, Out::Question(text)).await?;
            }
            ended = &mut over => break ended,
            message = input.message(), if listening => match message? {
                Some(message) => if let Some(In::Answer(answer)) = message.event {
                    take(&mut waiting, answer)?;
                },
                // It asks nothing more and answers nothing more; what is not answered is declined.
                None => {
                    listening = false;
                    waiting.clear();
                    asked.close();
                }
            },
        }
    };
    while let Ok(step) = told.try_recv() {
        say(answers, Out::Step(step_message(step))).await?;
    }
    let mut view = host.view().borrow().clone();
    // An error of the channel means that the driver is gone; the view then says how it ended.
    let came_out = ended.unwrap_or(Ok(()));
    let ok = came_out.is_ok() && view.link == Link::Up;
    if let Err(trouble) = came_out {
        // Also where an older connection serves on.
        view.trouble = Some(trouble);
    }
    Ok(CheckEnd {
        ok,
        host: Some(message(app, &host, &view).await?),
    })
}

fn trust_of(open: &CheckOpen) -> Trust {
    match (&open.accept_key, open.accept_new) {
        (Some(fingerprint), _) => Trust::AcceptKey(fingerprint.clone()),
        (None, true) => Trust::AcceptNew,
        (None, false) => Trust::Ask,
    }
}

/// The machine the daemon runs on has no connection to make; its helper is looked at.
async fn look_here(host: &Host, check: Check) {
    host.refreshed().await;
    let steps = check.steps;
    let on_step = Arc::new(move |step: Step| {
        // A listener that does not listen misses some.
        let _told = steps.try_send(step);
    });
    let found = attempt::look(&host.client(), &(on_step as outlast_transport::connect::OnStep)).await;
    // Whoever asked may have gone.
    let _gone = check.done.send(found.map(drop).map_err(super::Trouble::helper));
}

async fn say(answers: &Answers, event: Out) -> Result<(), Status> {
    let sent = answers.send(Ok(out(event))).await;
    sent.map_err(|_gone| Status::cancelled("the client went away"))
}

fn step_message(step: Step) -> CheckStep {
    CheckStep {
        step: step.name.to_owned(),
        took: Some(convert::exact(step.took)),
        ok: step.ok,
        message: step.message,
    }
}

fn question_message(id: u32, asked: &Asked) -> QuestionMessage {
    let (kind, fingerprint) = match &asked.question.kind {
        QuestionKind::HostKey { fingerprint } => (Kind::HostKey, Some(fingerprint.clone())),
        QuestionKind::Passphrase { .. } => (Kind::Passphrase, None),
        QuestionKind::Password => (Kind::Password, None),
        QuestionKind::Other => (Kind::Unspecified, None),
    };
    QuestionMessage {
        id,
        kind: kind.into(),
        text: asked.question.text.clone(),
        echo: asked.question.echo,
        fingerprint,
    }
}

fn take(waiting: &mut HashMap<u32, oneshot::Sender<Option<Secret>>>, answer: Answer) -> Result<(), Status> {
    if answer.text.as_ref().is_some_and(|text| text.len() > ANSWER_MAX) {
        let error = Error::new(
            ErrorKind::Usage,
            format!("an answer has at most {ANSWER_MAX} bytes"),
        );
        return Err(error.into_status());
    }
    if let Some(reply) = waiting.remove(&answer.id) {
        // The attempt may have ended without it.
        let _gone = reply.send(answer.text.map(Secret::new));
    }
    Ok(())
}

/// Takes the key that a host shows now for its own, if it has this fingerprint, and connects. The files that changed.
///
/// # Errors
/// When the host shows another key, cannot be reached, or is not reached by ssh.
pub async fn trust(host: &Host, agent: &Agent, fingerprint: &str) -> Result<Vec<String>, Error> {
    let name = host.name();
    let Some(outlast_transport::route::Route::Ssh(route)) = host
        .record()
        .map(|record| attempt::transport_route(&record.route))
    else {
        let text = format!("host {name} is not reached by ssh, so it has no key to trust");
        return Err(Error::new(ErrorKind::Usage, text).about(name));
    };
    let agent = agent.socket();
    let changed = outlast_transport::trust(&route, agent.as_deref(), fingerprint, TRUST_WITHIN).await;
    let changed = changed.map_err(|error| {
        let trouble = super::Trouble::connecting(name, error);
        let kind = if trouble.link.is_stuck() {
            ErrorKind::Unauthenticated
        } else {
            ErrorKind::Unreachable
        };
        let told = Error::new(kind, trouble.message).about(name);
        match trouble.hint {
            Some(hint) => told.with_hint(hint),
            None => told,
        }
    })?;
    let (steps, _nobody) = Check::steps();
    let (done, over) = oneshot::channel();
    let check = Check {
        anew: false,
        trust: Trust::Ask,
        questions: None,
        steps,
        done,
    };
    host.check(check)
        .await
        .ok_or_else(|| failure(unknown_host(name)))?;
    // An error means that the driver is gone; the view then says how it ended.
    let _ended = over.await;
    let view = host.view().borrow().clone();
    if view.link.is_stuck() {
        return Err(not_connected(name, &view));
    }
    let shown = |path: std::path::PathBuf| path.display().to_string();
    Ok(changed.into_iter().map(shown).collect())
}
