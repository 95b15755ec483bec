use std::{fmt::Write as _, process::Command};

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// A well-formed key of some type, told apart by a byte.
fn key_of(kind: &str, byte: u8) -> Vec<u8> {
    let mut blob = Vec::new();
    let mut put = |field: &[u8]| {
        blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
        blob.extend_from_slice(field);
    };
    put(kind.as_bytes());
    match kind {
        "ssh-rsa" => put(&[1, 0, 1]),
        "ecdsa-sha2-nistp256" => put(b"nistp256"),
        "sk-ssh-ed25519@openssh.com" => put(b"ssh:"),
        _ => {}
    }
    put(&[byte; 32]);
    blob
}

fn ed25519(byte: u8) -> Vec<u8> {
    key_of("ssh-ed25519", byte)
}

fn known(text: &str, name: &Name) -> Known {
    let mut known = Known::default();
    known.take(text.as_bytes(), name);
    known
}

fn judged(text: &str, name: &Name, key: &[u8]) -> Verdict {
    known(text, name).judge(key)
}

#[test]
fn decides_as_openssh_does() {
    let (one, two) = (ed25519(1), ed25519(2));
    let (k1, k2, rsa) = (key::line(&one), key::line(&two), key::line(&key_of("ssh-rsa", 1)));
    let host = Name::at("Build1.lab", 22);
    let port = Name::at("build1.lab", 2222);
    let changed = |key: &[u8]| Verdict::Changed {
        known: vec![key::fingerprint(key)],
    };
    for (text, name, verdict) in [
        (String::new(), &host, Verdict::Unknown),
        (format!("build1.lab {k1}"), &host, Verdict::Known),
        (format!("BUILD1.lab {k1} me@here"), &host, Verdict::Known),
        (
            format!("# build1.lab {k1}\n\n  build1.lab\t{k1}\r\n"),
            &host,
            Verdict::Known,
        ),
        (format!("build1.lab {k2}"), &host, changed(&two)),
        // Another type alone is a change: the key exchange asked for the known type first.
        (format!("build1.lab {rsa}"), &host, changed(&key_of("ssh-rsa", 1))),
        (
            format!("build1.lab {k2}\nbuild1.lab {rsa}\nbuild1.lab {k1}"),
            &host,
            Verdict::Known,
        ),
        (format!("*.lab {k1}"), &host, Verdict::Known),
        (format!("b?ild1.*,other {k1}"), &host, Verdict::Known),
        (format!("*.lab,!build1.lab {k1}"), &host, Verdict::Unknown),
        (format!("!build1.lab,*.lab {k1}"), &host, Verdict::Unknown),
        (
            format!("@revoked * {k1}\nbuild1.lab {k1}"),
            &host,
            Verdict::Revoked,
        ),
        (
            format!("build1.lab {k1}\n@revoked *.lab {k1}"),
            &host,
            Verdict::Revoked,
        ),
        (
            format!("build1.lab {k1}\n@revoked *.lab {k2}"),
            &host,
            Verdict::Known,
        ),
        (
            format!("@cert-authority build1.lab {k1}"),
            &host,
            Verdict::Unknown,
        ),
        (format!("@unheard-of build1.lab {k1}"), &host, Verdict::Unknown),
        (format!("[build1.lab]:2222 {k1}"), &port, Verdict::Known),
        (format!("[build1.lab]:2222 {k1}"), &host, Verdict::Unknown),
        (format!("[*.lab]:2222 {k1}"), &port, Verdict::Known),
        (format!("build1.lab {k1}"), &port, Verdict::Known),
        (format!("build1.lab {k2}"), &port, Verdict::Unknown),
        (
            format!("build1.lab {k1}\n[build1.lab]:2222 {k2}"),
            &port,
            changed(&two),
        ),
        (
            format!("@revoked build1.lab {k1}\n[build1.lab]:2222 {k1}"),
            &port,
            Verdict::Revoked,
        ),
        ("build1.lab ssh-ed25519 AAAA".to_owned(), &host, Verdict::Unknown),
        (
            format!("build1.lab ssh-rsa {}", k1.split(' ').nth(1).unwrap()),
            &host,
            Verdict::Unknown,
        ),
        (
            "|1|broken|broken ssh-ed25519 x".to_owned(),
            &host,
            Verdict::Unknown,
        ),
    ] {
        assert_eq!(judged(&text, name, &one), verdict, "{text}");
    }
}

