//! Colours, where they are wanted.

use std::io::IsTerminal;

use crate::cli::When;

/// Whether one output is a terminal, and whether it gets colours.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// A person looks at it.
    pub terminal: bool,
    /// It understands colours and they are wanted.
    pub color: bool,
}

/// What a piece of text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    #[default]
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Busy,
    Warn,
}

impl Style {
    /// Looks at an output and at what the user asked for.
    pub fn of(output: &impl IsTerminal, when: When) -> Self {
        let terminal = output.is_terminal();
        let color = match when {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                terminal
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
            }
        };
        Self { terminal, color }
    }

    /// Adds text in its tone.
    pub fn push(self, out: &mut String, tone: Tone, text: &str) {
        let code = match tone {
            Tone::Plain => "",
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Busy => "36",
            Tone::Warn => "33",
        };
        if self.color && !code.is_empty() && !text.is_empty() {
            out.push_str("\u{1b}[");
            out.push_str(code);
            out.push('m');
            out.push_str(text);
            out.push_str("\u{1b}[0m");
        } else {
            out.push_str(text);
        }
    }

    /// Text in its tone.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 8);
        self.push(&mut out, tone, text);
        out
    }
}
