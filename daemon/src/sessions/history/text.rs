//! A text of an entry, and how much of it is told.

/// Plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// Lines, without control characters but tabs.
    pub(super) text: String,
    /// There was more.
    pub(super) cut: bool,
    /// Something stood on an alternate screen, and is left out.
    pub(super) full_screen: bool,
    /// Cells that were gone through for it.
    pub(super) work: usize,
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

impl Text {
    /// At most so many bytes, from the beginning.
    pub(super) fn cut_to_begin(mut self, max: usize) -> Self {
        if self.text.len() > max {
            let end = (0..=max).rev().find(|at| self.text.is_char_boundary(*at));
            self.text.truncate(end.unwrap_or_default());
            self.cut = true;
        }
        self
    }

    /// At most so many bytes, from the end, and of what was cut off whole lines where there are any.
    pub(super) fn cut_to_end(mut self, max: usize) -> Self {
        let over = self.text.len().saturating_sub(max);
        self.cut |= over > 0;
        if self.cut {
            let begin = (over..self.text.len()).find(|at| self.text.is_char_boundary(*at));
            let begin = begin.unwrap_or(self.text.len());
            let line = self.text[begin..].find('\n').map(|line| begin + line + 1);
            let begin = line.filter(|line| *line < self.text.len()).unwrap_or(begin);
            self.text.drain(..begin);
        }
        self
    }
}
