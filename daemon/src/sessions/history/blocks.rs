//! Commands and their output by the marks around them and by what was sent. Pure.

use std::{ops::Range, sync::Arc};

/// A mark, or that something was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Where it begins in the log.
    pub(super) at: u64,
    /// Offset behind it. Of what was sent: behind the line of the log that it stands in, as far as that was looked for.
    pub(super) end: u64,
    pub(super) what: What,
}

/// What is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A prompt begins.
    Prompt,
    /// It has ended, and the command begins.
    Command,
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
        /// It stands in the line in which something was sent before: the log is behind what is typed, so that the echo of
        /// both comes behind both.
        joined: bool,
    },
}

/// A command with what it printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it was shown. Of one that was sent: from where on; its line begins there.
    pub(super) command: Range<u64>,
    /// What it is, where the shell says so.
    pub(super) given: Option<Arc<str>>,
    /// What it printed. Of one that was sent: from where it was sent on, its own line included.
    pub(super) output: Option<Range<u64>>,
    pub(super) exit_code: Option<i32>,
    /// When it was sent.
    pub(super) sent_ms: Option<i64>,
    /// It stands between marks.
    pub(super) marked: bool,
    /// It has ended.
    pub(super) is_over: bool,
    /// Where it was shown is not known: that may stand before the first event.
    pub(super) guessed: bool,
}

