//! Who gets in, and what is said to who does not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use outlast_testkit::{DEADLINE, Process, Proxy, SshClient, Sshd, keygen, run, wait_until};

use super::super::{agent::Found, config, open};
use super::bed::Bed;
use crate::{
    ask::{QuestionKind, Secret},
    error::Cause,
};

/// Makes a key and lets it in. Answers the file.
fn another_key(bed: &Bed, sshd: &mut Sshd, name: &str, passphrase: &str) -> PathBuf {
    let file = bed.path().join(name);
    keygen(&file, "ed25519", passphrase);
    sshd.authorize_only(&fs::read_to_string(file.with_extension("pub")).unwrap());
    file
}

/// A real ssh-agent.
pub(super) fn agent(bed: &Bed, keys: &[&Path]) -> (Process, PathBuf) {
    let socket = bed.path().join("agent");
    let mut command = Command::new("ssh-agent");
    command.args(["-D", "-a"]).arg(&socket);
    let agent = Process::start(command);
    wait_until(DEADLINE, "the agent", || socket.exists().then_some(()));
    for key in keys {
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket);
        drop(run(add, DEADLINE).success());
    }
    (agent, socket)
}

#[tokio::test]
async fn keys_of_every_kind_get_in() {
    let bed = Bed::new();
    let mut sshd = bed.known();
    for (kind, format) in [
        ("rsa", "RFC4716"),
        ("ecdsa", "RFC4716"),
        ("rsa", "PEM"),
        ("ecdsa", "PKCS8"),
    ] {
        let file = bed.path().join(format!("{kind}-{format}"));
        keygen(&file, kind, "");
        let mut convert = Command::new("ssh-keygen");
        convert
            .args(["-q", "-p", "-N", "", "-m", format, "-f"])
            .arg(&file);
        drop(run(convert, DEADLINE).success());
        sshd.authorize_only(&fs::read_to_string(file.with_extension("pub")).unwrap());
        // The public half may be missing.
        fs::remove_file(file.with_extension("pub")).unwrap();
        let mut attempt = bed.to(&sshd);
        attempt.route.identities = vec![file.clone()];
        let made = attempt.gets_in().await;
        let by = &made.steps.last().unwrap().message;
        assert!(by.contains(file.to_str().unwrap()), "{by}");
    }
}

#[tokio::test]
async fn the_passphrase_of_a_key_is_asked_for_and_given_back() {
    let bed = Bed::new();
    let mut sshd = bed.known();
    let file = another_key(&bed, &mut sshd, "closed", "open sesame");
    let mut attempt = bed.to(&sshd);
    attempt.route.identities = vec![file.clone()];
    attempt.answers = vec!["wrong", "open sesame"];
    let made = attempt.gets_in().await;
    let asked: Vec<_> = made
        .questions
        .iter()
        .map(|question| question.kind.clone())
        .collect();
    assert_eq!(asked, vec![QuestionKind::Passphrase { file: file.clone() }; 2]);
    assert!(made.questions.iter().all(|question| !question.echo));
    let fit = vec![(file.clone(), Secret::new("open sesame".to_owned()))];
    assert_eq!(made.fit, fit);

    // One that is known is not asked for again, and a wrong one does not count.
    let mut attempt = bed.to(&sshd);
    attempt.route.identities = vec![file.clone()];
    attempt.passphrases = vec![(file.clone(), Secret::new("stale".to_owned())), fit[0].clone()];
    let made = attempt.gets_in().await;
    assert!(made.questions.is_empty());
    assert!(made.fit.is_empty());
}

