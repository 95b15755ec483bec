//! What is known of syncs: lists, facts, problems, JSON, the overview, completion.

use outlast_client::v1::{self, GetOverviewResponse, Link, SyncState};
use serde_json::json;

use crate::{
    away,
    fake::{Fake, Script, sync},
    problem, pty, pushing,
};

fn full() -> v1::Sync {
    let time = |nanos| {
        Some(prost_types::Timestamp {
            seconds: 1_795_255_200,
            nanos,
        })
    };
    v1::Sync {
        reason: Some("mass_deletion".to_owned()),
        message: Some("300 of 400 files would be deleted".to_owned()),
        pending_files: 7,
        pending_bytes: 4096,
        problems: vec![
            problem("a\u{1b}[2Jb", "conflict"),
            problem("dev/null", "special_file"),
        ],
        problem_count: 2,
        last_synced_at: time(7_000_000),
        created_at: time(0),
        exclude: vec!["*.log".to_owned()],
        no_gitignore: true,
        git_dir: true,
        limit_bytes: Some(512_000),
        watch: Some("polling".to_owned()),
        watch_problem: Some("too many watches".to_owned()),
        ..v1::Sync {
            state: SyncState::Halted.into(),
            ..pushing("app")
        }
    }
}

fn daemon(syncs: Vec<v1::Sync>) -> Fake {
    Fake::start(Script {
        syncs: syncs.into_iter().map(|sync| (sync.name.clone(), sync)).collect(),
        overview: Some(Box::new(|_| Ok(GetOverviewResponse::default()))),
        ..Script::default()
    })
}

#[test]
fn the_json_of_a_sync_has_every_field() {
    let fake = daemon(vec![full(), sync("web", SyncState::Watching)]);
    let ran = fake.outlast(&["--json", "sync", "show", "app"]);
    let app = json!({
        "id": "app-5d30-480b-9343-05dfe31fdd1a", "name": "app", "source": "/home/me/app", "host": "box",
        "target": "/srv/app", "mode": "mirror", "state": "halted", "reason": "mass_deletion",
        "files": 2000, "bytes": 31_457_280, "pending_files": 7, "pending_bytes": 4096,
        "problems": [
            {"path": "a\u{1b}[2Jb", "kind": "conflict", "message": "it is so"},
            {"path": "dev/null", "kind": "special_file", "message": "it is so"},
        ],
        "problem_count": 2, "last_synced_at": "2026-11-21T10:00:00.007Z", "link": "up",
        "message": "300 of 400 files would be deleted", "created_at": "2026-11-21T10:00:00.000Z",
        "exclude": ["*.log"], "no_gitignore": true, "git_dir": true, "limit_bytes": 512_000,
        "watch": "polling", "watch_problem": "too many watches",
        "progress": {
            "done_files": 120, "done_bytes": 1_048_576, "total_files": 2000, "total_bytes": 32_505_856,
            "rate_bytes": 3_145_728,
        },
    });
    assert_eq!((ran.code, ran.json()), (0, app.clone()));
    let ran = fake.outlast(&["--json", "sync", "list"]);
    let mut listed = app;
    listed["problems"] = json!([]);
    assert_eq!(
        ran.json(),
        json!([listed, {
            "id": "web-5d30-480b-9343-05dfe31fdd1a", "name": "web", "source": "/home/me/web", "host": "box",
            "target": "/srv/web", "mode": "mirror", "state": "watching", "reason": null,
            "files": 2000, "bytes": 31_457_280, "pending_files": 0, "pending_bytes": 0,
            "problems": [], "problem_count": 0, "last_synced_at": null, "link": "up", "message": null,
            "created_at": null, "exclude": [], "no_gitignore": false, "git_dir": false, "limit_bytes": null,
            "watch": null, "watch_problem": null, "progress": null,
        }])
    );
    let ran = fake.outlast(&["--json", "sync", "show", "nosuch"]);
    assert_eq!(
        (ran.code, crate::error(&ran)["kind"].as_str()),
        (3, Some("not_found"))
    );
}

