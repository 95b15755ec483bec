//! What every command needs: the global flags, the looks of the outputs, the daemon.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io::{self, BufRead as _, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use outlast_client::{
    client::{ANSWER_WITHIN, ClientError, Daemon, Start},
    paths::Places,
    v1::Away,
};
use tonic::{Response, Status};

use crate::{
    cli::Global,
    error::{Failure, Result},
    follow::Patience,
    pump::remark,
    render::{
        away,
        escape::escape,
        json,
        people::Facts,
        style::{Style, Tone},
        table::{Table, terminal_width},
    },
};

/// How long a single call goes on trying after its connection broke.
const CALL_PATIENCE: Duration = Duration::from_secs(15);

/// What every command needs.
pub struct Context {
    pub global: Global,
    pub out: Style,
    pub err: Style,
    current: RefCell<Option<Daemon>>,
    /// Something else has the screen.
    hushed: Cell<bool>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("global", &self.global)
            .finish_non_exhaustive()
    }
}

impl Context {
    pub fn new(global: Global) -> Self {
        let out = Style::of(&io::stdout(), global.color);
        let err = Style::of(&io::stderr(), global.color);
        Self {
            global,
            out,
            err,
            current: RefCell::new(None),
            hushed: Cell::new(false),
        }
    }

    /// From now on nothing is narrated: something has the whole screen and says itself what there is to say.
    pub fn hush(&self) {
        self.hushed.set(true);
    }

    /// Where outlast keeps things.
    pub fn places(&self) -> Result<Places> {
        Places::from_env().map_err(|error| ClientError::from(error).into())
    }

    /// Whether the daemon may be started.
    pub fn start(&self) -> Start {
        if self.global.no_start {
            Start::Never
        } else {
            Start::IfNeeded
        }
    }

    /// The socket that a flag or the environment demands, as an absolute path. An empty one demands nothing.
    pub fn socket(&self) -> Option<PathBuf> {
        std::path::absolute(self.global.socket.as_ref()?).ok()
    }

    /// A fresh connection to the daemon, which becomes the one that calls use.
    pub async fn connect(&self, start: Start) -> std::result::Result<Daemon, ClientError> {
        let places = Places::from_env()?;
        let daemon = Daemon::connect(&places, self.socket().as_deref(), start).await?;
        self.current.replace(Some(daemon.clone()));
        Ok(daemon)
    }

