//! What keys do.

use outlast_client::v1::SessionState;

use super::{
    input::{Deed, Effect},
    keys::Key,
    order,
    section::Section,
    state::{Mode, Said, State},
};
use crate::{
    error::INTERRUPTED,
    follow::away,
    render::people::{has_ended, job_handle},
};

/// Lines that a key for pages moves by.
const PAGE: isize = 10;

impl State {
    /// A key was pressed.
    pub(super) fn press(&mut self, key: Key) -> Option<Effect> {
        if key == Key::Ctrl('c') {
            return Some(Effect::Quit(INTERRUPTED));
        }
        // What failed while something is typed stays until that is over.
        if matches!(self.mode, Mode::Look | Mode::Help) || matches!(key, Key::Enter | Key::Esc) {
            self.said = None;
        }
        match std::mem::take(&mut self.mode) {
            Mode::Look => self.look(&key),
            Mode::Help => None,
            Mode::Filter => {
                self.narrow(key);
                None
            }
            Mode::Line { id, name, text } => self.line(key, id, name, text),
            // Only a plain yes is one.
            Mode::Ask { deed, .. } if key == Key::Char('y') => Some(Effect::Do(deed)),
            Mode::Ask { .. } => {
                self.said = Some(Said::Done("nothing was done".to_owned()));
                None
            }
        }
    }

    fn look(&mut self, key: &Key) -> Option<Effect> {
        match key {
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::PageUp => self.step(-PAGE),
            Key::PageDown => self.step(PAGE),
            Key::Home | Key::Char('g') => self.step(isize::MIN),
            Key::End | Key::Char('G') => self.step(isize::MAX),
            Key::Tab => self.focus = self.focus.next(),
            Key::BackTab => self.focus = self.focus.previous(),
            Key::Char(digit @ '1'..='5') => self.focus = Section::of_key(*digit).unwrap_or(self.focus),
            Key::Enter => return self.attach(),
            Key::Char('s') => self.begin_line(),
            Key::Char('i') => return self.interrupt(),
            Key::Char('c') => self.ask_to_end(),
            Key::Char('p') => self.peek = !self.peek,
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Char('w') => self.waiting_only = !self.waiting_only,
            Key::Char('?') => self.mode = Mode::Help,
            Key::Char('q') => return Some(Effect::Quit(0)),
            Key::Esc => {
                self.filter.clear();
                self.waiting_only = false;
            }
            // What is pasted by mistake must not stop anything.
            Key::Paste(_) => self.refuse(
                "what was pasted is ignored here",
                Some("s types a line into a session"),
            ),
            _ => {}
        }
        None
    }

    fn step(&mut self, by: isize) {
        let ids = order::ids(self, self.focus);
        self.choices[self.focus.index()].step(&ids, by);
    }

    /// Says why something is not done.
    fn refuse(&mut self, why: impl Into<String>, hint: Option<&str>) {
        self.said = Some(Said::Failed(why.into(), hint.map(str::to_owned)));
    }

    /// The id and the name of the selected session, where the list of sessions has the keys and its program runs.
    fn running(&mut self, verb: &str) -> Option<(String, String)> {
        if self.focus != Section::Sessions {
            self.refuse(
                format!("only a session can be {verb}"),
                Some("1 goes to the sessions"),
            );
            return None;
        }
        let Some(session) = self.selected_session() else {
            self.refuse("no session is selected", None);
            return None;
        };
        let (id, name) = (session.id.clone(), session.name.clone());
        if !matches!(
            session.state(),
            SessionState::Running | SessionState::Creating | SessionState::Unknown
        ) {
            let hint = match session.state() {
                SessionState::Lost => format!("outlast session recover {name}"),
                _ => format!("outlast session restart {name}"),
            };
            self.refuse(format!("nothing runs in session {name}"), Some(&hint));
            return None;
        }
        Some((id, name))
    }

    fn attach(&mut self) -> Option<Effect> {
        if self.focus == Section::Jobs {
            let job = self.selected_job()?;
            let hint = format!("outlast logs -f {}", job_handle(job));
            self.refuse("a job has no terminal", Some(&hint));
            return None;
        }
        self.running("attached to")?;
        let session = self.selected_session()?.clone();
        Some(Effect::Attach(Box::new(session)))
    }

    fn begin_line(&mut self) {
        let Some((id, name)) = self.running("sent a line") else {
            return;
        };
        let gone = self.selected_session().and_then(|session| {
            let link = away(self.link(&session.host, session.link()))?;
            Some(format!(
                "host {} is away ({link}); nothing can be sent now",
                session.host
            ))
        });
        match gone {
            // Said before somebody types a long answer.
            Some(why) => self.refuse(why, None),
            None => {
                self.mode = Mode::Line {
                    id,
                    name,
                    text: String::new(),
                }
            }
        }
    }

    fn line(&mut self, key: Key, id: String, name: String, mut text: String) -> Option<Effect> {
        match key {
            Key::Enter => return Some(Effect::Do(Deed::Send { id, name, text })),
            Key::Esc => return None,
            key => edit(&mut text, key),
        }
        self.mode = Mode::Line { id, name, text };
        None
    }

    fn interrupt(&mut self) -> Option<Effect> {
        let (id, name) = self.running("interrupted")?;
        Some(Effect::Do(Deed::Interrupt { id, name }))
    }

    fn ask_to_end(&mut self) {
        if self.focus == Section::Jobs {
            let Some(job) = self.selected_job() else {
                return self.refuse("no job is selected", None);
            };
            let (id, name) = (job.id.clone(), job_handle(job).to_owned());
            if has_ended(job) {
                return self.refuse(format!("job {name} has ended already"), None);
            }
            let question = format!("cancel job {name}?");
            self.mode = Mode::Ask {
                question,
                deed: Deed::Cancel { id, name },
            };
        } else if self.focus != Section::Sessions {
            self.refuse(
                "only sessions are stopped, and jobs cancelled",
                Some("1 goes to the sessions, 2 to the jobs"),
            );
        } else if let Some((id, name)) = self.running("stopped") {
            let question = format!("stop session {name}?");
            self.mode = Mode::Ask {
                question,
                deed: Deed::Stop { id, name },
            };
        }
    }

    /// The filter works while it is typed.
    fn narrow(&mut self, key: Key) {
        match key {
            Key::Enter => return,
            Key::Esc => return self.filter.clear(),
            key => edit(&mut self.filter, key),
        }
        self.mode = Mode::Filter;
    }
}

/// Changes a line that is being typed, at its end.
fn edit(text: &mut String, key: Key) {
    match key {
        Key::Char(c) => text.push(c),
        // One line is one line.
        Key::Paste(pasted) => text.extend(
            pasted
                .trim_end()
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c }),
        ),
        Key::Backspace => drop(text.pop()),
        Key::Ctrl('u') => text.clear(),
        Key::Ctrl('w') => {
            let kept = text.trim_end().rfind(char::is_whitespace).map_or(0, |at| at + 1);
            text.truncate(kept);
        }
        _ => {}
    }
}
