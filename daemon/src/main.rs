//! `outlastd`: reads its arguments and runs the daemon.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use outlast_client::{
    VERSION,
    error::exit_code,
    v1::{Error, ErrorKind},
};
use outlastd::{Options, ready::Ready, sys, systemd};

const USAGE: &str = "\
outlastd, the daemon of outlast. `outlast` starts it when it is needed.

usage: outlastd [--socket PATH] [--ready-fd N]
       outlastd --check-config | --print-config | --version | --help

  --socket PATH    listen here (environment: OUTLAST_SOCKET)
  --ready-fd N     write `ready`, or the error that stopped the start, to this descriptor
  --check-config   read config.toml and the environment, and say what is wrong
  --print-config   print every key with the value that holds
";

/// What to do.
enum Verb {
    Serve,
    CheckConfig,
    PrintConfig,
    Version,
    Help,
}

fn main() -> ExitCode {
    sys::use_one_heap();
    // SAFETY: nothing was started yet, so this is the only thread.
    #[allow(unsafe_code)]
    let manager = systemd::Manager::new(unsafe { sys::take_variables(systemd::VARIABLES) });
    let mut ready = Ready::default();
    match act(&mut ready, &manager) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ready.failed(&error);
            eprintln!("error: {}", error.message);
            if let Some(hint) = &error.hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(exit_code(error.kind()))
        }
    }
}

fn act(ready: &mut Ready, manager: &systemd::Manager) -> Result<(), Error> {
    let (verb, options) = parse(std::env::args_os().skip(1), ready)?;
    match verb {
        Verb::Serve => outlastd::run(&options, ready, manager),
        Verb::CheckConfig => {
            let (path, _config) = outlastd::config()?;
            println!("{}: all is well", path.display());
            Ok(())
        }
        Verb::PrintConfig => {
            let (_path, config) = outlastd::config()?;
            print!("{}", config.to_text());
            Ok(())
        }
        Verb::Version => {
            println!("outlastd {VERSION}");
            Ok(())
        }
        Verb::Help => {
            print!("{USAGE}");
            Ok(())
        }
    }
}

/// Reads the arguments. The readiness pipe is taken over as soon as it is seen, so that whoever waits there hears of
/// whatever goes wrong after it.
fn parse(args: impl Iterator<Item = OsString>, ready: &mut Ready) -> Result<(Verb, Options), Error> {
    let mut verb = Verb::Serve;
    let mut options = Options {
        socket: std::env::var_os("OUTLAST_SOCKET")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        let text = arg.to_str().unwrap_or_default();
        let (flag, attached) = match text.split_once('=') {
            Some((flag, value)) => (flag, Some(OsString::from(value))),
            None => (text, None),
        };
        let mut value = || {
            attached
                .clone()
                .or_else(|| args.next())
                .ok_or_else(|| usage(format!("{flag} needs a value")))
        };
        match flag {
            "--socket" => options.socket = Some(PathBuf::from(value()?)),
            "--ready-fd" => {
                let number = value()?;
                *ready = Ready::new(Some(descriptor(&number)?));
            }
            "--check-config" => verb = Verb::CheckConfig,
            "--print-config" => verb = Verb::PrintConfig,
            "--version" | "-V" => verb = Verb::Version,
            "--help" | "-h" => verb = Verb::Help,
            _ => return Err(usage(format!("unknown argument {arg:?}"))),
        }
    }
    Ok((verb, options))
}

fn descriptor(number: &OsString) -> Result<std::fs::File, Error> {
    let wrong = || usage(format!("--ready-fd {number:?} is no inherited descriptor"));
    let raw = number
        .to_str()
        .and_then(|number| number.parse().ok())
        .ok_or_else(wrong)?;
    // SAFETY: whoever started the daemon opened it for this; nothing of ours is open yet beyond the standard three.
    #[allow(unsafe_code)]
    unsafe { sys::take_descriptor(raw) }.map_err(|_not_open| wrong())
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message).with_hint("outlastd --help")
}
