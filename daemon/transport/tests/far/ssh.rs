//! The user's own `ssh`: what it asks reaches who connects, and what it says becomes a cause.

use std::{net::TcpListener, path::PathBuf};

use outlast_testkit::{Sshd, keygen};
use outlast_transport::{
    ask::QuestionKind,
    connect::{Attempt, Trust},
    error::Cause,
    route::{Carrier, Route, SshRoute},
};

use rustix::process::Signal;

use crate::bed::{Bed, closed, connected, refused};

fn host(bed: &Bed) -> (Sshd, Route) {
    let sshd = bed.sshd().start();
    bed.install(&sshd.cache().join("outlast/helper"));
    bed.client().add_config(&sshd.alias("far"));
    (sshd, Route::Ssh(bed.ssh("far")))
}

/// Where the `ssh` of this bed that run now would ask.
fn sockets_of(bed: &Bed) -> Vec<PathBuf> {
    let config = bed.client().config().display().to_string();
    let name = format!("{}=", outlast_helper::askpass::SOCKET);
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let read = |path: PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    processes
        .filter(|process| read(process.path().join("cmdline")).contains(&config))
        .filter_map(|process| {
            let environ = read(process.path().join("environ"));
            environ
                .split('\0')
                .find_map(|one| one.strip_prefix(&name))
                .map(PathBuf::from)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_asked_about_once() {
    let bed = Bed::new();
    let (sshd, route) = host(&bed);
    let (attempt, mut asked) = bed.asking(route.clone(), |_| Some("yes".to_owned()));
    let connection = connected(attempt).await;
    assert_eq!(connection.carrier, Carrier::Ssh);
    let question = asked.recv().await.unwrap();
    let fingerprint = sshd.fingerprint("ed25519");
    assert_eq!(question.kind, QuestionKind::HostKey { fingerprint });
    assert!(question.echo && question.text.contains("authenticity"));
    assert!(asked.try_recv().is_err());
    // A connection that stands asks nothing more, and nobody listens for it.
    let sockets = sockets_of(&bed);
    assert!(
        !sockets.is_empty() && !sockets.iter().any(|socket| socket.exists()),
        "{sockets:?}"
    );
    // It is known now.
    drop(connected(bed.attempt(route)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_without_an_answer_is_refused() {
    let bed = Bed::new();
    let (sshd, route) = host(&bed);
    let error = refused(bed.attempt(route.clone())).await;
    assert_eq!(error.cause, Cause::KeyUnknown);
    assert_eq!(error.key_shown, Some(sshd.fingerprint("ed25519")));
    let wrong = Attempt {
        trust: Trust::AcceptKey("SHA256:another".to_owned()),
        ..bed.attempt(route.clone())
    };
    let error = refused(wrong).await;
    assert_eq!(error.cause, Cause::KeyUnknown);
    assert_eq!(error.key_shown, Some(sshd.fingerprint("ed25519")));
    let right = Attempt {
        trust: Trust::AcceptKey(sshd.fingerprint("ed25519")),
        ..bed.attempt(route.clone())
    };
    drop(connected(right).await);
    drop(connected(bed.attempt(route)).await);
}

/// A host behind another, both with keys that nobody knows.
fn behind(bed: &Bed) -> (Sshd, Sshd, Route) {
    let (sshd, route) = host(bed);
    let gate = Sshd::options(&bed.path().join("gate"))
        .authorize(&bed.client())
        .start();
    bed.client().add_config(&gate.alias("gate"));
    bed.client().add_config("Host far\n  ProxyJump gate");
    (gate, sshd, route)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_machine_on_the_way_is_not_taken_for_the_host_s() {
    let bed = Bed::new();
    let (gate, sshd, route) = behind(&bed);
    let [of_gate, of_host] = [&gate, &sshd].map(|sshd| sshd.fingerprint("ed25519"));
    for trust in [Trust::Ask, Trust::AcceptKey(of_gate.clone())] {
        let attempt = Attempt {
            trust,
            ..bed.attempt(route.clone())
        };
        let error = refused(attempt).await;
        assert_eq!((error.cause, &error.key_shown), (Cause::KeyUnknown, &None));
        let name = format!("[127.0.0.1]:{}", gate.address().port());
        assert!(error.message.contains(&name), "{error}");
        assert!(error.message.contains(&of_gate), "{error}");
        assert!(error.hint.unwrap().contains("--accept-new"));
    }
    // A person may take it, and the fingerprint that was given answers for the host.
    let (attempt, mut asked) = bed.asking(route, |_| Some("yes".to_owned()));
    let attempt = Attempt {
        trust: Trust::AcceptKey(of_host),
        ..attempt
    };
    drop(connected(attempt).await);
    let question = asked.recv().await.unwrap();
    let fingerprint = of_gate;
    assert_eq!(question.kind, QuestionKind::HostKey { fingerprint });
    assert!(asked.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_keys_are_taken_all_the_way() {
    let bed = Bed::new();
    let (gate, _sshd, route) = behind(&bed);
    let accept = Attempt {
        trust: Trust::AcceptNew,
        ..bed.attempt(route.clone())
    };
    drop(connected(accept).await);
    drop(connected(bed.attempt(route)).await);
    assert!(gate.log().contains("Accepted publickey"), "{}", gate.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_taken_and_a_changed_one_is_not() {
    let bed = Bed::new();
    let (mut sshd, route) = host(&bed);
    let accept = Attempt {
        trust: Trust::AcceptNew,
        ..bed.attempt(route)
    };
    drop(connected(accept.clone()).await);
    let known = sshd.fingerprint("ed25519");
    sshd.change_host_keys();
    sshd.restart();
    let error = refused(accept).await;
    assert_eq!(error.cause, Cause::KeyChanged);
    assert_eq!(error.key_shown, Some(sshd.fingerprint("ed25519")));
    assert_eq!(error.keys_known, [known]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused() {
    let bed = Bed::new();
    let (sshd, route) = host(&bed);
    bed.client().know(&sshd.known_line());
    bed.client().know(&format!("@revoked {}", sshd.known_line()));
    let error = refused(bed.attempt(route)).await;
    assert_eq!(error.cause, Cause::KeyRevoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passphrase_is_asked_for_once_and_kept() {
    let bed = Bed::new();
    let (mut sshd, route) = host(&bed);
    let key = bed.path().join("locked");
    keygen(&key, "ed25519", "open sesame");
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    sshd.authorize_only(&public);
    bed.client().know(&sshd.known_line());
    let Route::Ssh(route) = route else { unreachable!() };
    let route = Route::Ssh(SshRoute {
        identities: vec![key.clone()],
        ..route
    });
    // Wrong at first.
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let (attempt, mut asked) = bed.asking(route.clone(), move |_| {
        let first = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        Some(if first { "wrong" } else { "open sesame" }.to_owned())
    });
    let connection = connected(attempt).await;
    for _ in 0..2 {
        let question = asked.recv().await.unwrap();
        assert_eq!(question.kind, QuestionKind::Passphrase { file: key.clone() });
        assert!(!question.echo);
    }
    let [(file, passphrase)] = connection.passphrases.as_slice() else {
        panic!("one passphrase fits");
    };
    assert_eq!((file, passphrase.expose()), (&key, "open sesame"));
    let again = Attempt {
        passphrases: connection.passphrases.clone(),
        ..bed.attempt(route.clone())
    };
    drop(connected(again).await);
    let error = refused(bed.attempt(route)).await;
    assert_eq!(error.cause, Cause::AuthRejected);
    assert!(error.hint.unwrap().contains("locked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_let_in_is_told() {
    let bed = Bed::new();
    let (mut sshd, route) = host(&bed);
    bed.client().know(&sshd.known_line());
    sshd.authorize_only("");
    let error = refused(bed.attempt(route)).await;
    assert_eq!(error.cause, Cause::AuthRejected);
    assert!(error.message.contains("Permission denied"), "{error}");
}

/// A start file may print what looks like the end of everything; it is not why the connection ends one day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_noise_is_not_the_reason_of_a_loss() {
    let bed = Bed::new();
    let sshd = bed
        .sshd()
        .option("ForceCommand echo 'Host key verification failed.' >&2; eval \"$SSH_ORIGINAL_COMMAND\"")
        .start();
    bed.install(&sshd.cache().join("outlast/helper"));
    bed.client().add_config(&sshd.alias("far"));
    bed.client().know(&sshd.known_line());
    let mut connection = connected(bed.attempt(Route::Ssh(bed.ssh("far")))).await;
    assert!(sshd.signal_connections(Signal::KILL) >= 1);
    assert_eq!(closed(&mut connection).await.cause, Cause::Cut);
}

/// Where nobody answers, no empty password is sent: the host would count it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_nobody_gives_is_not_tried() {
    let bed = Bed::new();
    let sshd = bed
        .sshd()
        .option("PasswordAuthentication yes")
        .option("PubkeyAuthentication no")
        .start();
    bed.client().add_config(&sshd.alias("far"));
    bed.client().know(&sshd.known_line());
    let error = refused(bed.attempt(Route::Ssh(bed.ssh("far")))).await;
    assert_eq!(error.cause, Cause::AuthRejected);
    assert!(error.message.contains("password"), "{error}");
    assert!(!sshd.log().contains("Failed password"), "{}", sshd.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reached_is_told() {
    let bed = Bed::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    bed.client().add_config(&format!(
        "Host closed\n  HostName 127.0.0.1\n  Port {port}\nHost nowhere\n  HostName nowhere.invalid\n"
    ));
    for (host, cause) in [("closed", Cause::Refused), ("nowhere", Cause::NoAddress)] {
        let error = refused(bed.attempt(Route::Ssh(bed.ssh(host)))).await;
        assert_eq!(error.cause, cause);
    }
    for host in ["-oProxyCommand=touch pwned", ""] {
        let error = refused(bed.attempt(Route::Ssh(bed.ssh(host)))).await;
        assert_eq!(error.cause, Cause::Misconfigured);
    }
}
