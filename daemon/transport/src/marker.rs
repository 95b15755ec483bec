//! Finds the line by which a helper says that from here on its protocol is spoken, in whatever start files print.

/// Looks for `\n\x1eREADY <nonce>\n` in bytes that arrive in pieces.
#[derive(Debug)]
pub(crate) struct Marker {
    line: Vec<u8>,
    seen: Vec<u8>,
}

impl Marker {
    pub(crate) fn new(nonce: &str) -> Self {
        Self {
            line: format!("\n\x1eREADY {nonce}\n").into_bytes(),
            seen: Vec::new(),
        }
    }

    /// Takes the next piece. Once the marker has arrived, answers what followed it.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        // What was looked at before can only hold the beginning of the marker.
        let from = self.seen.len().saturating_sub(self.line.len());
        self.seen.extend_from_slice(bytes);
        let at = self
            .seen
            .get(from..)?
            .windows(self.line.len())
            .position(|window| window == self.line.as_slice())?;
        Some(self.seen.split_off(from + at + self.line.len()))
    }

    /// How many bytes have come that were not the marker.
    pub(crate) fn noise(&self) -> usize {
        self.seen.len()
    }

    /// The end of what came instead of the marker, for an error message.
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

    #[test]
    fn is_found_however_it_is_cut_and_keeps_what_follows() {
        let text = b"motd\n\x1eREADY other\nno newline\n\x1eREADY n1\nPRI *".as_slice();
        for step in 1..text.len() {
            let mut marker = Marker::new("n1");
            let mut rest = None;
            for piece in text.chunks(step) {
                match &mut rest {
                    None => rest = marker.push(piece),
                    Some(rest) => rest.extend_from_slice(piece),
                }
            }
            assert_eq!(rest.as_deref(), Some(b"PRI *".as_slice()), "step {step}");
        }
    }

    #[test]
    fn noise_alone_is_no_marker() {
        let mut marker = Marker::new("n1");
        assert_eq!(marker.push(&[b'x'; 5000]), None);
        assert_eq!(marker.push(b"READY n1\n"), None);
        assert_eq!(marker.noise(), 5009);
        assert!(marker.tail().ends_with("READY n1"));
    }
}
