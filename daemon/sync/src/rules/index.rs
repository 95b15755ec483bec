//! Git's index: which paths a repository tracks.
//!
//! Read only, versions 2 to 4, with hashes of SHA-1 or SHA-256. What needs more than the file itself (a split index, a
//! sparse one) is said and left to whoever can ask git. Every length is checked: the file is input like any other.

use std::ops::Range;

/// Paths that are tracked, in the order of their bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    names: Vec<u8>,
    /// Where each name ends in `names`.
    ends: Vec<u32>,
    /// Positions of entries that are repositories of their own, ascending.
    nested: Vec<u32>,
}

/// Why an index was not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IndexError {
    /// Git itself has to be asked.
    #[error("the index is split or sparse")]
    NotWhole,
    /// It is damaged, or of a version that is not known.
    #[error("the index cannot be read: {0}")]
    Unreadable(&'static str),
}

/// Length of the header: signature, version, number of entries.
const HEADER: usize = 12;
/// Times, device, inode, mode, owner, group and size before the hash of an entry.
const STAT: usize = 40;
const MODE_AT: usize = 24;
/// Kind bits of the mode.
const KIND: u32 = 0o170_000;
const SPARSE_DIRECTORY: u32 = 0o040_000;
const REPOSITORY: u32 = 0o160_000;
/// A flag of an entry: two more bytes of flags follow.
const EXTENDED: u16 = 0x4000;
/// The flags hold the length of the name up to this; it means "this or longer".
const NAME_LENGTH: u16 = 0x0fff;

impl Index {
    /// Reads the file's content. `hash` is the length of a hash: 20 or 32.
    ///
    /// # Errors
    /// When it is no index that can be read here.
    pub fn parse(file: &[u8], hash: usize) -> Result<Self, IndexError> {
        let damaged = IndexError::Unreadable;
        if file.get(..4) != Some(b"DIRC") {
            return Err(damaged("it does not begin like one"));
        }
        let version = u32_at(file, 4).ok_or(damaged("it is cut off"))?;
        if !(2..=4).contains(&version) {
            return Err(damaged("its version is not known"));
        }
        let count = u32_at(file, 8).ok_or(damaged("it is cut off"))?;
        let body = file
            .len()
            .checked_sub(hash)
            .filter(|&end| end >= HEADER)
            .map(|end| &file[..end])
            .ok_or(damaged("it is cut off"))?;

        let mut index = Self::default();
        let mut at = HEADER;
        for position in 0..count {
            let flags_at = at + STAT + hash;
            let mode = u32_at(body, at + MODE_AT).ok_or(damaged("it is cut off"))?;
            let flags = u16_at(body, flags_at).ok_or(damaged("it is cut off"))?;
            let name_at = flags_at + if flags & EXTENDED == 0 { 2 } else { 4 };
            if mode & KIND == SPARSE_DIRECTORY {
                return Err(IndexError::NotWhole);
            }
            at = if version == 4 {
                index.read_compressed(body, name_at)
            } else {
                index.read_padded(body, name_at, at, flags & NAME_LENGTH)
            }
            .ok_or(damaged("a name in it is damaged"))?;
            if mode & KIND == REPOSITORY {
                index.nested.push(position);
            }
        }
        if extensions(&body[at..]).any(|name| name == b"link" || name == b"sdir") {
            return Err(IndexError::NotWhole);
        }
        if !index.in_order() {
            return Err(damaged("its names are out of order"));
        }
        Ok(index)
    }

    /// Makes one of the paths that `git ls-files -z` prints.
    #[must_use]
    pub fn of_names(listing: &[u8]) -> Self {
        let mut names = listing
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>();
        names.sort_unstable();
        names.dedup();
        let mut index = Self::default();
        for name in names {
            index.names.extend_from_slice(name);
            index.end_name();
        }
        index
    }

    /// How many paths there are; one in conflict counts for each of its stages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing is tracked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether this very path is tracked, as a file or link.
    #[must_use]
    pub fn has(&self, path: &[u8]) -> bool {
        let at = self.first_not_below(path);
        self.name(at) == Some(path) && !self.is_nested(at)
    }

    /// Whether this very path is tracked as a repository of its own.
    #[must_use]
    pub fn has_repository(&self, path: &[u8]) -> bool {
        let at = self.first_not_below(path);
        self.name(at) == Some(path) && self.is_nested(at)
    }

    /// Whether anything below this directory is tracked.
    #[must_use]
    pub fn has_below(&self, dir: &[u8]) -> bool {
        let prefix = [dir, b"/"].concat();
        self.name(self.first_not_below(&prefix))
            .is_some_and(|name| name.starts_with(&prefix))
    }

