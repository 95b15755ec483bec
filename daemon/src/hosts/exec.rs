//! Running a program on a host for as long as a client listens: a relay between the public stream and the helper's.

use std::{sync::Arc, time::Duration};

use outlast_client::{
    helper_v1::{
        self, ExecStart, ExecTerminal, Size, exec_request::Event as Down, exec_response::Event as Up,
    },
    v1::{
        Error, ErrorKind, ExecBegun, ExecEnded, ExecHostRequest, ExecHostResponse, ExecOpen, HostTerminal,
        TerminalSize, exec_host_request::Event as In, exec_host_response::Event as Out,
    },
};
use outlast_model::admission;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Host, HostView, Link};
use crate::{
    app::App,
    refusal,
    rpc::{
        host::{not_connected, unknown_host},
        relay,
        status::failure,
    },
    specs,
};

/// Messages that may wait on the way to the helper: input waits in the client while the program does not read.
const QUEUE: usize = 8;

/// How long a host that is away is waited for. Promised: an answer within 10 s.
const REACH_WITHIN: Duration = Duration::from_secs(9);

type Answers = mpsc::Sender<Result<ExecHostResponse, Status>>;

/// Serves one program to its end.
pub async fn serve(app: Arc<App>, input: Streaming<ExecHostRequest>, answers: Answers) {
    let shutdown = app.shutdown.clone();
    let work = async {
        let end = serve_one(&app, input, &answers).await?;
        Ok(out(Out::Ended(end)))
    };
    relay::to_the_end(&shutdown, &answers, work).await;
}

fn out(event: Out) -> ExecHostResponse {
    ExecHostResponse { event: Some(event) }
}

fn down(event: Down) -> helper_v1::ExecRequest {
    helper_v1::ExecRequest { event: Some(event) }
}

async fn serve_one(
    app: &App,
    mut input: Streaming<ExecHostRequest>,
    answers: &Answers,
) -> Result<ExecEnded, Status> {
    let open = |message: ExecHostRequest| match message.event {
        Some(In::Open(open)) => Some(open),
        _ => None,
    };
    let open = relay::opening(&mut input, "an exec begins with `open`", open).await?;
    let host = app
        .hosts
        .get(&open.host)
        .ok_or_else(|| unknown_host(&open.host))?;
    let start = start(&host, open).map_err(Error::into_status)?;
    let _following = host.follow();
    reach(&host).await.map_err(Error::into_status)?;
    let (to_helper, requests) = mpsc::channel(QUEUE);
    to_helper
        .try_send(down(Down::Start(start)))
        .map_err(|_full| Status::internal("a new queue is full"))?;
    let mut client = host.client();
    let mut reports = client
        .exec(ReceiverStream::new(requests))
        .await
        .map_err(|status| broke(&host, status, false))?
        .into_inner();
    let feeding = feed(&mut input, to_helper);
    tokio::pin!(feeding);
    let mut fed = false;
    let mut begun = false;
    loop {
        tokio::select! {
            done = &mut feeding, if !fed => {
                fed = true;
                done?;
            }
            report = reports.message() => {
                let report = report.map_err(|status| broke(&host, status, begun))?;
                let answer = match report.and_then(|report| report.event) {
                    Some(Up::Started(started)) => {
                        begun = true;
                        Out::Begun(ExecBegun { pid: started.pid })
                    }
                    Some(Up::Stdout(bytes)) => Out::Stdout(bytes),
                    Some(Up::Stderr(bytes)) => Out::Stderr(bytes),
                    Some(Up::Ended(outcome)) => return Ok(ExecEnded {
                        exit_code: outcome.exit_code,
                        signal: outcome.signal,
                        reason: outcome.reason,
                    }),
                    None => {
                        let early = Status::unavailable("the stream ended early");
                        return Err(broke(&host, early, begun));
                    }
                };
                let sent = answers.send(Ok(out(answer))).await;
                sent.map_err(|_gone| Status::cancelled("the client went away"))?;
            }
        }
    }
}