#[test]
fn a_list_is_columns_for_people_and_tabs_for_programs() {
    let fake = daemon(vec![full(), away("web", Link::Backoff)]);
    let ran = fake.outlast(&["sync", "list"]);
    assert_eq!(
        ran.text(),
        "app\t/home/me/app\tbox:/srv/app\thalted\t2000\t7\t2026-11-21T10:00:00.007Z\n\
         web\t/home/me/web\tbox:/srv/web\tdisconnected\t2000\t0\t\n"
    );
    let mut terminal = pty(&fake, &["sync", "list"]);
    assert_eq!(terminal.wait_exit(outlast_testkit::DEADLINE).code(), Some(0));
    terminal.wait_text("disconnected");
    let shown = terminal.text();
    for words in ["NAME", "SYNCED", "halted (mass_deletion, 2 problems)", " ago"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let ran = daemon(Vec::new()).outlast(&["sync", "list"]);
    assert_eq!((ran.code, ran.text().as_str()), (0, ""));
}

#[test]
fn everything_about_a_sync_is_shown_with_its_problems_escaped() {
    let fake = daemon(vec![full()]);
    let ran = fake.outlast(&["sync", "show", "app"]);
    assert_eq!(ran.code, 0);
    // Ages differ from day to day.
    let text: Vec<String> = ran
        .text()
        .lines()
        .map(|line| match line.split_once(" (") {
            Some((moment, age)) if age.ends_with(" ago)") => format!("{moment} (age)"),
            _ => line.to_owned(),
        })
        .collect();
    assert_eq!(
        text.join("\n"),
        "name        app\n\
         id          app-5d30-480b-9343-05dfe31fdd1a\n\
         state       halted\n\
         reason      mass_deletion\n\
         message     300 of 400 files would be deleted\n\
         hint        outlast sync resume app --confirm\n\
         source      /home/me/app\n\
         host        box\n\
         target      /srv/app\n\
         mode        mirror\n\
         there       2000 files, 30.0 MiB\n\
         pending     7 files, 4.0 KiB\n\
         now         120 of 2000 files, 1.0 MiB of 31.0 MiB, 3.0 MiB/s, 10 s left\n\
         synced      2026-11-21T10:00:00.007Z (age)\n\
         created     2026-11-21T10:00:00.000Z (age)\n\
         left out    *.log\n\
         also        what Git ignores, .git\n\
         limit       500.0 KiB/s\n\
         noticed by  polling\n\
         because     too many watches\n\
         problems    2\n\
         \x20 conflict (1), it is so\n\
         \x20   a\\e[2Jb\n\
         \x20 special_file (1), it is so\n\
         \x20   dev/null"
    );
}

#[test]
fn of_many_problems_some_are_shown_unless_all_are_wanted() {
    let mut many = sync("app", SyncState::Watching);
    many.problems = (0..30).map(|n| problem(&format!("p{n}"), "conflict")).collect();
    many.problem_count = 5000;
    let fake = daemon(vec![many]);
    let some = fake.outlast(&["sync", "show", "app"]).text();
    assert!(
        some.contains("\n    p9\n    and 20 more: outlast sync show app --all\n")
            && some.ends_with("  and 4970 more, of which no list is kept\n"),
        "{some}"
    );
    let all = fake.outlast(&["sync", "show", "--all", "app"]).text();
    assert!(all.contains("\n    p29\n") && !all.contains("--all"), "{all}");
}

#[test]
fn the_overview_shows_syncs_that_want_somebody_to_look() {
    let fake = daemon(vec![
        full(),
        away("gone", Link::Backoff),
        sync("well", SyncState::Watching),
        pushing("busy"),
    ]);
    let ran = fake.outlast(&[]);
    assert_eq!(
        ran.text(),
        "Syncs\n\
         app\t/home/me/app\tbox:/srv/app\thalted\t2000\t7\t2026-11-21T10:00:00.007Z\n\
         gone\t/home/me/gone\tbox:/srv/gone\tdisconnected\t2000\t0\t\n\
         \x20 2 go on as they should: outlast sync list\n"
    );
    let syncs = fake.outlast(&["--json"]).json()["syncs"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(syncs, 4);
    let ran = daemon(vec![sync("well", SyncState::Watching)]).outlast(&[]);
    assert_eq!(ran.text(), "Syncs\n  1 goes on as it should: outlast sync list\n");
}

#[test]
fn names_of_syncs_are_completed() {
    let fake = daemon(vec![full(), sync("web", SyncState::Watching)]);
    for (words, names) in [
        (&["sync", "flush"][..], "app\nweb\n"),
        (&["sync", "show", "web"], "app\n"),
        (&["sync", "add"], ""),
    ] {
        let mut args = vec!["completion", "names", "--"];
        args.extend(words);
        assert_eq!(fake.outlast(&args).text(), names, "{words:?}");
    }
}
