//! Hooks in settings that are JSON: `hooks.EVENT[].hooks[].command`, as Claude Code, Codex and Gemini CLI have them.

use jsonc_parser::{
    ParseOptions,
    cst::{CstArray, CstInputValue, CstNode, CstObject, CstRootNode},
};

use super::{Unfit, is_ours, report};

/// What a program of this kind takes.
pub(super) struct Dialect {
    /// Its settings may have comments and trailing commas.
    comments: bool,
    hooks: &'static [Hook],
}

/// What is reported when.
struct Hook {
    event: &'static str,
    /// Which of these events. Absent: all.
    matcher: Option<&'static str>,
    state: &'static str,
    /// Not where this is reported already.
    unless: Option<&'static str>,
    /// Where in the event stands what it is about.
    message: Message,
}

/// Places in an event, of which the first counts that is there: each one string or several, which are put together.
pub(super) type Message = &'static [&'static [&'static str]];

/// What is asked: the question, else the tool and what it would do, as far as it says so.
const ASKED: Message = &[
    &["/tool_input/questions/0/question"],
    &["/tool_name", "/tool_input/command"],
    &["/tool_name", "/tool_input/file_path"],
    &["/tool_name", "/tool_input/notebook_path"],
    &["/tool_name", "/tool_input/path"],
    &["/tool_name", "/tool_input/url"],
    &["/tool_name"],
];

/// Words for people.
const WORDS: Message = &[&["/message"]];

impl Hook {
    const fn new(event: &'static str, state: &'static str) -> Self {
        Self {
            event,
            matcher: None,
            state,
            unless: None,
            message: &[],
        }
    }

    fn command(&self) -> String {
        report(self.state, self.unless, self.message)
    }
}

pub(super) const CLAUDE: Dialect = Dialect {
    comments: false,
    hooks: &[
        Hook {
            // Another one begins anew in the midst of the work, with less to remember.
            matcher: Some("startup|resume|clear"),
            ..Hook::new("SessionStart", "idle")
        },
        Hook::new("UserPromptSubmit", "working"),
        Hook::new("PreToolUse", "working"),
        Hook {
            message: ASKED,
            ..Hook::new("PermissionRequest", "waiting")
        },
        Hook {
            // Others tell that nothing was typed for a while, which is no question.
            matcher: Some("permission_prompt|elicitation_dialog"),
            // It comes some seconds after what was asked, and knows less of it.
            unless: Some("waiting"),
            message: WORDS,
            ..Hook::new("Notification", "waiting")
        },
        Hook::new("PostToolUse", "working"),
        Hook::new("Stop", "idle"),
        Hook::new("SessionEnd", "idle"),
    ],
};

/// Its older `notify` is of no use: it tells of turns that nobody asked for as well, as when it looks for a title. Its
/// sessions start with the first prompt, when it is not idle any more.
pub(super) const CODEX: Dialect = Dialect {
    comments: false,
    hooks: &[
        Hook::new("UserPromptSubmit", "working"),
        Hook::new("PreToolUse", "working"),
        Hook {
            message: ASKED,
            ..Hook::new("PermissionRequest", "waiting")
        },
        Hook::new("PostToolUse", "working"),
        Hook::new("Stop", "idle"),
        Hook::new("SessionEnd", "idle"),
    ],
};

/// Its sessions start a second after the first prompt can be typed.
pub(super) const GEMINI: Dialect = Dialect {
    comments: true,
    hooks: &[
        Hook::new("BeforeAgent", "working"),
        Hook::new("BeforeTool", "working"),
        Hook {
            message: WORDS,
            ..Hook::new("Notification", "waiting")
        },
        Hook::new("AfterTool", "working"),
        Hook::new("AfterAgent", "idle"),
        Hook::new("SessionEnd", "idle"),
    ],
};

pub(super) fn install(current: Option<&str>, dialect: &Dialect) -> Result<String, Unfit> {
    let blank = current.is_none_or(|text| text.trim().is_empty());
    let text = if blank {
        "{}\n"
    } else {
        current.unwrap_or_default()
    };
    let root = parse(text, dialect)?;
    if is_installed(&root, dialect)? {
        return Ok(text.to_owned());
    }
    remove_ours(&root)?;
    let settings = root.object_value().ok_or_else(no_object)?;
    let hooks = settings
        .object_value_or_create("hooks")
        .ok_or_else(|| wrong("hooks", "table"))?;
    hooks.ensure_multiline();
    for hook in dialect.hooks {
        let event = hooks
            .array_value_or_create(hook.event)
            .ok_or_else(|| wrong(&format!("hooks.{}", hook.event), "list"))?;
        event.append(group(hook));
        event.ensure_multiline();
    }
    settings.ensure_multiline();
    Ok(root.to_string())
}

pub(super) fn uninstall(current: &str, dialect: &Dialect) -> Result<String, Unfit> {
    if current.trim().is_empty() {
        return Ok(current.to_owned());
    }
    let root = parse(current, dialect)?;
    if remove_ours(&root)? {
        Ok(root.to_string())
    } else {
        Ok(current.to_owned())
    }
}

fn group(hook: &Hook) -> CstInputValue {
    let text = |text: &str| CstInputValue::String(text.to_owned());
    let command = CstInputValue::Object(vec![
        ("type".to_owned(), text("command")),
        ("command".to_owned(), text(&hook.command())),
    ]);
    let matcher = hook.matcher.map(|matcher| ("matcher".to_owned(), text(matcher)));
    let hooks = ("hooks".to_owned(), CstInputValue::Array(vec![command]));
    CstInputValue::Object(matcher.into_iter().chain([hooks]).collect())
}

fn parse(text: &str, dialect: &Dialect) -> Result<CstRootNode, Unfit> {
    let options = ParseOptions {
        allow_comments: dialect.comments,
        allow_trailing_commas: dialect.comments,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    CstRootNode::parse(text, &options).map_err(|error| {
        Unfit::new(
            format!("it is no JSON: {error}"),
            "mend it, or move it away, and try again",
        )
    })
}

fn no_object() -> Unfit {
    Unfit::new(
        "its content is no JSON object",
        "mend it, or move it away, and try again",
    )
}

fn wrong(key: &str, wanted: &str) -> Unfit {
    Unfit::new(format!("its `{key}` is no {wanted}"), "mend it, and try again")
}

/// A list of hooks of the user's or ours: event, matcher, command.
type Found = (String, Option<String>, String);

/// Whether exactly our hooks are there.
fn is_installed(root: &CstRootNode, dialect: &Dialect) -> Result<bool, Unfit> {
    let mut found: Vec<Found> = Vec::new();
    for (event, groups) in events(root)? {
        for group in groups.elements().iter().filter_map(CstNode::as_object) {
            let matcher = group.get("matcher").and_then(|matcher| text(&matcher.value()?));
            for command in commands(&group)
                .into_iter()
                .filter_map(|command| command_text(&command))
            {
                if is_ours(&command) {
                    found.push((event.clone(), matcher.clone(), command));
                }
            }
        }
    }
    let wanted = dialect.hooks.iter().map(|hook| {
        let matcher = hook.matcher.map(str::to_owned);
        (hook.event.to_owned(), matcher, hook.command())
    });
    let mut wanted: Vec<Found> = wanted.collect();
    wanted.sort();
    found.sort();
    Ok(found == wanted)
}

/// Takes out our hooks, and what they leave empty. True: there were some.
fn remove_ours(root: &CstRootNode) -> Result<bool, Unfit> {
    let mut removed = false;
    for (event, groups) in events(root)? {
        let mut here = false;
        for group in groups.elements().iter().filter_map(CstNode::as_object) {
            let all = commands(&group);
            let ours: Vec<&CstNode> = all
                .iter()
                .filter(|command| command_text(command).is_some_and(|text| is_ours(&text)))
                .collect();
            if ours.is_empty() {
                continue;
            }
            here = true;
            if ours.len() == all.len() {
                group.remove();
            } else {
                ours.into_iter().cloned().for_each(CstNode::remove);
            }
        }
        removed |= here;
        let Some(hooks) = hooks_of(root)? else { break };
        if here
            && groups.elements().is_empty()
            && let Some(property) = hooks.get(&event)
        {
            property.remove();
        }
    }
    if removed
        && let Some(settings) = root.object_value()
        && let Some(hooks) = settings.get("hooks")
        && hooks
            .object_value()
            .is_some_and(|hooks| hooks.properties().is_empty())
    {
        hooks.remove();
    }
    Ok(removed)
}

/// `hooks`. None: there are none.
fn hooks_of(root: &CstRootNode) -> Result<Option<CstObject>, Unfit> {
    let settings = root.object_value().ok_or_else(no_object)?;
    let Some(hooks) = settings.get("hooks") else {
        return Ok(None);
    };
    hooks
        .object_value()
        .map(Some)
        .ok_or_else(|| wrong("hooks", "table"))
}

/// The lists of the events.
fn events(root: &CstRootNode) -> Result<Vec<(String, CstArray)>, Unfit> {
    let Some(hooks) = hooks_of(root)? else {
        return Ok(Vec::new());
    };
    let properties = hooks.properties().into_iter();
    Ok(properties
        .filter_map(|property| Some((property.decoded_name()?, property.array_value()?)))
        .collect())
}

fn commands(group: &CstObject) -> Vec<CstNode> {
    let hooks = group.array_value("hooks");
    hooks.map(|hooks| hooks.elements()).unwrap_or_default()
}

fn command_text(hook: &CstNode) -> Option<String> {
    text(&hook.as_object()?.get("command")?.value()?)
}

fn text(node: &CstNode) -> Option<String> {
    node.as_string_lit()?.decoded_value().ok()
}
