//! A session's screen, and typing into it.

use outlast_client::helper_v1::{
    CaptureSessionRequest, CaptureSessionResponse, Cursor, SendSessionRequest, SendSessionResponse, Size,
};
use std::time::Duration;

use tokio::time::timeout;
use tonic::Status;

use super::{
    Core, apart,
    error::{check_id, failed, no_key, no_screen, not_found, tmux, usage, wrong_state},
    paste::{self, Pasted},
    settle::{pane, tmux_name},
    signs::answered,
};
use crate::{
    spool::{Dir, State},
    tmux::{Client, Error, keys::is_key, quote::Commands},
};

/// How long tmux may take for one request, all its steps together: a bit less than people's programs wait for an
/// answer, so that they hear who it is that does not answer.
const WITHIN: Duration = Duration::from_secs(8);

/// Most lines of scrollback in one answer.
const HISTORY_MAX: u32 = 1_000_000;

/// Bytes in one `send-keys -H`. tmux's work grows with the square of their number; at this size and below it is a
/// microsecond or two a byte.
const HEX_BATCH: usize = 64;

/// Bytes in one `send-keys -l`.
const TEXT_BATCH: usize = 4096;

/// Bytes of commands in one line: enough that the round trips do not count.
const LINE: usize = 16 << 10;

/// Most keys in one request.
const KEYS_MAX: usize = 4096;

/// Columns and rows of a pane, where its cursor is and whether that is shown, and whether the screen is the alternate one.
const FACTS: &str = "#{pane_width} #{pane_height} #{cursor_x} #{cursor_y} #{cursor_flag} #{alternate_on}";

/// What a screen looks like.
struct Shown {
    /// The numbers of [`FACTS`], as tmux writes them.
    facts: Vec<u8>,
    /// Each line with a newline.
    screen: Vec<u8>,
}

/// What the screen shows.
pub(super) async fn capture(
    core: &Core,
    request: &CaptureSessionRequest,
) -> Result<CaptureSessionResponse, Status> {
    check_id(&request.id)?;
    if !core.root.session(&request.id).exists() {
        return Err(not_found("session", &request.id));
    }
    let mut asked = None;
    let shown = match timeout(WITHIN, shown(core, request, &mut asked)).await {
        Ok(Ok(shown)) => shown,
        Ok(Err(Error::Gone | Error::Refused(_))) => return Err(no_screen(&request.id)),
        Ok(Err(other)) => return Err(tmux(other)),
        Err(_elapsed) => {
            // One that does not see the end of its answer takes all others for more of it.
            asked.as_ref().inspect(|client| client.end());
            return Err(tmux(Error::Gone));
        }
    };
    let facts = std::str::from_utf8(&shown.facts).unwrap_or_default();
    let facts: Vec<Option<u32>> = facts
        .split(' ')
        .map(|word| word.trim_end().parse().ok())
        .collect();
    let fact = |at: usize| facts.get(at).copied().flatten();
    let size = fact(0).zip(fact(1));
    let cursor = fact(2).zip(fact(3)).zip(fact(4));
    Ok(CaptureSessionResponse {
        screen: shown.screen.into(),
        size: size.map(|(columns, rows)| Size { columns, rows }),
        cursor: cursor.map(|((x, y), shown)| Cursor {
            x,
            y,
            visible: shown != 0,
        }),
        alternate: fact(5) == Some(1),
        // Who reads plain screens does so by the second.
        title: if request.ansi {
            title(&core.root.session(&request.id))
        } else {
            String::new()
        },
    })
}

/// The title that the present run gave its terminal. What tmux has where none was given is the name of the machine.
fn title(dir: &Dir) -> String {
    let run = dir.read_report().ok().flatten().map(|report| report.run);
    let told = dir.read_terminal().ok().flatten();
    told.filter(|told| Some(told.run) == run)
        .map(|told| told.title)
        .unwrap_or_default()
}

/// Asks for it, and keeps in `asked` the control client that is to answer. The screen alone goes over that one, which
/// takes a fraction of the time of a process. Scrollback can be long, and would keep others waiting there.
async fn shown(
    core: &Core,
    request: &CaptureSessionRequest,
    asked: &mut Option<Client>,
) -> Result<Shown, Error> {
    if request.history_lines == 0 {
        let client = core.tmux.reach().await?.ok_or(Error::Gone)?;
        let shown = ask(asked.insert(client), request).await;
        *asked = None;
        match shown {
            Ok(Some(shown)) => return Ok(shown),
            // The screen is too large for it, or it ended, which says nothing about the server.
            Ok(None) | Err(Error::Gone) => {}
            Err(other) => return Err(other),
        }
    }
    run(core, request).await
}

