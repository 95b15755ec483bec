//! Whether a host's key is known, decided from known_hosts files as OpenSSH does, and writing them.
//!
//! Refuses more than OpenSSH in one case: a key that is revoked under the plain name of a host is also refused at a
//! port of its own, where OpenSSH only warns.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};
use uuid::Uuid;

use super::{config::Settings, key};

/// The name under which a host's keys are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The name: an alias, a host name, or `[host]:port`.
    own: String,
    /// What counts too where nothing is known by the own name: the host without its port.
    plain: Option<String>,
}

impl Name {
    /// The name of the host that the settings mean.
    pub(super) fn of(settings: &Settings) -> Self {
        match &settings.host_key_alias {
            Some(alias) => Self {
                own: alias.to_lowercase(),
                plain: None,
            },
            None => Self::at(&settings.hostname, settings.port),
        }
    }

    /// The name of a host at a port.
    pub(super) fn at(host: &str, port: u16) -> Self {
        let host = host.to_lowercase();
        if port == 22 {
            Self {
                own: host,
                plain: None,
            }
        } else {
            Self {
                own: format!("[{host}]:{port}"),
                plain: Some(host),
            }
        }
    }

    /// The name, as it stands in the files.
    pub(super) fn as_str(&self) -> &str {
        &self.own
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Plain,
    Authority,
    Revoked,
}

/// A line that speaks of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mark: Mark,
    key: Vec<u8>,
}

/// What the files say about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the host's.
    Known,
    /// Nothing is known of the host.
    Unknown,
    /// The host has other keys.
    Changed {
        /// Their fingerprints.
        known: Vec<String>,
    },
    /// It must not be taken, whatever else is said.
    Revoked,
}

/// What the files say of one host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Known {
    own: Vec<Entry>,
    plain: Vec<Entry>,
}

impl Known {
    /// Reads files. One that cannot be read says nothing, as for OpenSSH.
    pub(super) fn read<'a>(files: impl IntoIterator<Item = &'a PathBuf>, name: &Name) -> Self {
        let mut known = Self::default();
        for file in files {
            match fs::read(file) {
                Ok(bytes) => known.take(&bytes, name),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!("{} is not readable: {error}", file.display()),
            }
        }
        known
    }

    fn take(&mut self, bytes: &[u8], name: &Name) {
        for line in bytes.split(|byte| *byte == b'\n').filter_map(Line::read) {
            let entry = || Entry {
                mark: line.mark,
                key: line.key.clone(),
            };
            if line.speaks_of(&name.own) {
                self.own.push(entry());
            }
            if name.plain.as_ref().is_some_and(|plain| line.speaks_of(plain)) {
                self.plain.push(entry());
            }
        }
    }

    /// Decides about a key.
    pub(super) fn judge(&self, key: &[u8]) -> Verdict {
        let all = || self.own.iter().chain(&self.plain);
        let is = |entry: &&Entry, mark| entry.mark == mark && entry.key == key;
        if all().any(|entry| is(&entry, Mark::Revoked)) {
            return Verdict::Revoked;
        }
        if self.own.iter().any(|entry| is(&entry, Mark::Plain)) {
            return Verdict::Known;
        }
        let known = fingerprints(&self.own);
        if !known.is_empty() {
            return Verdict::Changed { known };
        }
        if self.plain.iter().any(|entry| is(&entry, Mark::Plain)) {
            return Verdict::Known;
        }
        Verdict::Unknown
    }

    /// Types of the keys that are known for the host, in the order of the files.
    pub(super) fn types(&self) -> Vec<&str> {
        let entries = if self.own.iter().any(|entry| entry.mark == Mark::Plain) {
            &self.own
        } else {
            &self.plain
        };
        let mut types = Vec::new();
        for entry in entries.iter().filter(|entry| entry.mark == Mark::Plain) {
            types.extend(key::kind(&entry.key).filter(|kind| !types.contains(kind)));
        }
        types
    }

    /// Whether a certificate authority is trusted to vouch for the host.
    pub(super) fn has_authority(&self) -> bool {
        let mut all = self.own.iter().chain(&self.plain);
        all.any(|entry| entry.mark == Mark::Authority)
    }
}

