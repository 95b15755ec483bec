//! Starts the server, keeps one control client on it, and publishes which sessions there are and who looks at them.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fs::File,
    io::{self, Seek as _, Write as _},
    pin::Pin,
    process::{Output, Stdio},
    sync::{Arc, Weak},
    time::Duration,
};

use outlast_client::socket::is_served;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::{
    process::Command,
    sync::{Mutex, Notify, watch},
    time::timeout,
};

use super::{Client, Error, Place, conf, quote::Commands, version};
use crate::{scope, service::SessionConfig};

/// The session to which the control client attaches and into which every window is linked.
const KEEPER: &str = "keeper";

/// How long a short tmux process may take.
const PROCESS_WITHIN: Duration = Duration::from_secs(10);

/// How often starting is tried. A server that is just ending can still hold the socket, which a later attempt finds gone:
/// as a rule the second, on a machine that is very busy one that comes half a second later.
const ATTEMPTS: u32 = 10;

/// Time between two attempts: a server ends within a few milliseconds.
const BETWEEN: Duration = Duration::from_millis(50);

/// What of our own environment the server gets, besides everything that begins with `LC_` or `XDG_`.
const KEPT: &[&str] = &[
    "HOME", "PATH", "LANG", "LANGUAGE", "SHELL", "USER", "LOGNAME", "TZ", "TZDIR",
];

/// Which sessions there are, as last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// A server runs and we are connected to it.
    pub up: bool,
    /// How many clients are attached to each session, by the session's tmux name.
    pub sessions: HashMap<String, u32>,
}

/// The tmux of one owner on this machine.
#[derive(Debug)]
pub struct Tmux {
    place: Place,
    sessions: SessionConfig,
    scope: bool,
    client: Mutex<Option<Client>>,
    view: watch::Sender<View>,
    /// Held while looking, so that an older view is never published after a newer one.
    looking: Mutex<()>,
    myself: Weak<Self>,
}

impl Tmux {
    /// A tmux whose socket and configuration are at `place`. Nothing is started.
    #[must_use]
    pub fn new(place: Place, sessions: SessionConfig, scope: bool) -> Arc<Self> {
        Arc::new_cyclic(|myself| Self {
            place,
            sessions,
            scope,
            client: Mutex::default(),
            view: watch::Sender::new(View::default()),
            looking: Mutex::default(),
            myself: Weak::clone(myself),
        })
    }

    /// The sessions there are, now and whenever that changes. It says nothing until [`Tmux::connect`] or
    /// [`Tmux::reach`] was called.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// The installed version.
    ///
    /// # Errors
    /// When tmux is missing, does not answer or is too old.
    pub async fn version(&self) -> (Option<String>, Result<(), version::Problem>) {
        let mut command = tmux();
        command.arg("-V");
        let Ok(output) = finish(command).await else {
            return (None, Err(version::missing()));
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let found = text
            .trim()
            .strip_prefix("tmux ")
            .unwrap_or(text.trim())
            .to_owned();
        let checked = version::check(&found).map(drop);
        (Some(found), checked)
    }

    /// A tmux process on our server, with nothing but the arguments that lead to it. `-N` is given: it never starts one.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = tmux();
        command.arg("-N");
        self.address(&mut command);
        command
    }

