//! Whose key it is.

use std::{fs, process::Command, time::Duration};

use outlast_testkit::{DEADLINE, Sshd, keygen, run};

use super::{
    super::{config, open, reach::With, trust},
    bed::Bed,
    logins::agent,
};
use crate::{ask::QuestionKind, connect::Trust, error::Cause, route::SshRoute};

/// Whether `ssh` itself would go on without asking.
fn ssh_trusts(bed: &Bed, sshd: &Sshd) -> bool {
    let mut ssh = Command::new(bed.client.program());
    ssh.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-p"])
        .arg(sshd.address().port().to_string())
        .args(["--", "127.0.0.1", "true"]);
    run(ssh, DEADLINE).exit() == 0
}

#[tokio::test]
async fn a_known_host_is_reached_step_by_step() {
    let bed = Bed::new();
    let sshd = bed.known();
    let made = bed.to(&sshd).gets_in().await;
    let names: Vec<_> = made.steps.iter().map(|step| (step.name, step.ok)).collect();
    let wanted = ["resolve", "connect", "key exchange", "host key", "authenticate"];
    assert_eq!(names, wanted.map(|name| (name, true)));
    assert!(made.steps[2].message.contains("OpenSSH"), "{:?}", made.steps);
    assert!(made.questions.is_empty());
}

#[tokio::test]
async fn an_unknown_key_is_refused_when_nobody_takes_it() {
    let bed = Bed::new();
    let sshd = bed.sshd().authorize(&bed.client).start();
    for answers in [vec![], vec!["no"], vec!["SHA256:abc"]] {
        let mut attempt = bed.to(&sshd);
        attempt.answers = answers;
        let made = attempt.run("cat").await;
        let fingerprint = sshd.fingerprint("ed25519");
        assert_eq!(
            made.questions[0].kind,
            QuestionKind::HostKey {
                fingerprint: fingerprint.clone()
            }
        );
        assert_eq!(
            made.steps.last().map(|step| (step.name, step.ok)),
            Some(("host key", false))
        );
        let error = made.error();
        assert_eq!(error.cause, Cause::KeyUnknown, "{error}");
        assert_eq!(error.key_shown.as_deref(), Some(fingerprint.as_str()));
        assert!(
            error
                .hint
                .unwrap()
                .contains(&format!("--accept-key {fingerprint}"))
        );
    }
    assert_eq!(fs::read_to_string(bed.client.known_hosts()).unwrap(), "");
}

#[tokio::test]
async fn a_key_that_is_taken_is_written_down_for_ssh_too() {
    for (hashed, trust, answers) in [(false, Trust::Ask, vec!["yes"]), (true, Trust::AcceptNew, vec![])] {
        let bed = Bed::new();
        let sshd = bed.sshd().authorize(&bed.client).start();
        bed.client
            .add_config(&format!("HashKnownHosts {}", if hashed { "yes" } else { "no" }));
        assert!(!ssh_trusts(&bed, &sshd));
        let mut attempt = bed.to(&sshd);
        attempt.trust = trust;
        attempt.answers = answers;
        attempt.gets_in().await;
        let text = fs::read_to_string(bed.client.known_hosts()).unwrap();
        assert_eq!(text.contains("127.0.0.1"), !hashed, "{text}");
        assert!(ssh_trusts(&bed, &sshd));
        // And it is known from now on.
        assert!(bed.to(&sshd).gets_in().await.questions.is_empty());
    }
}

#[tokio::test]
async fn the_fingerprint_decides_when_it_is_given() {
    let bed = Bed::new();
    let sshd = bed.sshd().authorize(&bed.client).start();
    let mut attempt = bed.to(&sshd);
    attempt.trust = Trust::AcceptKey("SHA256:other".to_owned());
    let error = attempt.run("cat").await.error();
    assert_eq!(error.cause, Cause::KeyUnknown);
    assert!(error.message.contains("SHA256:other"), "{error}");
    assert!(error.message.contains(&sshd.fingerprint("ed25519")), "{error}");
    let mut attempt = bed.to(&sshd);
    attempt.trust = Trust::AcceptKey(sshd.fingerprint("ed25519"));
    attempt.gets_in().await;
    assert!(ssh_trusts(&bed, &sshd));
}

