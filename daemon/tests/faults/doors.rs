//! Who and what may come in: other daemons, old sockets, foreign directories, other users, junk.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixStream,
    },
    time::Duration,
};

use outlast_client::v1::{CreateJobRequest, job_service_client::JobServiceClient};
use outlast_testkit::{DEADLINE, Namespace, Process, Sandbox, allow_open_files, run, wait_until};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::{PATIENCE, SLEEPER};

#[test]
fn a_second_daemon_leaves_the_first_alone() {
    let sandbox = Sandbox::new();
    let pid = sandbox.start_daemon();
    let second = run(sandbox.command("outlastd"), DEADLINE).code(4);
    assert!(
        second.err().contains(&pid.to_string()),
        "it names the first: {second}"
    );
    drop(sandbox.outlast(&["status"]).success());
    assert_eq!(sandbox.daemon_pid(), Some(pid));
}

#[test]
fn many_clients_at_once_start_one_daemon() {
    let sandbox = Sandbox::new();
    let clients: Vec<Process> = (0..12).map(|_| sandbox.spawn(&SLEEPER)).collect();
    for client in clients {
        drop(client.finish(PATIENCE).success());
    }
    let jobs = sandbox.outlast(&["job", "list", "--json"]).success().json();
    assert_eq!(jobs.as_array().unwrap().len(), 12);
    // A program that was forked and not yet executed bears the daemon's name for a moment.
    wait_until(DEADLINE, "one daemon to be all there is", || {
        let all = sandbox.processes();
        let is_daemon = |pid: &&u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "outlastd")
        };
        (all.iter().filter(is_daemon).count() == 1).then_some(())
    });
}

#[test]
fn a_stale_socket_is_not_a_daemon_and_not_in_the_way() {
    let sandbox = Sandbox::new();
    sandbox.start_daemon();
    sandbox.kill_daemon().unwrap();
    assert!(sandbox.socket().exists());
    let status = sandbox.outlast(&["status"]).code(7);
    assert!(status.err().contains("not running"), "{status}");
    assert_eq!(sandbox.daemon_pid(), None, "status starts no daemon");
    sandbox.start_daemon();
    drop(sandbox.outlast(&["status"]).success());
}

#[test]
fn a_symlink_in_place_of_the_socket_directory_is_refused() {
    let sandbox = Sandbox::new();
    let elsewhere = sandbox.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, sandbox.path().join("run/outlast")).unwrap();
    let failed = sandbox.outlast(&["daemon", "start"]);
    assert_ne!(failed.exit(), 0, "{failed}");
    assert!(failed.err().contains("symlink"), "{failed}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_socket_directory_that_is_open_to_others_is_refused() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path().join("run/outlast");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let failed = sandbox.outlast(&["daemon", "start"]);
    assert_ne!(failed.exit(), 0, "{failed}");
    assert!(failed.err().contains("open to other users"), "{failed}");
}

#[test]
fn a_directory_of_another_owner_is_refused() {
    let sandbox = Sandbox::new();
    // A file system on which everything belongs to nobody: root makes one, others are given one by their namespace.
    let setup = if rustix::process::geteuid().is_root() {
        "mkdir -m 700 \"$1/run/outlast\" && mount -t tmpfs -o uid=65534,mode=0700 outlast-test \"$1/run/outlast\""
    } else {
        "mkdir -m 700 \"$1/run/outlast\" && mount --bind /usr \"$1/run/outlast\""
    };
    let namespace = Namespace::new(&sandbox, setup);
    let failed = namespace.outlast(&sandbox, &["daemon", "start"]);
    assert_ne!(failed.exit(), 0, "{failed}");
    assert!(failed.err().contains("belongs to user 65534"), "{failed}");
}

#[test]
fn another_user_is_turned_away_even_when_the_modes_let_them_in() {
    let sandbox = Sandbox::new();
    let pid = sandbox.start_daemon();
    for (path, mode) in [
        ("", 0o755),
        ("run", 0o755),
        ("run/outlast", 0o755),
        ("run/outlast/daemon.sock", 0o666),
    ] {
        fs::set_permissions(sandbox.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    // What the kernel says about the peer is all that counts, so a program of another user has to ask.
    let script = "import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1])
try:
 s.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + bytes(9))
 print(len(s.recv(100)))
except ConnectionError: print(0)";
    let mut command = if rustix::process::geteuid().is_root() {
        sandbox.command("setpriv")
    } else {
        let mut command = sandbox.command("sudo");
        command.args(["-n", "setpriv"]);
        command
    };
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "/usr/bin/python3",
        "-S",
        "-c",
        script,
    ]);
    command.arg(sandbox.socket()).current_dir("/");
    let asked = run(command, DEADLINE).success();
    assert_eq!(asked.word(), "0", "a stranger was answered: {asked}");
    assert_eq!(sandbox.daemon_pid(), Some(pid));
    drop(sandbox.outlast(&["status"]).success());
}

/// Speaks bytes to the daemon and waits until it hangs up; a reset is as good as an end.
fn shout(sandbox: &Sandbox, bytes: &[u8]) {
    let mut stream = UnixStream::connect(sandbox.socket()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    drop(stream.write_all(bytes));
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert!(
            matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            ),
            "the connection was left open: {error}"
        );
    }
}

