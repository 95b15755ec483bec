//! The JSON of providers and templates.

use std::collections::BTreeMap;

use outlast_client::v1;
use serde::Serialize;

use super::{activity, time};

#[derive(Serialize)]
pub struct Provider<'a> {
    name: &'a str,
    display_name: &'a str,
    built_in: bool,
    configured: bool,
    binary: &'a str,
    arguments: &'a [String],
    programs: &'a [String],
    version_command: &'a [String],
    environment: Vec<&'a [String]>,
    resume_command: Option<&'a str>,
    test_command: &'a [String],
    hooks: Option<&'a str>,
    bell_waits: bool,
    screen: Vec<Rule<'a>>,
    checks: Vec<Check<'a>>,
}

#[derive(Serialize)]
struct Rule<'a> {
    name: &'a str,
    doing: Option<String>,
    pattern: &'a str,
    last_lines: u32,
    title: bool,
    menu: bool,
}

#[derive(Serialize)]
struct Check<'a> {
    host: &'a str,
    ok: bool,
    checked_at: Option<String>,
    path: Option<&'a str>,
    version: Option<&'a str>,
    problem: Option<&'a str>,
    took_ms: Option<f64>,
    mean_ms: Option<f64>,
    last_ok_at: Option<String>,
}

impl<'a> From<&'a v1::Provider> for Provider<'a> {
    fn from(provider: &'a v1::Provider) -> Self {
        let rule = |rule: &'a v1::ProviderRule| Rule {
            name: &rule.name,
            doing: activity(rule.doing()),
            pattern: &rule.pattern,
            last_lines: rule.last_lines,
            title: rule.title,
            menu: rule.menu,
        };
        Self {
            name: &provider.name,
            display_name: &provider.display_name,
            built_in: provider.built_in,
            configured: provider.configured,
            binary: &provider.binary,
            arguments: &provider.arguments,
            programs: &provider.programs,
            version_command: &provider.version_command,
            environment: provider
                .environment
                .iter()
                .map(|group| &group.any_of[..])
                .collect(),
            resume_command: provider.resume_command.as_deref(),
            test_command: &provider.test_command,
            hooks: provider.hooks.as_deref(),
            bell_waits: provider.bell_waits,
            screen: provider.screen.iter().map(rule).collect(),
            checks: provider.checks.iter().map(Check::from).collect(),
        }
    }
}

impl<'a> From<&'a v1::ProviderCheck> for Check<'a> {
    fn from(check: &'a v1::ProviderCheck) -> Self {
        Self {
            host: &check.host,
            ok: check.ok,
            checked_at: time(check.checked_at.as_ref()),
            path: check.path.as_deref(),
            version: check.version.as_deref(),
            problem: check.problem.as_deref(),
            took_ms: millis(check.took),
            mean_ms: millis(check.mean),
            last_ok_at: time(check.last_ok_at.as_ref()),
        }
    }
}

/// One check of a provider, with what was looked at in order.
#[derive(Serialize)]
pub struct ProviderChecked<'a> {
    name: &'a str,
    #[serde(flatten)]
    check: Check<'a>,
    steps: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    step: &'a str,
    ok: bool,
    took_ms: Option<f64>,
    message: &'a str,
}

impl<'a> ProviderChecked<'a> {
    pub fn new(check: &'a v1::ProviderCheck, steps: &'a [v1::ProviderCheckStep]) -> Self {
        Self {
            name: &check.provider,
            check: Check::from(check),
            steps: steps
                .iter()
                .map(|step| Step {
                    step: &step.step,
                    ok: step.ok,
                    took_ms: millis(step.took),
                    message: &step.message,
                })
                .collect(),
        }
    }
}

/// What was done to the configuration of a provider's program.
#[derive(Serialize)]
pub struct Hooks<'a> {
    name: &'a str,
    host: &'a str,
    path: &'a str,
    installed: bool,
    changed: bool,
    backup: Option<&'a str>,
}

impl<'a> Hooks<'a> {
    pub fn new(
        name: &'a str,
        host: &'a str,
        done: &'a v1::ChangeProviderHooksResponse,
        installed: bool,
    ) -> Self {
        Self {
            name,
            host,
            path: &done.path,
            installed,
            changed: done.before != done.after,
            backup: done.backup.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub struct Template<'a> {
    name: &'a str,
    description: Option<&'a str>,
    command: &'a [String],
    restart_command: Option<&'a str>,
    env: BTreeMap<&'a str, &'a str>,
    cwd: Option<&'a str>,
    provider: Option<&'a str>,
    inherits: &'a [String],
}

impl<'a> From<&'a v1::Template> for Template<'a> {
    fn from(template: &'a v1::Template) -> Self {
        let env = template.env.iter();
        Self {
            name: &template.name,
            description: template.description.as_deref(),
            command: &template.command,
            restart_command: template.restart_command.as_deref(),
            env: env.map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            cwd: template.cwd.as_deref(),
            provider: template.provider.as_deref(),
            inherits: &template.inherits,
        }
    }
}

/// A time that something took, in whole milliseconds.
pub fn millis(took: Option<prost_types::Duration>) -> Option<f64> {
    let took = std::time::Duration::try_from(took?).ok()?;
    Some((took.as_secs_f64() * 1e3).round())
}
