//! Attachments: a pty with a tmux client on it, piped through two streams.
//!
//! The tmux client lives no longer than the stream. What it shows is passed on as it comes, through a bounded queue; a
//! viewer that does not read holds up its own tmux client and nobody else.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use outlast_client::helper_v1::{
    AttachSessionRequest, AttachSessionResponse, AttachStart, attach_session_request, attach_session_response,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Child, sync::mpsc, time::timeout};
use tonic::{Status, Streaming};

use super::{
    Answers, Core,
    error::{broken, check_id, failed, no_screen, not_found, tmux, usage},
    settle::{settle, tmux_name},
    signs::answered::{self, Typing},
};
use crate::{
    pty::{self, Pty, Size},
    spool::{Dir, State},
    tmux::{Error, quote::Commands, terminfo},
    watch::Watch,
};

/// How long the first message may take, and tmux to say whether there is a screen.
const START_WITHIN: Duration = Duration::from_secs(8);

/// Bytes of output in one message: tmux writes a whole screen at once.
const CHUNK: usize = 32 << 10;

/// Messages of output under way.
const QUEUE: usize = 4;

/// How long a tmux client may take to leave when it was told to, and again when it was hung up.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

type Sender = mpsc::Sender<Result<AttachSessionResponse, Status>>;

/// Opens an attachment.
pub(super) async fn attach(
    core: Arc<Core>,
    mut input: Streaming<AttachSessionRequest>,
) -> Result<Answers<AttachSessionResponse>, Status> {
    let first = timeout(START_WITHIN, input.message())
        .await
        .map_err(|_elapsed| usage("nothing was asked for"))??;
    let Some(attach_session_request::Event::Start(start)) = first.and_then(|first| first.event) else {
        return Err(usage("the first message must say which session is meant"));
    };
    check_id(&start.id)?;
    let size = start.size.unwrap_or_default();
    let size = Size::new(size.columns, size.rows)
        .ok_or_else(|| usage("the size is none that a terminal can have"))?;
    let dir = core.root.session(&start.id);
    if !dir.exists() {
        return Err(not_found("session", &start.id));
    }
    let watch = core.watcher.watch(dir.path()).map_err(|error| failed(&error))?;
    let there = timeout(START_WITHIN, check_screen(&core, &start.id)).await;
    there.map_err(|_elapsed| tmux(Error::Gone))??;
    let (pty, child) = spawn(&core, &start, size)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let attachment = Attachment {
        core,
        types: !start.read_only,
        id: start.id,
        dir,
        pty: Arc::new(pty),
        child,
    };
    let tasks = attachment.core.tasks.clone();
    tasks.spawn(attachment.run(input, watch, sender));
    Ok(Answers::new(receiver))
}

async fn check_screen(core: &Core, id: &str) -> Result<(), Status> {
    let Some(client) = core.tmux.reach().await.map_err(tmux)? else {
        return Err(no_screen(id));
    };
    let target = format!("={}", tmux_name(id));
    let question = Commands::one(["has-session", "-t", &target]).map_err(|error| tmux(error.into()))?;
    match client.run(question).await {
        Ok(_) => Ok(()),
        Err(Error::Refused(_)) => Err(no_screen(id)),
        Err(other) => Err(tmux(other)),
    }
}

fn spawn(core: &Core, start: &AttachStart, size: Size) -> Result<(Pty, Child), Status> {
    let term = terminfo::first_known(&[&start.term, "xterm-256color", "xterm", "screen", "vt100"]);
    let mut command = core.tmux.client_command(start.utf8);
    command.env("TERM", term).args(["attach-session", "-t"]);
    command.arg(format!("={}", tmux_name(&start.id)));
    if start.read_only {
        command.arg("-r");
    }
    pty::spawn(&mut command, size).map_err(|error| broken(format!("opening a terminal: {error}")))
}

struct Attachment {
    core: Arc<Core>,
    id: String,
    dir: Dir,
    /// What is typed there reaches the program.
    types: bool,
    pty: Arc<Pty>,
    child: Child,
}

/// Why an attachment ends.
enum Over {
    /// The tmux client ended.
    Closed,
    /// The viewer wants to leave, or the program ended: tmux is asked to let go, which restores the viewer's terminal.
    Detach,
    /// The viewer is gone.
    HungUp,
}

