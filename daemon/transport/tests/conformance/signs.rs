//! What a session shows of what it does.

use std::fs;

use outlast_client::helper_v1::{
    AskSign, AttachSessionRequest, AttachStart, Doing, ForegroundSign, ReportSign, ScreenReading, ScreenRule,
    SendSessionRequest, Signs, Size, StopSessionRequest, TerminalSigns, WatchSessionRequest,
    WatchSessionResponse, attach_session_request::Event,
};
use rustix::fs::{CWD, Mode, mkfifoat};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    bed::{Bed, Watching, eventually, kill, new_id},
    over, over_both,
};

over_both!(
    programs_report_by_a_line_and_by_the_command,
    the_command_is_harmless_where_there_is_no_session,
    what_left_the_session_reports_nothing,
    a_terminal_is_told_what_escape_sequences_say,
    who_has_the_terminal_is_known,
    a_report_is_orphaned_when_what_had_the_terminal_is_gone,
    a_report_that_is_typed_speaks_for_the_shell,
    a_screen_is_read_by_the_rules_for_its_program,
    a_screen_is_read_for_what_the_session_was_made_for,
    a_program_that_reads_a_line_asks,
    what_is_settled_has_its_question,
    what_works_or_serves_does_not_ask,
    a_shell_asks_when_it_reads_a_line_and_not_at_its_prompt,
    what_is_sent_is_an_answer,
    what_an_answer_begins_is_seen_although_it_never_pauses,
    keys_that_end_an_answer_are_one,
    a_new_run_begins_with_nothing,
    output_alone_is_told_once_a_second,
);
over!(apart, Command, reports_are_kept_while_no_helper_is_there);

/// What a session is seen to show.
struct Seeing {
    watching: Watching,
    last: Option<WatchSessionResponse>,
}

impl Seeing {
    async fn of(bed: &mut Bed, id: &str) -> Self {
        let watching = bed.watch(id).await;
        Self { watching, last: None }
    }

    /// What is seen once that fits, be it what was seen last.
    async fn until(
        &mut self,
        what: &str,
        fits: impl Fn(&WatchSessionResponse) -> bool,
    ) -> WatchSessionResponse {
        if let Some(last) = self.last.as_ref().filter(|last| fits(last)) {
            return last.clone();
        }
        let seen = self.watching.until(what, fits).await;
        self.last.insert(seen).clone()
    }

    async fn signs(&mut self, what: &str, fits: impl Fn(&Signs) -> bool) -> Signs {
        let fits = |now: &WatchSessionResponse| now.signs.as_ref().is_some_and(&fits);
        self.until(what, fits).await.signs.unwrap()
    }

    async fn report(&mut self, doing: Doing, message: &str) -> ReportSign {
        let signs = self.signs(message, |signs| {
            signs
                .report
                .as_ref()
                .is_some_and(|report| report.doing() == doing && report.message == message)
        });
        signs.await.report.unwrap()
    }

    async fn told(&mut self, what: &str, fits: impl Fn(&TerminalSigns) -> bool) -> TerminalSigns {
        let signs = self.signs(what, |signs| signs.terminal.as_ref().is_some_and(&fits));
        signs.await.terminal.unwrap()
    }

    async fn has_terminal(&mut self, program: &str) -> ForegroundSign {
        let signs = self.signs(program, |signs| {
            signs
                .foreground
                .as_ref()
                .is_some_and(|has| has.program == program)
        });
        signs.await.foreground.unwrap()
    }
}

/// The first question that begins like this, and every other that was seen before.
async fn asks(watching: &mut Seeing, message: &str) -> (AskSign, Vec<String>) {
    let before = std::cell::RefCell::new(Vec::new());
    let signs = watching.signs(message, |signs| {
        let Some(ask) = &signs.ask else { return false };
        if ask.message.starts_with(message) && ask.at_ms > signs.answered_ms {
            return true;
        }
        before.borrow_mut().push(ask.message.clone());
        false
    });
    let ask = signs.await.ask.unwrap();
    (ask, before.into_inner())
}

async fn send(bed: &mut Bed, id: &str, text: &str) {
    let request = SendSessionRequest {
        paste: false,
        id: id.to_owned(),
        text: text.as_bytes().to_vec().into(),
        keys: Vec::new(),
    };
    bed.client.send_session(request).await.unwrap();
}

