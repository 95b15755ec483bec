//! What goes through a connection.

use std::{fs, time::Instant};

use outlast_testkit::{DEADLINE, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::bed::{Bed, echo, reason, rest, threads};
use crate::connect::Purpose;

/// Bytes that show where they belong.
fn pattern(count: usize) -> Vec<u8> {
    (0..count)
        .map(|at| u8::try_from((at / 7 + at / 4096) % 251).unwrap())
        .collect()
}

#[tokio::test]
async fn every_byte_goes_there_and_comes_back() {
    let bed = Bed::new();
    let sshd = bed.known();
    for purpose in [Purpose::Control, Purpose::Bulk] {
        let mut attempt = bed.to(&sshd);
        attempt.purpose = purpose;
        let mut stream = attempt.gets_in().await.stream();
        let sent = pattern(8 << 20);
        let (mut from, mut to) = tokio::io::split(stream.io);
        let since = Instant::now();
        let send = async {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let receive = async {
            let mut got = Vec::new();
            from.read_to_end(&mut got).await.unwrap();
            got
        };
        let ((), got) = tokio::join!(send, receive);
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        eprintln!(
            "{purpose:?}: {:.0} MB/s there and back",
            24.0 / since.elapsed().as_secs_f64()
        );
        let ended = stream
            .closed
            .wait_for(Option::is_some)
            .await
            .unwrap()
            .clone()
            .unwrap();
        assert!(ended.message.contains("exit code 0"), "{ended}");
    }
}

#[tokio::test]
async fn one_way_only_is_as_good() {
    let bed = Bed::new();
    let sshd = bed.known();
    let count = 16 << 20;
    for purpose in [Purpose::Control, Purpose::Bulk] {
        let mut attempt = bed.to(&sshd);
        attempt.purpose = purpose;
        let mut stream = attempt.run(&format!("head -c {count} /dev/zero")).await.stream();
        let since = Instant::now();
        assert_eq!(rest(&mut stream).await.len(), count);
        let down = since.elapsed();
        let mut attempt = bed.to(&sshd);
        attempt.purpose = purpose;
        let mut stream = attempt.run("wc -c").await.stream();
        let since = Instant::now();
        let piece = vec![0; 64 << 10];
        for _ in 0..count / piece.len() {
            stream.io.write_all(&piece).await.unwrap();
        }
        stream.io.shutdown().await.unwrap();
        let told = String::from_utf8(rest(&mut stream).await).unwrap();
        assert_eq!(told.trim(), count.to_string());
        let rate = |time: std::time::Duration| 16.0 * 1.048_576 / time.as_secs_f64();
        eprintln!(
            "{purpose:?}: {:.0} MB/s down, {:.0} MB/s up",
            rate(down),
            rate(since.elapsed())
        );
    }
}

#[tokio::test]
async fn standard_error_is_kept_apart_and_never_in_the_way() {
    let bed = Bed::new();
    let sshd = bed.known();
    // More than a window of it, before and after standard output.
    let command = "head -c 5000000 /dev/zero | tr '\\0' x >&2; echo out; head -c 5000000 /dev/zero | tr '\\0' y >&2; \
                   echo last words >&2; exit 3";
    let mut stream = bed.to(&sshd).run(command).await.stream();
    assert_eq!(rest(&mut stream).await, b"out\n");
    let ended = reason(&mut stream).await;
    assert!(ended.message.contains("exit code 3"), "{ended}");
    assert!(stream.said.text().ends_with("last words"));
    assert!(stream.said.text().len() <= 4096);
}

#[tokio::test]
async fn a_command_that_is_killed_did_not_end_well() {
    let bed = Bed::new();
    let sshd = bed.known();
    let mut stream = bed.to(&sshd).run("kill -KILL $$").await.stream();
    assert!(rest(&mut stream).await.is_empty());
    let ended = reason(&mut stream).await;
    assert!(ended.message.contains("SIGKILL"), "{ended}");
}

#[tokio::test]
async fn output_is_whole_though_the_command_took_no_input() {
    let bed = Bed::new();
    let sshd = bed.known();
    let mut stream = bed
        .to(&sshd)
        .run("exec <&-; head -c 3000000 /dev/zero")
        .await
        .stream();
    let (mut from, mut to) = tokio::io::split(&mut stream.io);
    let send = async {
        // What is not taken is refused at some point, at the end at the latest.
        let piece = pattern(64 << 10);
        while to.write_all(&piece).await.is_ok() {}
    };
    let receive = async {
        let mut got = Vec::new();
        from.read_to_end(&mut got).await.unwrap();
        got.len()
    };
    let ((), count) = tokio::join!(send, receive);
    assert_eq!(count, 3_000_000);
}

#[tokio::test]
async fn a_reader_that_waits_holds_the_host_back() {
    let bed = Bed::new();
    let sshd = bed.known();
    let mut stream = bed
        .to(&sshd)
        .run("head -c 50000000 /dev/zero; echo done >&2")
        .await
        .stream();
    let mut first = [0; 1];
    stream.io.read_exact(&mut first).await.unwrap();
    let before = memory();
    // Other work goes on meanwhile.
    let mut other = bed.to(&sshd).gets_in().await.stream();
    for _ in 0..100 {
        echo(&mut other, b"ping").await;
    }
    assert!(memory() < before + (24 << 20), "{} then {}", before, memory());
    assert_eq!(rest(&mut stream).await.len(), 49_999_999);
}

#[tokio::test]
async fn an_idle_connection_wakes_nobody() {
    let bed = Bed::new();
    let sshd = bed.known();
    let mut idle = bed.to(&sshd).gets_in().await.stream();
    let thread = threads().pop().unwrap();
    let wakes = || {
        let status = fs::read_to_string(thread.join("status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary"))
            .unwrap()
            .to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let asleep = || {
        let state = fs::read_to_string(thread.join("status")).unwrap();
        state.contains("State:\tS").then_some(())
    };
    wait_until(DEADLINE, "the thread to sleep", asleep);
    let before = wakes();
    let since = Instant::now();
    let mut busy = bed.to(&sshd).gets_in().await.stream();
    for _ in 0..200 {
        echo(&mut busy, b"ping").await;
    }
    let (after, passed) = (wakes(), since.elapsed());
    // Its last acknowledgement may still have been on its way.
    assert!(after <= before + 1, "{before} then {after} within {passed:?}");
    assert_eq!(echo(&mut idle, b"still there").await, b"still there");
}

/// Resident memory of this process, bytes.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap()
        .to_owned();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}