/// Checks what is to run.
fn start(host: &Host, open: ExecOpen) -> Result<ExecStart, Error> {
    if open.command.is_empty() && open.terminal.is_none() {
        return Err(
            Error::new(ErrorKind::Usage, "no command was given").with_hint("put the command after --")
        );
    }
    let env = if host.is_local() {
        specs::environment(open.base_env, open.env)
    } else {
        open.env.into_iter().collect()
    };
    let program = admission::Program {
        command: &open.command,
        cwd: open.cwd.as_deref(),
        env: env
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
    };
    program.check().map_err(|denial| refusal::denied(&denial, None))?;
    let terminal = open.terminal.map(terminal).transpose()?;
    Ok(ExecStart {
        command: open.command,
        cwd: open.cwd.unwrap_or_default(),
        env: env.into_iter().collect(),
        login: !host.is_local(),
        terminal,
    })
}

fn terminal(terminal: HostTerminal) -> Result<ExecTerminal, Error> {
    let size = size(terminal.size.unwrap_or_default())?;
    let term = Some(terminal.term).filter(|term| !term.is_empty());
    Ok(ExecTerminal {
        size: Some(size),
        term: term.unwrap_or_else(|| "xterm-256color".to_owned()),
    })
}

fn size(size: TerminalSize) -> Result<Size, Error> {
    let (columns, rows) = admission::terminal_size((size.columns, size.rows))
        .map_err(|denial| refusal::denied(&denial, None))?;
    Ok(Size {
        columns: columns.into(),
        rows: rows.into(),
    })
}

/// Waits a while for a host that is away.
///
/// # Errors
/// When it does not come, or only a person can mend it.
pub async fn reach(host: &Host) -> Result<(), Error> {
    if host.is_up() {
        return Ok(());
    }
    let mut view = host.view();
    let (stuck, before) = {
        let view = view.borrow();
        (view.link.is_stuck(), view.generation)
    };
    if !stuck {
        host.nudge();
        // Another failure is an answer too: whoever is refused now need not wait.
        let failed = |view: &HostView| view.link == Link::Backoff && view.generation > before;
        let there = view.wait_for(|view| view.link == Link::Up || view.link.is_stuck() || failed(view));
        // In time or not, the view says how it is.
        let _late = tokio::time::timeout(REACH_WITHIN, there).await;
    }
    let now = host.view().borrow().clone();
    if now.link == Link::Up {
        Ok(())
    } else {
        Err(not_connected(host.name(), &now))
    }
}

/// Passes the client's input on until it has no more. The helper hears of the end by the end of the queue.
async fn feed(
    input: &mut Streaming<ExecHostRequest>,
    to_helper: mpsc::Sender<helper_v1::ExecRequest>,
) -> Result<(), Status> {
    while let Some(message) = input.message().await? {
        let event = match message.event {
            Some(In::Stdin(bytes)) => Down::Stdin(bytes),
            Some(In::StdinEof(_)) => Down::StdinEof(true),
            Some(In::Signal(number)) => Down::Signal(number),
            Some(In::Resize(to)) => Down::Size(size(to).map_err(Error::into_status)?),
            Some(In::Open(_)) => {
                return Err(Error::new(ErrorKind::Usage, "the program runs already").into_status());
            }
            // A field of a later version.
            None => continue,
        };
        if to_helper.send(down(event)).await.is_err() {
            // The helper's side has ended and says so itself.
            return Ok(());
        }
    }
    Ok(())
}

/// What a broken stream means to somebody whose program was to run there. `begun`: it was told to run.
fn broke(host: &Host, status: Status, begun: bool) -> Status {
    let error = failure(status);
    if error.kind() != ErrorKind::Unreachable {
        return error.into_status();
    }
    let name = host.name();
    let became = if begun {
        "what ran there was ended"
    } else {
        "nothing is known to have been started"
    };
    Error::new(
        ErrorKind::Unreachable,
        format!("the connection to host {name} broke; {became}"),
    )
    .with_hint(format!(
        "outlast run --host {name} -- CMD runs what outlives connections"
    ))
    .about(name)
    .into_status()
}