/// A shell somebody types at.
async fn shell(bed: &mut Bed) -> String {
    let id = new_id();
    let mut request = bed.start_request(&id, 1, "");
    let spec = bed.spec("session", &id, &["bash", "--norc", "--noprofile", "-i"]);
    request.spec_json = spec.to_string().into_bytes().into();
    bed.client.start_session(request).await.unwrap();
    id
}

/// A FIFO that programs of the test wait at.
fn gate(bed: &Bed, name: &str) {
    mkfifoat(CWD, bed.dir.join(name), Mode::from_raw_mode(0o600)).unwrap();
}

/// Lets a program go on that waits at a gate; returns when it does.
async fn open_gate(bed: &Bed, name: &str) {
    let path = bed.dir.join(name);
    tokio::task::spawn_blocking(move || fs::write(path, "\n").unwrap())
        .await
        .unwrap();
}

async fn programs_report_by_a_line_and_by_the_command(mut bed: Bed) {
    let script = r#"read x; echo "waiting Approve  this?" >> "$OUTLAST_REPORTS"
        read x; "$OUTLAST_HELPER" report working --message "two
words"
        read x; printf '{"message":"from json"}' | "$OUTLAST_HELPER" report error --message-json /message
        read x; printf '{"tool":"sh","does":"ls"}' | "$OUTLAST_HELPER" report waiting --message-json /no --message-json /tool /does
        read x; "$OUTLAST_HELPER" report waiting --unless waiting more; "$OUTLAST_HELPER" report idle --unless working rests
        read x; echo rubbish >> "$OUTLAST_REPORTS"; echo idle > "$OUTLAST_REPORTS"
        read x"#;
    let (id, started) = bed.session(script).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    let signs = watching.signs("signs", |signs| signs.now_ms > 0).await;
    assert_eq!((signs.report, signs.terminal), (None, None));
    let begun = std::time::Instant::now();
    send(&mut bed, &id, "\r").await;
    let waiting = watching.report(Doing::Waiting, "Approve this?").await;
    println!("a report took {:?}", begun.elapsed());
    assert!(waiting.at_ms >= started.started_at_ms && waiting.since_ms == waiting.at_ms && !waiting.orphaned);
    send(&mut bed, &id, "\r").await;
    watching.report(Doing::Working, "two words").await;
    send(&mut bed, &id, "\r").await;
    watching.report(Doing::Error, "from json").await;
    send(&mut bed, &id, "\r").await;
    watching.report(Doing::Waiting, "sh: ls").await;
    send(&mut bed, &id, "\r").await;
    watching.report(Doing::Idle, "rests").await;
    send(&mut bed, &id, "\r").await;
    let idle = watching.report(Doing::Idle, "").await;
    assert!(idle.at_ms > waiting.at_ms);
    let written = bed.root.session(&id).read_activity().unwrap().unwrap();
    assert_eq!(
        (written.run, written.at_ms, written.holder),
        (1, idle.at_ms, None)
    );
}

async fn the_command_is_harmless_where_there_is_no_session(mut bed: Bed) {
    let script = r#"h=$OUTLAST_HELPER; r=$OUTLAST_REPORTS; cd /
        (unset OUTLAST_REPORTS; "$h" report waiting) && echo one
        OUTLAST_REPORTS=/no/such/dir/reports "$h" report waiting --message x && echo two
        OUTLAST_REPORTS= "$h" report idle && echo three
        "$h" report busy 2>/dev/null; echo wrong $?
        "$h" report waiting --message-json /x </dev/null && echo four; echo $r; read x"#;
    let (id, _) = bed.session(script).await;
    let screen = bed.shows(&id, "four").await;
    assert!(screen.starts_with("one\ntwo\nthree\nwrong 1\nfour\n"), "{screen}");
    let mut watching = Seeing::of(&mut bed, &id).await;
    watching.report(Doing::Waiting, "").await;
}

