//! What can be read of keys without any secret: the type and fingerprint of a public one, and of a private one's file
//! whether it is encrypted and which public key it has. Does no cryptography on them.

use std::{fs, io, path::Path};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use sha2::{Digest as _, Sha256};

/// More than any private key's file has, bytes.
const FILE_MAX: u64 = 1 << 20;

/// Types of host keys and the number of fields their encoding has, the name included.
const TYPES: &[(&str, usize)] = &[
    ("ssh-ed25519", 2),
    ("ssh-rsa", 3),
    ("ecdsa-sha2-nistp256", 3),
    ("ecdsa-sha2-nistp384", 3),
    ("ecdsa-sha2-nistp521", 3),
    ("sk-ssh-ed25519@openssh.com", 3),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 4),
    ("ssh-dss", 5),
];

/// The next length-prefixed field of an encoding, and what follows it.
pub(super) fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// The type that an encoded public key says it has.
pub(super) fn kind(blob: &[u8]) -> Option<&str> {
    std::str::from_utf8(field(blob)?.0).ok()
}

/// Whether it is the encoding of a plain public key of a known type, which it answers.
pub(super) fn plain_kind(blob: &[u8]) -> Option<&'static str> {
    let name = kind(blob)?;
    let &(name, fields) = TYPES.iter().find(|(known, _)| *known == name)?;
    let mut rest = blob;
    for _ in 0..fields {
        rest = field(rest)?.1;
    }
    rest.is_empty().then_some(name)
}

/// The fingerprint of an encoded public key: `SHA256:…`.
pub(crate) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// Reads `type base64…`, the form of a public key in files. The types have to agree.
pub(crate) fn parse(text: &str) -> Option<Vec<u8>> {
    let mut words = text.split_ascii_whitespace();
    let name = words.next()?;
    let blob = STANDARD.decode(words.next()?).ok()?;
    (kind(&blob)? == name).then_some(blob)
}

/// The form of a public key in files.
pub(super) fn line(blob: &[u8]) -> String {
    format!("{} {}", kind(blob).unwrap_or("unknown"), STANDARD.encode(blob))
}

/// The type for people: `ED25519`, `RSA`.
pub(super) fn short(blob: &[u8]) -> &'static str {
    match kind(blob) {
        Some("ssh-ed25519") => "ED25519",
        Some("ssh-rsa") => "RSA",
        Some(name) if name.starts_with("ecdsa-") => "ECDSA",
        Some(name) if name.starts_with("sk-ssh-ed25519") => "ED25519-SK",
        Some(name) if name.starts_with("sk-ecdsa") => "ECDSA-SK",
        _ => "unknown",
    }
}

/// Whether the key is one of a FIDO token.
pub(super) fn is_fido(blob: &[u8]) -> bool {
    kind(blob).is_some_and(|kind| kind.starts_with("sk-"))
}

/// What a private key's file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Private {
    /// The file's text.
    pub(super) text: String,
    /// The public key, where it can be known without a passphrase.
    pub(super) public: Option<Vec<u8>>,
    /// Whether a passphrase is needed.
    pub(super) encrypted: bool,
}

/// Reads a private key's file. None: there is none, or it is none.
pub(super) fn private(file: &Path) -> io::Result<Option<Private>> {
    let found = match fs::metadata(file) {
        Ok(found) => found,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if !found.is_file() || found.len() > FILE_MAX {
        return Ok(None);
    }
    let Ok(text) = String::from_utf8(fs::read(file)?) else {
        return Ok(None);
    };
    let beside = || {
        let mut name = file.as_os_str().to_owned();
        name.push(".pub");
        parse(&fs::read_to_string(Path::new(&name)).ok()?)
    };
    Ok(look(&text).map(|(public, encrypted)| Private {
        public: public.or_else(beside),
        encrypted,
        text,
    }))
}

/// The public key and whether a passphrase is needed. None: that is no private key.
fn look(text: &str) -> Option<(Option<Vec<u8>>, bool)> {
    let begin = text.lines().find(|line| line.starts_with("-----BEGIN "))?;
    if begin.contains("OPENSSH PRIVATE KEY") {
        let body: String = text
            .lines()
            .skip_while(|line| *line != begin)
            .skip(1)
            .take_while(|line| !line.starts_with('-'))
            .flat_map(|line| line.chars().filter(|c| !c.is_ascii_whitespace()))
            .collect();
        return openssh(&STANDARD.decode(body).ok()?);
    }
    let old = text
        .lines()
        .any(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"));
    begin
        .contains("PRIVATE KEY")
        .then(|| (None, old || begin.contains("ENCRYPTED")))
}

/// OpenSSH's own format has the public key in the clear.
fn openssh(bytes: &[u8]) -> Option<(Option<Vec<u8>>, bool)> {
    let (cipher, rest) = field(bytes.strip_prefix(b"openssh-key-v1\0")?)?;
    let (_kdf, rest) = field(rest)?;
    let (_options, rest) = field(rest)?;
    let (_count, rest) = rest.split_first_chunk::<4>()?;
    let (public, _) = field(rest)?;
    Some((Some(public.to_vec()), cipher != b"none"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_ssh_keygen_are_read() {
        let dir = tempfile::tempdir().unwrap();
        for (name, how, passphrase, encrypted) in [
            ("plain", &["-t", "ed25519"][..], "", false),
            ("closed", &["-t", "ed25519"], "secret", true),
            ("rsa", &["-t", "rsa", "-b", "1024", "-m", "PEM"], "", false),
            ("old", &["-t", "rsa", "-b", "1024", "-m", "PEM"], "secret", true),
            ("pkcs8", &["-t", "ecdsa", "-m", "PKCS8"], "secret", true),
        ] {
            let file = dir.path().join(name);
            let mut make = std::process::Command::new("ssh-keygen");
            make.args(how).args(["-q", "-N", passphrase, "-f"]).arg(&file);
            assert!(make.status().unwrap().success(), "{name}");
            let key = private(&file).unwrap().unwrap();
            assert_eq!(key.encrypted, encrypted, "{name}");
            let public = key.public.unwrap();
            let shown = std::process::Command::new("ssh-keygen")
                .arg("-lf")
                .arg(&file)
                .output()
                .unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            assert!(shown.contains(&fingerprint(&public)), "{name}: {shown}");
            assert!(shown.contains(short(&public)), "{name}: {shown}");
            assert!(plain_kind(&public).is_some(), "{name}");
            assert_eq!(parse(&line(&public)), Some(public), "{name}");
        }
        assert_eq!(private(&dir.path().join("none")).unwrap(), None);
        assert_eq!(private(&dir.path().join("plain.pub")).unwrap(), None);
        assert_eq!(private(dir.path()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn nothing_upsets_it(bytes: Vec<u8>, text in "(-----BEGIN OPENSSH PRIVATE KEY-----\n)?[A-Za-z0-9+/=\n]{0,99}") {
            let _ = kind(&bytes);
            let _ = plain_kind(&bytes);
            let _ = openssh(&bytes);
            let _ = look(&text);
            let _ = parse(&text);
        }
    }
}
