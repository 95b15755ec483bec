//! Who is let in, and what strangers and broken programs cannot do.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::{
    fs,
    io::{ErrorKind as Io, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream, process::CommandExt as _},
    process::Command,
};

use outlast_client::{
    BUILD_KEY, PROTOCOL, PROTOCOL_KEY,
    v1::{ErrorKind, GetDaemonRequest, GetHostRequest, host_service_client::HostServiceClient},
};
use outlast_testkit::{DEADLINE, Sandbox, allow_open_files, wait_until};
use support::{error, log, ready, soon};
use tonic::{Code, Request};

async fn answers(sandbox: &Sandbox) {
    let mut client = support::daemon(sandbox).await;
    soon("an answer", client.get_daemon(GetDaemonRequest {}))
        .await
        .unwrap();
}

/// Reads until the other end closes, however it does.
fn closed(mut stream: &UnixStream) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == Io::ConnectionReset => return,
            Err(error) => panic!("never closed: {error}"),
        }
    }
}

/// The directory keeps others out; should it ever not, the kernel's word about the peer does.
#[tokio::test]
async fn another_user_is_dropped_before_a_byte_is_answered() {
    let sandbox = Sandbox::new();
    let _process = ready(&sandbox);
    let socket = sandbox.socket();
    for path in [
        sandbox.path(),
        &sandbox.path().join("run"),
        socket.parent().unwrap(),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o711)).unwrap();
    }
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let script = "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); \
                  connect(S, sockaddr_un($ARGV[0])) or die \"connect: $!\"; \
                  print defined sysread(S, $b, 1) ? length $b : 'reset'";
    // Only root may become somebody else; whoever is not asks it to.
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("perl");
        command.uid(65_534).gid(65_534);
        command
    } else {
        let mut command = Command::new("sudo");
        command.args(["-n", "-u", "#65534", "perl"]);
        command
    };
    command.args(["-e", script]).arg(&socket).current_dir("/");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said == "0" || said == "reset", "{said}");
    let log = wait_until(DEADLINE, "a line in the log", || {
        let log = log(&sandbox);
        log.contains("another user").then_some(log)
    });
    assert!(log.contains("uid=65534"), "{log}");
    answers(&sandbox).await;
}

#[tokio::test]
async fn garbage_closes_its_own_connection_only() {
    let sandbox = Sandbox::new();
    let _process = ready(&sandbox);
    let mut random = outlast_testkit::Random::new(7);
    let http1 = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let preface_then_junk = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), vec![0xff; 4096]].concat();
    let noise: Vec<u8> = (0..8192)
        .map(|_| u8::try_from(random.between(0, 255)).unwrap())
        .collect();
    for bytes in [http1, preface_then_junk, noise] {
        let mut stream = UnixStream::connect(sandbox.socket()).unwrap();
        // The daemon may close before all of it is written.
        let _ = stream.write_all(&bytes);
        closed(&stream);
    }
    answers(&sandbox).await;
}