    /// The daemon, started when that is needed and allowed.
    pub async fn daemon(&self) -> Result<Daemon> {
        let current = self.current.borrow().clone();
        if let Some(daemon) = current {
            return Ok(daemon);
        }
        match self.connect(self.start()).await {
            Ok(daemon) => Ok(daemon),
            // It was there and died in the moment of answering.
            Err(error @ ClientError::Broken(_)) => {
                Patience::new(CALL_PATIENCE).reconnect(self, error).await?;
                let back = self.current.borrow().clone();
                match back {
                    Some(daemon) => Ok(daemon),
                    None => Ok(self.connect(self.start()).await?),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes back a connection that broke.
    pub fn forget(&self) {
        self.current.replace(None);
    }

    /// One exchange with the daemon. When the connection breaks it is repeated: reading changes nothing, and what
    /// changes something carries a request id, by which a repeat gets the first answer.
    pub async fn call<Q, A, C, F>(&self, request: Q, call: C) -> Result<A>
    where
        Q: Clone,
        C: Fn(Daemon, Q) -> F,
        F: Future<Output = std::result::Result<Response<A>, Status>>,
    {
        self.call_within(ANSWER_WITHIN, request, call).await
    }

    /// As [`Context::call`], for what takes the daemon more than a look at its own state.
    pub async fn call_within<Q, A, C, F>(&self, limit: Duration, request: Q, call: C) -> Result<A>
    where
        Q: Clone,
        C: Fn(Daemon, Q) -> F,
        F: Future<Output = std::result::Result<Response<A>, Status>>,
    {
        let mut patience = Patience::new(CALL_PATIENCE);
        loop {
            let daemon = self.daemon().await?;
            match daemon
                .answer_within(limit, call(daemon.clone(), request.clone()))
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(error) if error.can_go_on() => patience.reconnect(self, error).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Narrates on stderr, unless silence or JSON is wanted.
    pub fn note(&self, text: &str) {
        if !self.global.quiet && !self.global.json && !self.hushed.get() {
            remark(&format!("{}\n", escape(text)));
        }
    }

    /// Warns on stderr.
    pub fn warn(&self, text: &str) {
        if !self.global.json {
            let word = self.err.paint(Tone::Warn, "warning:");
            remark(&format!("{word} {}\n", escape(text)));
        }
    }

    /// Says of each host that is not connected how old what is told of it is.
    pub fn note_away<'a>(&self, hosts: impl IntoIterator<Item = &'a Away>) {
        for host in hosts {
            self.note(&away::line(host));
        }
    }

    /// Prints a list: a table for people, a bare array for programs.
    pub fn list<'a, T, J>(&self, things: &'a [T], table: impl FnOnce() -> Table, empty: &str) -> Result<()>
    where
        J: serde::Serialize + From<&'a T>,
    {
        if self.global.json {
            let array: Vec<J> = things.iter().map(J::from).collect();
            return crate::pump::answer(&json::line(&array));
        }
        let table = table();
        if table.is_empty() {
            if self.out.terminal {
                self.note(empty);
            }
            return Ok(());
        }
        crate::pump::answer(&table.show(self.out, terminal_width(), ""))
    }

    /// Prints what is known about one thing.
    pub fn facts(&self, facts: &Facts) -> Result<()> {
        let width = facts.iter().map(|(name, ..)| name.len()).max().unwrap_or(0) + 2;
        let mut text = String::new();
        for (name, value, tone) in facts {
            self.out.push(&mut text, Tone::Dim, &format!("{name:width$}"));
            self.out.push(&mut text, *tone, &escape(value));
            text.push('\n');
        }
        crate::pump::answer(&text)
    }

    /// Asks before something goes. Without anybody to ask it fails, naming the flag.
    pub fn confirm(&self, question: &str) -> Result<()> {
        if self.global.yes {
            return Ok(());
        }
        if self.global.no_input || !io::stdin().is_terminal() {
            return Err(
                Failure::usage(format!("{question}: there is nobody to ask")).hint("add --yes to agree")
            );
        }
        remark(&format!("{}? [y/N] ", escape(question)));
        let mut answer = String::new();
        io::stdin()
            .lock()
            .read_line(&mut answer)
            .map_err(|error| Failure::io("reading from", "the terminal", &error))?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            Ok(())
        } else {
            remark("nothing was done\n");
            Err(Failure::Exit(1))
        }
    }

    /// Tells a failure now and keeps its exit code.
    pub fn tell(&self, failure: Failure) -> u8 {
        failure.tell(self.global.json, self.global.debug)
    }
}

/// The exit code of several doings: the first failure's.
#[derive(Debug, Default)]
pub struct FirstCode(Cell<u8>);

impl FirstCode {
    pub fn note(&self, code: u8) {
        if self.0.get() == 0 {
            self.0.set(code);
        }
    }

    pub fn get(&self) -> u8 {
        self.0.get()
    }
}

/// Does something for each of several names; each failure is told on its own, and the first one's code is returned.
pub async fn each<F>(ctx: &Context, names: &[String], mut act: impl FnMut(String) -> F) -> Result<u8>
where
    F: Future<Output = Result<()>>,
{
    let first = FirstCode::default();
    for name in names {
        match act(name.clone()).await {
            Ok(()) => {}
            Err(Failure::Closed) => return Err(Failure::Closed),
            Err(failure) => first.note(ctx.tell(failure)),
        }
    }
    Ok(first.get())
}

/// A request id: random, made once, the same for every repeat.
pub fn request_id() -> Option<String> {
    Some(uuid::Uuid::new_v4().to_string())
}
