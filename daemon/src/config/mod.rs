//! `config.toml`: every key, its default, and where a wrong one stands.
//!
//! There are flat keys ([`keys`]), and tables that the user names ([`tables`]): templates of sessions, and providers.
//! Providers can also have a file each, in the directory `providers` beside `config.toml`.
//! Precedence is environment, file, default. An unknown key or a value of the wrong type is an error with line and
//! column: a daemon that quietly ignores what its user wrote is worse than one that does not start.

mod errors;
mod keys;
mod provider;
mod tables;
mod template;

use std::{collections::BTreeMap, fs, path::Path};

use outlast_model::template::Template;
use tracing::level_filters::LevelFilter;

use self::keys::KEYS;
pub use self::{
    errors::ConfigError,
    provider::{ProviderTable, RuleTable, parse as parse_provider},
    template::TemplateTable,
};
pub(crate) use self::{errors::Source, keys::Value};
use crate::notify::{self, NotifyConfig};

/// What the user may decide. [`Config::default`] is what holds where nothing is said.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[daemon]`.
    pub daemon: DaemonConfig,
    /// `[jobs]`.
    pub jobs: JobsConfig,
    /// `[sessions]`.
    pub sessions: SessionsConfig,
    /// `[sync]`.
    pub sync: SyncConfig,
    /// `[events]`.
    pub events: EventsConfig,
    /// `[notify]`.
    pub notify: NotifyConfig,
    /// `[session_templates.NAME]`, by name.
    pub templates: BTreeMap<String, TemplateTable>,
    /// `[providers.NAME]`, by name: what the user says of providers, whether they are built in or not.
    pub providers: BTreeMap<String, ProviderTable>,
}

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonConfig {
    /// What the daemon writes into its log.
    pub log_level: LevelFilter,
    /// How many daily log files are kept; at least 1.
    pub log_files_kept: usize,
}

/// `[jobs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsConfig {
    /// How many jobs run on one host at once; the rest wait in order. Absent (0 in the file): no limit.
    pub max_running: Option<usize>,
    /// How many bytes of a job's output are kept. Absent (0 in the file): all.
    pub log_max_bytes: Option<u64>,
    /// After how many days an ended job and its log are removed. Absent (0 in the file): never.
    pub prune_after_days: Option<u32>,
}

/// `[sessions]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionsConfig {
    /// Lines of scrollback that tmux keeps for each session.
    pub history_limit: u32,
    /// Whether the user's own copy-mode keys are kept in sessions.
    pub user_copy_mode_keys: bool,
}

/// `[sync]`: a sync halts when more files than both of these are to be deleted at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyncConfig {
    /// How many files may always be deleted.
    pub halt_deletions: u64,
    /// Which part of all files may always be deleted, from 0 to 1.
    pub halt_share: f64,
}

