//! Looking at a session and typing into it.

use std::time::Instant;

use outlast_client::{
    helper_v1::{CaptureSessionRequest, SendSessionRequest, Size},
    v1::ErrorKind,
};

use crate::{
    bed::{Bed, error, eventually, new_id},
    over_all,
};

over_all!(
    a_screen_is_captured,
    a_screen_is_what_tmux_prints_of_it_whatever_stands_on_it,
    a_huge_screen_is_captured_whole,
    any_bytes_are_typed_in_order,
    a_mebibyte_is_typed_quickly,
    a_paste_stands_in_brackets_where_the_program_asked,
    a_mebibyte_is_pasted_whole_and_in_order,
    keys_are_pressed_and_unknown_ones_refused,
    an_enter_comes_apart_from_the_text_before_it,
    typing_reaches_a_program_whose_viewer_scrolls,
    nothing_is_typed_into_what_has_ended,
    a_tmux_that_hangs_is_an_error_in_time,
);

async fn send(bed: &mut Bed, id: &str, text: &[u8], keys: &[&str]) -> Result<u64, tonic::Status> {
    hand_over(bed, id, text, keys, false).await
}

async fn paste(bed: &mut Bed, id: &str, text: &[u8], keys: &[&str]) -> Result<u64, tonic::Status> {
    hand_over(bed, id, text, keys, true).await
}

async fn hand_over(
    bed: &mut Bed,
    id: &str,
    text: &[u8],
    keys: &[&str],
    paste: bool,
) -> Result<u64, tonic::Status> {
    let request = SendSessionRequest {
        id: id.to_owned(),
        text: text.to_vec().into(),
        keys: keys.iter().map(ToString::to_string).collect(),
        paste,
    };
    let sent = bed.client.send_session(request).await?;
    Ok(sent.into_inner().log_offset)
}

async fn a_screen_is_captured(mut bed: Bed) {
    let script = "i=0; while [ $i -lt 100 ]; do echo row $i; i=$((i+1)); done; printf '\\033[31mred\\033[0m done'; sleep 600";
    let (id, _) = bed.session(script).await;
    bed.shows(&id, "red done").await;
    let capture = |ansi, history_lines| CaptureSessionRequest {
        id: id.clone(),
        ansi,
        history_lines,
        blanks: false,
    };
    let screen = bed
        .client
        .capture_session(capture(false, 0))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        screen.size,
        Some(Size {
            columns: 100,
            rows: 30
        })
    );
    let text = String::from_utf8(screen.screen.to_vec()).unwrap();
    assert_eq!(text.lines().count(), 30);
    assert!(
        text.starts_with("row 71\n") && text.ends_with("row 99\nred done\n"),
        "{text}"
    );
    let screen = bed
        .client
        .capture_session(capture(true, 0))
        .await
        .unwrap()
        .into_inner()
        .screen;
    assert!(String::from_utf8_lossy(&screen).contains("\u{1b}[31mred"));
    let screen = bed
        .client
        .capture_session(capture(false, 10))
        .await
        .unwrap()
        .into_inner()
        .screen;
    assert!(String::from_utf8_lossy(&screen).starts_with("row 61\n"));
    let screen = bed
        .client
        .capture_session(capture(false, u32::MAX))
        .await
        .unwrap()
        .into_inner()
        .screen;
    assert!(String::from_utf8_lossy(&screen).starts_with("row 0\n"));
}

/// The screen as the service has it, which is to be what a tmux that is asked says.
async fn captured(bed: &mut Bed, id: &str, ansi: bool) -> String {
    let request = CaptureSessionRequest {
        id: id.to_owned(),
        ansi,
        history_lines: 0,
        blanks: false,
    };
    let captured = bed.client.capture_session(request).await.unwrap().into_inner();
    let target = format!("=o-{id}:");
    let flags: &[&str] = if ansi { &["-e"] } else { &[] };
    let printed = bed.tmux(&[&["capture-pane", "-p", "-t", &target], flags].concat());
    let screen = String::from_utf8(captured.screen.to_vec()).unwrap();
    assert!(screen == printed, "{screen}\n-- but tmux --\n{printed}");
    let size = captured.size.unwrap();
    let size = format!("{} {}\n", size.columns, size.rows);
    let format = "#{pane_width} #{pane_height}";
    assert_eq!(bed.tmux(&["display-message", "-p", "-t", &target, format]), size);
    screen
}

