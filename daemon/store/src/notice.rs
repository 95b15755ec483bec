//! What the user should hear about the opening of the store.

use std::path::{Path, PathBuf};

use outlast_model::event::{Kind, NewEvent};

/// Something out of the ordinary that opening the store had to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The database was brought to a newer schema.
    Migrated {
        /// The schema it had.
        from: u32,
        /// The schema it has.
        to: u32,
        /// The backup from before.
        backup: PathBuf,
    },
    /// The database was damaged or gone; a backup took its place. A new epoch began.
    Restored {
        /// The backup.
        from: PathBuf,
        /// Where the damaged one lies. Absent when there was none.
        set_aside: Option<PathBuf>,
        /// What was wrong.
        why: String,
    },
    /// The database was damaged and there was no good backup; it is empty now. A new epoch began.
    Rebuilt {
        /// Where the damaged one lies. Absent when only pieces of it were found.
        set_aside: Option<PathBuf>,
        /// What was wrong.
        why: String,
    },
    /// The write-ahead log was damaged; everything up to the damage was kept. A new epoch began.
    Salvaged {
        /// Where a copy of the database as it was lies.
        set_aside: PathBuf,
        /// What was wrong.
        why: String,
    },
}

impl Notice {
    /// Whether rows may be missing or old: everything that runs must be looked for in the spools.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        !matches!(self, Self::Migrated { .. })
    }

    /// One sentence for people.
    #[must_use]
    pub fn message(&self) -> String {
        let aside = |path: &Option<PathBuf>| {
            path.as_deref().map_or_else(String::new, |path| {
                format!("; the damaged one is {}", path.display())
            })
        };
        match self {
            Self::Migrated { from, to, backup } => format!(
                "the database was brought from schema {from} to {to}; a backup from before is {}",
                backup.display()
            ),
            Self::Restored { from, set_aside, why } => format!(
                "the database was unusable ({why}) and was restored from {}{}",
                from.display(),
                aside(set_aside)
            ),
            Self::Rebuilt { set_aside, why } => format!(
                "the database was unusable ({why}) and there was no good backup, so it begins empty{}",
                aside(set_aside)
            ),
            Self::Salvaged { set_aside, why } => format!(
                "the last changes to the database were damaged ({why}); what came before them is kept, and a copy of \
                 everything as it was is {}",
                set_aside.display()
            ),
        }
    }

    /// The event that tells of a loss. None for a migration.
    #[must_use]
    pub fn event(&self) -> Option<NewEvent> {
        let (how, from, set_aside) = match self {
            Self::Migrated { .. } => return None,
            Self::Restored { from, set_aside, .. } => ("restored", Some(from), set_aside.as_ref()),
            Self::Rebuilt { set_aside, .. } => ("rebuilt", None, set_aside.as_ref()),
            Self::Salvaged { set_aside, .. } => ("salvaged", None, Some(set_aside)),
        };
        let file_name =
            |path: &PathBuf| Path::file_name(path).map(|name| name.to_string_lossy().into_owned());
        let mut data = serde_json::Map::new();
        data.insert("how".to_owned(), how.into());
        for (key, path) in [("from", from), ("set_aside", set_aside)] {
            if let Some(name) = path.and_then(file_name) {
                data.insert(key.to_owned(), name.into());
            }
        }
        let data = serde_json::Value::Object(data).to_string();
        Some(NewEvent {
            kind: Kind::StoreRestored,
            subject: String::new(),
            data,
        })
    }
}