fn fingerprints(entries: &[Entry]) -> Vec<String> {
    let plain = entries.iter().filter(|entry| entry.mark == Mark::Plain);
    plain.map(|entry| key::fingerprint(&entry.key)).collect()
}

/// A line of a file that has a key.
struct Line<'a> {
    mark: Mark,
    names: &'a [u8],
    key: Vec<u8>,
}

impl<'a> Line<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut rest = line.trim_ascii_start();
        if rest.is_empty() || rest.starts_with(b"#") {
            return None;
        }
        let mut mark = Mark::Plain;
        if rest.starts_with(b"@") {
            let (word, after) = word(rest)?;
            mark = match word {
                b"@cert-authority" => Mark::Authority,
                b"@revoked" => Mark::Revoked,
                _ => return None,
            };
            rest = after;
        }
        let (names, rest) = word(rest)?;
        let (kind, rest) = word(rest)?;
        let (text, _comment) = word(rest).unwrap_or((rest, b""));
        let key = STANDARD.decode(text.trim_ascii_end()).ok()?;
        (key::plain_kind(&key)?.as_bytes() == kind).then_some(Self { mark, names, key })
    }

    fn speaks_of(&self, name: &str) -> bool {
        match self.names.strip_prefix(b"|1|") {
            Some(hashed) => hashed_is(hashed, name).unwrap_or(false),
            None if self.names.starts_with(b"|") => false,
            None => list_matches(self.names, name.as_bytes()),
        }
    }
}

/// The first word, and what follows the blanks after it. None: there are no such blanks.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
    let (word, rest) = text.split_at_checked(end)?;
    Some((word, rest.trim_ascii_start()))
}

/// Whether `salt|hash` is that of the name.
fn hashed_is(text: &[u8], name: &str) -> Option<bool> {
    let middle = text.iter().position(|byte| *byte == b'|')?;
    let salt = STANDARD.decode(text.get(..middle)?).ok()?;
    let hash = STANDARD.decode(text.get(middle + 1..)?).ok()?;
    Some(salt.len() == 20 && hash == hmac(&salt, name.as_bytes()))
}

/// HMAC-SHA1 with a key of at most 64 bytes.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 20] {
    let padded = |with: u8| {
        let mut block = [with; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha1::new()
        .chain_update(padded(0x36))
        .chain_update(text)
        .finalize();
    Sha1::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// Whether a comma-separated list of patterns means the name. One that is negated excludes it.
fn list_matches(list: &[u8], name: &[u8]) -> bool {
    let mut found = false;
    for pattern in list.split(|byte| *byte == b',') {
        match pattern.strip_prefix(b"!") {
            Some(pattern) if matches(pattern, name) => return false,
            None if matches(pattern, name) => found = true,
            _ => {}
        }
    }
    found
}

/// Whether a pattern with `*` and `?` means the name. Letters of the pattern count in lower case.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star does not fit: behind the star, one byte of the name further.
    let mut back = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                p += 1;
                back = Some((p, n));
            }
            (None, None) => return true,
            (Some(want), Some(byte)) if *want == b'?' || want.to_ascii_lowercase() == *byte => {
                p += 1;
                n += 1;
            }
            (_, _) => match back {
                Some((star, from)) if from < name.len() => {
                    p = star;
                    n = from + 1;
                    back = Some((star, n));
                }
                _ => return false,
            },
        }
    }
}

/// The line that says a key is the host's.
fn new_line(name: &Name, key: &[u8], hashed: bool) -> String {
    let names = if hashed {
        // Two random ids make the 20 random bytes a salt has.
        let ids = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        let salt: [u8; 20] = Sha1::digest(&ids).into();
        let hash = hmac(&salt, name.own.as_bytes());
        format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash))
    } else {
        name.own.clone()
    };
    format!("{names} {}\n", key::line(key))
}