async fn a_screen_is_what_tmux_prints_of_it_whatever_stands_on_it(mut bed: Bed) {
    // What would end replies of about now.
    let script = "stty raw -echo; printf 'héllo 漢字 🎉\\r\\n\\r\\n\\033[1;31mred\\033[0m\\r\\n%%exit\\r\\n'; \
        t=$(date +%s); i=0; while [ $i -lt 20 ]; do printf '%%end %d %d 1\\r\\n' $t $((i+300)); i=$((i+1)); done; printf shown; sleep 600";
    let (id, _) = bed.session(script).await;
    bed.shows(&id, "shown").await;
    let plain = captured(&mut bed, &id, false).await;
    assert!(plain.starts_with("héllo 漢字 🎉\n\nred\n%exit\n%end "), "{plain}");
    assert_eq!(plain.lines().count(), 30);
    let ansi = captured(&mut bed, &id, true).await;
    assert!(ansi.contains("\u{1b}[31mred"), "{ansi}");
    // Others are still answered what they asked.
    let (other, _) = bed.session("printf '\\033[?1049hother'; sleep 600").await;
    bed.shows(&other, "other").await;
    assert!(captured(&mut bed, &other, false).await.starts_with("other\n"));
    bed.tmux(&["kill-session", "-t", &format!("=o-{id}")]);
    let request = CaptureSessionRequest {
        id,
        ..CaptureSessionRequest::default()
    };
    let gone = bed.client.capture_session(request).await.unwrap_err();
    let (kind, text) = error(&gone);
    assert!(kind == ErrorKind::NotFound && text.contains("screen"), "{text}");
    assert!(captured(&mut bed, &other, true).await.starts_with("other\n"));
}

/// Its first line is longer than what is kept of a line of a reply.
async fn a_huge_screen_is_captured_whole(mut bed: Bed) {
    let script = "until [ \"$(stty size)\" = '30 4000' ]; do sleep 0.05; done; \
        awk 'BEGIN { for (i = 0; i < 4000; i++) printf \"\\033[38;2;%d;%d;200mx\", i % 256, 100 + i / 256 }'; \
        printf '\\nall of it'; sleep 600";
    let (id, _) = bed.session(script).await;
    bed.tmux(&[
        "resize-window",
        "-t",
        &format!("=o-{id}:"),
        "-x",
        "4000",
        "-y",
        "30",
    ]);
    bed.shows(&id, "all of it").await;
    let screen = captured(&mut bed, &id, true).await;
    assert!(screen.lines().next().unwrap().len() > 64 << 10);
    assert!(
        captured(&mut bed, &id, false)
            .await
            .starts_with(&"x".repeat(4000))
    );
}

/// A session whose program copies this many raw bytes into a file.
async fn reader(bed: &mut Bed, count: usize) -> String {
    let script = format!("stty raw -echo; echo ready; head -c {count} > typed; echo copied; sleep 600");
    let (id, _) = bed.session(&script).await;
    bed.shows(&id, "ready").await;
    id
}