/// Asks the control client. None: the screen is larger than what it keeps of a reply.
async fn ask(client: &Client, request: &CaptureSessionRequest) -> Result<Option<Shown>, Error> {
    let id = &request.id;
    let target = pane(id);
    let capture = [&["capture-pane", "-p", "-t", &target][..], &looks(request)].concat();
    // First of all whether it is there: the second does not fail when it is not, and the third must not fail.
    let commands = Commands::one(["has-session", "-t", &format!("={}", tmux_name(id))])?
        .then(["display-message", "-p", "-t", &target, FACTS])?
        .then(capture)?
        .fenced();
    let mut replies = client.run(commands).await?.into_iter().skip(1);
    let (Some(facts), Some(screen)) = (replies.next(), replies.next()) else {
        return Err(Error::Gone);
    };
    if screen.cut {
        return Ok(None);
    }
    // Every line of it ends in a newline, as in what a process prints.
    let mut text = screen.lines.join(&b'\n');
    text.push(b'\n');
    Ok(Some(Shown {
        facts: facts.lines.into_iter().next().unwrap_or_default(),
        screen: text,
    }))
}

/// Asks with a process of its own.
async fn run(core: &Core, request: &CaptureSessionRequest) -> Result<Shown, Error> {
    let target = pane(&request.id);
    let start = format!("-{}", request.history_lines.min(HISTORY_MAX));
    let mut arguments = vec!["display-message", "-p", "-t", &target, FACTS, ";"];
    arguments.extend(["capture-pane", "-p", "-t", &target]);
    arguments.extend(looks(request));
    if request.history_lines > 0 {
        arguments.extend(["-S", &start]);
    }
    let mut facts = core.tmux.process(arguments).await?;
    let line = facts.iter().position(|&byte| byte == b'\n');
    let screen = line.map(|at| facts.split_off(at + 1)).unwrap_or_default();
    facts.truncate(line.unwrap_or(facts.len()));
    Ok(Shown { facts, screen })
}

/// What is wanted of the looks of a screen, in words of tmux.
fn looks(request: &CaptureSessionRequest) -> Vec<&'static str> {
    let flags = [(request.ansi, "-e"), (request.blanks, "-N")];
    flags
        .into_iter()
        .filter_map(|(wanted, flag)| wanted.then_some(flag))
        .collect()
}

/// Types bytes, then presses keys.
pub(super) async fn send(core: &Core, request: SendSessionRequest) -> Result<SendSessionResponse, Status> {
    check_id(&request.id)?;
    let id = &request.id;
    if request.keys.len() > KEYS_MAX {
        return Err(usage(format!("more than {KEYS_MAX} keys in one request")));
    }
    if let Some(unknown) = request.keys.iter().find(|key| !is_key(key)) {
        let shown: String = unknown.chars().take(40).collect();
        return Err(no_key(&shown));
    }
    let dir = core.root.session(id);
    if !dir.exists() {
        return Err(not_found("session", id));
    }
    let sent = timeout(WITHIN, send_to(core, &dir, &request)).await;
    sent.map_err(|_elapsed| tmux(Error::Gone))?
}