impl Event {
    /// Memory that it takes, bytes.
    pub(super) fn size(&self) -> usize {
        let text = match &self.what {
            What::Line { text } => Some(text),
            What::Output { given } => given.as_ref(),
            What::Prompt | What::Command | What::End { .. } | What::Sent { .. } => None,
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
        match &self.output {
            Some(output) if self.marked => output.start - 1,
            _ => self.command.start + 1,
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
        typed: None,
        at: before(events, whole),
        behind: 0,
        known: whole,
        given: None,
        sent: None,
    };
    for event in events {
        reader.read(event);
    }
    reader.close_typed(end, false);
    reader.close_marked(end, None, false);
    reader.blocks
}

/// Where the log stands before the first of these events: the first mark tells.
fn before(events: &[Event], whole: bool) -> At {
    let first = events
        .iter()
        .find(|event| !matches!(event.what, What::Sent { .. }));
    match first.map(|event| &event.what) {
        Some(What::Command | What::Line { .. } | What::Output { .. }) if !whole => At::Prompt(None),
        Some(What::End { .. }) => At::Output,
        _ => At::Unmarked,
    }
}

struct Reader {
    blocks: Vec<Block>,
    /// The block between marks that has no end yet.
    marked: Option<usize>,
    /// The last block, if it is one of what was sent and has no end yet, and what began it.
    typed: Option<Typed>,
    at: At,
    /// Behind the last mark.
    behind: u64,
    /// A mark has told where the log stands.
    known: bool,
    /// The command that comes, as the shell says.
    given: Option<Arc<str>>,
    /// What was sent at this prompt.
    sent: Option<Typed>,
}

/// Something that was sent.
#[derive(Debug, Clone, Copy)]
struct Typed {
    at: u64,
    at_ms: i64,
    /// Behind the line it stands in.
    line_end: u64,
}

impl Typed {
    /// Its line goes on there, and so does what tells it from what comes: the id of what it printed has a place as well.
    fn has(&self, at: u64) -> bool {
        at < self.line_end.max(self.at + 2)
    }
}

impl Reader {
    fn read(&mut self, event: &Event) {
        if let What::Sent { at_ms, joined } = event.what {
            let typed = Typed {
                // The log may have ended within a mark.
                at: event.at.max(self.behind),
                at_ms,
                line_end: event.end,
            };
            self.typed(typed, joined);
            return;
        }
        let late = self.close_typed(event.at, true);
        let late = late.or(self.sent.filter(|sent| sent.has(event.at)));
        let late = late.map(|late| Typed {
            at: late.at.max(event.end),
            ..late
        });
        self.behind = event.end;
        self.known |= !matches!(event.what, What::Line { .. } | What::Output { .. });
        match &event.what {
            What::Prompt => {
                self.close_marked(event.at, None, true);
                self.enter(At::Prompt(None), late);
            }
            What::Command => {
                self.close_marked(event.at, None, true);
                // A prompt that is drawn again is the same one.
                self.at = At::Prompt(Some(event.end));
                self.sent = self.sent.or(late);
            }
            What::Line { text } => self.given = Some(text.clone()),
            What::Output { given } => {
                self.sent = self.sent.or(late);
                self.begin(event, given.clone());
            }
            What::End { exit_code } => {
                self.close_marked(event.at, *exit_code, true);
                self.enter(At::Prompt(None), late);
            }
            What::Sent { .. } => {}
        }
    }

    fn typed(&mut self, typed: Typed, joined: bool) {
        // At a prompt that is marked the shell tells more.
        if let At::Prompt(_) = self.at {
            let first = self.sent.filter(|first| first.has(typed.at));
            self.sent = Some(Typed {
                at_ms: typed.at_ms,
                ..first.unwrap_or(typed)
            });
            return;
        }
        if joined {
            return;
        }
        self.close_typed(typed.at, false);
        self.blocks.push(Block {
            command: typed.at..typed.at,
            output: Some(typed.at..typed.at),
            sent_ms: Some(typed.at_ms),
            ..Block::default()
        });
        self.typed = Some(typed);
    }

    /// What was sent and is not echoed yet, `late`, belongs to what comes.
    fn enter(&mut self, at: At, late: Option<Typed>) {
        self.at = at;
        self.given = None;
        self.sent = late;
    }

    fn begin(&mut self, event: &Event, given: Option<Arc<str>>) {
        self.close_marked(event.at, None, true);
        let from = match self.at {
            At::Prompt(from) => from.or(self.sent.map(|sent| sent.at)),
            At::Unmarked | At::Output => None,
        };
        self.marked = Some(self.blocks.len());
        self.blocks.push(Block {
            command: from.unwrap_or(event.at).min(event.at)..event.at,
            given: given.or(self.given.take()),
            output: Some(event.end..event.end),
            sent_ms: self.sent.map(|sent| sent.at_ms),
            marked: true,
            guessed: !self.known,
            ..Block::default()
        });
        self.known = true;
        self.enter(At::Output, None);
    }

    /// What was sent last ends here. What was not echoed by the mark that ends it was sent for what comes behind that, and is
    /// given back.
    fn close_typed(&mut self, at: u64, by_mark: bool) -> Option<Typed> {
        let typed = self.typed.take()?;
        if by_mark && typed.has(at) {
            self.blocks.pop();
            return Some(typed);
        }
        let block = self.blocks.last_mut()?;
        block.is_over = by_mark;
        block.command.end = at.max(block.command.start);
        block.output = Some(block.command.clone());
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
        if let Some(output) = &mut block.output {
            output.end = at.max(output.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Events of ten bytes each; of what was sent, of none.
    fn blocks(whats: &[What]) -> Vec<Block> {
        let events: Vec<Event> = whats
            .iter()
            .zip(1..)
            .map(|(what, number)| Event {
                at: number * 100,
                end: number * 100 + 10,
                what: what.clone(),
            })
            .collect();
        of(&events, true, (whats.len() as u64 + 1) * 100)
    }

    const C: What = What::Output { given: None };
    const SENT: What = What::Sent {
        at_ms: 5,
        joined: false,
    };

    fn d(code: i32) -> What {
        What::End {
            exit_code: Some(code),
        }
    }

    #[test]
    fn marks_are_around_commands() {
        let found = blocks(&[
            What::Prompt,
            What::Command,
            SENT,
            C,
            d(3),
            What::Prompt,
            What::Command,
        ]);
        let [block] = &found[..] else { panic!("{found:?}") };
        assert_eq!(block.command, 210..400);
        assert_eq!(block.output, Some(410..500));
        assert_eq!(
            (block.exit_code, block.sent_ms, block.is_over),
            (Some(3), Some(5), true)
        );
    }

    #[test]
    fn a_shell_that_tells_no_end_is_understood() {
        let line = What::Line { text: "ls".into() };
        let found = blocks(&[What::Prompt, line, C, What::Prompt, SENT, C]);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].given.as_deref(), found[0].exit_code),
            (Some("ls"), None)
        );
        assert_eq!((&found[0].output, found[0].is_over), (&Some(310..400), true));
        // Where it was sent is where it begins, and it still runs.
        assert_eq!((&found[1].command, found[1].is_over), (&(500..600), false));
        assert_eq!(found[1].output, Some(610..700));
    }

    #[test]
    fn what_is_sent_where_no_mark_is_begins_a_command() {
        let found = blocks(&[SENT, SENT]);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&found[0].command, &found[0].output),
            (&(100..200), &Some(100..200))
        );
        assert!(!found[0].marked && found[1].output == Some(200..300));
    }

