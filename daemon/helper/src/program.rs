//! From a spec to what can be executed: finding the file, the environment, the directory; and the sentence and exit code
//! when that fails. The codes are those of shells: 127 for no such program, 126 for one that cannot be run.

use std::{
    collections::BTreeMap,
    env,
    ffi::{CString, OsStr, OsString},
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use crate::{
    facts,
    spool::Spec,
    sys::{Exec, Step, user},
};

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Keeps in a static program what lets the system start another one in a directory of its own without a copy of this
/// process first: the standard library looks for the function and takes the slow way where nothing has linked it in.
#[cfg(all(target_os = "linux", target_feature = "crt-static"))]
#[used]
static SPAWN_ELSEWHERE: unsafe extern "C" fn(
    *mut libc::posix_spawn_file_actions_t,
    *const libc::c_char,
) -> libc::c_int = libc::posix_spawn_file_actions_addchdir_np;

/// Variables of a program.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// Why a program could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// 127 or 126.
    pub(crate) exit_code: i32,
    /// One sentence.
    pub(crate) reason: String,
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Program {
    /// The program, as it is looked up.
    pub(crate) name: OsString,
    /// What it is told that it is called.
    pub(crate) arg0: OsString,
    /// Its other arguments.
    pub(crate) args: Vec<OsString>,
    /// All its variables.
    pub(crate) env: Environment,
    /// Its working directory.
    pub(crate) cwd: PathBuf,
}

/// The environment a spec asks for.
pub(crate) fn environment(spec: &Spec) -> Environment {
    if spec.env.is_empty() {
        return env::vars_os().collect();
    }
    spec.env
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// The working directory a spec asks for: its own, else the home directory.
pub(crate) fn directory(spec: &Spec, env: &Environment) -> PathBuf {
    spec.cwd.as_ref().map_or_else(|| home(env), PathBuf::from)
}

/// The home directory of a program with these variables.
pub(crate) fn home(env: &Environment) -> PathBuf {
    let said = env.get(OsStr::new("HOME")).filter(|home| !home.is_empty());
    said.map(PathBuf::from)
        .or_else(|| user().map(|user| user.home))
        .unwrap_or_else(|| "/".into())
}

/// A command line as a program.
pub(crate) fn command(words: &[String], env: Environment, cwd: PathBuf) -> Program {
    let name = words.first().map(OsString::from).unwrap_or_default();
    let args = words.iter().skip(1).map(OsString::from).collect();
    Program {
        arg0: name.clone(),
        name,
        args,
        env,
        cwd,
    }
}

/// The shell of these variables, else the one the password database names, told that it is a login shell.
pub(crate) fn own_login_shell(env: Environment, cwd: PathBuf) -> Program {
    let shell = env
        .get(OsStr::new("SHELL"))
        .filter(|shell| !shell.is_empty())
        .map(PathBuf::from);
    login_shell(&shell.unwrap_or_else(facts::shell), env, cwd)
}

/// A shell, told that it is a login shell.
pub(crate) fn login_shell(shell: &Path, env: Environment, cwd: PathBuf) -> Program {
    let mut arg0 = OsString::from("-");
    arg0.push(shell.file_name().unwrap_or(shell.as_os_str()));
    Program {
        name: shell.into(),
        arg0,
        args: Vec::new(),
        env,
        cwd,
    }
}

impl Program {
    /// Finds the file of the program, and makes sure of its directory.
    pub(crate) fn find(&self) -> Result<PathBuf, Refusal> {
        let enter = self.cwd.is_dir().then(|| access(&self.cwd, Access::EXEC_OK));
        match enter {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(no_directory(&self.cwd, &error.into())),
            None => {
                let cause = match self.cwd.metadata() {
                    Ok(_) => io::ErrorKind::NotADirectory.into(),
                    Err(error) => error,
                };
                return Err(no_directory(&self.cwd, &cause));
            }
        }
        self.look_up()
    }

    /// Finds everything the program needs.
    pub(crate) fn prepare(self) -> Result<Exec, Refusal> {
        let path = self.find()?;
        let mut argv = vec![self.arg0];
        argv.extend(self.args);
        let mut script_argv = vec![OsString::from("/bin/sh"), path.clone().into_os_string()];
        script_argv.extend(argv.iter().skip(1).cloned());
        let env = self.env.into_iter().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        });
        Ok(Exec {
            argv: texts(argv, "an argument")?,
            script_argv: texts(script_argv, "an argument")?,
            env: texts(env, "a variable")?,
            cwd: text(self.cwd.into_os_string(), "the working directory")?,
            path: text(path.into_os_string(), "the program")?,
        })
    }

    /// Looks the program up as a shell would, but in the program's own `PATH` and seen from its own directory.
    fn look_up(&self) -> Result<PathBuf, Refusal> {
        if self.name.is_empty() {
            return Err(Refusal {
                exit_code: 127,
                reason: "cannot run a program without a name".to_owned(),
            });
        }
        if self.name.as_bytes().contains(&b'/') {
            let path = self.cwd.join(&self.name);
            return match runnable(&path) {
                Ok(()) => Ok(path),
                Err(error) => Err(refused(&self.name, &error)),
            };
        }
        let default = OsString::from(DEFAULT_PATH);
        let path = self.env.get(OsStr::new("PATH")).unwrap_or(&default);
        let mut denied = None;
        for dir in env::split_paths(path) {
            let candidate = self.cwd.join(dir).join(&self.name);
            match runnable(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    denied = denied.or(Some(error));
                }
                Err(_) => {}
            }
        }
        Err(match denied {
            Some(error) => refused(&self.name, &error),
            None => Refusal {
                exit_code: 127,
                reason: format!(
                    "cannot run {}: there is no such program in PATH",
                    shown(&self.name)
                ),
            },
        })
    }
}

