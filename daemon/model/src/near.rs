//! What was meant by a word that is not known: the known one that is a slip of the finger away.

/// Longest word that is looked at, bytes: longer than any that could be mistyped. It keeps the work small whatever was
/// written.
const LONGEST: usize = 64;

/// The nearest of the known words, when it is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance: how many letters must be inserted, removed or replaced.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_and_another_word_is_none() {
        let known = ["max_running", "log_max_bytes"];
        assert_eq!(nearest("max_runing", known), Some("max_running"));
        assert_eq!(nearest("xyzzy", known), None);
        assert_eq!(nearest(&"x".repeat(LONGEST + 1), known), None);
    }
}
