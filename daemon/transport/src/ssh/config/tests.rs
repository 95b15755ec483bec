use std::os::unix::fs::PermissionsExt as _;

use proptest::{collection::vec, prelude::*};

use super::*;

/// `ssh` as it is here, reading one file only.
fn ssh(dir: &Path, config: &str) -> PathBuf {
    let file = dir.join("ssh_config");
    fs::write(&file, config).unwrap();
    let program = dir.join("ssh");
    fs::write(
        &program,
        format!("#!/bin/sh\nexec ssh -F {} \"$@\"\n", file.display()),
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn to(destination: &str) -> SshRoute {
    SshRoute {
        destination: destination.to_owned(),
        ..SshRoute::default()
    }
}

#[tokio::test]
async fn the_configuration_counts_as_it_does_for_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key_of_10.0.0.7");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "x", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    fs::write(
        dir.path().join("more"),
        "Host build*\n  Port 2222\n  IdentitiesOnly yes\n",
    )
    .unwrap();
    let config = format!(
        "Include {dir}/more\n\
         Match exec \"test %n = build1\"\n  User worker\n\
         Host build1\n  HostName 10.0.0.7\n  IdentityFile {dir}/key_of_%h\n  IdentityFile {dir}/none\n  \
         HostKeyAlias Farm\n  UserKnownHostsFile {dir}/known_hosts \"{dir}/two words\"\n  \
         IdentityAgent {dir}/agent-%r\n  ProxyJump me@gate:2200,inner\n  StrictHostKeyChecking accept-new\n  \
         HashKnownHosts yes\n  CertificateFile {dir}/more\n  ForwardAgent yes\n  ConnectTimeout 7\n  \
         PreferredAuthentications publickey,password\n  AddressFamily inet\n  BindAddress 127.0.0.2\n  \
         PKCS11Provider /x.so\n  GSSAPIAuthentication yes\n  RevokedHostKeys /r\n  SetEnv A=B\n",
        dir = dir.path().display()
    );
    let found = ask(&ssh(dir.path(), &config), &to("build1")).await.unwrap();
    assert_eq!(found.hostname, "10.0.0.7");
    assert_eq!((found.user.as_str(), found.port), ("worker", 2222));
    let [identity] = found.identities.as_slice() else {
        panic!("{:?}", found.identities);
    };
    assert_eq!(identity.file, key);
    assert_eq!((identity.encrypted, identity.certified), (Some(true), false));
    assert!(identity.public.is_some());
    assert!(found.identities_only);
    assert_eq!(found.agent, Agent::At(dir.path().join("agent-worker")));
    assert_eq!(found.proxy_jump.as_deref(), Some("me@gate:2200,inner"));
    assert_eq!(found.host_key_alias.as_deref(), Some("farm"));
    assert_eq!(
        found.user_known_hosts,
        [dir.path().join("known_hosts"), dir.path().join("two words")]
    );
    assert_eq!(found.strict, Strict::AcceptNew);
    assert!(found.hash_known_hosts && found.forward_agent && found.gssapi);
    assert_eq!(found.certificate_files, [dir.path().join("more")]);
    assert_eq!(found.connect_timeout, Some(Duration::from_secs(7)));
    assert_eq!(found.preferred_authentications, ["publickey", "password"]);
    assert_eq!(found.family, Family::Inet);
    assert_eq!(found.bind.as_deref(), Some("127.0.0.2"));
    assert_eq!(found.pkcs11_provider.as_deref(), Some("/x.so"));
    assert!(found.set_env);
    assert_eq!(found.revoked_host_keys.as_deref(), Some("/r"));
    assert!(found.host_key_algorithms.contains(&"ssh-ed25519".to_owned()));
    assert!(!found.ciphers.is_empty() && !found.macs.is_empty() && !found.kex_algorithms.is_empty());
}

#[tokio::test]
async fn what_the_route_says_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("mine");
    fs::write(dir.path().join("mine.pub"), key::line(&[0, 0, 0, 1, b'k'])).unwrap();
    let route = SshRoute {
        user: Some("other".to_owned()),
        port: Some(2022),
        jump: Some("gate".to_owned()),
        identities: vec![mine.clone()],
        ..to("BUILD1")
    };
    let program = ssh(dir.path(), "User worker\nPort 1\nSetEnv TERM=xterm\n");
    let found = ask(&program, &route).await.unwrap();
    assert_eq!((found.user.as_str(), found.port), ("other", 2022));
    assert_eq!(found.hostname, "build1");
    assert_eq!(found.proxy_jump.as_deref(), Some("gate"));
    assert!(!found.set_env);
    assert_eq!(found.identities.len(), 1);
    assert_eq!(found.identities[0].file, beside(&mine, ".pub"));
    assert_eq!(found.identities[0].encrypted, None);
}