async fn a_terminal_is_told_what_escape_sequences_say(mut bed: Bed) {
    let script = r#"stty -echo; read x; printf '\033]9;Build\tdone\007'
        read x; printf '\033]777;notify;Title;Body\033\\'
        read x; printf '\033]133;A\007$ \033]133;B\007'
        read x; printf '\033]9;4;1;50\033\\'
        read x; printf '\a'
        read x; printf '\033]99;i=1:d=0;Hel\033\\'; printf '\033]99;i=1:e=1;bG8=\033\\'
        read x; printf '\033]0;ti'; printf 'tle\007'
        read x; printf '\033Ptmux;\033\033]9;wrapped\007\033\\'
        read x"#;
    let (id, started) = bed.session(script).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    let mut next = async || send(&mut bed, &id, "\r").await;
    next().await;
    let begun = std::time::Instant::now();
    let told = watching.told("OSC 9", |told| told.notice == "Build done").await;
    println!("a notification took {:?}", begun.elapsed());
    assert!(told.notice_ms >= started.started_at_ms && told.bell_ms == 0 && told.prompt.is_empty());
    next().await;
    watching
        .told("OSC 777", |told| told.notice == "Title: Body")
        .await;
    next().await;
    let told = watching.told("OSC 133", |told| told.prompt == "B").await;
    assert!(told.prompt_ms >= told.notice_ms);
    next().await;
    let told = watching.told("OSC 9;4", |told| told.progress == 1).await;
    assert!(told.progress_ms >= told.prompt_ms && told.notice == "Title: Body");
    next().await;
    let told = watching.told("the bell", |told| told.bell_ms > 0).await;
    assert!(told.bell_ms >= told.progress_ms);
    next().await;
    watching.told("OSC 99", |told| told.notice == "Hello").await;
    next().await;
    let told = watching.told("OSC 0", |told| told.title == "title").await;
    assert!(told.title_ms >= told.notice_ms);
    next().await;
    watching
        .told("a wrapped one", |told| told.notice == "wrapped")
        .await;
}

async fn who_has_the_terminal_is_known(mut bed: Bed) {
    gate(&bed, "gate");
    let id = shell(&mut bed).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    let bash = watching.has_terminal("bash").await;
    assert!(bash.own && bash.shell && bash.since_ms > 0 && bash.reading.is_empty() && !bash.bell_waits);
    send(&mut bed, &id, "cat gate\r").await;
    let begun = std::time::Instant::now();
    let cat = watching.has_terminal("cat").await;
    println!("another program took {:?}", begun.elapsed());
    assert!(
        !cat.own && !cat.shell && cat.since_ms >= bash.since_ms,
        "{cat:?} after {bash:?}"
    );
    open_gate(&bed, "gate").await;
    let again = watching.has_terminal("bash").await;
    assert!(
        again.own && again.shell && again.since_ms >= cat.since_ms,
        "{again:?} after {cat:?}"
    );
    // A pipeline is known by what is left of it, and a script by its name.
    send(&mut bed, &id, "true | cat gate\r").await;
    watching.has_terminal("cat").await;
    open_gate(&bed, "gate").await;
    watching.has_terminal("bash").await;
    fs::write(bed.dir.join("deploy"), "read x < gate\n").unwrap();
    send(&mut bed, &id, "sh ./deploy\r").await;
    let script = watching.has_terminal("deploy").await;
    assert!(!script.own && !script.shell);
    open_gate(&bed, "gate").await;
    watching.has_terminal("bash").await;

    // What a session was made for, even a shell, is no shell when it runs a script.
    let (id, _) = bed.session("read x").await;
    let script = Seeing::of(&mut bed, &id).await.has_terminal("sh").await;
    assert!(script.own && !script.shell);
}

async fn a_report_is_orphaned_when_what_had_the_terminal_is_gone(mut bed: Bed) {
    gate(&bed, "gate");
    let id = shell(&mut bed).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    let line = "sh -c 'echo working on it >> $OUTLAST_REPORTS; echo $$ > pid; cat gate; exit 1'\r";
    send(&mut bed, &id, line).await;
    let report = watching.report(Doing::Working, "on it").await;
    assert!(!report.orphaned);
    let pid = bed.dir.join("pid");
    eventually("the number of the program", || {
        fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'))
    })
    .await;
    kill(fs::read_to_string(&pid).unwrap().trim().parse().unwrap());
    let is_orphaned = |signs: &Signs| signs.report.as_ref().is_some_and(|report| report.orphaned);
    let orphaned = watching.signs("the orphaned report", is_orphaned).await;
    assert_eq!(orphaned.report.unwrap().at_ms, report.at_ms);
    // Another one says something again.
    send(&mut bed, &id, "echo idle >> $OUTLAST_REPORTS\r").await;
    assert!(!watching.report(Doing::Idle, "").await.orphaned);
    open_gate(&bed, "gate").await;
}

