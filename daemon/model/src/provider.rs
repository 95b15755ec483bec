//! What was found when it was looked whether a provider can be used on a host.

use crate::job::TimeMs;

/// A provider as it was last seen on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// Name of the provider.
    pub provider: String,
    /// Name of the host.
    pub host: String,
    /// When it was looked.
    pub at: TimeMs,
    /// All is well.
    pub ok: bool,
    /// Where its program is. Absent: nowhere, or not executable.
    pub path: Option<String>,
    /// What its program says that it is.
    pub version: Option<String>,
    /// What is wrong, one sentence. Absent when all is well.
    pub problem: Option<String>,
    /// How long its test took, milliseconds. Absent: it was not run, or failed.
    pub took_ms: Option<u64>,
    /// When all was well last.
    pub last_ok_at: Option<TimeMs>,
    /// How many tests went well.
    pub tests: u64,
    /// How long these took altogether, milliseconds.
    pub tests_ms: u64,
}

impl Check {
    /// How long a test takes on average, milliseconds. Absent before the first that went well.
    #[must_use]
    pub const fn mean_ms(&self) -> Option<u64> {
        self.tests_ms.checked_div(self.tests)
    }

    /// The same with what was known before it: the tests of then count on.
    #[must_use]
    pub fn after(mut self, before: Option<&Self>) -> Self {
        self.tests = before.map_or(0, |before| before.tests);
        self.tests_ms = before.map_or(0, |before| before.tests_ms);
        if let Some(took) = self.took_ms {
            self.tests = self.tests.saturating_add(1);
            self.tests_ms = self.tests_ms.saturating_add(took);
        }
        self.last_ok_at = if self.ok {
            Some(self.at)
        } else {
            before.and_then(|before| before.last_ok_at)
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_of_the_tests_that_went_well() {
        let check = |at, ok, took_ms| Check {
            at,
            ok,
            took_ms,
            ..Check::default()
        };
        let first = check(1, true, Some(100)).after(None);
        let failed = check(2, false, None).after(Some(&first));
        assert_eq!((failed.mean_ms(), failed.last_ok_at), (Some(100), Some(1)));
        let third = check(3, true, Some(300)).after(Some(&failed));
        assert_eq!((third.mean_ms(), third.last_ok_at), (Some(200), Some(3)));
        assert_eq!(check(1, false, None).after(None).mean_ms(), None);
    }
}