/// Writes down a host's key. What is missing of the file is made, for the user alone.
pub(super) fn add(file: &Path, name: &Name, key: &[u8], hashed: bool) -> io::Result<()> {
    if let Some(parent) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)?;
    let mut text = new_line(name, key, hashed);
    if !ends_in_newline(&mut file)? {
        text.insert(0, '\n');
    }
    file.write_all(text.as_bytes())
}

fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    if file.seek(io::SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(io::SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Makes a key the host's only one of its type in the user's files, and writes it down in the first. All else stays
/// as it is, byte for byte. Answers the files that changed.
pub(super) fn replace(files: &[PathBuf], name: &Name, key: &[u8], hashed: bool) -> io::Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    for file in files {
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(about(file, &error)),
        };
        let without = without_others(&bytes, name, key);
        if without != bytes {
            rewrite(file, &without).map_err(|error| about(file, &error))?;
            changed.push(file.clone());
        }
    }
    let known = Known::read(files, name);
    if !known
        .own
        .iter()
        .any(|entry| entry.mark == Mark::Plain && entry.key == key)
    {
        let first = files
            .first()
            .ok_or_else(|| io::Error::other("the ssh configuration names no known_hosts file"))?;
        add(first, name, key, hashed).map_err(|error| about(first, &error))?;
        if !changed.contains(first) {
            changed.push(first.clone());
        }
    }
    Ok(changed)
}

fn about(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// A file's bytes without the lines that give the host another key of the same type. A line that also speaks of other
/// hosts keeps doing so.
fn without_others(bytes: &[u8], name: &Name, key: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    for whole in bytes.split_inclusive(|byte| *byte == b'\n') {
        let bare = whole.strip_suffix(b"\n").unwrap_or(whole);
        let other = Line::read(bare).filter(|line| {
            line.mark == Mark::Plain
                && line.key != key
                && key::kind(&line.key) == key::kind(key)
                && line.speaks_of(&name.own)
        });
        let Some(line) = other else {
            kept.extend_from_slice(whole);
            continue;
        };
        if let Some(names) = without_name(line.names, &name.own) {
            // The names are a part of this line: its first word, as the line has no mark.
            let start = bare.len() - bare.trim_ascii_start().len();
            kept.extend_from_slice(whole.get(..start).unwrap_or_default());
            kept.extend_from_slice(&names);
            kept.extend_from_slice(whole.get(start + line.names.len()..).unwrap_or_default());
        }
    }
    kept
}

/// A list of names without one; where a pattern still means it, that is excluded. None: no name is left.
fn without_name(list: &[u8], name: &str) -> Option<Vec<u8>> {
    if list.starts_with(b"|") {
        return None;
    }
    let is_it = |pattern: &&[u8]| pattern.eq_ignore_ascii_case(name.as_bytes());
    let left: Vec<&[u8]> = list
        .split(|byte| *byte == b',')
        .filter(|one| !is_it(one))
        .collect();
    if left.iter().all(|one| one.is_empty() || one.starts_with(b"!")) {
        return None;
    }
    let mut left = left.join(&b',');
    if list_matches(&left, name.as_bytes()) {
        left.extend_from_slice(b",!");
        left.extend_from_slice(name.as_bytes());
    }
    Some(left)
}

/// Replaces a file at once, through links, with the rights it has.
fn rewrite(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let rights = fs::metadata(&file)?.permissions();
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", Uuid::new_v4().simple()));
    let new = PathBuf::from(name);
    let write = || {
        let mut to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        to.write_all(bytes)?;
        to.set_permissions(fs::Permissions::from_mode(rights.mode()))?;
        to.sync_all()?;
        fs::rename(&new, &file)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests;