#[test]
fn an_alias_counts_for_itself_alone() {
    let settings = Settings {
        hostname: "10.0.0.1".to_owned(),
        port: 2222,
        host_key_alias: Some("Farm".to_owned()),
        ..Settings::default()
    };
    let name = Name::of(&settings);
    let line = key::line(&ed25519(1));
    assert_eq!(
        judged(&format!("farm {line}"), &name, &ed25519(1)),
        Verdict::Known
    );
    assert_eq!(
        judged(&format!("[10.0.0.1]:2222 {line}"), &name, &ed25519(1)),
        Verdict::Unknown
    );
    assert_eq!(
        judged(&format!("[farm]:2222 {line}"), &name, &ed25519(1)),
        Verdict::Unknown
    );
}

#[test]
fn knows_the_types_that_are_known() {
    let text = format!(
        "h {}\nh {}\nother {}\n@revoked h {}\n@cert-authority *.x {}\n",
        key::line(&key_of("ssh-rsa", 1)),
        key::line(&ed25519(1)),
        key::line(&key_of("ecdsa-sha2-nistp256", 1)),
        key::line(&key_of("sk-ssh-ed25519@openssh.com", 1)),
        key::line(&ed25519(3)),
    );
    let found = known(&text, &Name::at("h", 22));
    assert_eq!(found.types(), ["ssh-rsa", "ssh-ed25519"]);
    assert!(!found.has_authority());
    assert!(known(&text, &Name::at("h.x", 22)).has_authority());
    assert_eq!(
        known(&text, &Name::at("h", 23)).types(),
        ["ssh-rsa", "ssh-ed25519"]
    );
}

#[test]
fn what_is_added_is_found_by_ssh_keygen() {
    let dir = tempfile::tempdir().unwrap();
    for hashed in [false, true] {
        let file = dir.path().join(format!("{hashed}/.ssh/known_hosts"));
        let name = Name::at("Build1.lab", 2222);
        add(&file, &name, &ed25519(1), hashed).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        // A last line without its end stays a line of its own.
        fs::write(&file, fs::read_to_string(&file).unwrap().trim_end()).unwrap();
        add(&file, &Name::at("other", 22), &ed25519(2), hashed).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(text.contains("build1"), !hashed, "{text}");
        assert_eq!(lines_of_ssh_keygen(&file, "[build1.lab]:2222"), [1]);
        assert_eq!(lines_of_ssh_keygen(&file, "other"), [2]);
        assert_eq!(Known::read([&file], &name).judge(&ed25519(1)), Verdict::Known);
    }
}

#[test]
fn replacing_touches_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second, linked) = (
        dir.path().join("a"),
        dir.path().join("b"),
        dir.path().join("real"),
    );
    let line = |byte| key::line(&ed25519(byte));
    let rsa = key::line(&key_of("ssh-rsa", 7));
    fs::write(
        &first,
        format!(
            "# mine\r\n  h,other {old} note\nh {old}\n*.lab,h {old}\nh {rsa}\n@revoked h {revoked}\nrubbish\nx {old}",
            old = line(1),
            revoked = line(9),
        ),
    )
    .unwrap();
    fs::write(&linked, new_line(&Name::at("h", 22), &ed25519(1), true) + "y z\n").unwrap();
    std::os::unix::fs::symlink("real", &second).unwrap();
    fs::set_permissions(&linked, fs::Permissions::from_mode(0o640)).unwrap();
    let files = [first.clone(), second.clone(), dir.path().join("none")];
    let name = Name::at("h", 22);

    assert_eq!(replace(&files, &name, &ed25519(2), false).unwrap(), files[..2]);
    assert_eq!(
        fs::read_to_string(&first).unwrap(),
        format!(
            "# mine\r\n  other {old} note\n*.lab {old}\nh {rsa}\n@revoked h {revoked}\nrubbish\nx {old}\nh {new}\n",
            old = line(1),
            revoked = line(9),
            new = line(2),
        )
    );
    assert_eq!(fs::read_to_string(&linked).unwrap(), "y z\n");
    assert!(fs::symlink_metadata(&second).unwrap().is_symlink());
    assert_eq!(fs::metadata(&linked).unwrap().permissions().mode() & 0o777, 0o640);
    let found = Known::read(&files, &name);
    assert_eq!(found.judge(&ed25519(2)), Verdict::Known);
    assert!(matches!(found.judge(&ed25519(1)), Verdict::Changed { .. }));

    let before = fs::read(&first).unwrap();
    assert!(replace(&files, &name, &ed25519(2), false).unwrap().is_empty());
    assert_eq!(fs::read(&first).unwrap(), before);
}

