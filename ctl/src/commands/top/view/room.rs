//! How the lines of a screen are shared.

use crate::commands::top::section::Section;

/// The fewest lines beside which a pane is worth its place.
const PANE_FROM: u16 = 14;

/// How many lines the pane at the bottom gets of all there are.
pub fn pane_height(lines: u16) -> u16 {
    if lines < PANE_FROM { 0 } else { lines * 9 / 20 }
}

/// How many rows each list gets below its heading, none where there is not even room for that. The list that has the
/// keys gets two where another gets one, and none gets more than it needs.
pub fn heights(lines: u16, needs: [usize; 5], focus: Section) -> [Option<u16>; 5] {
    let mut heights = [None; 5];
    // Where there is not much room there is room for one.
    if lines <= 6 {
        if lines > 0 {
            heights[focus.index()] = Some(lines - 1);
        }
        return heights;
    }
    let mut rows = lines - 5;
    let mut given = [0_u16; 5];
    let all = [focus].into_iter().chain(Section::ALL);
    loop {
        let before = rows;
        for section in all.clone() {
            let at = section.index();
            if rows > 0 && usize::from(given[at]) < needs[at] {
                given[at] += 1;
                rows -= 1;
            }
        }
        if rows == before {
            return given.map(Some);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shared_by_need_and_the_list_with_the_keys_gets_more() {
        let all = |given: [u16; 5]| given.map(Some);
        assert_eq!(
            heights(12, [9, 1, 0, 2, 50], Section::Sessions),
            all([4, 1, 0, 1, 1])
        );
        assert_eq!(
            heights(12, [9, 1, 0, 2, 50], Section::Events),
            all([2, 1, 0, 1, 3])
        );
        assert_eq!(heights(30, [2, 1, 0, 2, 3], Section::Jobs), all([2, 1, 0, 2, 3]));
        assert_eq!(
            heights(6, [9; 5], Section::Hosts),
            [None, None, None, Some(5), None]
        );
        assert_eq!(heights(0, [9; 5], Section::Hosts), [None; 5]);
        for lines in 0..60 {
            let used: u16 = heights(lines, [7, 0, 3, 1, 40], Section::Syncs)
                .into_iter()
                .flatten()
                .map(|rows| rows + 1)
                .sum();
            assert!(used <= lines, "{lines}: {used}");
            assert!(pane_height(lines) <= lines);
        }
    }
}
