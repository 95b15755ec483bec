//! Text that goes to a program in one piece, as a terminal pastes it: between brackets where the program asked for them.
//!
//! Whether it asked only tmux knows, and tells no older version; but all of them can paste by it.

use std::{
    borrow::Cow,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use memchr::memmem;
use tokio::time::timeout;

use super::settle::pane;
use crate::tmux::{Error, Tmux, quote::Commands};

/// How long tmux may take for it: less than whoever asks for it waits, who hears then what came of it.
const WITHIN: Duration = Duration::from_secs(7);

/// What tmux prints where nothing runs in the pane.
const DEAD: &str = "dead";

/// What ends the brackets, in both forms of its first character that there are in UTF-8.
const ENDS: [&[u8]; 2] = [b"\x1b[201~", "\u{9b}201~".as_bytes()];

/// What a program is given for that first character: the picture of an escape.
const PICTURE: &[u8] = "\u{241b}".as_bytes();

/// What came of a paste.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pasted {
    /// The program was given all of it.
    Whole,
    /// No program has the pane any more, and none was given anything.
    NothingRuns,
}

/// Pastes into a session. It is seen to the end, also when whoever wants it waits no longer: nothing of the text is to stay
/// in tmux.
pub(super) async fn paste(tmux: &Arc<Tmux>, id: &str, text: &[u8]) -> Result<Pasted, Error> {
    let tmux = Arc::clone(tmux);
    let id = id.to_owned();
    let text = harmless(text).into_owned();
    let task = tokio::spawn(async move { load_and_paste(&tmux, &id, &text).await });
    task.await.map_err(|_ended| Error::Gone)?
}

/// The text goes through the standard input of a process: a control client cannot read any, and a command line of tmux
/// takes no zero byte. It lies in a buffer of tmux no longer than until it is pasted.
///
/// All that is to be known of the pane tmux looks at between the loading, which takes a while, and the pasting, where
/// nothing can come in between.
async fn load_and_paste(tmux: &Tmux, id: &str, text: &[u8]) -> Result<Pasted, Error> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let buffer = format!("o-{id}-{}-{number}", process::id());
    let target = pane(id);
    let drop_it = Commands::one(["delete-buffer", "-b", &buffer])?.then(["display-message", "-p", DEAD])?;
    let paste_it = Commands::one(["paste-buffer", "-d", "-p", "-b", &buffer, "-t", &target])?;
    let words = [
        &["load-buffer", "-b", &buffer, "-", ";"][..],
        // A viewer who scrolls back would otherwise get what is meant for the program, without the brackets.
        &["copy-mode", "-q", "-t", &target, ";"],
        // A server that is to paste where no program is crashes, and all sessions with it.
        &["if-shell", "-F", "-t", &target, "#{pane_dead}"],
        &[drop_it.line(), paste_it.line()],
    ]
    .concat();
    let done = timeout(WITHIN, tmux.process_reading(text, words)).await;
    match done.unwrap_or(Err(Error::Gone)) {
        Ok(said) if said.starts_with(DEAD.as_bytes()) => Ok(Pasted::NothingRuns),
        Ok(_nothing) => Ok(Pasted::Whole),
        Err(error) => {
            // Mostly there is none: whatever failed did so before.
            let _ = tmux.process(["delete-buffer", "-b", &buffer]).await;
            Err(error)
        }
    }
}

/// The text with one byte for each line end, and with nothing in it that would end the brackets: what follows would be
/// typed then, by whoever wrote the text.
fn harmless(text: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(text);
    if memmem::find(&text, b"\r\n").is_some() {
        text = replaced(&text, b"\r\n", b"\n").into();
    }
    for end in ENDS {
        if memmem::find(&text, end).is_some() {
            let picture = [PICTURE, end.strip_prefix(b"\x1b").unwrap_or(b"201~")].concat();
            text = replaced(&text, end, &picture).into();
        }
    }
    text
}

fn replaced(text: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut new = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memmem::find_iter(text, what) {
        new.extend_from_slice(&text[from..at]);
        new.extend_from_slice(by);
        from = at + what.len();
    }
    new.extend_from_slice(&text[from..]);
    new
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{service::SessionConfig, tmux::Place};

    fn of(text: &str) -> String {
        String::from_utf8(harmless(text.as_bytes()).into_owned()).unwrap()
    }

    /// A tmux of its own, that ends with it.
    struct Server {
        tmux: Arc<Tmux>,
        place: Place,
        _dir: tempfile::TempDir,
    }

    impl Server {
        fn new() -> Self {
            let dir = tempfile::tempdir_in("/tmp").unwrap();
            let place = Place::choose(dir.path()).unwrap();
            let config = SessionConfig {
                history_limit: 100,
                user_copy_mode_keys: false,
            };
            Self {
                tmux: Tmux::new(place.clone(), config, false),
                place,
                _dir: dir,
            }
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let mut tmux = process::Command::new("tmux");
            let _ = tmux.arg("-S").arg(&self.place.socket).arg("kill-server").status();
        }
    }

    #[tokio::test]
    async fn a_paste_where_nothing_runs_any_more_harms_nobody() {
        let server = Server::new();
        let tmux = &server.tmux;
        let client = tmux.connect().await.unwrap();
        let run = async |name: &str, program: &str| {
            let words = ["new-session", "-d", "-s", name, "--", "sh", "-c", program];
            client.run(Commands::one(words).unwrap()).await.unwrap();
        };
        run("o-a", "exec cat").await;
        run("o-b", ":").await;
        let asked = async |target: &str, format: &str| {
            let said = tmux
                .process(["display-message", "-p", "-t", target, format])
                .await;
            String::from_utf8(said.unwrap()).unwrap()
        };
        while asked("=o-b:", "#{pane_dead}").await != "1\n" {
            tokio::task::yield_now().await;
        }
        assert_eq!(paste(tmux, "b", b"text").await.unwrap(), Pasted::NothingRuns);
        assert_eq!(paste(tmux, "a", b"text").await.unwrap(), Pasted::Whole);
        let missing = paste(tmux, "c", b"text").await;
        assert!(
            matches!(&missing, Err(Error::Refused(text)) if text.contains("can't find")),
            "{missing:?}"
        );
        assert_eq!(tmux.process(["list-buffers"]).await.unwrap(), b"");
        assert!(!client.has_ended());
    }

    #[test]
    fn nothing_in_a_paste_ends_it() {
        assert_eq!(
            of("a\x1b[201~rm\r\nb\tc\x1b[31m"),
            "a\u{241b}[201~rm\nb\tc\x1b[31m"
        );
        assert_eq!(of("\u{9b}201~x"), "\u{241b}201~x");
        // What is left beside one that is taken out makes no new one.
        assert!(!of("\x1b\x1b[201~[201~ \x1b[20\x1b[201~1~").contains("\x1b[201~"));
    }

    #[test]
    fn other_text_is_left_alone() {
        assert!(matches!(harmless("é\n\0\x1b[200~".as_bytes()), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn no_text_ends_it(pieces in proptest::collection::vec(
            proptest::sample::select(vec!["\x1b", "[201~", "[20", "1~", "\u{9b}", "201~", "\r", "\n", "x"]), 0..40))
        {
            let text = of(&pieces.concat());
            prop_assert!(!text.contains("\x1b[201~") && !text.contains("\u{9b}201~"), "{text:?}");
        }
    }
}
