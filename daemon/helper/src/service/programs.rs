//! Where a program is found and which variables are set, as a program that is started here would find them.

use std::ffi::OsStr;

use outlast_client::helper_v1::{ExecStart, LookProgramRequest, LookProgramResponse};
use tonic::Status;

use super::{Core, error::failed, exec};
use crate::program::{self, Refusal};

/// Exit code of a shell for a program that is not there.
const MISSING: i32 = 127;

/// Looks. Waits for the login environment where that is asked for. Values leave only of what was named as a place.
pub(super) async fn look(core: &Core, request: LookProgramRequest) -> Result<LookProgramResponse, Status> {
    let wanted = !request.program.is_empty();
    let start = ExecStart {
        // No program is not the login shell here.
        command: vec![request.program],
        env: request.env,
        login: request.login,
        ..ExecStart::default()
    };
    let mut program = exec::program(core, &start).await;
    program.cwd = program::home(&program.env);
    let value = |name: &String| {
        let value = program.env.get(OsStr::new(name))?;
        (!value.is_empty()).then(|| value.to_string_lossy().into_owned())
    };
    let places = request
        .places
        .iter()
        .filter_map(|name| Some((name.clone(), value(name)?)));
    let mut seen = LookProgramResponse {
        set: request
            .variables
            .iter()
            .filter(|&name| value(name).is_some())
            .cloned()
            .collect(),
        places: places.collect(),
        home: program.cwd.to_string_lossy().into_owned(),
        ..LookProgramResponse::default()
    };
    if !wanted {
        return Ok(seen);
    }
    // Directories of PATH may be on a disk that is slow or far.
    let found = tokio::task::spawn_blocking(move || program.find()).await;
    match found.map_err(|ending| failed(&std::io::Error::other(ending)))? {
        Ok(path) => seen.path = Some(path.to_string_lossy().into_owned()),
        Err(Refusal { exit_code, reason }) => {
            seen.problem = Some(reason);
            seen.missing = exit_code == MISSING;
        }
    }
    Ok(seen)
}
