//! Which line of a list is selected: a thing, wherever it moves to.

/// A selection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The thing. None: whatever comes first.
    id: Option<String>,
    /// Where it was last, for when it goes.
    at: usize,
}

impl Choice {
    /// Where the selected line is in a list. None in an empty one.
    pub fn index(&self, ids: &[String]) -> Option<usize> {
        let last = ids.len().checked_sub(1)?;
        let found = self
            .id
            .as_ref()
            .and_then(|id| ids.iter().position(|other| other == id));
        Some(found.unwrap_or(self.at).min(last))
    }

    /// The list changed: follows the thing, or goes to the one that took its place.
    pub fn settle(&mut self, ids: &[String]) {
        if let (Some(_), Some(index)) = (&self.id, self.index(ids)) {
            self.at = index;
            self.id = ids.get(index).cloned();
        }
    }

    /// Moves by so many lines, but not beyond the ends.
    pub fn step(&mut self, ids: &[String], by: isize) {
        if let Some(index) = self.index(ids) {
            let index = index.saturating_add_signed(by).min(ids.len() - 1);
            self.at = index;
            self.id = ids.get(index).cloned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn it_follows_the_first_until_something_is_selected_and_then_that() {
        let mut choice = Choice::default();
        choice.settle(&ids("a b c"));
        assert_eq!(choice.index(&ids("x a b c")), Some(0));
        choice.step(&ids("a b c"), 1);
        assert_eq!(choice.index(&ids("x a b c")), Some(2));
        choice.settle(&ids("x a b c"));
        // What is gone is followed by what took its place.
        choice.settle(&ids("x a c"));
        assert_eq!(choice.index(&ids("c x a")), Some(0));
        choice.step(&ids("c x a"), -5);
        assert_eq!(choice.index(&ids("c x a")), Some(0));
        choice.step(&ids("c x a"), 9);
        assert_eq!(choice.index(&ids("c x a")), Some(2));
        assert_eq!(choice.index(&[]), None);
    }
}