    fn is_nested(&self, at: usize) -> bool {
        u32::try_from(at).is_ok_and(|at| self.nested.binary_search(&at).is_ok())
    }

    /// Position of the first name that is not smaller.
    fn first_not_below(&self, path: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.name(middle).is_some_and(|name| name < path) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn name(&self, at: usize) -> Option<&[u8]> {
        self.ends.get(at)?;
        Some(&self.names[self.span(at)])
    }

    fn span(&self, at: usize) -> Range<usize> {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[at] as usize
    }

    fn in_order(&self) -> bool {
        (1..self.len()).all(|at| self.names[self.span(at - 1)] <= self.names[self.span(at)])
    }

    /// `None` when the names together are longer than 4 GiB.
    fn end_name(&mut self) -> Option<()> {
        self.ends.push(u32::try_from(self.names.len()).ok()?);
        Some(())
    }

    /// Versions 2 and 3: the name, then NULs up to a multiple of eight from the start of the entry. Gives where the next
    /// entry begins.
    fn read_padded(&mut self, body: &[u8], name_at: usize, start: usize, length: u16) -> Option<usize> {
        let name = body.get(name_at..)?;
        let length = if length < NAME_LENGTH {
            usize::from(length)
        } else {
            name.iter().position(|&byte| byte == 0)?
        };
        self.names.extend_from_slice(checked(name.get(..length)?)?);
        self.end_name()?;
        let next = start + (name_at + length - start + 8) / 8 * 8;
        (next <= body.len()).then_some(next)
    }

    /// Version 4: how much of the end of the name before goes, then what comes instead and a NUL.
    fn read_compressed(&mut self, body: &[u8], name_at: usize) -> Option<usize> {
        let mut at = name_at;
        let mut byte = *body.get(at)?;
        let mut strip = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            at += 1;
            byte = *body.get(at)?;
            strip = strip.checked_add(1)?.checked_mul(128)? + usize::from(byte & 0x7f);
        }
        at += 1;
        let rest = body.get(at..)?;
        let length = rest.iter().position(|&byte| byte == 0)?;
        let before = self
            .ends
            .len()
            .checked_sub(1)
            .map_or(0..0, |last| self.span(last));
        let kept = before.len().checked_sub(strip)?;
        let start = self.names.len();
        self.names.extend_from_within(before.start..before.start + kept);
        self.names.extend_from_slice(&rest[..length]);
        checked(&self.names[start..])?;
        self.end_name()?;
        Some(at + length + 1)
    }
}

/// Names are not empty, and do not end with a slash but in a sparse index.
fn checked(name: &[u8]) -> Option<&[u8]> {
    (!name.is_empty() && !name.ends_with(b"/") && !name.contains(&0)).then_some(name)
}

/// Names of the extensions after the entries. What is damaged among them ends the list: git can do without them.
fn extensions(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let name = rest.get(..4)?;
        let length = u32_at(rest, 4)? as usize;
        rest = rest.get(8 + length..).unwrap_or_default();
        Some(name)
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Index, IndexError};

    #[test]
    fn paths_and_directories_are_found() {
        let index = Index::of_names(b"a/b\0a.c\0a/c/d\0z\0");
        assert!(index.has(b"a/b") && index.has(b"z") && !index.has(b"a") && !index.has(b"zz"));
        assert!(index.has_below(b"a") && index.has_below(b"a/c") && !index.has_below(b"z"));
        assert!(!Index::default().has(b"a") && !Index::default().has_below(b"a"));
    }

    #[test]
    fn what_is_no_index_is_refused() {
        for (file, hash) in [(&b""[..], 20), (b"DIRC", 20), (b"DIRC\0\0\0\x09\0\0\0\0", 20)] {
            assert!(matches!(Index::parse(file, hash), Err(IndexError::Unreadable(_))));
        }
    }

    proptest! {
        /// Damage anywhere is an error or other names, never a panic.
        #[test]
        fn damage_does_not_panic(
            version in 2u8..=4,
            count in 0u8..4,
            mut body in proptest::collection::vec(any::<u8>(), 0..400),
            long in any::<bool>(),
        ) {
            let mut file = [&b"DIRC\0\0\0"[..], &[version], b"\0\0\0", &[count]].concat();
            // Small flags make small names, so that parsing gets somewhere.
            if !long && body.len() > 62 {
                body[60] = 0;
                body[61] %= 32;
            }
            file.extend(body);
            let _ = Index::parse(&file, 20);
        }
    }
}