#[tokio::test]
async fn a_message_of_100_mb_is_refused_with_a_clear_status() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    let channel = sandbox.connect().await.unwrap();
    let mut client = HostServiceClient::new(channel).max_encoding_message_size(usize::MAX);
    let request = GetHostRequest {
        host: "x".repeat(100 << 20),
    };
    let status = soon("a refusal", client.get_host(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(status.message().contains("limit"), "{status:?}");
    assert!(memory_mb(process.pid()) < 100);
    answers(&sandbox).await;
}

fn memory_mb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn five_thousand_connections_do_no_harm() {
    const COUNT: usize = 5000;
    allow_open_files(COUNT as u64);
    let sandbox = Sandbox::new();
    // The daemon keeps the usual limit: what is left of descriptors must do.
    let process = limited(&sandbox, 1024);
    let before = memory_mb(process.pid());
    let mut held = Vec::new();
    for _ in 0..COUNT {
        held.push(UnixStream::connect(sandbox.socket()).unwrap());
    }
    // The last one is beyond all seats and is closed.
    closed(held.last().unwrap());
    assert!(process.is_running());
    assert!(
        memory_mb(process.pid()) < before + 100,
        "{} MB",
        memory_mb(process.pid())
    );
    drop(held);
    wait_for_answer(&sandbox).await;
    assert!(log(&sandbox).contains("too many at once"));
    assert_eq!(log(&sandbox).matches("too many at once").count(), 1);
}

/// A daemon that may have so many files open.
fn limited(sandbox: &Sandbox, files: u32) -> outlast_testkit::Process {
    let started = support::start_with(sandbox, |command| {
        let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        let mut wrapped = Command::new("sh");
        wrapped
            .arg("-c")
            .arg(script)
            .arg(command.get_program())
            .args(command.get_args());
        wrapped.env_clear().envs(sandbox.environment()).current_dir("/");
        *command = wrapped;
    });
    assert_eq!(started.said, "ready\n");
    started.process
}

/// A want of descriptors is waited out, not spun on, and the daemon serves again when there are some.
#[tokio::test]
async fn a_want_of_descriptors_is_survived() {
    let sandbox = Sandbox::new();
    let process = limited(&sandbox, 32);
    let cpu = |pid: u32| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let held: Vec<_> = (0..100)
        .map(|_| UnixStream::connect(sandbox.socket()).unwrap())
        .collect();
    wait_until(DEADLINE, "the want in the log", || {
        log(&sandbox).contains("accepting a connection").then_some(())
    });
    let (before, start) = (cpu(process.pid()), std::time::Instant::now());
    // Probation ends ten seconds later and frees what was held; until then the daemon must rest.
    closed(&held[0]);
    let ticks = cpu(process.pid()) - before;
    assert!(
        ticks < 100 + start.elapsed().as_secs() * 5,
        "{ticks} ticks of processor time for doing nothing"
    );
    drop(held);
    wait_for_answer(&sandbox).await;
    assert_eq!(log(&sandbox).matches("accepting a connection").count(), 1);
}

/// Calls until one is answered: the seats of a flood are free only when the daemon has seen their ends.
async fn wait_for_answer(sandbox: &Sandbox) {
    soon("an answer after the flood", async {
        loop {
            if let Ok(channel) = sandbox.connect().await {
                let mut client = outlast_client::v1::daemon_service_client::DaemonServiceClient::new(channel);
                if client.get_daemon(GetDaemonRequest {}).await.is_ok() {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Whoever connects and does not call within ten seconds is shown out; whoever called may stay.
#[tokio::test]
async fn a_connection_that_never_calls_is_closed() {
    let sandbox = Sandbox::new();
    let _process = ready(&sandbox);
    let mut caller = support::daemon(&sandbox).await;
    caller.get_daemon(GetDaemonRequest {}).await.unwrap();
    let silent = UnixStream::connect(sandbox.socket()).unwrap();
    let mut slow = UnixStream::connect(sandbox.socket()).unwrap();
    slow.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    slow.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
    tokio::task::spawn_blocking(move || {
        closed(&silent);
        closed(&slow);
    })
    .await
    .unwrap();
    caller.get_daemon(GetDaemonRequest {}).await.unwrap();
}

#[tokio::test]
async fn another_protocol_number_is_refused_with_the_command_that_mends_it() {
    let sandbox = Sandbox::new();
    let _process = ready(&sandbox);
    let mut client = support::daemon(&sandbox).await;
    for number in ["999", "x", ""] {
        let mut request = Request::new(GetDaemonRequest {});
        request
            .metadata_mut()
            .insert(PROTOCOL_KEY, number.parse().unwrap());
        let status = client.get_daemon(request).await.unwrap_err();
        let error = error(&status);
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{number:?}");
        assert!(
            error.message.contains(&format!("protocol {PROTOCOL}")),
            "{error:?}"
        );
        assert_eq!(error.hint(), "outlast daemon restart");
    }
    let mut request = Request::new(GetDaemonRequest {});
    request
        .metadata_mut()
        .insert(PROTOCOL_KEY, PROTOCOL.to_string().parse().unwrap());
    let answer = client.get_daemon(request).await.unwrap();
    assert_eq!(
        answer.metadata().get(PROTOCOL_KEY).unwrap(),
        &PROTOCOL.to_string()
    );
    assert!(answer.metadata().get(BUILD_KEY).is_some());
}

/// A logout removes the runtime directory; a daemon that lingers must be found again.
#[tokio::test]
async fn a_socket_that_was_taken_away_is_made_again() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    let socket = sandbox.socket();
    fs::remove_dir_all(socket.parent().unwrap()).unwrap();
    // It has its name a moment before it listens.
    wait_until(DEADLINE, "a new socket", || UnixStream::connect(&socket).ok());
    answers(&sandbox).await;
    assert!(process.is_running());
}