async fn a_report_that_is_typed_speaks_for_the_shell(mut bed: Bed) {
    let id = shell(&mut bed).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    send(
        &mut bed,
        &id,
        "$OUTLAST_HELPER report waiting --message typed; echo is over\r",
    )
    .await;
    let typed = watching.report(Doing::Waiting, "typed").await;
    bed.shows(&id, "\nis over").await;
    // A sign of its own, so that what is known of the report is of after the end of the command.
    send(&mut bed, &id, "printf '\\033]9;later\\007'\r").await;
    let later = watching.signs("the sign after it", |signs| {
        signs.terminal.as_ref().is_some_and(|told| told.notice == "later")
    });
    let report = later.await.report.unwrap();
    assert!(report == typed && !report.orphaned, "{report:?}");
}

fn rule(name: &str, doing: Doing, pattern: &str) -> ScreenRule {
    ScreenRule {
        name: name.to_owned(),
        doing: doing.into(),
        pattern: pattern.to_owned(),
        ..ScreenRule::default()
    }
}

/// How to read the screen of the program that [`tool`] writes.
fn reading() -> ScreenReading {
    ScreenReading {
        name: "tool".to_owned(),
        programs: vec!["tool".to_owned()],
        rules: vec![
            rule("broken", Doing::Error, "("),
            rule(
                "permission",
                Doing::Waiting,
                r"^(?<message>Run .*\?)\s+❯ 1\. Yes$",
            ),
            ScreenRule {
                last_lines: 1,
                ..rule("prompt", Doing::Idle, r"\A>$")
            },
            ScreenRule {
                title: true,
                ..rule("title", Doing::Working, "^busy")
            },
        ],
        bell_waits: true,
    }
}

/// Writes a program with a screen: a question, then a prompt, then a title, then nothing that a rule knows.
fn tool(bed: &Bed) {
    let script = "stty -echo; printf '\\033[?1049h\\033[H\\033[2J  title\\n\\nRun rm -rf /tmp/x?\\n\\n❯ 1. Yes\\n  2. No\\n'
        read x; printf '\\033[H\\033[2J> '
        read x; printf '\\033[H\\033[2J\\033]0;busy with it\\007'
        read x; printf '\\033]0;\\007.'; read x";
    fs::write(bed.dir.join("tool"), script).unwrap();
}

async fn watch(bed: &mut Bed, id: &str, own_reading: &str) -> Seeing {
    let request = WatchSessionRequest {
        id: id.to_owned(),
        readings: vec![reading()],
        own_reading: own_reading.to_owned(),
    };
    let stream = bed.client.watch_session(request).await.unwrap();
    Seeing {
        watching: Watching(stream.into_inner()),
        last: None,
    }
}

async fn walk_through_the_screens(bed: &mut Bed, id: &str, watching: &mut Seeing) {
    let shown = |rule: &'static str| {
        move |signs: &Signs| signs.screen.as_ref().is_some_and(|screen| screen.rule == rule)
    };
    let signs = watching.signs("the question", shown("permission")).await;
    let question = signs.screen.unwrap();
    assert_eq!(
        (question.doing(), question.message.as_str()),
        (Doing::Waiting, "Run rm -rf /tmp/x?")
    );
    assert!(question.since_ms <= question.at_ms);
    let foreground = signs.foreground.unwrap();
    assert!(foreground.bell_waits && foreground.reading == "tool" && !foreground.shell);
    send(bed, id, "\r").await;
    // A look that had begun before the answer may show what comes of it, and says that it is older.
    let after_answer = |signs: &Signs| {
        let read = signs.screen.as_ref().map_or(0, |screen| screen.at_ms);
        shown("prompt")(signs) && read > signs.answered_ms && signs.answered_ms >= question.at_ms
    };
    let signs = watching.signs("the prompt", after_answer).await;
    let prompt = signs.screen.unwrap();
    assert_eq!((prompt.doing(), prompt.message.as_str()), (Doing::Idle, ""));
    send(bed, id, "\r").await;
    let title = watching.signs("the title", shown("title")).await.screen.unwrap();
    assert_eq!(title.doing(), Doing::Working);
    send(bed, id, "\r").await;
    watching.signs("no rule", |signs| signs.screen.is_none()).await;
}