    /// A tmux process on our server that is to be a client on a terminal. It takes the terminal for one that understands
    /// UTF-8 only when told so.
    #[must_use]
    pub fn client_command(&self, utf8: bool) -> Command {
        let mut command = tmux();
        command.args(["-N", "-S"]).arg(&self.place.socket);
        command.arg("-f").arg(&self.place.conf).current_dir("/");
        if utf8 {
            command.arg("-u");
        } else {
            // From these tmux would gather what our own terminal understands.
            for name in ["LANG", "LC_ALL", "LC_CTYPE"] {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a short tmux process on our server and answers with what it printed.
    ///
    /// # Errors
    /// [`Error::Refused`] with tmux's words, [`Error::Gone`] when no server runs or it does not answer.
    pub async fn process<I, S>(&self, arguments: I) -> Result<Vec<u8>, Error>
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        self.process_given(Stdio::null(), arguments).await
    }

    /// As [`Tmux::process`], with this as its standard input. All of that is there before the process is, so that it never
    /// takes a part for the whole, whatever becomes of us.
    ///
    /// # Errors
    /// As with [`Tmux::process`].
    pub async fn process_reading<I, S>(&self, input: &[u8], arguments: I) -> Result<Vec<u8>, Error>
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let given = held(input).map_err(|error| Error::Start(error.to_string()))?;
        self.process_given(given.into(), arguments).await
    }

    async fn process_given<I, S>(&self, input: Stdio, arguments: I) -> Result<Vec<u8>, Error>
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        if !self.listens() {
            return Err(Error::Gone);
        }
        let mut command = self.command();
        command.args(arguments.into_iter().map(Into::into)).stdin(input);
        let output = finish(command).await.map_err(|_error| Error::Gone)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(Error::Refused(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }

    /// The control client, on a server that is started where none runs.
    ///
    /// # Errors
    /// When tmux is missing or too old, or cannot be started.
    pub async fn connect(&self) -> Result<Client, Error> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.has_ended()) {
            return Ok(client.clone());
        }
        self.version().await.1.map_err(Error::Unusable)?;
        let mut failed = Error::Gone;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(BETWEEN).await;
            }
            let connected = async {
                if !self.listens() {
                    self.start().await?;
                }
                self.control().await
            };
            match connected.await {
                Ok(client) => {
                    *slot = Some(client.clone());
                    return Ok(client);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The control client, if a server runs. None: none runs.
    ///
    /// # Errors
    /// When one runs but cannot be spoken to.
    pub async fn reach(&self) -> Result<Option<Client>, Error> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.has_ended()) {
            return Ok(Some(client.clone()));
        }
        if !self.listens() {
            return Ok(None);
        }
        let client = self.control().await?;
        *slot = Some(client.clone());
        Ok(Some(client))
    }

    /// Whether the server of this client is ending: it has let go of all sessions and may still answer for a moment. The
    /// client is ended then, so that the next [`Tmux::connect`] looks for another server.
    pub async fn is_ending(&self, client: &Client) -> bool {
        let Ok(question) = Commands::one(["has-session", "-t", &format!("={KEEPER}")]) else {
            return false;
        };
        let ending = matches!(client.run(question).await, Err(Error::Refused(_) | Error::Gone));
        if ending {
            client.end();
        }
        ending
    }

    /// Looks again at which sessions there are and publishes it.
    pub async fn refresh(&self) {
        let client = self.client.lock().await.clone();
        if let Some(client) = client.filter(|client| !client.has_ended()) {
            self.look(&client).await;
        }
    }

    /// Whether somebody listens on the socket.
    fn listens(&self) -> bool {
        is_served(&self.place.socket)
    }

    fn address(&self, command: &mut Command) {
        command
            .arg("-u")
            .arg("-S")
            .arg(&self.place.socket)
            .arg("-f")
            .arg(&self.place.conf);
    }

    /// Starts a server. Its command line is to be seen by everybody for as long as it lives, so nothing stands there.
    async fn start(&self) -> Result<(), Error> {
        let file = conf::file(&conf::commands(&self.sessions)?);
        self.place
            .write_conf(&file)
            .map_err(|error| Error::Start(error.to_string()))?;
        let scoped = self.scope && scope::is_possible();
        for scoped in [true, false].into_iter().filter(|&with| !with || scoped) {
            let mut command = if scoped {
                scope::command("tmux".as_ref())
            } else {
                Command::new("tmux")
            };
            clean(&mut command);
            self.address(&mut command);
            command.arg("start-server").current_dir("/");
            match finish(command).await {
                Ok(output) if output.status.success() => return Ok(()),
                // Better in our own scope than not at all.
                Ok(output) if scoped => {
                    tracing::warn!(
                        "systemd-run: {}",
                        String::from_utf8_lossy(&output.stderr).escape_debug()
                    );
                }
                Ok(output) => {
                    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    return Err(Error::Start(text));
                }
                Err(error) if !scoped => return Err(Error::Start(error.to_string())),
                Err(error) => tracing::warn!("systemd-run: {error}"),
            }
        }
        Err(Error::Gone)
    }

