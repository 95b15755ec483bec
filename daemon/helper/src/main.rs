//! `outlast-helper`: the program outlast runs on every host. People have no use for it; `outlast` has.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use outlast_helper::{askpass, installed, log, login, pane, reports, serve, supervise};

/// musl's own asks the system for nearly every piece of memory, and gives it back at once.
#[cfg(target_env = "musl")]
#[global_allocator]
static MEMORY: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

const USAGE: &str = "usage: outlast-helper serve --owner ID [--state-dir DIR] [--history-limit N] \
    [--user-copy-mode-keys] [--nonce TEXT] [--bulk] | supervise DIR | pane DIR --run N [--restart-command] | log DIR --run N | \
    report working|waiting|idle|error [--unless STATE] [MESSAGE… | --message TEXT | --message-json POINTER… …] | verify SHA256 | environment NONCE | --version";

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    // ssh gives its question and nothing else, so that it is ssh who calls has to be known otherwise.
    if let (Some(socket), [question]) = (env::var_os(askpass::SOCKET), args.as_slice()) {
        return askpass::ask(Path::new(&socket), question);
    }
    let Some((verb, rest)) = args.split_first() else {
        return usage();
    };
    let done = match (verb.to_str(), rest) {
        (Some("supervise"), [dir]) => supervise::supervise(Path::new(dir)).map(|()| ExitCode::SUCCESS),
        (Some("pane"), [dir, rest @ ..]) => {
            let Some((run, restart)) = pane_options(rest) else {
                return usage();
            };
            pane::pane(Path::new(dir), run, restart).map(ExitCode::from)
        }
        (Some("environment"), [nonce]) => login::print(&nonce.to_string_lossy()).map(|()| ExitCode::SUCCESS),
        (Some("log"), [dir, rest @ ..]) => {
            let Some((run, false)) = pane_options(rest) else {
                return usage();
            };
            log::log(Path::new(dir), run);
            Ok(ExitCode::SUCCESS)
        }
        (Some("report"), rest) => match reports::Report::parse(rest) {
            Some(report) => reports::report(&report).map(|()| ExitCode::SUCCESS),
            None => {
                match reports::Report::unknown_state(rest) {
                    Some(word) => {
                        let text =
                            format!("error: {word:?} is no state to report: working, waiting, idle or error");
                        // Nobody may be listening.
                        let _ = writeln!(io::stderr(), "{text}");
                    }
                    None => drop(usage()),
                }
                // There are programs in which a hook that ends with 2 forbids what they were about to do.
                return ExitCode::FAILURE;
            }
        },
        (Some("serve"), rest) => {
            let Some(options) = serve::Options::parse(rest) else {
                return usage();
            };
            serve::serve(options).map(|()| ExitCode::SUCCESS)
        }
        (Some("verify"), [hash]) => {
            installed::verify(hash).map(|same| ExitCode::from(if same { 0 } else { installed::ANOTHER }))
        }
        (Some("--version"), []) => {
            writeln!(io::stdout(), "outlast-helper {}", env!("CARGO_PKG_VERSION")).map(|()| ExitCode::SUCCESS)
        }
        _ => return usage(),
    };
    done.unwrap_or_else(|error| {
        // Nobody may be listening.
        let _ = writeln!(io::stderr(), "error: {error}");
        ExitCode::FAILURE
    })
}

/// `--run N [--restart-command]`
fn pane_options(args: &[&OsStr]) -> Option<(u32, bool)> {
    let (restart, args) = match args {
        [args @ .., last] if *last == "--restart-command" => (true, args),
        args => (false, args),
    };
    let [option, run] = args else { return None };
    let run = run.to_str()?.parse().ok().filter(|run| *run > 0)?;
    (*option == "--run").then_some((run, restart))
}

fn usage() -> ExitCode {
    let _ = writeln!(io::stderr(), "{USAGE}");
    ExitCode::from(2)
}
