//! What somebody does with a program, and what outlast says of it.

use std::fs;

use outlast_client::v1::Activity;

use crate::{
    lab::Lab,
    model::prompts,
    programs::{FILE, Program},
    recording::{
        ANSWERED, ANSWERING, EDIT, HOOKS, IDLE, INTERRUPTED, OFFER, PERMISSION, RAN, REFUSED, TRUST, WORKING,
    },
};

const MADE: &str = "made-by-tool";

/// Without hooks: everything is seen on the screen.
pub fn its_screen_says_what_it_does(program: &'static Program) {
    let lab = Lab::new(program);
    lab.start(program.options);
    lab.does(Activity::Idle, "screen:");
    lab.shows(program.ready);
    IDLE.record(&lab);

    let seq = lab.send_first(prompts::THINK);
    lab.rests_not(seq);
    lab.does(Activity::Working, "screen:");
    WORKING.record(&lab);
    lab.model.let_go();
    lab.does(Activity::Idle, "screen:");
    ANSWERED.record(&lab);

    if program.shows_answering {
        lab.model.hold();
        lab.send(prompts::SLOW);
        lab.does(Activity::Working, "screen:");
        ANSWERING.record(&lab);
        lab.model.let_go();
        lab.does(Activity::Idle, "screen:");
    }

    lab.model.hold();
    let seq = lab.send(prompts::RUN);
    lab.asks(seq, program.asks_to_run, "screen:", program.asks_to_run);
    PERMISSION.record(&lab);
    assert!(!lab.place.work.join(MADE).exists(), "nobody has answered");
    lab.press(&["Enter"]);
    lab.made(MADE);
    lab.model.let_go();
    lab.does(Activity::Idle, "screen:");
    RAN.record(&lab);

    let seq = lab.send(prompts::EDIT);
    lab.asks(seq, program.asks_to_edit, "screen:", program.asks_to_edit);
    EDIT.record(&lab);
    lab.press(program.no);
    lab.does(Activity::Idle, "screen:");
    REFUSED.record(&lab);
    assert!(!lab.place.work.join(FILE).exists(), "no was said");

    lab.model.hold();
    lab.send(prompts::THINK);
    lab.does(Activity::Working, "screen:");
    lab.interrupt();
    lab.does(Activity::Idle, "screen:");
    INTERRUPTED.record(&lab);
}

/// With its hooks: it says itself what it does.
pub fn its_hooks_report(program: &'static Program) {
    let hooks = program.hooks.as_ref().unwrap();
    let lab = Lab::new(program);
    let installed = lab.outlast(&["provider", "install", program.name, "--yes", "--json"]);
    assert_eq!(installed["changed"], true, "{installed}");
    let file = installed["path"].as_str().unwrap();
    let before = installed["backup"]
        .as_str()
        .map(|backup| fs::read(backup).unwrap());
    lab.start(&[program.options, hooks.options].concat());
    if !hooks.trust.is_empty() {
        lab.does(Activity::Waiting, "screen:");
        HOOKS.record(&lab);
        lab.press(hooks.trust);
    }
    lab.does(Activity::Idle, "");

    let seq = lab.send_first(prompts::THINK);
    lab.rests_not(seq);
    lab.does(Activity::Working, "report");
    lab.model.let_go();
    lab.does(Activity::Idle, "report");

    lab.model.hold();
    let seq = lab.send(prompts::RUN);
    lab.asks(seq, hooks.asks_to_run, "report", hooks.shows);
    lab.press(&["Enter"]);
    lab.made(MADE);
    lab.does(Activity::Working, "report");
    lab.model.let_go();
    lab.does(Activity::Idle, "report");

    // Not all of them report that.
    lab.model.hold();
    lab.send(prompts::THINK);
    lab.does(Activity::Working, "report");
    lab.interrupt();
    lab.does(Activity::Idle, "");

    lab.outlast(&["provider", "uninstall", program.name, "--yes", "--json"]);
    assert_eq!(fs::read(file).ok(), before, "{file} is what it was");
}

/// In a directory that it does not know.
pub fn a_new_directory_is_asked_about(program: &'static Program) {
    let trust = program.asks_for_trust.as_ref().unwrap();
    let lab = Lab::new(program);
    (trust.ask)(&lab.place);
    lab.start(program.options);
    lab.asks(0, trust.asks, "screen:", trust.yes);
    TRUST.record(&lab);
    lab.choose(trust.yes);
    if let Some((offer, no)) = trust.offer
        && lab.rests_or_asks(offer)
    {
        OFFER.record(&lab);
        lab.choose(no);
    }
    lab.does(Activity::Idle, "screen:");
}
