//! Commands and their output by the marks around them and by what was sent. Pure.

use std::{ops::Range, sync::Arc};

use super::sends::Echo;

/// A mark, or that something was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Where it begins in the log.
    pub(super) at: u64,
    /// Offset behind it. Of what was sent: behind its echo.
    pub(super) end: u64,
    pub(super) what: What,
}

/// What is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A prompt begins.
    Prompt,
    /// It has ended, and the command begins.
    Command {
        /// Where that ends and where what it prints begins, in a shell that does not mark it.
        line: Option<Range<u64>>,
    },
    /// What the command is, as the shell says.
    Line {
        /// The command.
        text: Arc<str>,
    },
    /// The command runs, and its output begins.
    Output {
        /// The command, as the shell says.
        given: Option<Arc<str>>,
    },
    /// It has ended.
    End {
        /// Its exit code.
        exit_code: Option<i32>,
    },
    /// Text was sent.
    Sent {
        /// When.
        at_ms: i64,
        /// Where it was shown. Absent: it was not, as passwords are not.
        echo: Option<Echo>,
    },
}

/// A command with what it printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it was shown, from where it was typed or sent on.
    pub(super) command: Range<u64>,
    /// What it is, where the shell says so.
    pub(super) given: Option<Arc<str>>,
    /// What was typed at the prompt it comes from. Absent: that is not known.
    pub(super) typed: Option<Typed>,
    /// The echo of what was sent, if it is one of that.
    pub(super) echo: Option<Echo>,
    /// What it printed.
    pub(super) output: Range<u64>,
    pub(super) exit_code: Option<i32>,
    /// When it was sent.
    pub(super) sent_ms: Option<i64>,
    /// It stands between marks.
    pub(super) marked: bool,
    /// It has ended.
    pub(super) is_over: bool,
    /// Where it was shown is not known: that may stand before the first event.
    pub(super) guessed: bool,
    /// Whether what was sent before it was sent at a marked prompt is not known: no mark stands before it.
    pub(super) unsure: bool,
}

/// What was typed or pasted at one prompt. Several commands may come of it: a shell that was given several lines at once runs
/// one after the other, with marks around each, and asks for no more meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    /// Where it was shown.
    pub(super) shown: Range<u64>,
    /// Where, if it was sent.
    pub(super) echo: Option<Echo>,
    /// Which of its commands it is.
    pub(super) number: usize,
    /// It is the last of them.
    pub(super) is_last: bool,
    /// Where it began may be something else.
    unsure: bool,
}

impl Event {
    /// Memory that it takes, bytes.
    pub(super) fn size(&self) -> usize {
        let text = match &self.what {
            What::Line { text } => Some(text),
            What::Output { given } => given.as_ref(),
            What::Prompt | What::Command { .. } | What::End { .. } | What::Sent { .. } => None,
        };
        size_of::<Self>() + text.map_or(0, |text| text.len())
    }
}

impl Block {
    /// Id of the command.
    pub(super) fn id(&self) -> u64 {
        self.command.start
    }

    /// Id of what it printed, which stands between those of the command and of whatever comes next: within the mark before it,
    /// or, of what was sent, where nothing else may begin.
    pub(super) fn output_id(&self) -> u64 {
        if self.marked {
            self.output.start - 1
        } else {
            self.command.start + 1
        }
    }
}

/// Where a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing is known.
    Unmarked,
    /// At a prompt; the command begins here, if that is known.
    Prompt(Option<u64>),
    /// In what a command prints.
    Output,
}

/// The commands that begin at these events, in order. `whole`: nothing comes before them. What has no end goes on to `end`.
///
/// What is sent while a marked command runs is a command within it; that goes on to its own end.
pub(super) fn of(events: &[Event], whole: bool, end: u64) -> Vec<Block> {
    let mut reader = Reader {
        blocks: Vec::new(),
        marked: None,
        sent: None,
        at: before(events, whole),
        taken: 0,
        known: whole,
        placed: whole,
        given: None,
        asked: None,
        line: None,
        typed: None,
        is_marked: false,
    };
    for event in events {
        reader.run_line(event.at);
        reader.read(event);
    }
    reader.run_line(end);
    reader.close_sent(end, false);
    reader.close_marked(end, None, false);
    reader.blocks
}

