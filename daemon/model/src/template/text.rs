//! Texts with variables in double braces: `{{session_name}}`. Four opening braces stand for two.

use std::fmt;

use crate::near::nearest;

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// Longest piece of a text that is shown in a message, in characters.
const SHOWN: usize = 40;

/// What can stand in a text.
const VARIABLES: [&str; 3] = ["session_name", "workspace_name", "host_name"];

/// What is known of a session when it is started.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// Its name.
    pub session_name: &'a str,
    /// The workspace it runs in. Absent outside any.
    pub workspace_name: Option<&'a str>,
    /// The host it runs on.
    pub host_name: &'a str,
}

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadVariable {
    /// There is no such variable.
    Unknown {
        /// How it stands in the text, from its braces on.
        written: String,
        /// Its name.
        name: String,
        /// What may have been meant.
        near: Option<&'static str>,
    },
    /// Braces are opened and not closed.
    Open {
        /// The text from there on.
        written: String,
    },
    /// The session is in no workspace.
    NoWorkspace,
}

impl BadVariable {
    /// The piece of the text that is wrong, as it is written there. Absent: the text is right, and only this session has
    /// no value for it.
    #[must_use]
    pub fn written(&self) -> Option<&str> {
        match self {
            Self::Unknown { written, .. } | Self::Open { written } => Some(written),
            Self::NoWorkspace => None,
        }
    }

    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { near: Some(near), .. } => format!("did you mean `{{{{{near}}}}}`?"),
            Self::Unknown { near: None, .. } => {
                let known = VARIABLES.map(|name| format!("{{{{{name}}}}}"));
                format!("there are {}; write {{{{{{{{ for two braces", known.join(", "))
            }
            Self::Open { .. } => "end it with }}, or write {{{{ for two braces".to_owned(),
            Self::NoWorkspace => "choose a template without {{workspace_name}}".to_owned(),
        }
    }
}

impl fmt::Display for BadVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| text.chars().take(SHOWN).collect::<String>();
        match self {
            Self::Unknown { name, .. } => write!(f, "unknown variable `{}`", shown(name).escape_debug()),
            Self::Open { written } => write!(f, "`{}` is not closed", shown(written).escape_debug()),
            Self::NoWorkspace => {
                f.write_str("{{workspace_name}} has no value: the session is in no workspace")
            }
        }
    }
}

impl std::error::Error for BadVariable {}

/// Whether all variables in a text are known.
///
/// # Errors
/// The first that is not.
pub fn check(text: &str) -> Result<(), BadVariable> {
    let any = Values {
        session_name: "",
        workspace_name: Some(""),
        host_name: "",
    };
    fill(text, &any).map(drop)
}

/// A text with its variables filled in. What is put in is not looked at again.
///
/// # Errors
/// The first variable that is not known or has no value.
pub fn fill(text: &str, values: &Values<'_>) -> Result<String, BadVariable> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once(OPEN) {
        filled.push_str(before);
        if let Some(after) = from.strip_prefix(OPEN) {
            filled.push_str(OPEN);
            rest = after;
            continue;
        }
        let written = || format!("{OPEN}{from}");
        let Some((inner, after)) = from.split_once(CLOSE) else {
            return Err(BadVariable::Open { written: written() });
        };
        let name = inner.trim();
        filled.push_str(match name {
            "session_name" => values.session_name,
            "workspace_name" => values.workspace_name.ok_or(BadVariable::NoWorkspace)?,
            "host_name" => values.host_name,
            _ => {
                return Err(BadVariable::Unknown {
                    written: written(),
                    name: name.to_owned(),
                    near: nearest(name, VARIABLES),
                });
            }
        });
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALUES: Values<'static> = Values {
        session_name: "web",
        workspace_name: None,
        host_name: "local",
    };

    #[test]
    fn variables_are_put_in() {
        for (text, filled) in [
            ("", ""),
            ("plain {x} }} text", "plain {x} }} text"),
            ("{{session_name}}@{{ host_name }}", "web@local"),
            ("{{{{.Names}}", "{{.Names}}"),
            ("{{{{{{session_name}}", "{{web"),
        ] {
            assert_eq!(fill(text, &VALUES).as_deref(), Ok(filled), "{text}");
        }
    }

    #[test]
    fn what_is_put_in_is_no_template() {
        let values = Values {
            session_name: "{{host_name}}",
            ..VALUES
        };
        assert_eq!(fill("{{session_name}}", &values).as_deref(), Ok("{{host_name}}"));
    }

    #[test]
    fn an_unknown_variable_is_named_with_what_was_meant() {
        let error = check("run {{sesion_name}} now").unwrap_err();
        assert_eq!(error.to_string(), "unknown variable `sesion_name`");
        assert_eq!(error.hint(), "did you mean `{{session_name}}`?");
        assert_eq!(error.written(), Some("{{sesion_name}} now"));
        let error = check("{{x}}").unwrap_err();
        assert!(
            error.hint().starts_with("there are {{session_name}}, "),
            "{}",
            error.hint()
        );
        assert_eq!(check("a {{b").unwrap_err().to_string(), "`{{b` is not closed");
    }

    #[test]
    fn a_workspace_that_there_is_not_is_no_empty_text() {
        assert!(check("rm -rf /x/{{workspace_name}}").is_ok());
        let error = fill("rm -rf /x/{{workspace_name}}", &VALUES).unwrap_err();
        assert_eq!(error, BadVariable::NoWorkspace);
    }

    proptest! {
        #[test]
        fn any_text_is_filled_or_refused(text in "[{} a-z_é]{0,40}") {
            if let Err(error) = check(&text) {
                let written = error.written().unwrap().to_owned();
                prop_assert!(text.ends_with(&written));
            }
        }
    }
}
