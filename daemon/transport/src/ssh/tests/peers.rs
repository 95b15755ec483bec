//! Peers that are not what they should be, and attempts that nobody waits for any more.

use std::{
    io::Read as _,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Proxy, wait_until};
use rustix::process::Signal;

use super::super::{agent::Found, config, open};
use super::bed::{Bed, echo, reason, rest, threads};
use crate::error::Cause;

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up_in_time() {
    let bed = Bed::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut attempt = bed.to_port(listener.local_addr().unwrap().port());
    attempt.within = Duration::from_millis(300);
    let since = Instant::now();
    let made = attempt.run("cat").await;
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(
        made.steps.last().map(|step| (step.name, step.ok)),
        Some(("key exchange", false))
    );
    let error = made.error();
    assert_eq!(error.cause, Cause::TimedOut, "{error}");
    assert!(error.message.contains("nothing there speaks ssh"), "{error}");
    wait_until(DEADLINE, "the thread to end", || {
        threads().is_empty().then_some(())
    });
}

#[tokio::test]
async fn a_peer_that_resets_or_refuses_is_told_apart() {
    let bed = Bed::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let resets = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    let error = bed.to_port(port).run("cat").await.error();
    assert_eq!(error.cause, Cause::Cut, "{error}");
    resets.join().unwrap();
    let error = bed.to_port(port).run("cat").await.error();
    assert_eq!(error.cause, Cause::Refused, "{error}");
    assert!(error.message.contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_is_no_host() {
    let bed = Bed::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    });
    let mut attempt = bed.to_port(port);
    attempt.within = Duration::from_secs(5);
    let error = attempt.run("cat").await.error();
    assert!(matches!(error.cause, Cause::Cut | Cause::Protocol), "{error:?}");
    other.join().unwrap();
}

#[tokio::test]
async fn an_attempt_that_is_dropped_ends_at_once() {
    let bed = Bed::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let attempt = bed.to_port(port);
    let mut attempt = Box::pin(attempt.run("cat"));
    let mut peer = tokio::select! {
        _ = &mut attempt => panic!("a silent peer was no host"),
        peer = tokio::task::spawn_blocking(move || {
            let (mut peer, _) = listener.accept().unwrap();
            // What the library greets with: its thread is there and waits.
            let mut greeting = [0; 8];
            peer.read_exact(&mut greeting).unwrap();
            peer
        }) => peer.unwrap(),
    };
    drop(attempt);
    wait_until(DEADLINE, "the thread to end", || {
        threads().is_empty().then_some(())
    });
    let mut more = Vec::new();
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    // The rest of what was sent, and the end.
    peer.read_to_end(&mut more).unwrap();
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_ends_the_attempt() {
    let bed = Bed::new();
    let sshd = bed.sshd().authorize(&bed.client).start();
    let (questions, mut asked) = tokio::sync::mpsc::channel(1);
    let attempt = bed.to(&sshd);
    let route = attempt.route.clone();
    let settings = config::ask(bed.client.program(), &route).await.unwrap();
    let attempt = attempt.attempt(questions, Arc::new(|_| {}));
    let question = tokio::select! {
        opened = open::open(&attempt, &route, &settings, Found::default(), "cat") => panic!("{opened:?}"),
        asked = asked.recv() => asked,
    };
    wait_until(DEADLINE, "the thread to end", || {
        threads().is_empty().then_some(())
    });
    assert!(question.unwrap().answer.is_closed());
}

#[tokio::test]
async fn the_end_of_a_connection_is_told_from_either_side() {
    let bed = Bed::new();
    let sshd = bed.known();
    let mut stream = bed.to(&sshd).gets_in().await.stream();
    assert!(sshd.signal_connections(Signal::KILL) > 0);
    assert_eq!(reason(&mut stream).await.cause, Cause::Cut);
    assert!(rest(&mut stream).await.is_empty());

    let mut stream = bed.to(&sshd).gets_in().await.stream();
    let mut closed = stream.closed.clone();
    drop(std::mem::replace(&mut stream.io, Box::new(tokio::io::empty())));
    closed.wait_for(Option::is_some).await.unwrap();

    let stream = bed.to(&sshd).gets_in().await.stream();
    let mut closed = stream.closed.clone();
    drop(stream);
    closed.wait_for(Option::is_some).await.unwrap();
    wait_until(DEADLINE, "the threads to end", || {
        threads().is_empty().then_some(())
    });
    wait_until(DEADLINE, "sshd to let go", || {
        sshd.connections().is_empty().then_some(())
    });
}

#[tokio::test]
async fn a_slow_network_slows_and_breaks_nothing() {
    let bed = Bed::new();
    let sshd = bed.known();
    let proxy = Proxy::new(sshd.address());
    bed.client.know(&sshd.known_line().replace(
        &sshd.address().port().to_string(),
        &proxy.address().port().to_string(),
    ));
    proxy.delay(Duration::from_millis(20));
    let since = Instant::now();
    let mut stream = bed.to_port(proxy.address().port()).gets_in().await.stream();
    let connected = since.elapsed();
    let since = Instant::now();
    echo(&mut stream, b"x").await;
    eprintln!(
        "40 ms: connect and first echo {connected:?}, echo {:?}",
        since.elapsed()
    );
    proxy.cut();
    assert_eq!(reason(&mut stream).await.cause, Cause::Cut);
}
