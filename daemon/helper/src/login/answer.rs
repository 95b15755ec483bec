//! How the environment comes out of a login shell: the shell becomes `outlast-helper environment NONCE`, which prints what
//! it was given in a frame that start files cannot print by accident.
//!
//! ```text
//! RS nonce SP length LF  NAME=value NUL NAME=value NUL …  RS nonce LF
//! ```

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

use crate::program::Environment;

/// `outlast-helper environment NONCE`: prints the environment this process was given.
///
/// # Errors
/// When nobody reads it.
pub fn print(nonce: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&frame(env::vars_os(), nonce))?;
    out.flush()
}

fn frame(vars: impl IntoIterator<Item = (OsString, OsString)>, nonce: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in vars {
        body.extend_from_slice(name.as_bytes());
        body.push(b'=');
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    let mut frame = format!("\u{1e}{nonce} {}\n", body.len()).into_bytes();
    frame.append(&mut body);
    frame.extend_from_slice(&end(nonce));
    frame
}

/// What stands behind an environment.
pub(super) fn end(nonce: &str) -> Vec<u8> {
    format!("\u{1e}{nonce}\n").into_bytes()
}

/// The environment in what a shell printed. None: it is not there, or something was printed into the middle of it.
pub(super) fn find(said: &[u8], nonce: &str) -> Option<Environment> {
    let begin = format!("\u{1e}{nonce} ").into_bytes();
    let at = position(said, &begin)? + begin.len();
    let rest = said.get(at..)?;
    let line = position(rest, b"\n")?;
    let length: usize = std::str::from_utf8(rest.get(..line)?).ok()?.parse().ok()?;
    let body = rest.get(line + 1..)?;
    if !body.get(length..)?.starts_with(&end(nonce)) {
        return None;
    }
    let vars = body.get(..length)?.split(|byte| *byte == 0);
    let pairs = vars.filter_map(|var| {
        // A name may begin with the sign, of old.
        let sign = 1 + position(var.get(1..)?, b"=")?;
        let (name, value) = var.split_at_checked(sign)?;
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Some((text(name), text(value.get(1..)?)))
    });
    Some(pairs.collect())
}

/// Where `what` first stands.
pub(super) fn position(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(n, v)| (n.into(), v.into())).collect()
    }

    #[test]
    fn an_environment_survives_whatever_is_around_it() {
        let all = vars(&[
            ("A", ""),
            ("B", "x=y\nz \u{1e}n1 7\n"),
            ("BASH_FUNC_f%%", "() { :; }"),
        ]);
        let mut said = b"motd \x1e n1\n\x1eother 3\n".to_vec();
        said.extend(frame(all.clone(), "n1"));
        said.extend_from_slice(b"bye\n");
        assert_eq!(find(&said, "n1"), Some(all.into_iter().collect()));
        assert_eq!(find(&said, "n2"), None);
    }

    #[test]
    fn what_is_cut_or_broken_is_no_answer() {
        let whole = frame(vars(&[("A", "1"), ("B", "2")]), "n1");
        for length in 0..whole.len() {
            assert_eq!(find(&whole[..length], "n1"), None, "{length}");
        }
        let mut broken = whole;
        broken.splice(8..8, *b"noise");
        assert_eq!(find(&broken, "n1"), None);
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let odd = vec![("X".into(), OsString::from_vec(vec![0xff, b'=', 0xfe]))];
        assert_eq!(
            find(&frame(odd.clone(), "n"), "n"),
            Some(odd.into_iter().collect())
        );
    }
}
