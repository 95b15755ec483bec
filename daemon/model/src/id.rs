//! Ids: random UUIDs, printed whole to programs and as eight characters to people.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// Id of a job, a session, a sync, a device or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Uuid);

impl Id {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID of 36 characters")]
pub struct BadId;

impl FromStr for Id {
    type Err = BadId;

    /// Reads the hyphenated form only, so that each id has one spelling (ids become file names).
    fn from_str(text: &str) -> Result<Self, BadId> {
        let id = Uuid::try_parse(text).map(Self).map_err(|_not_a_uuid| BadId)?;
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(BadId)
        }
    }
}