async fn send_to(
    core: &Core,
    dir: &Dir,
    request: &SendSessionRequest,
) -> Result<SendSessionResponse, Status> {
    let id = &request.id;
    let _alone = core.sessions.lock(id).await;
    let state = dir.state(None).map_err(|error| failed(&error))?;
    let State::Running(report) = state else {
        return Err(nothing_runs(id));
    };
    let Some(client) = core.tmux.reach().await.map_err(tmux)? else {
        return Err(no_screen(id));
    };
    let log_offset = dir.log_len();
    let mut answered_ms = answered::mark(dir);
    let mut typist = Typist {
        client,
        target: pane(id),
        batch: Commands::default(),
    };
    let typed = async {
        if request.paste && !request.text.is_empty() {
            let pasted = paste::paste(&core.tmux, id, &request.text).await?;
            if pasted == Pasted::NothingRuns {
                return Ok(pasted);
            }
        } else {
            typist.type_text(&request.text).await?;
        }
        if !request.text.is_empty() && !request.keys.is_empty() && apart::is_needed(&report) {
            apart::wait(dir, log_offset).await;
            // What was seen until now was seen before the answer.
            answered_ms = answered::mark(dir);
        }
        typist.press(&request.keys).await?;
        Ok(Pasted::Whole)
    };
    let typed = typed.await;
    match typed {
        Ok(Pasted::NothingRuns) => Err(nothing_runs(id)),
        Ok(Pasted::Whole) => Ok(SendSessionResponse {
            log_offset,
            answered_ms,
        }),
        Err(Error::Refused(text)) if text.contains("can't find") => Err(no_screen(id)),
        Err(other) => Err(tmux(other)),
    }
}

/// Its program has ended.
fn nothing_runs(id: &str) -> Status {
    let message = format!("nothing runs in session {id} that could be typed to");
    wrong_state(id, message, "start it again: outlast session restart")
}

/// Collects commands into lines and sends them in order.
struct Typist {
    client: Client,
    target: String,
    batch: Commands,
}

impl Typist {
    async fn type_text(&mut self, text: &[u8]) -> Result<(), Error> {
        let target = self.target.clone();
        self.reach_program().await?;
        for part in parts(text) {
            match part {
                Part::Plain(text) => {
                    self.then(&[b"send-keys", b"-t", target.as_bytes(), b"-l", b"--", text])
                        .await?;
                }
                Part::Raw(bytes) => {
                    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    let mut words: Vec<&[u8]> = vec![b"send-keys", b"-t", target.as_bytes(), b"-H"];
                    words.extend(hex.iter().map(String::as_bytes));
                    self.then(&words).await?;
                }
            }
        }
        self.flush().await
    }

    async fn press(&mut self, keys: &[String]) -> Result<(), Error> {
        let target = self.target.clone();
        self.reach_program().await?;
        for keys in keys.chunks(HEX_BATCH) {
            let mut words: Vec<&[u8]> = vec![b"send-keys", b"-t", target.as_bytes(), b"--"];
            words.extend(keys.iter().map(String::as_bytes));
            self.then(&words).await?;
        }
        self.flush().await
    }

    /// A viewer who scrolls back would otherwise get what is meant for the program.
    async fn reach_program(&mut self) -> Result<(), Error> {
        let target = self.target.clone();
        self.then(&[b"copy-mode", b"-q", b"-t", target.as_bytes()]).await
    }

    async fn then(&mut self, words: &[&[u8]]) -> Result<(), Error> {
        self.batch = std::mem::take(&mut self.batch).then(words)?;
        if self.batch.line().len() >= LINE {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.batch);
        if batch.count() > 0 {
            self.client.run(batch).await?;
        }
        Ok(())
    }
}

/// A piece of what is typed.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Printable ASCII, which tmux takes quickly as text.
    Plain(&'a [u8]),
    /// Anything else. As text tmux would read UTF-8 with its own idea of it, so it gets every byte by number.
    Raw(&'a [u8]),
}

fn parts(text: &[u8]) -> impl Iterator<Item = Part<'_>> {
    text.chunk_by(|left, right| is_plain(*left) == is_plain(*right))
        .flat_map(|run| {
            let plain = run.first().is_some_and(|&byte| is_plain(byte));
            run.chunks(if plain { TEXT_BATCH } else { HEX_BATCH })
                .map(move |piece| {
                    if plain {
                        Part::Plain(piece)
                    } else {
                        Part::Raw(piece)
                    }
                })
        })
}

fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_its_kind_changes_and_nothing_is_lost() {
        let text = "ab\r\u{1b}[Aé~".as_bytes();
        let cut: Vec<_> = parts(text).collect();
        assert_eq!(
            cut,
            [
                Part::Plain(b"ab"),
                Part::Raw(b"\r\x1b"),
                Part::Plain(b"[A"),
                Part::Raw("é".as_bytes()),
                Part::Plain(b"~"),
            ]
        );
        let long = vec![0; 1000];
        assert!(parts(&long).all(|part| matches!(part, Part::Raw(bytes) if bytes.len() <= HEX_BATCH)));
        assert_eq!(parts(b"").count(), 0);
    }
}
