//! `config`: the configuration file. What it may hold is the daemon's knowledge, so outlastd is asked.

use std::{
    env, fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use outlast_client::{paths::find_program, v1::ErrorKind};

use crate::{
    context::Context,
    error::{Failure, Result},
    pump::{answer, answer_bytes, remark},
    render::escape::escape,
    terminal,
};

/// What stands above the settings in a new file.
const HEAD: &str = "\
# Configuration of outlast. Every setting is shown with its default; take away the # to change one.
# Flags and the environment win over this file. After a change: outlast config check, outlast daemon restart

";

/// `config init`: a file that shows every setting.
pub fn init(ctx: &Context) -> Result<u8> {
    let places = ctx.places()?;
    let path = places.config_file();
    if path.exists() {
        return Err(Failure::new(
            ErrorKind::Conflict,
            format!("{} is there already", path.display()),
        )
        .hint("outlast config edit"));
    }
    create(&path)?;
    if ctx.global.json {
        answer(&path_object(&path))?;
    } else {
        answer(&format!("{}\n", path.display()))?;
    }
    Ok(0)
}

/// Writes a new file.
fn create(path: &Path) -> Result<()> {
    let defaults = outlastd("--print-config")?;
    if !defaults.status.success() {
        return Err(said(&defaults, "outlastd --print-config"));
    }
    write_new(path, &template(&String::from_utf8_lossy(&defaults.stdout)))
}

/// The defaults, each setting commented out, tables left in place.
fn template(defaults: &str) -> String {
    let mut text = HEAD.to_owned();
    for line in defaults.lines() {
        let plain = line.is_empty() || line.starts_with('#') || line.starts_with('[');
        if !plain {
            text.push_str("# ");
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|error| Failure::io("creating directory", dir.display(), &error))?;
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::io("writing", path.display(), &error))
}

/// `config edit`: the user's editor, then the check.
pub fn edit(ctx: &Context) -> Result<u8> {
    let path = ctx.places()?.config_file();
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(env::var_os)
        .find(|editor| !editor.is_empty());
    let editor = match editor {
        Some(editor) => editor,
        None if terminal::is_there() => "vi".into(),
        // It would draw into a pipe and wait for keys that never come.
        None => {
            return Err(Failure::usage(
                "config edit needs a terminal, or a program named in VISUAL or EDITOR",
            )
            .hint(format!("edit {}, then: outlast config check", path.display())));
        }
    };
    if !path.exists() {
        create(&path)?;
    }
    // An editor may come with arguments, so a shell reads it, as git has it done. The path is an argument, not text.
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg({
            let mut script = editor.clone();
            script.push(" \"$@\"");
            script
        })
        .arg("editor")
        .arg(&path)
        .status()
        .map_err(|error| Failure::io("starting", "/bin/sh", &error))?;
    if !status.success() {
        return Err(Failure::new(
            ErrorKind::Failed,
            format!("the editor {} failed ({status})", editor.to_string_lossy()),
        )
        .hint("set VISUAL or EDITOR"));
    }
    check(ctx)
}

/// `config show`: the settings in force.
pub fn show(ctx: &Context) -> Result<u8> {
    let printed = outlastd("--print-config")?;
    if !printed.status.success() {
        return Err(said(&printed, "outlastd --print-config"));
    }
    if ctx.global.json {
        let text = String::from_utf8_lossy(&printed.stdout);
        let path = ctx.places()?.config_file();
        let object = serde_json::json!({ "path": path.display().to_string(), "settings": text });
        answer(&format!("{object}\n"))?;
    } else {
        answer_bytes(&printed.stdout)?;
    }
    Ok(0)
}

/// `config check`: whether the file can be read.
pub fn check(ctx: &Context) -> Result<u8> {
    let path = ctx.places()?.config_file();
    verify()?;
    if ctx.global.json {
        answer(&path_object(&path))?;
    } else if path.exists() {
        ctx.note(&format!("{} is good", path.display()));
    } else {
        ctx.note(&format!(
            "there is no {}; the defaults are in force",
            path.display()
        ));
    }
    Ok(0)
}

/// Fails when a daemon could not read the file.
pub fn verify() -> Result<()> {
    let checked = outlastd("--check-config")?;
    if checked.status.success() {
        Ok(())
    } else {
        Err(said(&checked, "outlastd --check-config"))
    }
}

/// A path, as JSON.
pub fn path_object(path: &Path) -> String {
    let object = serde_json::json!({ "path": path.display().to_string() });
    format!("{object}\n")
}

/// Asks outlastd without starting a daemon.
fn outlastd(flag: &str) -> Result<Output> {
    let program = find_program("outlastd").ok_or_else(|| {
        Failure::new(
            ErrorKind::MissingProgram,
            "outlastd is not found beside outlast, in ../lib/outlast or in $OUTLAST_LIBDIR",
        )
        .hint("put outlastd and outlast-helper beside outlast")
    })?;
    Command::new(&program)
        .arg(flag)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::io("starting", program.display(), &error))
}

/// What outlastd said when it failed: an error and a hint, and what else there is goes before them.
fn said(output: &Output, what: &str) -> Failure {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut message = None;
    let mut hint = None;
    for line in text.lines() {
        if let Some(error) = line.strip_prefix("error: ").filter(|_| message.is_none()) {
            message = Some(error.to_owned());
        } else if let Some(help) = line.strip_prefix("hint: ").filter(|_| hint.is_none()) {
            hint = Some(help.to_owned());
        } else {
            remark(&format!("{}\n", escape(line)));
        }
    }
    Failure::new(
        ErrorKind::Failed,
        message.unwrap_or_else(|| format!("{what} failed ({})", output.status)),
    )
    .hint(hint.unwrap_or_else(|| "outlast config edit".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_changes_nothing() {
        let text = template("# jobs\n[jobs]\nlimit = 8\n\n[log]\nlevel = \"info\"\n");
        assert!(
            text.ends_with("# jobs\n[jobs]\n# limit = 8\n\n[log]\n# level = \"info\"\n"),
            "{text}"
        );
        assert!(
            text.lines()
                .all(|line| line.is_empty() || line.starts_with('#') || line.starts_with('['))
        );
    }
}
