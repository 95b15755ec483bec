//! Programs, shells and ports of another machine in the foreground.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Process, Random, Sandbox, Terminal, wait_until};
use rustix::process::Signal;

use crate::bed::{far, far_by_proxy, outlast_with};

#[test]
fn exec_is_binary_safe_both_ways() {
    let (sandbox, _sshd) = far();
    let mut random = Random::new(7);
    let bytes: Vec<u8> = (0..5_000_003)
        .map(|_| u8::try_from(random.between(0, 256)).unwrap())
        .collect();
    let began = Instant::now();
    let echoed = outlast_with(&sandbox, &bytes, &["host", "exec", "far", "--", "cat"]).success();
    println!("5 MB there and back: {:?}", began.elapsed());
    assert!(
        echoed.stdout == bytes,
        "{} of {} bytes came back",
        echoed.stdout.len(),
        bytes.len()
    );
    let counted = outlast_with(&sandbox, &bytes, &["host", "exec", "far", "--", "wc", "-c"]).success();
    assert_eq!(counted.word(), bytes.len().to_string());
}

#[test]
fn exec_stands_for_its_program() {
    let (sandbox, sshd) = far();
    let exec = |command: &[&str]| sandbox.outlast(&[&["host", "exec", "far", "--"], command].concat());
    let ran = exec(&["sh", "-c", "echo out; echo err >&2; pwd; exit 5"]).code(5);
    assert_eq!(ran.out(), format!("out\n{}\n", sshd.home().display()));
    assert_eq!(ran.err(), "err\n");
    drop(exec(&["sh", "-c", "kill -9 $$"]).code(128 + 9));
    drop(exec(&["no-such-program"]).code(127));
    drop(exec(&["/etc/passwd"]).code(126));
    let odd = ["a b", "$(id)", "'", "\"", "*", "", "--", ";"];
    let printed = exec(&[&["printf", "<%s>"], &odd[..]].concat()).success();
    assert_eq!(printed.out(), odd.map(|arg| format!("<{arg}>")).concat());
    drop(
        sandbox
            .outlast(&["host", "exec", "nowhere", "--", "true"])
            .code(125),
    );

    let live = sandbox.spawn(&[
        "host",
        "exec",
        "far",
        "--",
        "sh",
        "-c",
        "echo $$; exec sleep 1000",
    ]);
    let pid: u32 = live.wait_line(|line| !line.is_empty()).parse().unwrap();
    let program = outlast_testkit::Gone::watch(pid).expect("it runs");
    live.signal(Signal::INT);
    drop(live.finish(DEADLINE).code(128 + 2));
    assert!(program.within(DEADLINE), "the program outlives its listener");
}

#[test]
fn a_shell_on_a_host_is_a_terminal() {
    let (sandbox, sshd) = far();
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["host", "shell", "far"]);
    terminal.enter("echo $((20+3)):$(pwd):$(tty | cut -c1-8)");
    // A long path is broken where the screen ends.
    terminal.wait_screen("the shell's answer", |screen| {
        let whole: String = screen.lines().collect();
        whole.contains(&format!("23:{}:/dev/pts", sshd.home().display()))
    });
    terminal.resize(100, 30);
    terminal.enter("stty size");
    terminal.wait_text("30 100");
    terminal.enter("exit 4");
    assert_eq!(terminal.wait_exit(), 4);
}

/// Sends every connection back what it says, on a port.
fn echo_server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut from, mut to) = (&stream, &stream);
                let _ = std::io::copy(&mut from, &mut to);
                let _ = stream.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    port
}

/// Says something through a forwarded port; what came back.
fn said(port: u16, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut sending = stream.try_clone()?;
    let owned = bytes.to_vec();
    let sender = thread::spawn(move || {
        let _ = sending.write_all(&owned);
        let _ = sending.shutdown(std::net::Shutdown::Write);
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    sender.join().unwrap();
    Ok(back)
}

fn forward(sandbox: &Sandbox, port: u16) -> (Process, u16) {
    let process = sandbox.spawn(&["host", "forward", "far", &format!("0:{port}")]);
    let line = process.wait_line(|line| line.starts_with("forwarding"));
    let local = line.split(' ').nth(1).unwrap().rsplit(':').next().unwrap();
    (process, local.parse().unwrap())
}

#[test]
fn a_forwarded_port_leads_there_also_after_a_cut() {
    let (sandbox, _sshd, proxy) = far_by_proxy();
    let (process, port) = forward(&sandbox, echo_server());
    let megabyte = vec![7; 1 << 20];
    assert!(said(port, &megabyte).unwrap() == megabyte);
    assert_eq!(said(port, b"small").unwrap(), b"small");
    proxy.cut();
    let began = Instant::now();
    // The port stays; who connects while the host is away waits for it.
    wait_until(Duration::from_secs(20), "the port to lead there again", || {
        said(port, b"again")
            .is_ok_and(|back| back == b"again")
            .then_some(())
    });
    println!("a forwarded port after a cut: {:?}", began.elapsed());
    assert!(process.is_running());
    process.signal(Signal::INT);
    drop(process.finish(DEADLINE).code(130));
    wait_until(DEADLINE, "the port to be closed", || {
        TcpStream::connect(("127.0.0.1", port)).is_err().then_some(())
    });
}