#[tokio::test]
async fn a_wrong_configuration_is_said_in_the_words_of_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let error = ask(&ssh(dir.path(), "Host x\n  Bogus yes\n"), &to("x"))
        .await
        .unwrap_err();
    assert_eq!(error.cause, Cause::Misconfigured);
    assert!(error.message.contains("line 2"), "{}", error.message);
    assert!(error.message.contains("bogus"), "{}", error.message);
}

#[tokio::test]
async fn what_is_no_name_is_refused_before_ssh_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let trap = dir.path().join("trap");
    let destination = format!("-oProxyCommand=touch {}", trap.display());
    for route in [
        to(&destination),
        to(""),
        to("a b"),
        to("a\nb"),
        SshRoute {
            user: Some("-x".to_owned()),
            ..to("a")
        },
        SshRoute {
            jump: Some("-x".to_owned()),
            ..to("a")
        },
        SshRoute {
            identities: vec![dir.path().join("none")],
            ..to("a")
        },
    ] {
        let error = ask(Path::new("ssh"), &route).await.unwrap_err();
        assert_eq!(error.cause, Cause::Misconfigured, "{route:?}");
    }
    assert!(!trap.exists());
}

#[tokio::test]
async fn without_ssh_there_are_the_usual_settings() {
    let route = SshRoute {
        user: Some("me".to_owned()),
        jump: Some("gate".to_owned()),
        ..to("Build1")
    };
    let found = ask(Path::new("/no/such/ssh"), &route).await.unwrap();
    assert_eq!((found.hostname.as_str(), found.port), ("build1", 22));
    assert_eq!(found.user, "me");
    assert_eq!(found.proxy_jump.as_deref(), Some("gate"));
    assert!(found.user_known_hosts[0].ends_with(".ssh/known_hosts"));
    assert!(found.pubkey && found.password && found.keyboard_interactive);
}

/// Up to OpenSSH 8.3 they are printed as they stand in the file.
#[test]
fn known_hosts_at_home_are_found() {
    let text =
        "hostname x\nuserknownhostsfile ~/.ssh/known_hosts ~/two words /k ~me/x\ncontrolpath /7|me|desk|/h\n";
    let found = settings(text, &to("x"));
    let files = ["/h/.ssh/known_hosts", "/h/two words", "/k ~me/x"];
    assert_eq!(found.user_known_hosts, files.map(PathBuf::from));
}

#[test]
fn paths_are_written_out() {
    let tokens = Tokens {
        uid: "7".to_owned(),
        user: "me".to_owned(),
        here: "desk.lan".to_owned(),
        home: "/h".to_owned(),
        host: "10.0.0.7".to_owned(),
        given: "build1".to_owned(),
        remote: "worker".to_owned(),
        port: "22".to_owned(),
        alias: "farm".to_owned(),
    };
    for (text, path) in [
        ("~/.ssh/id", "/h/.ssh/id"),
        ("~", "/h"),
        ("~other/x", "~other/x"),
        ("/k/%h-%n-%p-%r-%k", "/k/10.0.0.7-build1-22-worker-farm"),
        ("%d/%u/%i/%l/%L", "/h/me/7/desk.lan/desk"),
        ("/100%%/%", "/100%/%"),
        ("/ä%ü/$x", "/ä%ü/$x"),
        ("/x${OUTLAST_NO_SUCH_VARIABLE}/y", "/x/y"),
    ] {
        assert_eq!(tokens.path(text), PathBuf::from(path), "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_upsets_it(text in "((port|hostname|controlpath|userknownhostsfile|identityagent|x) [^\n]{0,20}\n|\\PC{0,20}\n){0,6}") {
        let _ = settings(&text, &to("x"));
        let _ = Tokens::default().path(&text);
    }

    #[test]
    fn every_line_is_a_word_and_its_value(given in vec(("[a-z0-9]{1,12}", "[^\\s\\p{C}]([^\\p{C}]{0,20}[^\\s\\p{C}])?"), 0..6)) {
        let text: String = given.iter().map(|(word, value)| format!("{word} {value}\n")).collect();
        let read: Vec<_> = lines(&text).map(|(word, value)| (word, value.to_owned())).collect();
        prop_assert_eq!(read, given);
    }

    #[test]
    fn paths_with_blanks_stay_whole(given in vec("/[a-z]{1,5}( [a-z]{1,5})?(/[a-z]{1,5})?", 1..4)) {
        let read: Vec<String> = paths(&given.join(" ")).iter().map(|path| path.display().to_string()).collect();
        prop_assert_eq!(read, given);
    }
}