#[tokio::test]
async fn without_the_passphrase_it_is_said_what_would_help() {
    let bed = Bed::new();
    let mut sshd = bed.known();
    let file = another_key(&bed, &mut sshd, "closed", "open sesame");
    for (answers, asked) in [(vec![], 1), (vec![""], 1), (vec!["a", "b", "c", "d"], 3)] {
        let mut attempt = bed.to(&sshd);
        attempt.route.identities = vec![file.clone()];
        attempt.answers = answers;
        let made = attempt.run("cat").await;
        assert_eq!(made.questions.len(), asked);
        let error = made.error();
        assert_eq!(error.cause, Cause::AuthRejected);
        assert!(error.message.contains(file.to_str().unwrap()), "{error}");
        assert!(error.message.contains("passphrase"), "{error}");
        assert!(error.message.contains("allows publickey"), "{error}");
        let hint = error.hint.unwrap();
        assert!(hint.contains(&format!("ssh-add {}", file.display())), "{hint}");
    }
}

#[tokio::test]
async fn a_key_that_the_host_does_not_take_costs_no_question() {
    let bed = Bed::new();
    let sshd = bed.known();
    let file = bed.path().join("closed");
    keygen(&file, "ed25519", "open sesame");
    let mut attempt = bed.to(&sshd);
    attempt.route.identities = vec![file, bed.client.key()];
    assert!(attempt.gets_in().await.questions.is_empty());
}

#[tokio::test]
async fn wrong_keys_are_named() {
    let bed = Bed::new();
    let sshd = bed.sshd().start();
    bed.client.know(&sshd.known_line());
    let error = bed.to(&sshd).run("cat").await.error();
    assert_eq!(error.cause, Cause::AuthRejected);
    assert!(
        error.message.contains(bed.client.key().to_str().unwrap()),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("authorized_keys"));
    bed.client.add_config("PubkeyAuthentication no");
    let error = bed.to(&sshd).run("cat").await.error();
    assert_eq!(error.cause, Cause::AuthRejected);
    assert!(error.message.contains("no key here"), "{error}");
}

#[tokio::test]
async fn the_agent_has_the_keys() {
    let bed = Bed::new();
    let mut sshd = bed.known();
    let ed25519 = another_key(&bed, &mut sshd, "in-agent", "open sesame");
    let plain = bed.path().join("plain");
    fs::copy(&ed25519, &plain).unwrap();
    let mut open = Command::new("ssh-keygen");
    open.args(["-q", "-p", "-P", "open sesame", "-N", "", "-f"])
        .arg(&plain);
    drop(run(open, DEADLINE).success());
    let rsa = bed.path().join("rsa");
    keygen(&rsa, "rsa", "");
    let (_agent, socket) = agent(&bed, &[&plain, &rsa]);
    fs::remove_file(&plain).unwrap();

    let mut attempt = bed.to(&sshd);
    attempt.agent = Some(socket.clone());
    let made = attempt.gets_in().await;
    assert!(made.questions.is_empty());
    assert!(
        made.steps.last().unwrap().message.contains("agent"),
        "{:?}",
        made.steps
    );

    // Named keys alone: the agent has the private half of this one.
    bed.client.add_config("IdentitiesOnly yes");
    let mut attempt = bed.to(&sshd);
    attempt.agent = Some(socket.clone());
    attempt.route.identities = vec![ed25519.clone()];
    let made = attempt.gets_in().await;
    assert!(made.questions.is_empty());
    // And of no other.
    let mut attempt = bed.to(&sshd);
    attempt.agent = Some(socket.clone());
    let error = attempt.run("cat").await.error();
    assert!(!error.message.contains("agent"), "{error}");

    // A signature over RSA is asked for as SHA-2.
    bed.client.add_config("IdentitiesOnly no");
    sshd.authorize_only(&fs::read_to_string(rsa.with_extension("pub")).unwrap());
    bed.client
        .add_config(&format!("IdentityAgent {}", socket.display()));
    bed.to(&sshd).gets_in().await;
    bed.client.add_config("IdentityAgent none");
    let mut attempt = bed.to(&sshd);
    attempt.agent = Some(socket);
    assert_eq!(attempt.run("cat").await.error().cause, Cause::AuthRejected);
}