async fn a_screen_is_read_by_the_rules_for_its_program(mut bed: Bed) {
    tool(&bed);
    let id = shell(&mut bed).await;
    let mut watching = watch(&mut bed, &id, "").await;
    let bash = watching.has_terminal("bash").await;
    assert!(bash.reading.is_empty() && !bash.bell_waits);
    send(&mut bed, &id, "sh ./tool\r").await;
    walk_through_the_screens(&mut bed, &id, &mut watching).await;
}

async fn a_screen_is_read_for_what_the_session_was_made_for(mut bed: Bed) {
    tool(&bed);
    let (id, _) = bed.session(". ./tool").await;
    let mut watching = watch(&mut bed, &id, "tool").await;
    walk_through_the_screens(&mut bed, &id, &mut watching).await;
    // Without that name nobody looks.
    let (id, _) = bed.session(". ./tool").await;
    bed.shows(&id, "2. No").await;
    let mut watching = watch(&mut bed, &id, "").await;
    let own = watching.has_terminal("sh").await;
    assert!(own.own && own.reading.is_empty());
}

async fn a_program_that_reads_a_line_asks(mut bed: Bed) {
    let script = r#"read x; printf 'Deploy to production? [y/N] '; read x; echo "got $x"
        stty -echo; printf 'Password: '; read x; stty echo; echo
        python3 -c 'print("Your name:"); input()'; exec cat"#;
    let (id, _) = bed.session(script).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    let (first, _) = asks(&mut watching, "").await;
    assert_eq!(first.message, "");
    send(&mut bed, &id, "\r").await;
    let begun = std::time::Instant::now();
    let (deploy, _) = asks(&mut watching, "Deploy").await;
    println!("a question took {:?}", begun.elapsed());
    assert_eq!(deploy.message, "Deploy to production? [y/N]");
    assert!(deploy.since_ms > first.at_ms && deploy.since_ms <= deploy.at_ms);
    // What is typed is no part of the question, and no answer before its Enter.
    send(&mut bed, &id, "ye").await;
    let typed = watching.signs("the rest of it", |signs| {
        signs.answered_ms > 0 && signs.ask.as_ref().is_some_and(|ask| ask.at_ms > deploy.at_ms)
    });
    assert_eq!(typed.await.ask.unwrap().message, deploy.message);
    send(&mut bed, &id, "s\r").await;
    let begun = std::time::Instant::now();
    let (password, before) = asks(&mut watching, "Password").await;
    println!("the next took {:?}", begun.elapsed());
    assert_eq!(password.message, "Password:");
    assert!(
        before.iter().all(|message| *message == deploy.message),
        "{before:?}"
    );
    // One that descends from the program, with the question above the cursor.
    send(&mut bed, &id, "secret\r").await;
    assert_eq!(asks(&mut watching, "Your").await.0.message, "Your name:");
    send(&mut bed, &id, "me\r").await;
    let cat = watching.signs("cat", |signs| {
        let is_cat = signs.foreground.as_ref().is_some_and(|has| has.program == "cat");
        is_cat
            && signs
                .ask
                .as_ref()
                .is_some_and(|ask| ask.at_ms > signs.answered_ms)
    });
    assert_eq!(cat.await.ask.unwrap().message, "");
}

