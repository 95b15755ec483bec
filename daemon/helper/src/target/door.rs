//! Whether a directory could be opened as a target, asked before there is a sync. Changes nothing, so it cannot promise that
//! opening it will do: only what is certain to be refused is refused here.

use std::path::Path;

use rustix::fs::{Access, access};

use super::{
    OpenError,
    open::directory,
    place::{in_the_way, overlapping},
};
use crate::spool::{Root, at};

/// Asks for a directory, absolute and without symlinks, on behalf of the sync with this id; `all` are the ids of all syncs
/// there are.
///
/// # Errors
/// When it is no directory, cannot be made, or overlaps with the target of another sync.
pub(crate) fn check(spool: &Root, id: &str, all: &[String], path: &Path) -> Result<(), OpenError> {
    for other in overlapping(spool, id, path)? {
        if in_the_way(&other, all) {
            return Err(other.overlap(path).into());
        }
    }
    if directory(path)?.is_some() {
        return Ok(());
    }
    // What is missing above it is made along with it.
    let above = path.ancestors().skip(1).find(|upper| upper.exists());
    let above = above.unwrap_or(Path::new("/"));
    access(above, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|errno| at("creating a directory in", above, &errno.into()).into())
}