#[tokio::test]
async fn the_configuration_may_accept_new_keys_but_never_all() {
    let bed = Bed::new();
    let mut sshd = bed.sshd().authorize(&bed.client).start();
    bed.client.add_config("StrictHostKeyChecking no");
    assert_eq!(bed.to(&sshd).run("cat").await.error().cause, Cause::KeyUnknown);
    bed.client.add_config("StrictHostKeyChecking accept-new");
    bed.to(&sshd).gets_in().await;
    sshd.stop();
    sshd.change_host_keys();
    sshd.start();
    assert_eq!(bed.to(&sshd).run("cat").await.error().cause, Cause::KeyChanged);
    bed.client.add_config("StrictHostKeyChecking yes");
    fs::write(bed.client.known_hosts(), "").unwrap();
    let made = bed.to(&sshd).run("cat").await;
    assert!(made.questions.is_empty());
    assert_eq!(made.error().cause, Cause::KeyUnknown);
}

#[tokio::test]
async fn a_changed_key_is_refused_whatever_anyone_says() {
    let bed = Bed::new();
    let mut sshd = bed.known();
    let before = sshd.fingerprint("ed25519");
    sshd.stop();
    sshd.change_host_keys();
    sshd.start();
    let now = sshd.fingerprint("ed25519");
    for trust in [Trust::Ask, Trust::AcceptNew, Trust::AcceptKey(now.clone())] {
        let mut attempt = bed.to(&sshd);
        attempt.trust = trust;
        attempt.answers = vec!["yes"];
        let made = attempt.run("cat").await;
        assert!(made.questions.is_empty());
        let error = made.error();
        assert_eq!(error.cause, Cause::KeyChanged);
        assert_eq!(error.key_shown.as_deref(), Some(now.as_str()));
        assert_eq!(error.keys_known, [before.as_str()]);
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_though_it_is_known() {
    let bed = Bed::new();
    let sshd = bed.known();
    let line = sshd.known_line();
    let (_, key) = line.split_once(' ').unwrap();
    bed.client.know(&format!("@revoked * {key}"));
    let mut attempt = bed.to(&sshd);
    attempt.trust = Trust::AcceptNew;
    let error = attempt.run("cat").await.error();
    assert_eq!(error.cause, Cause::KeyRevoked, "{error}");
    assert_eq!(error.key_shown, Some(sshd.fingerprint("ed25519")));
}

#[tokio::test]
async fn names_in_every_form_are_known() {
    let bed = Bed::new();
    let sshd = bed.sshd().authorize(&bed.client).start();
    let line = sshd.known_line();
    let (name, key) = line.split_once(' ').unwrap();
    let write = |text: String| fs::write(bed.client.known_hosts(), text).unwrap();
    write(format!("[127.0.0.?]:* {key}\n"));
    bed.to(&sshd).gets_in().await;
    write(format!("other,127.0.0.1 {key}\n"));
    bed.to(&sshd).gets_in().await;
    write(format!("{name} {key}\n"));
    let mut hash = Command::new("ssh-keygen");
    hash.args(["-q", "-H", "-f"]).arg(bed.client.known_hosts());
    drop(run(hash, DEADLINE));
    assert!(
        !fs::read_to_string(bed.client.known_hosts())
            .unwrap()
            .contains("127")
    );
    bed.to(&sshd).gets_in().await;
    write(format!("farm {key}\n"));
    bed.client.add_config("HostKeyAlias farm");
    bed.to(&sshd).gets_in().await;
}

#[tokio::test]
async fn the_type_that_is_known_is_asked_for() {
    let bed = Bed::new();
    let sshd = bed
        .sshd()
        .host_keys(&["ed25519", "ecdsa", "rsa"])
        .authorize(&bed.client)
        .start();
    for kind in ["ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"] {
        let line = sshd.known_line();
        let line = line.lines().find(|line| line.contains(kind)).unwrap();
        fs::write(bed.client.known_hosts(), format!("{line}\n")).unwrap();
        let made = bed.to(&sshd).gets_in().await;
        assert!(made.questions.is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn trust_takes_the_key_that_is_shown_when_it_is_the_one_meant() {
    let bed = Bed::new();
    let mut sshd = bed.known();
    bed.client.know("# a remark\nother ssh-ed25519 AAAA");
    sshd.stop();
    sshd.change_host_keys();
    sshd.start();
    let route = SshRoute {
        destination: "127.0.0.1".to_owned(),
        port: Some(sshd.address().port()),
        ..SshRoute::default()
    };
    let settings = config::ask(bed.client.program(), &route).await.unwrap();
    let with = With {
        ssh: bed.client.program(),
        agent: None,
    };
    let before = fs::read_to_string(bed.client.known_hosts()).unwrap();
    let wrong = open::trust(settings.clone(), with, "SHA256:other", Duration::from_secs(20)).await;
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.key_shown, Some(sshd.fingerprint("ed25519")));
    assert_eq!(fs::read_to_string(bed.client.known_hosts()).unwrap(), before);

    let changed = open::trust(
        settings,
        with,
        &sshd.fingerprint("ed25519"),
        Duration::from_secs(20),
    )
    .await;
    assert_eq!(changed.unwrap(), [bed.client.known_hosts()]);
    bed.to(&sshd).gets_in().await;
    assert!(ssh_trusts(&bed, &sshd));
    let after = fs::read_to_string(bed.client.known_hosts()).unwrap();
    assert!(after.contains("# a remark\nother ssh-ed25519 AAAA\n"), "{after}");
    assert_eq!(
        after.lines().filter(|line| line.starts_with('[')).count(),
        1,
        "{after}"
    );
}

#[tokio::test]
async fn trust_finds_the_key_that_is_meant_among_all() {
    let bed = Bed::new();
    let sshd = bed
        .sshd()
        .host_keys(&["ed25519", "ecdsa", "rsa"])
        .authorize(&bed.client)
        .start();
    let other = bed.path().join("other");
    keygen(&other, "rsa", "");
    let stale = fs::read_to_string(other.with_extension("pub")).unwrap();
    bed.client
        .know(&format!("[127.0.0.1]:{} {stale}", sshd.address().port()));
    // Known is an rsa key, so that is what is shown; people may have the fingerprint of any.
    assert_eq!(
        bed.to(&sshd).run("cat").await.error().key_shown,
        Some(sshd.fingerprint("rsa"))
    );
    let route = SshRoute {
        destination: "127.0.0.1".to_owned(),
        port: Some(sshd.address().port()),
        ..SshRoute::default()
    };
    let settings = config::ask(bed.client.program(), &route).await.unwrap();
    let with = With {
        ssh: bed.client.program(),
        agent: None,
    };
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let fingerprint = sshd.fingerprint(kind);
        let changed = open::trust(settings.clone(), with, &fingerprint, Duration::from_secs(20)).await;
        assert_eq!(changed.unwrap(), [bed.client.known_hosts()], "{kind}");
    }
    bed.to(&sshd).gets_in().await;
}

/// The key of a host behind another is asked for with the agent of whoever asks, and what is in the way is told.
#[tokio::test]
async fn trust_reaches_through_other_machines() {
    let bed = Bed::new();
    let far = bed.sshd().start();
    let gate = Sshd::options(&bed.path().join("gate"))
        .authorize(&bed.client)
        .start();
    let (_agent, socket) = agent(&bed, &[&bed.client.key()]);
    fs::rename(bed.client.key(), bed.path().join("away")).unwrap();
    bed.client.add_config(&gate.alias("gate"));
    let route = SshRoute {
        destination: "127.0.0.1".to_owned(),
        port: Some(far.address().port()),
        jump: Some("gate".to_owned()),
        program: Some(bed.client.program().to_owned()),
        ..SshRoute::default()
    };
    let fingerprint = far.fingerprint("ed25519");
    let within = Duration::from_secs(20);
    // The key of the other machine is not known.
    let error = trust(&route, Some(&socket), &fingerprint, within)
        .await
        .unwrap_err();
    assert!(error.message.contains("Host key verification failed"), "{error}");
    bed.client.know(&gate.known_line());
    // Without the agent it lets nobody through.
    let error = trust(&route, None, &fingerprint, within).await.unwrap_err();
    assert!(error.message.contains("Permission denied"), "{error}");
    let changed = trust(&route, Some(&socket), &fingerprint, within).await;
    assert_eq!(changed.unwrap(), [bed.client.known_hosts()]);
    let known = fs::read_to_string(bed.client.known_hosts()).unwrap();
    assert!(
        known.contains(far.known_line().split(' ').nth(2).unwrap()),
        "{known}"
    );
}