#[tokio::test]
async fn an_agent_that_is_silent_or_gone_stops_nobody() {
    let bed = Bed::new();
    let mut sshd = bed.known();
    let silent = bed.path().join("silent");
    let _listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    for socket in [silent, bed.path().join("none")] {
        let mut attempt = bed.to(&sshd);
        attempt.agent = Some(socket);
        attempt.gets_in().await;
    }
    sshd.authorize_only("");
    let mut attempt = bed.to(&sshd);
    attempt.agent = Some(bed.path().join("none"));
    let error = attempt.run("cat").await.error();
    assert!(error.message.contains("the agent at"), "{error}");
}

#[tokio::test]
async fn too_many_keys_are_counted_and_the_named_one_goes_first() {
    let bed = Bed::new();
    let mut sshd = bed.sshd().option("MaxAuthTries 2").start();
    bed.client.know(&sshd.known_line());
    let mut files = Vec::new();
    for number in 0..4 {
        let file = bed.path().join(format!("k{number}"));
        keygen(&file, "ed25519", "");
        files.push(file);
    }
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let (_agent, socket) = agent(&bed, &paths);
    sshd.authorize_only(&bed.client.public_key());
    let mut attempt = bed.to(&sshd);
    attempt.agent = Some(socket.clone());
    let error = attempt.run("cat").await.error();
    assert_eq!(error.cause, Cause::AuthRejected, "{error}");
    assert!(error.hint.clone().unwrap().contains("MaxAuthTries"), "{error:?}");
    let mut attempt = bed.to(&sshd);
    attempt.agent = Some(socket);
    attempt.route.identities = vec![bed.client.key()];
    attempt.gets_in().await;
}

#[tokio::test]
async fn many_keys_do_not_use_up_the_tries() {
    let bed = Bed::new();
    // One for each of the five, none for asking what is allowed.
    let mut sshd = bed.sshd().option("MaxAuthTries 6").start();
    bed.client.know(&sshd.known_line());
    let mut files = Vec::new();
    for number in 0..5 {
        let file = bed.path().join(format!("k{number}"));
        keygen(&file, "ed25519", "");
        files.push(file);
    }
    sshd.authorize_only(&fs::read_to_string(files[4].with_extension("pub")).unwrap());
    let mut attempt = bed.to(&sshd);
    attempt.route.identities = files;
    attempt.gets_in().await;
}

/// The library would send half of the signature, which hosts refuse.
#[tokio::test]
async fn a_fido_key_of_the_agent_is_left_to_the_program() {
    let bed = Bed::new();
    let sshd = bed.sshd().start();
    bed.client.know(&sshd.known_line());
    let socket = bed.path().join("agent");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let field = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length, bytes].concat()
    };
    let public = field(b"sk-ssh-ed25519@openssh.com");
    let keys = [field(&public), field(b"my token")].concat();
    let answer = field(&[&[12, 0, 0, 0, 1], keys.as_slice()].concat());
    let agent = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut library, _) = listener.accept().unwrap();
        library.read_exact(&mut [0; 5]).unwrap();
        library.write_all(&answer).unwrap();
    });
    let mut attempt = bed.to(&sshd);
    attempt.agent = Some(socket);
    let error = attempt.run("cat").await.error();
    agent.join().unwrap();
    assert_eq!(error.cause, Cause::AuthRejected);
    assert!(
        error.message.contains("(my token): the library cannot use FIDO"),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("--transport ssh"));
}

/// What breaks says nothing of the keys: it is tried again, where refused keys never are.
#[tokio::test]
async fn a_connection_that_is_reset_after_a_refused_key_was_cut() {
    let bed = Bed::new();
    let mut sshd = bed.sshd().start();
    let proxy = Proxy::new(sshd.address());
    let key = another_key(&bed, &mut sshd, "closed", "open sesame");
    bed.client.know(&sshd.known_line().replace(
        &sshd.address().port().to_string(),
        &proxy.address().port().to_string(),
    ));
    let mut attempt = bed.to_port(proxy.address().port());
    // The first is refused; for the second, which the host takes, a person is asked.
    attempt.route.identities = vec![bed.client.key(), key];
    let (questions, mut asked) = tokio::sync::mpsc::channel(1);
    let route = attempt.route.clone();
    let settings = config::ask(bed.client.program(), &route).await.unwrap();
    let attempt = attempt.attempt(questions, std::sync::Arc::new(|_| {}));
    let cutting = async {
        let question = asked.recv().await.unwrap();
        proxy.cut();
        let answer = Secret::new("open sesame".to_owned());
        question.answer.send(Some(answer)).unwrap();
    };
    let opening = open::open(&attempt, &route, &settings, Found::default(), "cat");
    let (opened, ()) = tokio::join!(opening, cutting);
    let error = opened.unwrap_err();
    assert_eq!(error.cause, Cause::Cut, "{error}");
    assert!(sshd.log().contains("Failed publickey"), "{}", sshd.log());
}