async fn what_is_settled_has_its_question(mut bed: Bed) {
    let script = "import threading, time
threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
print('a line')
while input('server> '): print('go on')";
    fs::write(bed.dir.join("server.py"), script).unwrap();
    let (id, _) = bed.session("python3 server.py").await;
    bed.shows(&id, "server>").await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    let settled = watching.signs("all of it", |signs| signs.settled).await;
    assert_eq!(settled.ask.map(|ask| ask.message).as_deref(), Some("server>"));
    // Once for each question, and soon.
    let logged = |seen: &WatchSessionResponse| seen.state.as_ref().map_or(0, |state| state.log_bytes);
    let before = logged(watching.last.as_ref().unwrap());
    send(&mut bed, &id, "x\r").await;
    bed.shows(&id, "go on\nserver>").await;
    let fits = |seen: &WatchSessionResponse| {
        logged(seen) > before + 10 && seen.signs.as_ref().is_some_and(|signs| signs.settled)
    };
    let settled = watching.until("all of the next", fits).await.signs.unwrap();
    let ask = settled.ask.unwrap();
    assert!(
        ask.at_ms > settled.answered_ms && ask.message == "server>",
        "{ask:?}"
    );
}

/// Prints now and then, and takes commands meanwhile.
const SERVER: &str = r#"
import sys, threading, time
def serve():
    for number in range(8):
        print("served", number, end=sys.argv[1] and "\n", flush=True)
        time.sleep(0.3)
    print(flush=True)
    print("over", flush=True)
    time.sleep(600)
threading.Thread(target=serve, daemon=True).start()
for line in sys.stdin:
    print("command", line.strip(), flush=True)
    break
"#;

async fn what_works_or_serves_does_not_ask(mut bed: Bed) {
    fs::write(bed.dir.join("server.py"), SERVER).unwrap();
    for script in [
        "sleep 1.7; printf 'now? '; read x",
        "{ sleep 0.7; echo a; sleep 1; } | while read x; do :; done; printf 'now? '; read x",
        "python3 server.py lines; printf 'now? '; read x",
        // It leaves the cursor behind a text, as one that asks does.
        "python3 server.py ''; printf 'now? '; read x",
        "dd if=/dev/zero bs=64k count=20000 of=/dev/null 2>/dev/null; printf 'now? '; read x",
    ] {
        let (id, _) = bed.session(script).await;
        let mut watching = Seeing::of(&mut bed, &id).await;
        if script.contains("server") {
            bed.shows(&id, "over").await;
            send(&mut bed, &id, "end\r").await;
        }
        let (now, before) = asks(&mut watching, "").await;
        assert_eq!((now.message.as_str(), before), ("now?", vec![]), "{script}");
    }
}

async fn a_shell_asks_when_it_reads_a_line_and_not_at_its_prompt(mut bed: Bed) {
    let id = shell(&mut bed).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    watching.has_terminal("bash").await;
    // It is seen at its prompt.
    send(&mut bed, &id, "sleep 0.5\r").await;
    watching.has_terminal("sleep").await;
    watching.has_terminal("bash").await;
    send(&mut bed, &id, "read -p 'Really? ' answer\r").await;
    let (really, before) = asks(&mut watching, "").await;
    assert_eq!((really.message.as_str(), before), ("Really?", vec![]));
    send(&mut bed, &id, "yes\r").await;
    send(&mut bed, &id, "echo do''ne\r").await;
    bed.shows(&id, "\ndone").await;
    watching.signs("no question", |signs| signs.ask.is_none()).await;
    // One without line editing reads lines at its prompt as well, and what it runs asks.
    let id = new_id();
    let mut request = bed.start_request(&id, 1, "");
    let spec = bed.spec("session", &id, &["dash", "-i"]);
    request.spec_json = spec.to_string().into_bytes().into();
    bed.client.start_session(request).await.unwrap();
    let mut watching = Seeing::of(&mut bed, &id).await;
    let dash = watching.has_terminal("dash").await;
    assert!(dash.own && dash.shell);
    send(&mut bed, &id, "sleep 1; echo do''ne\r").await;
    bed.shows(&id, "\ndone").await;
    send(&mut bed, &id, "sh -c 'printf \"Now? \"; read x'\r").await;
    let (now, before) = asks(&mut watching, "").await;
    assert_eq!((now.message.as_str(), before), ("Now?", vec![]));
}