#[test]
fn junk_on_the_socket_closes_that_connection_and_nothing_else() {
    let sandbox = Sandbox::new();
    let pid = sandbox.start_daemon();
    let job = sandbox.outlast(&SLEEPER).success().word();
    shout(&sandbox, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    shout(&sandbox, &[0xff; 100_000]);
    shout(&sandbox, b"");
    shout(
        &sandbox,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    );
    assert_eq!(sandbox.daemon_pid(), Some(pid));
    sandbox.wait_job(&job, |state| state == "running");
}

#[test]
fn a_message_of_a_hundred_megabytes_is_refused() {
    let sandbox = Sandbox::new();
    let pid = sandbox.start_daemon();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let status = runtime.block_on(async {
        let channel = sandbox.connect().await.unwrap();
        let request = CreateJobRequest {
            command: vec!["true".to_owned(), "x".repeat(100_000_000)],
            ..CreateJobRequest::default()
        };
        JobServiceClient::new(channel)
            .create_job(request)
            .await
            .unwrap_err()
    });
    assert!(!status.message().is_empty(), "{status:?}");
    assert_eq!(sandbox.daemon_pid(), Some(pid));
    drop(sandbox.outlast(&["run", "--", "true"]).success());
    assert!(
        memory(pid, "VmHWM") < 200_000,
        "it took {} kB",
        memory(pid, "VmHWM")
    );
}

#[test]
fn five_thousand_connections_do_not_harm_the_daemon() {
    allow_open_files(5000);
    let sandbox = Sandbox::new();
    let pid = sandbox.start_daemon();
    let address = SocketAddrUnix::new(sandbox.socket()).unwrap();
    let mut open = Vec::new();
    for _ in 0..5000 {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        // What does not fit into the queue of the socket is refused by the kernel at once; that is an answer too.
        if connect(&stream, &address).is_ok() {
            open.push(stream);
        }
    }
    assert!(open.len() > 200, "only {} connections were taken", open.len());
    assert_eq!(sandbox.daemon_pid(), Some(pid));
    drop(open);
    wait_until(DEADLINE, "an answer after the flood", || {
        (sandbox.outlast(&["status"]).exit() == 0).then_some(())
    });
    drop(sandbox.outlast(&["run", "--", "true"]).success());
    assert_eq!(sandbox.daemon_pid(), Some(pid));
    assert!(
        memory(pid, "VmHWM") < 200_000,
        "it took {} kB",
        memory(pid, "VmHWM")
    );
}

#[test]
fn a_stopped_daemon_is_gone_within_five_seconds_and_its_streams_are_told() {
    let sandbox = Sandbox::new();
    let pid = sandbox.start_daemon();
    let script = "echo started; exec sleep 1000";
    let job = sandbox
        .outlast(&["run", "-d", "--", "sh", "-c", script])
        .success()
        .word();
    let follower = sandbox.spawn(&["job", "logs", "-f", &job]);
    follower.wait_line(|line| line == "started");
    let hold = outlast_testkit::Gone::watch(pid).unwrap();
    hold.signal(rustix::process::Signal::TERM);
    assert!(
        hold.within(Duration::from_secs(5)),
        "SIGTERM takes longer than 5 s"
    );
    let told = follower.finish(DEADLINE).code(7);
    assert!(
        told.err().contains("logs -f") && told.err().contains("--from 8"),
        "the last line says how to go on: {told}"
    );
    sandbox.start_daemon();
    sandbox.wait_job(&job, |state| state == "running");
}

/// A figure of a process in kB, as the kernel tells it.
fn memory(pid: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// As in a container, or after `su`: nobody made a runtime directory, and `/tmp/outlast-<uid>/` serves all homes.
#[test]
fn two_homes_without_a_runtime_directory_have_a_daemon_each() {
    let sandbox = Sandbox::new();
    // A /tmp of this test's own, in which only the sandbox and the programs are.
    let setup = "mount --rbind /tmp /mnt\n\
                 mount -t tmpfs -o mode=1777 none /tmp\n\
                 for dir in \"$1\" \"${PATH%%:*}\"; do case $dir in /tmp/*)\n\
                 mkdir -p \"$dir\"; mount --bind \"/mnt${dir#/tmp}\" \"$dir\";; esac; done";
    let namespace = Namespace::new(&sandbox, setup);
    let in_home = |state: &str, args: &[&str]| {
        let mut command = namespace.command(&sandbox, "outlast");
        command
            .args(args)
            .env_remove("XDG_RUNTIME_DIR")
            .env("XDG_STATE_HOME", sandbox.path().join(state));
        run(command, DEADLINE).success()
    };
    let first = ["run", "-d", "--name", "mine", "--", "sleep", "600"];
    drop(in_home("state", &first));
    assert_eq!(in_home("other", &["--json", "job", "list"]).word(), "[]");
    assert_eq!(
        in_home("state", &["--json", "job", "list"]).json()[0]["name"],
        "mine"
    );
    let [one, two] = ["state", "other"].map(|state| {
        let status = in_home(state, &["--json", "daemon", "status"]).json();
        status["socket"].as_str().unwrap().to_owned()
    });
    assert_ne!(one, two);
    for socket in [one, two] {
        assert!(
            socket.starts_with("/tmp/outlast-") && socket.len() <= 107,
            "{socket}"
        );
    }
    drop(in_home("state", &["job", "cancel", "mine"]));
    for state in ["state", "other"] {
        drop(in_home(state, &["daemon", "stop"]));
    }
}