/// An sshd that asks for passwords through PAM: root's is "open sesame" in a view of the files that only it has.
fn with_passwords(bed: &Bed, client: &SshClient, methods: &str) -> (Process, u16, String) {
    let dir = bed.path().join("pam");
    fs::create_dir_all(&dir).unwrap();
    let mut hash = Command::new("openssl");
    hash.args(["passwd", "-6", "open sesame"]);
    let hash = run(hash, DEADLINE).success().out();
    fs::write(
        dir.join("shadow"),
        format!("root:{}:19000:0:99999:7:::\n", hash.trim()),
    )
    .unwrap();
    fs::write(
        dir.join("pam"),
        "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
    )
    .unwrap();
    let key = dir.join("host_key");
    if !key.exists() {
        keygen(&key, "ed25519", "");
    }
    fs::write(dir.join("authorized_keys"), client.public_key()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    fs::write(
        dir.join("config"),
        format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}/authorized_keys\nPidFile none\n\
             UsePAM yes\nStrictModes no\nPermitRootLogin yes\nAuthenticationMethods {methods}\n",
            key.display(),
            dir.display()
        ),
    )
    .unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let script = format!(
        "mount --bind {dir}/shadow /etc/shadow && mount --bind {dir}/pam /etc/pam.d/sshd && \
         exec \"$(command -v sshd || echo /usr/sbin/sshd)\" -D -e -f {dir}/config",
        dir = dir.display()
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]);
    let sshd = Process::start(command);
    sshd.wait_error_line(|line| line.contains("Server listening"));
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    (sshd, port, format!("[127.0.0.1]:{port} {}", public.trim()))
}

#[tokio::test]
async fn passwords_are_asked_for() {
    let bed = Bed::new();
    for (methods, kind) in [("password", "password"), ("keyboard-interactive", "questions")] {
        let (sshd, port, line) = with_passwords(&bed, &bed.client, methods);
        bed.client.know(&line);
        let mut attempt = bed.to_port(port);
        attempt.answers = vec!["wrong", "open sesame"];
        let made = attempt.gets_in().await;
        let asked: Vec<_> = made
            .questions
            .iter()
            .map(|question| question.kind.clone())
            .collect();
        assert_eq!(asked, [QuestionKind::Password, QuestionKind::Password]);
        assert!(
            made.steps.last().unwrap().message.contains(kind),
            "{:?}",
            made.steps
        );

        let error = bed.to_port(port).run("cat").await.error();
        assert_eq!(error.cause, Cause::AuthRejected);
        assert!(error.message.contains("nobody was there to answer"), "{error}");
        assert!(error.hint.unwrap().contains("outlast host check"));
        sshd.signal(rustix::process::Signal::KILL);
    }
}

#[tokio::test]
async fn a_second_factor_is_asked_for_after_the_key() {
    let bed = Bed::new();
    let (_sshd, port, line) = with_passwords(&bed, &bed.client, "publickey,keyboard-interactive");
    bed.client.know(&line);
    let mut attempt = bed.to_port(port);
    attempt.answers = vec!["open sesame"];
    let made = attempt.gets_in().await;
    assert_eq!(made.questions.len(), 1);
    let error = bed.to_port(port).run("cat").await.error();
    assert_eq!(error.cause, Cause::AuthRejected);
    assert!(
        error.message.contains("accepted, but the host wants more"),
        "{error}"
    );
}