#[test]
fn a_pattern_that_others_need_stays_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    fs::write(&file, format!("*.lab {}\n", key::line(&ed25519(1)))).unwrap();
    let name = Name::at("h.lab", 22);
    replace(std::slice::from_ref(&file), &name, &ed25519(2), true).unwrap();
    let found = Known::read([&file], &name);
    assert!(matches!(found.judge(&ed25519(1)), Verdict::Changed { .. }));
    assert_eq!(found.judge(&ed25519(2)), Verdict::Known);
    assert_eq!(
        Known::read([&file], &Name::at("g.lab", 22)).judge(&ed25519(1)),
        Verdict::Known
    );
    assert_eq!(lines_of_ssh_keygen(&file, "g.lab"), [1]);
    assert_eq!(lines_of_ssh_keygen(&file, "h.lab"), [2]);
}

/// The numbers of the lines that `ssh-keygen -F` finds.
fn lines_of_ssh_keygen(file: &Path, name: &str) -> Vec<usize> {
    let found = Command::new("ssh-keygen")
        .args(["-F", name, "-f"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    let numbers = text.lines().filter_map(|line| line.split(" found: line ").nth(1));
    numbers
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

/// The numbers of the lines that we find.
fn lines_of_ours(file: &Path, name: &str) -> Vec<usize> {
    let bytes = fs::read(file).unwrap();
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| Line::read(line).is_some_and(|line| line.speaks_of(name)))
        .map(|(number, _)| number + 1)
        .collect()
}

fn pattern() -> impl Strategy<Value = String> {
    let literal = || "[ab]{1,2}(\\.[ab]{1,2})?";
    prop_oneof![
        4 => literal(),
        2 => "[ab*?.]{1,4}",
        1 => "![ab*?.]{1,4}",
        2 => literal().prop_map(|host| format!("[{host}]:2222")),
        1 => "\\[[ab*]{1,3}\\]:2222",
    ]
}

fn line_of_file() -> impl Strategy<Value = String> {
    let mark = select(vec!["", "", "", "@revoked ", "@cert-authority "]);
    let kind = select(vec!["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"]);
    let key_line = (mark, vec(pattern(), 1..4), kind, any::<u8>()).prop_map(|(mark, names, kind, byte)| {
        format!("{mark}{} {}", names.join(","), key::line(&key_of(kind, byte)))
    });
    prop_oneof![8 => key_line, 1 => Just("# a b".to_owned()), 1 => Just(String::new())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn finds_the_lines_that_ssh_keygen_finds(lines in vec(line_of_file(), 0..8), names in vec(pattern(), 2), hash: bool) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let text = lines.iter().fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").unwrap();
            text
        });
        fs::write(&file, text).unwrap();
        if hash && !lines.is_empty() {
            Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output().unwrap();
        }
        for name in names.iter().filter(|name| !name.contains(['*', '?', '!'])) {
            prop_assert_eq!(lines_of_ours(&file, name), lines_of_ssh_keygen(&file, name), "{}", name);
        }
    }
}

proptest! {
    #[test]
    fn nothing_upsets_it(bytes: Vec<u8>, text in "[@|*?!,a \t\n1=/]{0,60}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let mut known = Known::default();
            known.take(bytes, &Name::at("a", 22));
            let _ = known.judge(&ed25519(1));
            prop_assert_eq!(without_others(bytes, &Name::at("a", 22), &ed25519(1)), bytes);
        }
    }

    #[test]
    fn patterns_match_as_their_definition_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
        fn slow(pattern: &[u8], name: &[u8]) -> bool {
            match (pattern.split_first(), name.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), _) => slow(rest, name) || name.split_first().is_some_and(|(_, n)| slow(pattern, n)),
                (Some((want, rest)), Some((byte, name))) => (*want == b'?' || want == byte) && slow(rest, name),
                _ => false,
            }
        }
        prop_assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), slow(pattern.as_bytes(), name.as_bytes()));
    }

    #[test]
    fn a_replaced_key_is_the_only_one_of_its_type(lines in vec(line_of_file(), 0..8), hashed: bool) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        fs::write(&file, lines.join("\n")).unwrap();
        let name = Name::at("a.b", 22);
        let key = ed25519(200);
        replace(std::slice::from_ref(&file), &name, &key, hashed).unwrap();
        let found = Known::read([&file], &name);
        let same: Vec<_> = found
            .own
            .iter()
            .filter(|entry| entry.mark == Mark::Plain && key::kind(&entry.key) == Some("ssh-ed25519"))
            .collect();
        prop_assert_eq!(same.len(), 1);
        prop_assert_eq!(&same[0].key, &key);
    }
}
