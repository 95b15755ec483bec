//! The programs that outlast knows, themselves: each in a session, with a scripted model and without a network. Their screens
//! are recorded here for the tests of the rules, and their hooks fire.
//!
//! They are not part of the normal tests, because they take the programs: `packaging/record.sh` gets them and runs these.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod chain;
mod lab;
mod model;
mod programs;
mod recording;

use outlast_testkit::{DEADLINE, Loopback, run};

/// The tests of one program.
macro_rules! tests_of {
    ($name:ident, $program:ident: $($test:ident),+) => {
        mod $name {
            $(
                #[test]
                #[ignore = "takes the program itself: packaging/record.sh"]
                fn $test() {
                    crate::chain::$test(&crate::programs::$program);
                }
            )+
        }
    };
}

tests_of!(aider, AIDER: its_screen_says_what_it_does);
tests_of!(claude, CLAUDE: its_screen_says_what_it_does, its_hooks_report, a_new_directory_is_asked_about);
tests_of!(codex, CODEX: its_screen_says_what_it_does, its_hooks_report, a_new_directory_is_asked_about);
tests_of!(gemini, GEMINI: its_screen_says_what_it_does, its_hooks_report, a_new_directory_is_asked_about);
tests_of!(opencode, OPENCODE: its_screen_says_what_it_does, its_hooks_report);

#[test]
#[ignore = "takes root: packaging/record.sh"]
fn nothing_leads_out_of_where_they_run() {
    let network = Loopback::new();
    let listener = network.listen();
    let address = listener.local_addr().unwrap();
    let inside = |script: &str| {
        let mut command = std::process::Command::new("nsenter");
        command.arg(format!("--net={}", network.file()));
        command.args(["bash", "-c", script]);
        run(command, DEADLINE)
    };
    let outside = std::net::TcpStream::connect(address);
    assert!(outside.is_err(), "this loopback is another one");
    let reach = format!("exec 3<>/dev/tcp/127.0.0.1/{}", address.port());
    drop(inside(&reach).success());
    assert_eq!(inside("ip route; ip -6 route show default").success().out(), "");
    assert_ne!(inside("exec 3<>/dev/tcp/192.0.2.1/80").exit(), 0);
}
