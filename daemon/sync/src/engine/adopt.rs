//! Solving conflicts one by one: what somebody else put at some paths of the host is replaced by what is here, once.

use outlast_tree::RelPath;

use super::{NO_CONFLICT, Refused, work::Engine};

impl Engine {
    /// Has conflicts at and below these paths solved. All of them, or nothing is done.
    ///
    /// # Errors
    /// When there is no conflict at or below one of them that what is here could replace.
    pub(super) fn adopt(&mut self, paths: &[Vec<u8>]) -> Result<(), Refused> {
        let Some(source) = &mut self.source else {
            return Err(none(b""));
        };
        let mut wanted = Vec::new();
        for path in paths {
            let path = RelPath::new(path).map_err(|_bad| none(path))?;
            if !source.refused.has_conflict(&path) {
                return Err(none(&path));
            }
            wanted.push(path);
        }
        for path in wanted {
            source.refused.try_again(&path);
            self.dirty.insert(path.to_vec());
            self.adopted.push(path);
        }
        Ok(())
    }
}

fn none(path: &[u8]) -> Refused {
    let path = String::from_utf8_lossy(path);
    Refused {
        reason: NO_CONFLICT.to_owned(),
        message: format!("there is no conflict at {path:?} that what is here could replace"),
    }
}