/// Where the log stands before the first of these events: the first mark tells, but one that tells what a command is, which shells
/// make anywhere.
fn before(events: &[Event], whole: bool) -> At {
    let first = events
        .iter()
        .find(|event| !matches!(event.what, What::Sent { .. } | What::Line { .. }));
    match first.map(|event| &event.what) {
        Some(What::Command { .. } | What::Output { .. }) if !whole => At::Prompt(None),
        Some(What::End { .. }) => At::Output,
        _ => At::Unmarked,
    }
}

struct Reader {
    blocks: Vec<Block>,
    /// The block between marks that has no end yet.
    marked: Option<usize>,
    /// The last block, if it is one of what was sent and has no end yet.
    sent: Option<Sent>,
    at: At,
    /// Behind the last thing that was sent, with its id and that of what it printed.
    taken: u64,
    /// A mark has told where the log stands.
    known: bool,
    /// There was a mark, or there is none.
    placed: bool,
    /// The command that comes, as the shell says.
    given: Option<Arc<str>>,
    /// What was sent at this prompt.
    asked: Option<Sent>,
    /// Where what was typed at this prompt will have ended, if no mark tells.
    line: Option<Range<u64>>,
    /// What was typed at the last prompt, once the first command of it ran, and the block of its last command.
    typed: Option<(Typed, usize)>,
    /// A mark told where that began.
    is_marked: bool,
}

/// Something that was sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: u64,
    at_ms: i64,
    /// The terminal showed it.
    is_shown: bool,
    /// Where, unless it is more than one.
    echo: Option<Echo>,
}

impl Reader {
    fn read(&mut self, event: &Event) {
        if let What::Sent { at_ms, echo } = event.what {
            let sent = Sent {
                at: event.at,
                at_ms,
                is_shown: echo.is_some(),
                echo,
            };
            self.send(sent, event.end);
            return;
        }
        let late = self.close_sent(event.at, true).or(self.asked);
        let placed = self.placed;
        self.placed |= !matches!(event.what, What::Line { .. });
        // The end of another command may be told again where this one begins.
        self.known |= match event.what {
            What::Prompt | What::Command { .. } => true,
            What::End { .. } => self.marked.is_some(),
            What::Line { .. } | What::Output { .. } | What::Sent { .. } => false,
        };
        match &event.what {
            What::Prompt => {
                self.close_marked(event.at, None, true);
                // Where the end of the prompt is marked, only that says that it was asked for more.
                if !self.is_marked {
                    self.end_typed();
                }
                self.enter(At::Prompt(None), late.filter(|late| !late.is_shown));
            }
            What::Command { line } => {
                self.line.clone_from(line);
                self.close_marked(event.at, None, true);
                self.end_typed();
                // A prompt that is drawn again is the same one.
                self.at = At::Prompt(Some(event.end));
                self.asked = late;
            }
            What::Line { text } => self.given = Some(text.clone()),
            What::Output { given } => {
                self.asked = late;
                self.line = None;
                self.begin(event.at..event.end, given.clone(), !placed);
            }
            // A shell may say it again right before the next command, which it has not asked for then.
            What::End { .. } if self.marked.is_none() && matches!(self.at, At::Prompt(_)) => {
                self.asked = late;
            }
            What::End { exit_code } => {
                self.close_marked(event.at, *exit_code, true);
                self.enter(At::Prompt(None), late.filter(|late| !late.is_shown));
            }
            What::Sent { .. } => {}
        }
    }

