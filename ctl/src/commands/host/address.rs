//! How people write where a host is: `[USER@]ADDR[:PORT]`, `ssh://…`, IPv6 in brackets, or a command as a shell reads it.

use outlast_client::v1::{CommandAddress, SshAddress};

use crate::error::{Failure, Result};

/// Reads an address. What it does not say comes from the user's ssh configuration.
pub fn parse(text: &str) -> Result<SshAddress> {
    let bad = |what: &str| {
        Failure::usage(format!("address {text:?}: {what}")).hint(
            "it looks like build1, user@build1, build1:2222, [2001:db8::1]:22 or ssh://user@build1:2222",
        )
    };
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ssh") => rest.strip_suffix('/').unwrap_or(rest),
        Some((scheme, _)) => return Err(bad(&format!("{scheme}:// is no way to reach a host, ssh:// is"))),
        None => text,
    };
    // As ssh does: what stands before the last @ is the user.
    let (user, rest) = match rest.rsplit_once('@') {
        Some(("", _)) => return Err(bad("no user stands before the @")),
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (host, port) = split_port(rest).map_err(bad)?;
    let spaced = |text: &str| text.chars().any(|c| c.is_whitespace() || c.is_control());
    match host {
        "" => return Err(bad("it names no host")),
        // ssh would take it for an option.
        _ if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) => {
            return Err(bad("it begins with -"));
        }
        _ if host.contains('/') => return Err(bad("a path means nothing here")),
        _ if spaced(host) || user.is_some_and(spaced) => return Err(bad("there is a space in it")),
        _ => {}
    }
    Ok(SshAddress {
        destination: host.to_owned(),
        user: user.map(str::to_owned),
        port: port.map(u32::from),
        ..SshAddress::default()
    })
}

/// Splits `HOST[:PORT]`. Brackets come off; a bare IPv6 address has colons of its own and no port.
fn split_port(text: &str) -> std::result::Result<(&str, Option<u16>), &'static str> {
    let (host, port) = if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']').ok_or("the bracket is not closed")?;
        match (rest, rest.strip_prefix(':')) {
            ("", _) => (host, None),
            (_, Some(port)) => (host, Some(port)),
            _ => return Err("only :PORT can stand behind the bracket"),
        }
    } else if text.matches(':').count() > 1 {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    match port {
        None => Ok((host, None)),
        Some(port) => Ok((host, Some(self::port(port)?))),
    }
}

/// Reads a port: 1 to 65535, digits only.
pub fn port(text: &str) -> std::result::Result<u16, &'static str> {
    const BAD: &str = "a port is a number from 1 to 65535";
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD);
    }
    text.parse().ok().filter(|port| *port > 0).ok_or(BAD)
}

/// Splits a command into words as a POSIX shell does. Nothing in it is expanded.
pub fn command(text: &str) -> Result<CommandAddress> {
    let bad = |what: &str| {
        Failure::usage(format!("--command {text:?}: {what}")).hint("--command 'docker exec -i web sh'")
    };
    let command = shell_words::split(text).map_err(|_unclosed| bad("a quote is not closed"))?;
    match command.first() {
        None => Err(bad("it names no program")),
        Some(program) if program.is_empty() => Err(bad("it names no program")),
        Some(_) => Ok(CommandAddress { command }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts<'a> = (Option<&'a str>, &'a str, Option<u32>);

    #[test]
    fn addresses_read_as_ssh_users_write_them() {
        let cases: [(&str, Parts<'_>); 13] = [
            ("build1", (None, "build1", None)),
            ("me@build1", (Some("me"), "build1", None)),
            ("me@build1:2222", (Some("me"), "build1", Some(2222))),
            ("build1:22", (None, "build1", Some(22))),
            ("10.0.0.1:65535", (None, "10.0.0.1", Some(65535))),
            ("2001:db8::1", (None, "2001:db8::1", None)),
            ("[2001:db8::1]", (None, "2001:db8::1", None)),
            ("me@[fe80::1%eth0]:2222", (Some("me"), "fe80::1%eth0", Some(2222))),
            ("ssh://me@build1:2222", (Some("me"), "build1", Some(2222))),
            ("ssh://build1/", (None, "build1", None)),
            ("SSH://[::1]:22", (None, "::1", Some(22))),
            (
                "me@corp.example@build1",
                (Some("me@corp.example"), "build1", None),
            ),
            ("under_score", (None, "under_score", None)),
        ];
        for (text, (user, host, port)) in cases {
            let read = parse(text).unwrap();
            assert_eq!(
                (read.user.as_deref(), read.destination.as_str(), read.port),
                (user, host, port),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "@build1",
            "me@",
            "build1:",
            "build1:0",
            "build1:65536",
            "build1:+22",
            "build1:ssh",
            "[::1",
            "[::1]22",
            "[]:22",
            "ftp://build1",
            "ssh://build1/tmp",
            "-oProxyCommand=x",
            "-l@build1",
            "a b",
            "a\n",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn commands_split_as_in_a_shell() {
        let words = |text| command(text).map(|address| address.command).ok();
        assert_eq!(
            words("docker exec -i 'my web' sh -c \"exec sh\" a\\ b '' # no"),
            Some(
                ["docker", "exec", "-i", "my web", "sh", "-c", "exec sh", "a b", ""]
                    .map(str::to_owned)
                    .into()
            )
        );
        assert_eq!(
            words("sh -c '$HOME `x`'"),
            Some(["sh", "-c", "$HOME `x`"].map(str::to_owned).into())
        );
        for text in ["", "  ", "''", "sh 'x", "sh \"x"] {
            assert_eq!(words(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(user in "[a-z_][a-z0-9_.-]{0,9}", host in "[a-z0-9][a-z0-9.-]{0,20}", port in 1_u16..) {
            let read = parse(&format!("ssh://{user}@{host}:{port}")).unwrap();
            prop_assert_eq!(read.user, Some(user));
            prop_assert_eq!(read.destination, host);
            prop_assert_eq!(read.port, Some(u32::from(port)));
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = parse(&text);
            let _ = command(&text);
        }
    }
}
