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

const B: What = What::Command { line: None };
const C: What = What::Output { given: None };
const SENT: What = What::Sent { at_ms: 5, echo: None };

fn d(code: i32) -> What {
    What::End {
        exit_code: Some(code),
    }
}

#[test]
fn marks_are_around_commands() {
    let found = blocks(&[What::Prompt, B, SENT, C, d(3), What::Prompt, B]);
    let [block] = &found[..] else { panic!("{found:?}") };
    assert_eq!(block.command, 210..400);
    assert_eq!(block.output, 410..500);
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
    assert_eq!((&found[0].output, found[0].is_over), (&(310..400), true));
    // Where it was sent is where it begins, and it still runs.
    assert_eq!((&found[1].command, found[1].is_over), (&(500..600), false));
    assert_eq!(found[1].output, 610..700);
}

#[test]
fn what_is_sent_where_no_mark_is_begins_a_command() {
    let found = blocks(&[SENT, SENT]);
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0].command, &found[0].output), (&(100..110), &(110..200)));
    assert!(!found[0].marked && found[1].output == (210..300));
}

#[test]
fn what_is_sent_to_a_marked_command_does_not_end_it() {
    // An interpreter, or a shell elsewhere.
    let found = blocks(&[B, C, SENT, SENT, d(3)]);
    let marked: Vec<bool> = found.iter().map(|block| block.marked).collect();
    assert_eq!(marked, [true, false, false]);
    assert_eq!(
        (&found[0].output, found[0].exit_code, found[0].is_over),
        (&(210..500), Some(3), true)
    );
    assert_eq!((&found[1].output, &found[2].output), (&(310..400), &(410..500)));
    // It still runs.
    let found = blocks(&[C, SENT]);
    assert_eq!((&found[0].output, found[0].is_over), (&(110..300), false));
    assert_eq!(found[1].output, 210..300);
}

fn mark(at: u64, what: &What) -> Event {
    Event {
        at,
        end: at + 8,
        what: what.clone(),
    }
}

#[test]
fn what_is_not_shown_by_the_mark_that_ends_it_is_for_what_comes() {
    let sent = Event {
        at: 19,
        end: 19,
        what: SENT,
    };
    let found = of(
        &[
            mark(0, &C),
            sent,
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
    assert_eq!((&second.command, second.sent_ms), (&(19..50), Some(5)));
}

#[test]
fn commands_that_were_pasted_together_come_from_one_prompt() {
    let told = |blocks: &[Block]| -> Vec<_> {
        let typed = blocks.iter().map(|block| block.typed.clone().unwrap());
        typed
            .map(|typed| (typed.shown, typed.number, typed.is_last))
            .collect()
    };
    // With an end of each, and without.
    for whats in [
        &[B, C, d(0), C, d(3), C, d(0), What::Prompt, B, C][..],
        &[B, C, C, C, d(0), What::Prompt, B, C],
        &[B, C, d(0), What::Prompt, C, C, B, C],
    ] {
        let found = blocks(whats);
        let last = found.last().unwrap().typed.clone().unwrap().shown;
        let shown = 110..200;
        assert_eq!(
            told(&found),
            [
                (shown.clone(), 0, false),
                (shown.clone(), 1, false),
                (shown, 2, true),
                (last, 0, false)
            ],
            "{whats:?}"
        );
    }
    // An end that is told again where the next one begins.
    let found = blocks(&[B, d(0), C, d(3), C, d(3), B, d(3), C]);
    assert_eq!(
        told(&found),
        [(110..300, 0, false), (110..300, 1, true), (710..900, 0, false)]
    );
    assert_eq!(found[0].exit_code, Some(3));
    // Where only the beginning of a prompt is marked, each is another one.
    let found = blocks(&[What::Prompt, SENT, C, What::Prompt, SENT, C, What::Prompt]);
    assert_eq!(told(&found), [(200..300, 0, true), (500..600, 0, true)]);
    assert!(blocks(&[C, d(0), C]).iter().all(|block| block.typed.is_none()));
}

#[test]
fn where_a_command_begins_before_the_first_mark_is_guessed() {
    let line = What::Line { text: "".into() };
    for (first, guessed) in [(&line, true), (&d(0), true), (&What::Prompt, false)] {
        let events = [mark(10, first), mark(20, &C), mark(30, &C)];
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
    for (mark, commands) in [(C, 1), (B, 0), (d(0), 1), (What::Prompt, 1)] {
        let events = [event(1, &SENT), event(5, &mark)];
        assert_eq!(of(&events, false, 9).len(), commands, "{mark:?}");
    }
}

#[test]
fn what_was_typed_runs_where_no_mark_tells_it() {
    let typed = |line: Range<u64>| What::Command { line: Some(line) };
    // The prompt is drawn again; an answer; a line of which nothing came.
    let found = blocks(&[
        d(0),
        B,
        SENT,
        typed(440..450),
        SENT,
        d(3),
        B,
        d(3),
        typed(920..930),
    ]);
    let [first, answer, last] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((&first.command, &first.output), (&(410..440), &(450..600)));
    assert_eq!(
        (first.exit_code, first.sent_ms, first.is_over, first.marked),
        (Some(3), Some(5), true, true)
    );
    let typed_there = first.typed.clone().unwrap();
    assert!(
        typed_there.is_last && typed_there.shown == (410..440),
        "{first:?}"
    );
    assert!(!answer.marked && answer.output == (510..600), "{answer:?}");
    assert_eq!((&last.command, &last.output), (&(910..920), &(930..1000)));
    assert_eq!((last.exit_code, last.is_over), (None, false));
    // A shell that tells no ends.
    let found = blocks(&[
        What::Prompt,
        typed(240..250),
        What::Prompt,
        typed(440..450),
        What::Prompt,
    ]);
    let outputs: Vec<_> = found.iter().map(|block| block.output.clone()).collect();
    assert_eq!(outputs, [250..300, 450..500]);
    // It is not run yet.
    assert!(blocks(&[What::Prompt, typed(240..350)]).is_empty());
}

proptest! {
    #[test]
    fn blocks_lie_in_order(steps in proptest::collection::vec((0..6_usize, 0..12_u64, 0..30_u64), 0..40)) {
        let all = [What::Prompt, B, What::Line { text: "".into() }, C, d(1), SENT];
        let (mut at, mut behind) = (0, 0);
        let mut events = Vec::new();
        for (number, gap, line) in steps {
            let mut what = all[number].clone();
            let is_sent = what == SENT;
            // Marks do not overlap; what was sent may be shown over some.
            at = behind.max(at + gap);
            let end = at + if is_sent { line } else { 8 };
            behind = if is_sent { behind } else { end };
            if what == B && line % 2 == 0 {
                behind = end + 2 + line;
                what = What::Command { line: Some(end + 1..behind) };
            }
            events.push(Event { at, end, what });
        }
        let end = at.max(behind);
        let (mut id, mut over) = (None, 0);
        for block in of(&events, true, end) {
            let output = block.output.clone();
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