async fn what_an_answer_begins_is_seen_although_it_never_pauses(mut bed: Bed) {
    // It begins at once.
    let script = "while :; do echo x; sleep 0.03; done";
    fs::write(bed.dir.join("printer"), script).unwrap();
    let id = shell(&mut bed).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    watching.has_terminal("bash").await;
    send(&mut bed, &id, "sh printer\r").await;
    let seen = watching.signs("what it began", |signs| {
        let program = signs.foreground.as_ref().map(|has| has.program.as_str());
        program == Some("printer")
    });
    let seen = seen.await;
    let after_ms = seen.now_ms - seen.foreground.unwrap().since_ms;
    println!("it was seen after {after_ms} ms");
    // Well before it would be looked at because a second went by.
    assert!(after_ms < 600, "{after_ms} ms");
}

async fn what_is_sent_is_an_answer(mut bed: Bed) {
    let (id, started) = bed
        .session("stty -echo; read x; echo waiting >> $OUTLAST_REPORTS; cat")
        .await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    let none = watching.signs("signs", |_| true).await;
    assert_eq!(none.answered_ms, 0);
    send(&mut bed, &id, "\r").await;
    let report = watching.report(Doing::Waiting, "").await;
    let before = watching.signs("an answer", |signs| signs.answered_ms > 0).await;
    assert!((started.started_at_ms..=report.at_ms).contains(&before.answered_ms));
    let keys = SendSessionRequest {
        paste: false,
        id: id.clone(),
        text: Vec::new().into(),
        keys: vec!["y".to_owned()],
    };
    bed.client.send_session(keys).await.unwrap();
    let after = watching
        .signs("the key", |signs| signs.answered_ms > before.answered_ms)
        .await;
    assert!(after.answered_ms >= report.at_ms);
    // It is known to whoever comes next.
    let again = Seeing::of(&mut bed, &id).await.signs("signs", |_| true).await;
    assert_eq!(again.answered_ms, after.answered_ms);
}

/// A terminal on a session, and its end.
async fn attach(
    bed: &mut Bed,
    id: &str,
    read_only: bool,
) -> (mpsc::Sender<AttachSessionRequest>, JoinHandle<()>) {
    let (to, receiver) = mpsc::channel(4);
    let start = AttachStart {
        id: id.to_owned(),
        size: Some(Size {
            columns: 100,
            rows: 30,
        }),
        term: "xterm-256color".to_owned(),
        read_only,
        utf8: true,
    };
    to.send(request(Event::Start(start))).await.unwrap();
    let stream = bed
        .client
        .attach_session(ReceiverStream::new(receiver))
        .await
        .unwrap();
    let ends = tokio::spawn(async move {
        let mut stream = stream.into_inner();
        while let Ok(Some(_)) = stream.message().await {}
    });
    (to, ends)
}

fn request(event: Event) -> AttachSessionRequest {
    AttachSessionRequest { event: Some(event) }
}

fn key(text: &str) -> AttachSessionRequest {
    request(Event::Input(text.as_bytes().to_vec().into()))
}

async fn keys_that_end_an_answer_are_one(mut bed: Bed) {
    let script =
        "stty raw -echo; while x=$(dd bs=1 count=1 2>/dev/null); do printf '<%s>\\r\\n' \"$x\"; done";
    let (id, _) = bed.session(script).await;
    let dir = bed.root.session(&id);
    let mut watching = Seeing::of(&mut bed, &id).await;
    let (reader, reader_ends) = attach(&mut bed, &id, true).await;
    let (typist, _) = attach(&mut bed, &id, false).await;
    watching.until("two attached", |now| now.attached == 2).await;
    // A single letter would be a choice in a menu.
    typist.send(key("ab")).await.unwrap();
    bed.shows(&id, "<b>").await;
    // Who may only look does not answer.
    reader.send(key("r\r")).await.unwrap();
    reader.send(request(Event::Detach(true))).await.unwrap();
    reader_ends.await.unwrap();
    assert_eq!(dir.read_answered().unwrap(), None);
    typist.send(key("\r")).await.unwrap();
    watching.signs("Enter", |signs| signs.answered_ms > 0).await;
}