    fn send(&mut self, sent: Sent, end: u64) {
        // At a prompt that is marked the shell tells more.
        if let At::Prompt(_) = self.at {
            self.asked = Some(match self.asked {
                Some(first) => Sent {
                    at: first.at,
                    is_shown: first.is_shown || sent.is_shown,
                    echo: None,
                    ..sent
                },
                None => sent,
            });
            return;
        }
        // It was sent before the log had what was sent before, and belongs to that.
        if sent.at < self.taken {
            return;
        }
        self.taken = end.max(sent.at + 2);
        self.close_sent(sent.at, false);
        let end = end.max(sent.at);
        self.blocks.push(Block {
            command: sent.at..end,
            output: end..end,
            echo: sent.echo,
            sent_ms: Some(sent.at_ms),
            unsure: !self.placed,
            ..Block::default()
        });
        self.sent = Some(sent);
    }

    /// What was sent and is not shown yet, `late`, belongs to what comes.
    fn enter(&mut self, at: At, late: Option<Sent>) {
        self.at = at;
        self.given = None;
        self.asked = late;
    }

    /// What was typed at the prompt runs now, if it does at this offset.
    fn run_line(&mut self, at: u64) {
        if let Some(line) = self.line.take_if(|line| line.end <= at) {
            self.begin(line, None, false);
            // It is all that was typed there.
            self.end_typed();
        }
    }

    /// A command ends and what it prints begins there.
    fn begin(&mut self, mark: Range<u64>, given: Option<Arc<str>>, unsure: bool) {
        self.close_marked(mark.start, None, true);
        let (marked, from) = match self.at {
            At::Prompt(marked) => (marked, marked.or(self.asked.map(|sent| sent.at))),
            At::Unmarked | At::Output => (None, None),
        };
        let from = from.map(|from| from.min(mark.start));
        if from.is_some() {
            self.end_typed();
            self.is_marked = marked.is_some();
        }
        let number = self.blocks.len();
        self.typed = match (from, self.typed.take()) {
            (Some(from), _) => Some(Typed {
                shown: from..mark.start,
                echo: self.asked.and_then(|sent| sent.echo),
                number: 0,
                is_last: false,
                unsure: unsure || !self.known,
            }),
            // Another one of what was typed there.
            (None, Some((typed, _))) => Some(Typed {
                number: typed.number + 1,
                ..typed
            }),
            (None, None) => None,
        }
        .map(|typed| (typed, number));
        self.marked = Some(number);
        self.blocks.push(Block {
            command: from.unwrap_or(mark.start)..mark.start,
            given: given.or(self.given.take()),
            typed: self.typed.as_ref().map(|(typed, _)| typed.clone()),
            output: mark.end..mark.end,
            sent_ms: self.asked.map(|sent| sent.at_ms),
            marked: true,
            guessed: !self.known,
            unsure: unsure || self.typed.as_ref().is_some_and(|(typed, _)| typed.unsure),
            ..Block::default()
        });
        self.known = true;
        self.enter(At::Output, None);
    }

    /// What was typed at the last prompt has been run.
    fn end_typed(&mut self) {
        let last = self.typed.take();
        let block = last.and_then(|(_, number)| self.blocks.get_mut(number));
        if let Some(typed) = block.and_then(|block| block.typed.as_mut()) {
            typed.is_last = true;
        }
    }

    /// What was sent last ends here. What a mark ends that comes before anything of it was sent for what comes behind that, and
    /// is given back.
    fn close_sent(&mut self, at: u64, by_mark: bool) -> Option<Sent> {
        let sent = self.sent.take()?;
        let is_late = by_mark && at < sent.at + 2;
        if is_late {
            self.blocks.pop();
            return Some(sent);
        }
        let block = self.blocks.last_mut()?;
        block.is_over = by_mark;
        block.output.end = at.max(block.output.start);
        None
    }

    /// The marked block ends here.
    fn close_marked(&mut self, at: u64, exit_code: Option<i32>, is_over: bool) {
        let block = self.marked.take().and_then(|number| self.blocks.get_mut(number));
        let Some(block) = block else {
            return;
        };
        block.exit_code = exit_code;
        block.is_over = is_over;
        block.output.end = at.max(block.output.start);
    }
}

#[cfg(test)]
mod tests;
