//! Making the program of a provider report, on whatever host: its configuration is read there, changed here and put
//! back there, if nobody else changed it meanwhile. What was in it before is kept beside it.

use std::collections::HashMap;

use outlast_client::{
    helper_v1::{LookProgramRequest, ReadFileRequest, ReplaceFileRequest},
    v1::{Error, ErrorKind},
};
use sha2::{Digest as _, Sha256};

use super::Provider;
use crate::{
    hosts::{Host, exec},
    sessions::answered,
    specs,
};

/// What the copy of what was before is called, after the name of the file.
const BACKUP: &str = ".outlast-backup";

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file. Absolute, on the host.
    pub path: String,
    /// What was in it. Absent: it was not there.
    pub before: Option<String>,
    /// What is in it now. Absent: it is not there.
    pub after: Option<String>,
    /// Where is kept what was there before anything of ours was. Absent: nowhere.
    pub backup: Option<String>,
    /// Stands for what was before.
    pub state: String,
    /// What the user has to do besides.
    pub remark: Option<&'static str>,
}

/// How a change is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Take it back.
    pub uninstall: bool,
    /// Only say what would be changed.
    pub dry_run: bool,
    /// What must have been before, as [`Change::state`]. Absent: whatever it was.
    pub state: Option<&'a str>,
}

/// Makes a provider's program on a host report, or takes that back. `base_env` is the environment that says on this
/// machine where its configuration is.
///
/// # Errors
/// When there is no recipe for it, the host is away, or the configuration cannot be read, understood or written, or is
/// another than was seen.
pub async fn change(
    host: &Host,
    provider: &Provider,
    base_env: HashMap<String, String>,
    wanted: Wanted<'_>,
) -> Result<Change, Error> {
    let Some(recipe) = provider.hooks else {
        let message = format!("outlast has no hooks for {}", provider.name);
        return Err(Error::new(ErrorKind::Usage, message)
            .with_hint("what it does is read from its terminal; a hook of your own can run: \"$OUTLAST_HELPER\" report")
            .about(&provider.name));
    };
    exec::reach(host).await?;
    let place = recipe.place();
    let look = LookProgramRequest {
        env: environment(host, base_env),
        login: !host.is_local(),
        places: vec![place.variable.0.to_owned()],
        ..LookProgramRequest::default()
    };
    let seen = answered(host, host.client().look_program(look)).await?;
    let variable = seen.places.get(place.variable.0).map(String::as_str);
    let path = place.path(&seen.home, variable);
    let backup_path = format!("{path}{BACKUP}");
    let before = read(host, &path).await?;
    let unfit = |unfit: super::hooks::Unfit| {
        Error::new(ErrorKind::WrongState, format!("{path} is left alone: {unfit}"))
            .with_hint(unfit.hint)
            .about(&provider.name)
    };
    let kept = read(host, &backup_path).await?;
    let after = match &before {
        None if wanted.uninstall => None,
        Some(current) if wanted.uninstall => recipe.uninstall(current, kept.as_deref()).map_err(unfit)?,
        current => Some(recipe.install(current.as_deref()).map_err(unfit)?),
    };
    let state = state(before.as_deref());
    let changes = before != after;
    // A repeat of a change that was made has nothing to do.
    if changes && wanted.state.is_some_and(|seen| seen != state) {
        let message = format!("{path} was changed meanwhile");
        return Err(Error::new(ErrorKind::Conflict, message)
            .with_hint("try again")
            .about(&provider.name));
    }
    // The oldest stays, and what has hooks of ours in it is no original.
    let original = |text: &String| !recipe.is_in(text);
    let stays = kept.as_ref().is_some_and(original);
    let keeps = !wanted.uninstall && !stays && before.as_ref().is_some_and(original);
    // It says nothing any more that the file itself does not.
    let idle = wanted.uninstall && kept.is_some() && (kept == after || !stays);
    if changes && !wanted.dry_run {
        if keeps {
            replace(host, &backup_path, kept.clone(), before.clone()).await?;
        }
        replace(host, &path, before.clone(), after.clone()).await?;
        if idle {
            replace(host, &backup_path, kept, None).await?;
        }
    }
    let backup = (changes && (keeps || stays && !idle)).then_some(backup_path);
    Ok(Change {
        path,
        before,
        after,
        backup,
        state,
        remark: recipe.remark().filter(|_| !wanted.uninstall),
    })
}

/// The environment that programs of this provider have: on other hosts only their helpers know it.
pub(super) fn environment(host: &Host, base_env: HashMap<String, String>) -> HashMap<String, String> {
    if host.is_local() {
        specs::environment(base_env, HashMap::new()).into_iter().collect()
    } else {
        HashMap::new()
    }
}

async fn read(host: &Host, path: &str) -> Result<Option<String>, Error> {
    let request = ReadFileRequest {
        path: path.to_owned(),
    };
    let content = answered(host, host.client().read_file(request)).await?.content;
    let text = content
        .map(|content| String::from_utf8(content.to_vec()))
        .transpose();
    text.map_err(|_not_utf8| {
        Error::new(
            ErrorKind::WrongState,
            format!("{path} is left alone: it is not UTF-8"),
        )
        .with_hint("mend it, or move it away, and try again")
    })
}

async fn replace(
    host: &Host,
    path: &str,
    before: Option<String>,
    after: Option<String>,
) -> Result<(), Error> {
    let bytes = |text: Option<String>| text.map(|text| text.into_bytes().into());
    let request = ReplaceFileRequest {
        path: path.to_owned(),
        before: bytes(before),
        after: bytes(after),
    };
    answered(host, host.client().replace_file(request))
        .await
        .map(drop)
}

/// Stands for a content.
fn state(content: Option<&str>) -> String {
    let Some(content) = content else {
        return "absent".to_owned();
    };
    let digest = Sha256::digest(content.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