async fn any_bytes_are_typed_in_order(mut bed: Bed) {
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend("é漢字👩‍👩‍👧 \u{301}\u{378}".as_bytes());
    bytes.extend(br#"~user $HOME #{pid} #(touch pwned) "q" 'a' ; kill-server \; { } %hidden -x"#);
    bytes.extend(b"\n; kill-server\n-l\r\x1b[200~");
    let id = reader(&mut bed, bytes.len()).await;
    // The screen can be faster than the log.
    eventually("the log", || bed.root.session(&id).log_len() >= 6).await;
    let before = bed.root.session(&id).log_len();
    assert_eq!(send(&mut bed, &id, &bytes, &[]).await.unwrap(), before);
    bed.shows(&id, "copied").await;
    let typed = std::fs::read(bed.dir.join("typed")).unwrap();
    assert_eq!(String::from_utf8_lossy(&typed), String::from_utf8_lossy(&bytes));
    assert_eq!(typed, bytes);
}

async fn a_mebibyte_is_typed_quickly(mut bed: Bed) {
    let line = "The quick brown fox jumps over the lazy dog; ~$#{x} 'and' \"back\" again.\r";
    let text = line.repeat((1 << 20) / line.len()).into_bytes();
    let id = reader(&mut bed, text.len()).await;
    let begun = Instant::now();
    send(&mut bed, &id, &text, &[]).await.unwrap();
    let took = begun.elapsed();
    bed.shows(&id, "copied").await;
    assert!(std::fs::read(bed.dir.join("typed")).unwrap() == text);
    println!("typed 1 MiB in {took:?}");
    // Under 2 s on an idle machine; this one is shared.
    assert!(took.as_secs() < 20, "{took:?}");
}

/// As [`reader`], of a program that asked for brackets around what is pasted.
async fn bracketed_reader(bed: &mut Bed, count: usize) -> String {
    let script = format!(
        "stty raw -echo; printf '\\033[?2004hready'; head -c {count} > typed; echo copied; sleep 600"
    );
    let (id, _) = bed.session(&script).await;
    bed.shows(&id, "ready").await;
    id
}

async fn a_paste_stands_in_brackets_where_the_program_asked(mut bed: Bed) {
    let text = "one\r\ntwo\t~$#{x} é\0\x1b[201~three\n".as_bytes();
    let plain = "one\rtwo\t~$#{x} é\0\u{241b}[201~three\r";
    let bracketed = format!("\x1b[200~{plain}\x1b[201~\r");
    let id = bracketed_reader(&mut bed, bracketed.len()).await;
    // As everywhere, also while its viewer scrolls.
    bed.tmux(&["copy-mode", "-t", &format!("=o-{id}:")]);
    paste(&mut bed, &id, text, &["Enter"]).await.unwrap();
    bed.shows(&id, "copied").await;
    let typed = std::fs::read_to_string(bed.dir.join("typed")).unwrap();
    assert_eq!(typed, bracketed);
    let id = reader(&mut bed, plain.len() + 1).await;
    paste(&mut bed, &id, text, &["Enter"]).await.unwrap();
    bed.shows(&id, "copied").await;
    let typed = std::fs::read_to_string(bed.dir.join("typed")).unwrap();
    assert_eq!(typed, format!("{plain}\r"));
    // Nothing of it is left in tmux.
    assert_eq!(bed.tmux(&["list-buffers"]), "");
    let (over, _) = bed.session("echo over").await;
    bed.ended(&over).await;
    let refused = paste(&mut bed, &over, text, &[]).await.unwrap_err();
    assert_eq!(error(&refused).0, ErrorKind::WrongState);
    assert_eq!(bed.tmux(&["list-buffers"]), "");
}

async fn a_mebibyte_is_pasted_whole_and_in_order(mut bed: Bed) {
    let mut text = String::new();
    let mut number = 0;
    while text.len() < (1 << 20) - 40 {
        text.push_str(&format!("line {number} ünd \ttab\n"));
        number += 1;
    }
    let plain = text.replace('\n', "\r");
    let bracketed = format!("\x1b[200~{plain}\x1b[201~\r");
    let id = bracketed_reader(&mut bed, bracketed.len()).await;
    let begun = Instant::now();
    paste(&mut bed, &id, text.as_bytes(), &["Enter"]).await.unwrap();
    println!("pasted 1 MiB in {:?}", begun.elapsed());
    bed.shows(&id, "copied").await;
    assert!(std::fs::read_to_string(bed.dir.join("typed")).unwrap() == bracketed);
    let id = reader(&mut bed, plain.len() + 1).await;
    paste(&mut bed, &id, text.as_bytes(), &["Enter"]).await.unwrap();
    bed.shows(&id, "copied").await;
    assert!(std::fs::read_to_string(bed.dir.join("typed")).unwrap() == format!("{plain}\r"));
}

async fn keys_are_pressed_and_unknown_ones_refused(mut bed: Bed) {
    let id = reader(&mut bed, 9).await;
    let refused = send(&mut bed, &id, b"never", &["Up", "Entr"]).await.unwrap_err();
    let (kind, message) = error(&refused);
    assert!(
        kind == ErrorKind::Usage && message.contains("\"Entr\""),
        "{message}"
    );
    send(&mut bed, &id, b"ab", &["C-c", "Up", "Enter", ";", "-"])
        .await
        .unwrap();
    bed.shows(&id, "copied").await;
    assert_eq!(std::fs::read(bed.dir.join("typed")).unwrap(), b"ab\x03\x1b[A\r;-");
}

/// A program that reads keys would take one that comes with text for a part of a paste. This one reads until nothing
/// comes for a tenth of a second.
async fn an_enter_comes_apart_from_the_text_before_it(mut bed: Bed) {
    let script = "stty -icanon -icrnl -echo min 255 time 1; echo ready
        got=$(dd bs=255 count=1 2>/dev/null | tr '\\r' E); echo \"got:$got.\"; sleep 600";
    let (id, _) = bed.session(script).await;
    bed.shows(&id, "ready").await;
    send(&mut bed, &id, b"ab", &["Enter"]).await.unwrap();
    bed.shows(&id, "got:ab.").await;
}

async fn typing_reaches_a_program_whose_viewer_scrolls(mut bed: Bed) {
    let id = reader(&mut bed, 3).await;
    bed.tmux(&["copy-mode", "-t", &format!("=o-{id}:")]);
    send(&mut bed, &id, b"yes", &[]).await.unwrap();
    bed.shows(&id, "copied").await;
    assert_eq!(std::fs::read(bed.dir.join("typed")).unwrap(), b"yes");
}

async fn nothing_is_typed_into_what_has_ended(mut bed: Bed) {
    let (id, _) = bed.session("echo over").await;
    bed.ended(&id).await;
    let refused = send(&mut bed, &id, b"x", &[]).await.unwrap_err();
    assert_eq!(error(&refused).0, ErrorKind::WrongState);
    let refused = send(&mut bed, &new_id(), b"x", &[]).await.unwrap_err();
    assert_eq!(error(&refused).0, ErrorKind::NotFound);
    // Its screen is still there.
    bed.shows(&id, "over").await;
}

/// People's programs wait 10 s for an answer and would say that the daemon hangs.
async fn a_tmux_that_hangs_is_an_error_in_time(mut bed: Bed) {
    let (id, _) = bed.session("echo up; sleep 600").await;
    bed.shows(&id, "up").await;
    let server = bed.tmux(&["display-message", "-p", "#{pid}"]);
    let server = rustix::process::Pid::from_raw(server.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(server, rustix::process::Signal::STOP).unwrap();
    let begun = Instant::now();
    let capture = CaptureSessionRequest {
        id: id.clone(),
        ansi: false,
        history_lines: 0,
        blanks: false,
    };
    let mut client = bed.client.clone();
    let (sent, captured) = tokio::join!(send(&mut bed, &id, b"x", &[]), client.capture_session(capture));
    let took = begun.elapsed();
    rustix::process::kill_process(server, rustix::process::Signal::CONT).unwrap();
    assert!(took.as_secs() < 10, "{took:?}");
    for status in [sent.unwrap_err(), captured.unwrap_err()] {
        let (_, text) = error(&status);
        assert!(text.contains("tmux"), "{text}");
    }
}