async fn a_new_run_begins_with_nothing(mut bed: Bed) {
    let script = r#"echo waiting first >> $OUTLAST_REPORTS; printf '\033]9;first\007\033]0;first\007'; read x; read x"#;
    let (id, _) = bed.session(script).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    watching.report(Doing::Waiting, "first").await;
    watching
        .told("the notification", |told| told.notice == "first")
        .await;
    send(&mut bed, &id, "\r").await;
    watching.signs("the answer", |signs| signs.answered_ms > 0).await;
    let stop = StopSessionRequest {
        id: id.clone(),
        grace: None,
    };
    bed.client.stop_session(stop).await.unwrap();
    let over = watching
        .until("the end", |now| now.state.as_ref().unwrap().ended.is_some())
        .await;
    assert_eq!(over.signs, None);
    let second = bed.start_request(&id, 2, "read x; echo idle >> $OUTLAST_REPORTS; read x");
    bed.client.start_session(second).await.unwrap();
    let signs = watching.signs("the second run", |_| true).await;
    assert_eq!(
        (signs.report, signs.terminal, signs.screen, signs.answered_ms),
        (None, None, None, 0)
    );
    send(&mut bed, &id, "\r").await;
    watching.report(Doing::Idle, "").await;
}

async fn output_alone_is_told_once_a_second(mut bed: Bed) {
    // Prints all the time, and says something in between.
    let script = r#"read x; i=0; while [ $i -lt 30 ]; do echo $i; sleep 0.1
        printf '\033]0;%s\007' $i; i=$((i+1)); done; echo idle over >> $OUTLAST_REPORTS; read x"#;
    let (id, _) = bed.session(script).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    watching.signs("signs", |_| true).await;
    let begun = std::time::Instant::now();
    send(&mut bed, &id, "\r").await;
    let mut count = 0;
    let is_over = |now: &WatchSessionResponse| {
        let report = now.signs.as_ref().and_then(|signs| signs.report.as_ref());
        report.is_some_and(|report| report.message == "over")
    };
    while !is_over(
        &watching
            .watching
            .0
            .message()
            .await
            .unwrap()
            .expect("the stream ended"),
    ) {
        count += 1;
    }
    let took = begun.elapsed();
    println!("{count} reports in {took:?}");
    // One for the answer, one for the first title, one for who has the terminal, and then some for a busy machine.
    assert!(count <= took.as_secs() + 6, "{count} in {took:?}");
}

/// A server that the program leaves behind has its environment, and may work for others by then.
async fn what_left_the_session_reports_nothing(mut bed: Bed) {
    gate(&bed, "left");
    let script = r#"read x
        setsid -f sh -c 'parent() { sed -n "s/^PPid:[[:space:]]*//p" /proc/$$/status; }
            while [ "$(cat /proc/$(parent)/comm)" = setsid ]; do :; done
            "$OUTLAST_HELPER" report error --message "from elsewhere"; echo > left'
        read y < left
        "$OUTLAST_HELPER" report waiting --message "from here"; read x"#;
    let (id, _) = bed.session(script).await;
    let mut watching = Seeing::of(&mut bed, &id).await;
    send(&mut bed, &id, "\r").await;
    // It would have been first.
    let signs = watching.signs("a report", |signs| signs.report.is_some()).await;
    assert_eq!(signs.report.unwrap().message, "from here");
}

async fn reports_are_kept_while_no_helper_is_there(mut bed: Bed) {
    gate(&bed, "gate");
    gate(&bed, "done");
    let script = r#"read x < gate; echo "waiting alone" >> $OUTLAST_REPORTS; printf '\033]9;alone\007'; read x < done"#;
    let (id, _) = bed.session(script).await;
    bed.end_helper().await;
    open_gate(&bed, "gate").await;
    let dir = bed.root.session(&id);
    eventually("the report and the notification", || {
        dir.read_activity().unwrap().is_some() && dir.read_terminal().unwrap().is_some()
    })
    .await;
    let other = bed.another().await;
    bed.client = other.client.clone();
    let mut watching = Seeing::of(&mut bed, &id).await;
    let signs = watching.signs("signs", |_| true).await;
    let (report, told) = (signs.report.unwrap(), signs.terminal.unwrap());
    assert_eq!(
        (report.doing(), report.message.as_str()),
        (Doing::Waiting, "alone")
    );
    assert_eq!(told.notice, "alone");
    open_gate(&bed, "done").await;
}