impl Attachment {
    async fn run(mut self, input: Streaming<AttachSessionRequest>, watch: Watch, to: Sender) {
        let showing = tokio::spawn(show(Arc::clone(&self.pty), to.clone()));
        let (detach, mut detached) = mpsc::channel(1);
        let answers = self.types.then(|| self.dir.clone());
        let typing = tokio::spawn(handle(input, Arc::clone(&self.pty), answers, detach));
        tokio::pin!(showing);
        let over = tokio::select! {
            _ = &mut showing => Over::Closed,
            () = to.closed() => Over::HungUp,
            wanted = detached.recv() => if wanted.is_some() { Over::Detach } else { Over::HungUp },
            () = self.program_ended(watch) => Over::Detach,
        };
        match over {
            Over::Closed => {}
            Over::Detach => {
                self.let_go().await;
                // It shows what there still is, and ends the terminal by leaving.
                if timeout(LEAVE_WITHIN, &mut showing).await.is_err() {
                    self.hang_up();
                }
            }
            Over::HungUp => self.hang_up(),
        }
        typing.abort();
        if timeout(LEAVE_WITHIN, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        showing.abort();
        // tmux of 3.2 does not say that a client left.
        self.core.tmux.refresh().await;
        if !matches!(over, Over::HungUp) {
            let over = matches!(self.dir.state(None), Ok(State::Ended(..) | State::Lost { .. }));
            say(&to, attach_session_response::Event::Ended(over)).await;
        }
    }

    /// Returns when the program ended and its last words are on the screen.
    async fn program_ended(&self, mut watch: Watch) {
        // Whoever attaches to the screen of a program that had ended wants to see it: only an end from now on counts.
        let mut ran = false;
        loop {
            match self.dir.state(None) {
                Ok(State::Starting | State::Running(_)) => ran = true,
                Ok(state @ State::Ended(..)) if ran => {
                    match settle(&self.core, &self.id, &self.dir, state).await {
                        Ok(State::Ended(..)) | Err(_) => return,
                        // It was started again meanwhile.
                        Ok(_) => {}
                    }
                }
                Ok(State::Lost { .. }) if ran => return,
                // A directory that cannot be read for a moment changes nothing about the screen.
                Ok(_) | Err(_) => {}
            }
            watch.changed().await;
        }
    }

    /// Has tmux let go of this client. With a command to end in it says nothing on the viewer's screen.
    async fn let_go(&self) {
        let detach = Commands::one(["detach-client", "-t", &self.pty.name, "-E", "exit 0"]);
        let told = match (detach, self.core.tmux.reach().await) {
            (Ok(detach), Ok(Some(client))) => client.run(detach).await.is_ok(),
            _ => false,
        };
        if !told {
            // Not known to tmux yet, or tmux is gone.
            self.hang_up();
        }
    }

    fn hang_up(&self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // Ours until it is collected, so the number is its own.
            let _ = kill_process(pid, Signal::HUP);
        }
    }
}

async fn say(to: &Sender, event: attach_session_response::Event) -> bool {
    to.send(Ok(AttachSessionResponse { event: Some(event) }))
        .await
        .is_ok()
}

/// Passes on what the tmux client shows, until it closes the terminal.
async fn show(pty: Arc<Pty>, to: Sender) {
    let mut buffer = BytesMut::zeroed(CHUNK);
    let mut opened = false;
    while let Ok(count @ 1..) = pty.read(&mut buffer).await {
        if !std::mem::replace(&mut opened, true)
            && !say(&to, attach_session_response::Event::Opened(true)).await
        {
            return;
        }
        let output = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        if !say(&to, attach_session_response::Event::Output(output)).await {
            return;
        }
    }
}

/// Handles what the viewer sends, until it leaves. When the stream breaks, the sender is dropped without a word. Answers
/// are noted in this directory.
async fn handle(
    mut input: Streaming<AttachSessionRequest>,
    pty: Arc<Pty>,
    answers: Option<Dir>,
    detach: mpsc::Sender<()>,
) {
    let mut typing = Typing::default();
    while let Ok(Some(request)) = input.message().await {
        match request.event {
            Some(attach_session_request::Event::Input(bytes)) => {
                if let Some(dir) = answers.as_ref().filter(|_| typing.answers(&bytes)) {
                    answered::mark(dir);
                }
                // When the tmux client is gone, that is noticed where its output is read.
                let _ = pty.master.write_all(&bytes).await;
            }
            Some(attach_session_request::Event::Size(size)) => {
                if let Some(size) = Size::new(size.columns, size.rows) {
                    // A terminal that is gone needs no size.
                    let _ = pty.resize(size);
                }
            }
            Some(attach_session_request::Event::Detach(true)) => {
                let _ = detach.send(()).await;
                std::future::pending::<()>().await;
            }
            _ => {}
        }
    }
}
