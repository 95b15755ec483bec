//! Finds the lines by which the far end speaks to us, in whatever start files print around them.

/// Longest line of the far end that is understood, bytes. They hold a path and an error message.
const LINE_MAX: usize = 8 << 10;

/// What such a line begins with.
const BEGIN: &[u8] = b"\n\x1e";

/// A line of the far end: `\n\x1e<word> <nonce>[ <text>]\n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// What kind of line it is.
    pub(crate) word: String,
    /// What it says.
    pub(crate) text: String,
    /// What came after it.
    pub(crate) rest: Vec<u8>,
}

/// Looks for lines with one nonce in bytes that arrive in pieces.
#[derive(Debug)]
pub(crate) struct Marker {
    nonce: String,
    seen: Vec<u8>,
    /// Up to here there is no beginning of a line of ours.
    looked: usize,
    before: usize,
}

impl Marker {
    pub(crate) fn new(nonce: &str) -> Self {
        Self {
            nonce: nonce.to_owned(),
            seen: Vec::new(),
            looked: 0,
            before: 0,
        }
    }

    /// Takes the next piece, and gives the line that has arrived, if one has. What follows it is to be pushed again when
    /// more lines are expected.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Line> {
        self.seen.extend_from_slice(bytes);
        loop {
            let ahead = self.seen.get(self.looked..)?;
            let Some(at) = ahead.windows(BEGIN.len()).position(|window| window == BEGIN) else {
                // The last byte may begin one.
                self.looked = self.seen.len().saturating_sub(1);
                return None;
            };
            let start = self.looked + at;
            let content = self.seen.get(start + BEGIN.len()..)?;
            let Some(length) = content.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
                if content.len() < LINE_MAX {
                    self.looked = start;
                    return None;
                }
                self.looked = start + 1;
                continue;
            };
            if let Some((word, text)) = self.parse(content.get(..length)?) {
                let rest = self.seen.split_off(start + BEGIN.len() + length + 1);
                self.seen.truncate(start);
                self.before += self.seen.len();
                self.seen.clear();
                self.looked = 0;
                return Some(Line { word, text, rest });
            }
            self.looked = start + 1;
        }
    }

    fn parse(&self, line: &[u8]) -> Option<(String, String)> {
        let line = String::from_utf8_lossy(line);
        let mut parts = line.splitn(3, ' ');
        let (word, nonce) = (parts.next()?, parts.next()?);
        let text = parts.next().unwrap_or_default().trim().to_owned();
        (nonce == self.nonce).then(|| (word.to_owned(), text))
    }

    /// How many bytes have come that were not ours.
    pub(crate) fn noise(&self) -> usize {
        self.before + self.seen.len()
    }

    /// The end of what came instead, for an error message.
    pub(crate) fn tail(&self) -> String {
        let from = self.seen.len().saturating_sub(400);
        String::from_utf8_lossy(self.seen.get(from..).unwrap_or_default())
            .trim()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(word: &str, text: &str, rest: &[u8]) -> Option<Line> {
        Some(Line {
            word: word.to_owned(),
            text: text.to_owned(),
            rest: rest.to_vec(),
        })
    }

    #[test]
    fn is_found_however_it_is_cut_and_keeps_what_follows() {
        let text = b"motd\n\x1eREADY other\nno newline\n\x1e\n\x1eREADY n1\nPRI *".as_slice();
        for step in 1..text.len() {
            let mut marker = Marker::new("n1");
            let mut found: Option<Line> = None;
            for piece in text.chunks(step) {
                match &mut found {
                    None => found = marker.push(piece),
                    Some(found) => found.rest.extend_from_slice(piece),
                }
            }
            assert_eq!(found, line("READY", "", b"PRI *"), "step {step}");
        }
    }

    #[test]
    fn lines_follow_each_other_and_carry_text() {
        let mut marker = Marker::new("n1");
        let text = b"x\n\x1eNEED n1 plain Linux x86_64 \n...\n\x1eFAIL n1 write No space left \n";
        let need = marker.push(text).unwrap();
        assert_eq!(
            (need.word.as_str(), need.text.as_str()),
            ("NEED", "plain Linux x86_64")
        );
        assert_eq!(marker.push(&need.rest), line("FAIL", "write No space left", b""));
        assert_eq!(marker.noise(), 4);
    }

    #[test]
    fn noise_alone_is_no_marker() {
        let mut marker = Marker::new("n1");
        assert_eq!(marker.push(&[b'x'; 5000]), None);
        assert_eq!(marker.push(b"READY n1\n"), None);
        assert_eq!(marker.noise(), 5009);
        assert!(marker.tail().ends_with("READY n1"));
        // Neither is a beginning that never ends, and it hides none that comes after.
        assert_eq!(marker.push(b"\n\x1eREADY n1"), None);
        assert_eq!(marker.push(&[b'x'; 2 * LINE_MAX]), None);
        assert_eq!(marker.push(b"\n\x1eREADY n1\n"), line("READY", "", b""));
    }
}