/// `[events]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsConfig {
    /// How many events are kept at most; the oldest go first.
    pub keep_count: u64,
    /// For how many days events are kept at most.
    pub keep_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            daemon: DaemonConfig {
                log_level: LevelFilter::INFO,
                log_files_kept: 7,
            },
            jobs: JobsConfig {
                max_running: None,
                log_max_bytes: None,
                prune_after_days: None,
            },
            sessions: SessionsConfig {
                history_limit: 50_000,
                user_copy_mode_keys: true,
            },
            sync: SyncConfig {
                halt_deletions: 200,
                halt_share: 0.5,
            },
            events: EventsConfig {
                keep_count: 100_000,
                keep_days: 30,
            },
            notify: NotifyConfig::default(),
            templates: BTreeMap::new(),
            providers: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads the files, where there are any, and the environment on top of them.
    ///
    /// # Errors
    /// When a file cannot be read, or something in one or in the environment is wrong: the first thing that is.
    pub fn load(path: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let providers = provider::files(&path.with_file_name(provider::DIRECTORY))?;
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| ConfigError::reading(path, &error))?,
        };
        let mut config = Self::read(&text, path, providers)?;
        config.apply_environment(variable)?;
        Ok(config)
    }

    /// Reads the text of a configuration file; `path` is for messages only.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and column.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::read(text, path, BTreeMap::new())
    }

    /// As [`Self::parse`], on top of what was read of providers before.
    fn read(
        text: &str,
        path: &Path,
        providers: BTreeMap<String, ProviderTable>,
    ) -> Result<Self, ConfigError> {
        let source = Source::new(text, path);
        let document = source.document()?;
        let mut config = Self {
            providers,
            ..Self::default()
        };
        for (table, content) in document.get_ref() {
            let name = table.get_ref().as_ref();
            if name == template::GROUP {
                config.templates = template::read(&source, content)?;
                continue;
            }
            if name == provider::GROUP {
                for (name, table) in provider::read(&source, content)? {
                    config.providers.entry(name).or_default().overlay(table);
                }
                continue;
            }
            if !KEYS.iter().any(|key| key.table == name) {
                return Err(source.unknown_table(name, table.span()));
            }
            for (entry, value) in source.table(name, content)? {
                if (name, entry.get_ref().as_ref()) == ("notify", "rules") {
                    config.notify.rules.rules = notify::rules::read(&source, value)?;
                    continue;
                }
                config.set(
                    &source,
                    name,
                    entry.get_ref(),
                    entry.span(),
                    value.get_ref(),
                    value.span(),
                )?;
            }
        }
        template::check(&source, &config.templates, &config.providers)?;
        Ok(config)
    }

    /// The templates of sessions, by name.
    #[must_use]
    pub fn session_templates(&self) -> BTreeMap<String, Template> {
        template::models(&self.templates)
    }

    /// The configuration as a file that says the same, each key with its meaning above it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut table = "";
        for key in KEYS {
            if key.table != table {
                if !table.is_empty() {
                    text.push('\n');
                }
                table = key.table;
                text.push_str(&format!("[{table}]\n"));
            }
            text.push_str(&format!("# {}\n{} = {}\n", key.about, key.name, (key.show)(self)));
        }
        text.push_str(&notify::rules::write(&self.notify.rules.rules));
        text.push('\n');
        text.push_str(&template::to_text(&self.templates));
        text.push('\n');
        text.push_str(&provider::to_text(&self.providers));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("config.toml"))
    }

    /// The message and the hint of the one error that `text` has.
    fn refused(text: &str) -> (String, String) {
        let error = parse(text).unwrap_err();
        (error.to_string(), error.hint().to_owned())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse("").unwrap(), Config::default());
        assert_eq!(parse("[jobs]\n[events]\n").unwrap(), Config::default());
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let text = "[daemon]\nlog_level='debug'\nlog_files_kept=3\n[jobs]\nmax_running=4\nlog_max_bytes=1_000_000\n\
                    prune_after_days=7\n[sessions]\nhistory_limit=0x10\nuser_copy_mode_keys=false\n[sync]\n\
                    halt_deletions=0\nhalt_share=1\n[events]\n\
                    keep_count=5\nkeep_days=1\n[notify]\non='idle, waiting'\nto='none'\ncommand='say \"$X\"'\n\
                    [notify.rules.b]\nhosts='ci*'\nto='webhook'\n[notify.rules.a]\non='all'\nnames='x, y'\n";
        let config = parse(text).unwrap();
        assert_eq!(config.jobs.max_running, Some(4));
        assert_eq!(config.jobs.log_max_bytes, Some(1_000_000));
        assert_eq!(config.sessions.history_limit, 16);
        assert_eq!((config.sync.halt_deletions, config.sync.halt_share), (0, 1.0));
        assert_eq!(
            parse("[sync]\nhalt_share = 0.25\n").unwrap().sync.halt_share,
            0.25
        );
        assert_eq!(parse(&config.to_text()).unwrap(), config);
        assert_eq!(parse(&Config::default().to_text()).unwrap(), Config::default());
    }

    #[test]
    fn a_mistyped_key_is_named_with_its_place_and_the_right_one() {
        let (message, hint) = refused("# mine\n[jobs]\n  max_runing = 2\n");
        assert_eq!(message, "config.toml:3:3: unknown key `jobs.max_runing`");
        assert_eq!(hint, "did you mean `max_running`?");

        let (message, hint) = refused("[job]\nmax_running = 2\n");
        assert_eq!(message, "config.toml:1:2: unknown key `job`");
        assert_eq!(hint, "did you mean `[jobs]`?");

        let (_, hint) = refused("max_running = 2\n");
        assert_eq!(hint, "`max_running` belongs under `[jobs]`");

        let (_, hint) = refused("[events]\nmax_running = 2\n");
        assert_eq!(hint, "`max_running` belongs under `[jobs]`");

        let (_, hint) = refused("[events]\nxyzzy = 2\n");
        assert_eq!(hint, "[events] knows keep_count, keep_days");
    }

    #[test]
    fn a_wrong_type_says_what_is_wanted() {
        let (message, _) = refused("[jobs]\nmax_running = \"four\"\n");
        assert_eq!(
            message,
            "config.toml:2:15: `jobs.max_running` must be a whole number from 0 up, not \"four\""
        );
        for text in [
            "[jobs]\nmax_running = -1\n",
            "[jobs]\nmax_running = 1.5\n",
            "[jobs]\nmax_running = 99999999999999999999999999999999999999999999999\n",
            "[jobs]\nmax_running = [1]\n",
            "[jobs]\nmax_running = 2026-11-21\n",
            "[events]\nkeep_days = 0\n",
            "[sync]\nhalt_share = 1.5\n",
            "[sync]\nhalt_share = nan\n",
            "[sync]\nhalt_share = '0.5'\n",
            "[sync]\nhalt_deletions = 0.5\n",
            "[sessions]\nuser_copy_mode_keys = 1\n",
            "[daemon]\nlog_level = 'loud'\n",
            "jobs = 3\n",
            "[jobs]\nmax_running = 1\nmax_running = 2\n",
            "[jobs\n",
            "\u{0}",
        ] {
            let (message, _) = refused(text);
            assert!(message.starts_with("config.toml:"), "{text:?}: {message}");
        }
    }

    #[test]
    fn the_environment_outranks_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "[jobs]\nmax_running = 2\n").unwrap();
        let environment = |name: &str| match name {
            "OUTLAST_JOBS_MAX_RUNNING" => Some("3".to_owned()),
            "OUTLAST_LOG" => Some("trace".to_owned()),
            "OUTLAST_SYNC_HALT_SHARE" => Some("0.75".to_owned()),
            "OUTLAST_EVENTS_KEEP_DAYS" => Some(String::new()),
            _ => None,
        };
        let config = Config::load(&path, environment).unwrap();
        assert_eq!(config.jobs.max_running, Some(3));
        assert_eq!(config.daemon.log_level, LevelFilter::TRACE);
        assert_eq!(config.sync.halt_share, 0.75);
        assert_eq!(config.events.keep_days, 30);

        let wrong = |name: &str| (name == "OUTLAST_LOG").then(|| "loud".to_owned());
        let error = Config::load(&path, wrong).unwrap_err();
        assert!(
            error.to_string().starts_with("OUTLAST_LOG: must be one of"),
            "{error}"
        );
    }

    #[test]
    fn no_file_is_no_error_but_an_unreadable_one_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Config::load(&dir.path().join("none.toml"), |_| None).is_ok());
        assert!(Config::load(dir.path(), |_| None).is_err());
    }

    const TABLES: &str = "[session_templates.web]\ncommand = ['npm', 'run', 'dev']\nenv = { PORT = '1' }\n\
        [session_templates.agent]\ncommand = 'claude'\ninherits = ['web']\nprovider = 'mine'\n\
        [providers.mine]\nbinary = 'm'\nenvironment = ['A', ['B', 'C']]\n\
        [[providers.mine.screen]]\nname = 'asks'\ndoing = 'waiting'\npattern = '^x'\n";

    #[test]
    fn tables_that_the_user_names_read_back_the_same() {
        let config = parse(TABLES).unwrap();
        assert_eq!((config.templates.len(), config.providers.len()), (2, 1));
        let printed = config.to_text();
        assert!(printed.contains("\n[session_templates.web.env]\n"), "{printed}");
        assert_eq!(parse(&printed).unwrap(), config, "{printed}");
    }

    #[test]
    fn a_mistake_in_a_named_table_is_told_with_its_place() {
        for (text, message, hint) in [
            (
                "[session_templates.a]\n comand = 'x'\n",
                "config.toml:2:2: unknown key `session_templates.a.comand`",
                "did you mean `command`?",
            ),
            (
                "[session_templates.a]\ncommand = 'run {{sesion_name}}'\n",
                "config.toml:2:16: unknown variable `sesion_name`",
                "did you mean `{{session_name}}`?",
            ),
            (
                "[session_templates.a]\ncommand = ['run', '{{x']\n",
                "config.toml:2:20: `{{x` is not closed",
                "end it with }}, or write {{{{ for two braces",
            ),
            (
                "[session_templates.a]\ninherits = 'b'\n[session_templates.b]\ninherits = ['a']\n",
                "config.toml:2:12: templates inherit in a circle: a -> b -> a",
                "",
            ),
            (
                "[session_templates.base]\n[session_templates.a]\ninherits = 'bsae'\n",
                "config.toml:3:12: no template is called \"bsae\", which a inherits from",
                "did you mean \"base\"?",
            ),
            (
                "[session_templates.a]\nprovider = 'clade'\n",
                "config.toml:2:12: no provider is called \"clade\"",
                "did you mean \"claude\"?",
            ),
            (
                "[session_templates.a]\ncwd = 'src'\n",
                "config.toml:2:7: `session_templates.a.cwd` must be an absolute path",
                "",
            ),
            (
                "[session_templates.a]\ncommand = []\n",
                "config.toml:2:11: `session_templates.a.command` is an empty list",
                "leave it out for the login shell",
            ),
            (
                "session_templates = 3\n",
                "config.toml:1:21: `session_templates` must be a table of tables",
                "write `[session_templates.NAME]` on a line of its own, with its keys below",
            ),
            (
                "[session_templates]\na = 3\n",
                "config.toml:2:5: `session_templates.a` must be a table",
                "write `[session_templates.a]` on a line of its own, with its keys below",
            ),
            (
                "[providers.a]\nhooks = 'cluade'\n",
                "config.toml:2:9: there are no hooks \"cluade\"",
                "did you mean \"claude\"?",
            ),
            (
                "[[providers.a.screen]]\nname = 'x'\ndoing = 'starting'\npattern = 'x'\n",
                "config.toml:3:9: \"starting\" is nothing that a screen can say",
                "it is working, waiting, idle or error",
            ),
            (
                "[[providers.a.screen]]\nnmae = 'x'\n",
                "config.toml:2:1: unknown key `providers.a.screen.nmae`",
                "did you mean `name`?",
            ),
            (
                "[session_template.a]\n",
                "config.toml:1:2: unknown key `session_template`",
                "did you mean `[session_templates]`?",
            ),
        ] {
            assert_eq!(refused(text), (message.to_owned(), hint.to_owned()), "{text}");
        }
        for text in [
            "[session_templates.'a b']\n",
            "[session_templates.a]\ncommand = 3\n",
            "[session_templates.a]\ncommand = ['x', 3]\n",
            "[session_templates.a]\nenv = { A = 1 }\n",
            "[providers.a]\nbell_waits = 'yes'\n",
            "[[providers.a.screen]]\nname = 'x'\ndoing = 'idle'\npattern = '('\n",
            "[[providers.a.screen]]\nname = 'x'\ndoing = 'idle'\n",
        ] {
            let (message, _) = refused(text);
            assert!(message.starts_with("config.toml:"), "{text:?}: {message}");
            assert!(!message.contains('\n'), "{text:?}: {message}");
        }
    }

    #[test]
    fn a_provider_may_have_a_file_which_the_configuration_outranks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let files = dir.path().join("providers");
        fs::create_dir(&files).unwrap();
        fs::write(
            files.join("mine.toml"),
            "binary = 'file'\ndisplay_name = 'File'\n",
        )
        .unwrap();
        fs::write(files.join("notes.txt"), "no provider").unwrap();
        fs::write(
            &path,
            "[providers.mine]\nbinary = 'config'\n[session_templates.a]\nprovider = 'mine'\n",
        )
        .unwrap();
        let mine = Config::load(&path, |_| None).unwrap().providers["mine"].clone();
        assert_eq!(mine.binary.as_deref(), Some("config"));
        assert_eq!(mine.display_name.as_deref(), Some("File"));
        fs::write(files.join("mine.toml"), "\nbinray = 'file'\n").unwrap();
        let error = Config::load(&path, |_| None).unwrap_err();
        let place = format!("{}:2:1: ", files.join("mine.toml").display());
        assert_eq!(error.to_string(), format!("{place}unknown key `mine.binray`"));
        assert_eq!(error.hint(), "did you mean `binary`?");
    }
}