    /// Starts a control client, attached to the keeper, and the task that follows it.
    async fn control(&self) -> Result<Client, Error> {
        let mut command = self.command();
        // The keeper's own program ends at once; its pane stays, and costs no process.
        command
            .args(["-C", "new-session", "-A", "-s", KEEPER, "-x", "80", "-y", "24"])
            .args(["-f", "no-output,ignore-size", "--", "/bin/sh", "-c", ":"])
            .current_dir("/");
        let client = Client::start(command).map_err(|error| Error::Start(error.to_string()))?;
        for command in conf::commands(&self.sessions)? {
            if let Err(error) = client.run(command).await {
                // An option that a later tmux no longer has must not cost the session.
                match error {
                    Error::Refused(text) => tracing::warn!("tmux refused a setting: {text}"),
                    other => return Err(other),
                }
            }
        }
        self.look(&client).await;
        if client.has_ended() {
            return Err(Error::Gone);
        }
        tokio::spawn(follow(
            Weak::clone(&self.myself),
            client.on_end(),
            client.changed(),
        ));
        Ok(client)
    }

    async fn look(&self, client: &Client) {
        let _alone = self.looking.lock().await;
        let format = "#{session_name} #{session_attached}";
        let Ok(list) = Commands::one(["list-sessions", "-F", format]) else {
            return;
        };
        let Ok(replies) = client.run(list).await else {
            return;
        };
        let lines = replies.iter().flat_map(|reply| &reply.lines);
        let sessions = lines
            .filter_map(|line| {
                let (name, attached) = std::str::from_utf8(line).ok()?.split_once(' ')?;
                Some((name.to_owned(), attached.parse().ok()?))
            })
            .filter(|(name, _)| name != KEEPER)
            .collect();
        self.publish(View { up: true, sessions });
    }

    fn publish(&self, view: View) {
        self.view.send_if_modified(|old| {
            let new = *old != view;
            *old = view;
            new
        });
    }
}

/// Keeps the view true for as long as a control client lives, and finds a new one when only the client ended. Boxed,
/// because finding a new one starts this anew.
fn follow(
    tmux: Weak<Tmux>,
    ended: impl Future<Output = ()> + Send + 'static,
    changed: Arc<Notify>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        tokio::pin!(ended);
        loop {
            tokio::select! {
                () = changed.notified() => match tmux.upgrade() {
                    Some(tmux) => tmux.refresh().await,
                    None => return,
                },
                () = &mut ended => break,
            }
        }
        let Some(tmux) = tmux.upgrade() else { return };
        if !matches!(tmux.reach().await, Ok(Some(_))) {
            tmux.publish(View::default());
        }
    })
}

fn tmux() -> Command {
    let mut command = Command::new("tmux");
    clean(&mut command);
    command
}

/// Leaves only what a tmux needs of our environment. `TMUX` is not among it, nor any secret.
fn clean(command: &mut Command) {
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    for (name, value) in env::vars_os() {
        let text = name.to_string_lossy();
        if KEPT.contains(&&*text) || text.starts_with("LC_") || text.starts_with("XDG_") {
            command.env(name, value);
        }
    }
}

/// Bytes as a file in memory, which nobody else sees.
fn held(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Runs a short process to its end.
async fn finish(mut command: Command) -> io::Result<Output> {
    let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "tmux does not answer");
    timeout(PROCESS_WITHIN, command.output()).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listener_that_takes_nobody_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert!(!is_served(&path));
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 2).unwrap();
        let (done, over) = std::sync::mpsc::channel();
        let asked = path.clone();
        std::thread::spawn(move || done.send((0..10).all(|_| is_served(&asked))));
        assert_eq!(over.recv_timeout(Duration::from_secs(30)), Ok(true));
        drop(listener);
        assert!(!is_served(&path));
    }
}