    #[test]
    fn what_is_sent_to_a_marked_command_does_not_end_it() {
        // An interpreter, or a shell elsewhere.
        let found = blocks(&[What::Command, C, SENT, SENT, d(3)]);
        let marked: Vec<bool> = found.iter().map(|block| block.marked).collect();
        assert_eq!(marked, [true, false, false]);
        assert_eq!(
            (&found[0].output, found[0].exit_code, found[0].is_over),
            (&Some(210..500), Some(3), true)
        );
        assert_eq!(
            (&found[1].output, &found[2].output),
            (&Some(300..400), &Some(400..500))
        );
        // It still runs.
        let found = blocks(&[C, SENT]);
        assert_eq!((&found[0].output, found[0].is_over), (&Some(110..300), false));
        assert_eq!(found[1].output, Some(200..300));
    }

    #[test]
    fn what_is_sent_before_the_echo_of_what_was_sent_before_belongs_to_it() {
        let sent = |at, line_end, joined| Event {
            at,
            end: line_end,
            what: What::Sent { at_ms: 5, joined },
        };
        let mark = |at, what: &What| Event {
            at,
            end: at + 8,
            what: what.clone(),
        };
        for second in [10, 11, 29] {
            let found = of(
                &[sent(10, 30, false), sent(second, 30, true), sent(30, 40, false)],
                true,
                90,
            );
            let commands: Vec<Range<u64>> = found.into_iter().map(|block| block.command).collect();
            assert_eq!(commands, [10..30, 30..90], "{second}");
        }
        // Nothing of it came before the next prompt, which it is for.
        let found = of(
            &[
                mark(0, &C),
                sent(10, 50, false),
                mark(20, &d(1)),
                mark(30, &What::Prompt),
                mark(50, &C),
            ],
            true,
            90,
        );
        let [first, second] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((first.exit_code, first.sent_ms), (Some(1), None));
        assert_eq!((&second.command, second.sent_ms), (&(38..50), Some(5)));
    }

    #[test]
    fn where_a_command_begins_before_the_first_mark_is_guessed() {
        let event = |at, what: &What| Event {
            at,
            end: at + 8,
            what: what.clone(),
        };
        let line = What::Line { text: "".into() };
        for (first, guessed) in [(&line, true), (&d(0), false), (&What::Prompt, false)] {
            let events = [event(10, first), event(20, &C), event(30, &C)];
            let found = of(&events, false, 90);
            let found: Vec<bool> = found.iter().map(|block| block.guessed).collect();
            assert_eq!(found, [guessed, false]);
            assert!(!of(&events, true, 90)[0].guessed);
        }
    }

    #[test]
    fn what_comes_before_is_told_by_the_first_mark() {
        let event = |at, what: &What| Event {
            at,
            end: at,
            what: what.clone(),
        };
        for (mark, commands) in [(C, 1), (What::Command, 0), (d(0), 1), (What::Prompt, 1)] {
            let events = [event(1, &SENT), event(5, &mark)];
            assert_eq!(of(&events, false, 9).len(), commands, "{mark:?}");
        }
    }

    proptest! {
        #[test]
        fn blocks_lie_in_order(steps in proptest::collection::vec((0..6_usize, 0..12_u64, 0..30_u64), 0..40)) {
            let all = [What::Prompt, What::Command, What::Line { text: "".into() }, C, d(1), SENT];
            let (mut at, mut behind, mut line_end) = (0, 0, 0);
            let mut events = Vec::new();
            for (number, gap, line) in steps {
                let mut what = all[number].clone();
                let is_sent = what == SENT;
                // Marks do not overlap; what was sent may stand anywhere, also within one.
                at = if is_sent { at + gap } else { behind.max(at + gap) };
                let end = if is_sent { at + line } else { at + 8 };
                behind = if is_sent { behind } else { end };
                if is_sent {
                    what = What::Sent { at_ms: 5, joined: at < line_end };
                }
                line_end = if is_sent { end.max(at + 2) } else { 0 };
                events.push(Event { at, end, what });
            }
            let end = at.max(behind);
            let (mut id, mut over) = (None, 0);
            for block in of(&events, true, end) {
                let output = block.output.clone().unwrap();
                prop_assert!(id < Some(block.id()), "{block:?}");
                prop_assert!(block.id() < block.output_id(), "{block:?}");
                prop_assert!(block.command.start <= block.command.end && output.start <= output.end);
                prop_assert!(output.end <= end.max(output.start));
                if block.marked {
                    prop_assert!(output.start >= over);
                    over = output.end;
                }
                id = Some(block.output_id());
            }
        }
    }
}
