//! What happened elsewhere, told to this terminal in the way it knows: by a sequence that makes it show a notification, and
//! that leaves the screen as it is.
//!
//! OSC 777 has a title and a body, OSC 9 one line; both are passed over by terminals that know neither. Where even that is
//! not sure (the Linux console, terminals that are none) nothing is sent. Inside tmux the sequence is for the terminal around
//! it.

use outlast_client::{text::one_line, v1::AttachNotice};

use super::seam::Seam;

/// Characters of a title, and of a body. More is shown nowhere.
const LONGEST: usize = 250;

/// Notices that may wait for the end of a sequence that another program began.
const QUEUE: usize = 4;

/// Terminals that know OSC 777, by the beginning of their names.
const KNOW_777: [&str; 6] = ["foot", "rxvt", "ghostty", "xterm-ghostty", "contour", "urxvt"];

/// Terminals that nothing is sent to, by the beginning of their names.
const KNOW_NOTHING: [&str; 6] = ["dumb", "linux", "cons25", "vt1", "vt2", "unknown"];

/// How this terminal shows a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A title and a body.
    Osc777,
    /// One line.
    Osc9,
}

/// What is to be told, and where in the output that is possible.
#[derive(Debug)]
pub struct News {
    /// Absent: not at all.
    way: Option<Way>,
    /// There is a tmux between us and the terminal.
    in_tmux: bool,
    seam: Seam,
    waiting: Vec<Vec<u8>>,
}

impl News {
    /// For the terminal that `TERM` and `TMUX` name.
    pub fn for_this_terminal() -> Self {
        let term = std::env::var("TERM").unwrap_or_default();
        let in_tmux = std::env::var_os("TMUX").is_some_and(|tmux| !tmux.is_empty());
        Self::new(way(&term), in_tmux)
    }

    const fn new(way: Option<Way>, in_tmux: bool) -> Self {
        Self {
            way,
            in_tmux,
            seam: Seam::Clear,
            waiting: Vec::new(),
        }
    }

    /// What comes from now on has nothing to do with what came before.
    pub fn anew(&mut self) {
        self.seam = Seam::Clear;
    }

    /// These bytes of the program's go to the terminal.
    pub fn passed(&mut self, bytes: &[u8]) {
        // Without a way there is nothing to wait for.
        if self.way.is_some() {
            self.seam = self.seam.after(bytes);
        }
    }

    /// Takes in what is to be told.
    pub fn add(&mut self, notice: &AttachNotice) {
        if let Some(way) = self.way
            && self.waiting.len() < QUEUE
        {
            self.waiting.push(sequence(way, self.in_tmux, notice));
        }
    }

    /// The bytes that tell it, if they may be written now.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.waiting.is_empty() || self.seam != Seam::Clear {
            return None;
        }
        Some(std::mem::take(&mut self.waiting).concat())
    }
}

fn way(term: &str) -> Option<Way> {
    let is_of = |terms: &[&str]| terms.iter().any(|known| term.starts_with(known));
    if term.is_empty() || is_of(&KNOW_NOTHING) {
        None
    } else if is_of(&KNOW_777) {
        Some(Way::Osc777)
    } else {
        Some(Way::Osc9)
    }
}

/// The sequence that tells it. It ends with BEL, which all of these terminals take, and which needs no care in tmux.
fn sequence(way: Way, in_tmux: bool, notice: &AttachNotice) -> Vec<u8> {
    let title = one_line(&notice.title, LONGEST);
    let body = one_line(&notice.body.replace('\n', "; "), LONGEST);
    let inner = match way {
        // A semicolon ends the title.
        Way::Osc777 => format!("\x1b]777;notify;{};{body}\x07", title.replace(';', ",")),
        // The first word keeps it from being taken for one of the commands that some terminals have there.
        Way::Osc9 => format!("\x1b]9;outlast: {}\x07", sentence(notice, &title, &body)),
    };
    if in_tmux {
        format!("\x1bPtmux;{}\x1b\\", inner.replace('\x1b', "\x1b\x1b")).into_bytes()
    } else {
        inner.into_bytes()
    }
}

/// All of it in one line. Older daemons leave that to us.
fn sentence(notice: &AttachNotice, title: &str, body: &str) -> String {
    if !notice.sentence.is_empty() {
        one_line(&notice.sentence, 2 * LONGEST)
    } else if body.is_empty() {
        title.to_owned()
    } else {
        format!("{title}: {body}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notice(title: &str, body: &str) -> AttachNotice {
        AttachNotice {
            title: title.to_owned(),
            body: body.to_owned(),
            sentence: String::new(),
        }
    }

    fn text(way: Way, in_tmux: bool, notice: &AttachNotice) -> String {
        String::from_utf8(sequence(way, in_tmux, notice)).unwrap()
    }

    #[test]
    fn each_terminal_gets_what_it_knows() {
        for (term, known) in [
            ("foot", Some(Way::Osc777)),
            ("xterm-ghostty", Some(Way::Osc777)),
            ("rxvt-unicode-256color", Some(Way::Osc777)),
            ("xterm-256color", Some(Way::Osc9)),
            ("tmux-256color", Some(Way::Osc9)),
            ("linux", None),
            ("dumb", None),
            ("", None),
        ] {
            assert_eq!(way(term), known, "{term}");
        }
        let asks = notice("a waits on h; b failed", "Go on?");
        assert_eq!(
            text(Way::Osc777, false, &asks),
            "\x1b]777;notify;a waits on h, b failed;Go on?\x07"
        );
        assert_eq!(
            text(Way::Osc9, true, &asks),
            "\x1bPtmux;\x1b\x1b]9;outlast: a waits on h; b failed: Go on?\x07\x1b\\"
        );
        assert_eq!(text(Way::Osc9, false, &notice("t", "")), "\x1b]9;outlast: t\x07");
        let several = AttachNotice {
            sentence: "2 sessions wait: cx (Bash), fix (Write)".to_owned(),
            ..notice("2 sessions wait: cx, fix", "cx: Bash\nfix: Write")
        };
        assert_eq!(
            text(Way::Osc9, false, &several),
            "\x1b]9;outlast: 2 sessions wait: cx (Bash), fix (Write)\x07"
        );
        assert_eq!(
            text(Way::Osc777, false, &several),
            "\x1b]777;notify;2 sessions wait: cx, fix;cx: Bash; fix: Write\x07"
        );
    }

    #[test]
    fn it_waits_for_the_end_of_what_a_program_began() {
        let mut news = News::new(Some(Way::Osc9), false);
        news.passed(b"abc\x1b[3");
        news.add(&notice("t", "b"));
        assert_eq!(news.take(), None);
        news.passed(b"1m");
        assert_eq!(news.take().as_deref(), Some(&b"\x1b]9;outlast: t: b\x07"[..]));
        assert_eq!(news.take(), None);
        let mut none = News::new(None, false);
        none.add(&notice("t", "b"));
        assert_eq!(none.take(), None);
    }

    proptest! {
        #[test]
        fn nothing_breaks_out_of_the_sequence(title in any::<String>(), body in "[\u{0}-\u{20}\u{7f}-\u{9f};a]{0,40}") {
            for way in [Way::Osc777, Way::Osc9] {
                let notice = AttachNotice {
                    sentence: body.clone(),
                    ..notice(&title, &body)
                };
                let told = text(way, false, &notice);
                let inner = &told[1..told.len() - 1];
                prop_assert!(!inner.chars().any(char::is_control), "{told:?}");
                prop_assert_eq!(Seam::default().after(told.as_bytes()), Seam::Clear);
            }
        }
    }
}