/// Why the process could not become its program.
pub(crate) fn refusal(exec: &Exec, step: Step, error: &io::Error) -> Refusal {
    let text = |text: &CString| OsString::from_vec(text.as_bytes().to_vec());
    match step {
        Step::Cwd => no_directory(Path::new(&text(&exec.cwd)), error),
        Step::Exec => refused(&text(&exec.path), error),
        Step::Setup => no_process(error),
    }
}

/// No process could be made for the program.
pub(crate) fn no_process(error: &io::Error) -> Refusal {
    Refusal {
        exit_code: 126,
        reason: format!("cannot start a process: {error}"),
    }
}

/// The program cannot be run for this reason.
pub(crate) fn refused(name: &OsStr, error: &io::Error) -> Refusal {
    let missing = matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    );
    Refusal {
        exit_code: if missing { 127 } else { 126 },
        reason: format!("cannot run {}: {error}", shown(name)),
    }
}

fn no_directory(cwd: &Path, error: &io::Error) -> Refusal {
    let reason = format!("cannot enter the directory {}: {error}", shown(cwd.as_os_str()));
    Refusal {
        exit_code: 126,
        reason,
    }
}

/// A name for people, short enough for a status.
fn shown(name: &OsStr) -> String {
    name.to_string_lossy().chars().take(200).collect()
}

fn runnable(path: &Path) -> io::Result<()> {
    let is_dir = path.metadata()?.is_dir();
    if is_dir {
        // What a shell says of a directory, too.
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is a directory",
        ));
    }
    access(path, Access::EXEC_OK).map_err(io::Error::from)
}

fn texts(all: impl IntoIterator<Item = OsString>, what: &str) -> Result<Vec<CString>, Refusal> {
    all.into_iter().map(|one| text(one, what)).collect()
}

fn text(text: OsString, what: &str) -> Result<CString, Refusal> {
    CString::new(text.into_vec()).map_err(|_error| Refusal {
        exit_code: 126,
        reason: format!("cannot start the program: {what} holds a NUL byte"),
    })
}
