//! What changes in a text: the lines that go and those that come, with what stands around them.

use super::{
    escape::escape,
    style::{Style, Tone},
};

/// Lines that are shown around what changes.
const AROUND: usize = 2;

/// The lines that differ between two texts, as `diff -u` marks them. What is the same before the first and behind the last
/// of them is left out but for its nearest lines.
pub fn lines(style: Style, before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = old.iter().zip(&new).take_while(same).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(same)
        .count();
    let mut shown = String::new();
    let mut push = |mark: char, tone: Tone, lines: &[&str]| {
        for line in lines {
            style.push(&mut shown, tone, &format!("{mark} {}", escape(line)));
            shown.push('\n');
        }
    };
    push(' ', Tone::Dim, &old[head.saturating_sub(AROUND)..head]);
    push('-', Tone::Bad, &old[head..old.len() - tail]);
    push('+', Tone::Good, &new[head..new.len() - tail]);
    let end = old.len() - tail;
    push(' ', Tone::Dim, &old[end..old.len().min(end + AROUND)]);
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Style = Style {
        terminal: false,
        color: false,
    };

    #[test]
    fn only_what_changes_is_shown_with_its_neighbours() {
        let shown = lines(PLAIN, "a\nb\nc\nd\ne\nf\n", "a\nb\nc\nX\ne\nf\n");
        assert_eq!(shown, "  b\n  c\n- d\n+ X\n  e\n  f\n");
        assert_eq!(lines(PLAIN, "", "a\n"), "+ a\n");
        assert_eq!(lines(PLAIN, "a\n", ""), "- a\n");
        assert_eq!(lines(PLAIN, "x\nx\n", "x\n"), "  x\n- x\n");
    }

    proptest! {
        #[test]
        fn any_texts_can_be_compared(before in "[ab\n]{0,12}", after in "[ab\n]{0,12}") {
            lines(PLAIN, &before, &after);
        }
    }
}
