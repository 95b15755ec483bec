//! Text for a program that shows a menu.
//!
//! A menu takes keys: what else is typed there it ignores, and the Enter after it accepts what is highlighted. So `no` would
//! mean yes. One character, which may be the key of a choice, is pressed without Enter; more is refused.

use outlast_client::v1::{Error, ErrorKind};
use outlast_model::session::Session;

use super::{Sessions, typing::Typing};

impl Sessions {
    /// What to type into a session instead of this, where its screen shows a menu.
    ///
    /// # Errors
    /// When it is a menu that cannot be answered with this.
    pub(super) fn for_menu(&self, session: &Session, typing: Typing) -> Result<Typing, Error> {
        if typing.raw || !typing.is_command() || !self.shows_menu(session) {
            return Ok(typing);
        }
        key(typing).map_err(|text| refused(session, &text))
    }

    fn shows_menu(&self, session: &Session) -> bool {
        let Some(handle) = self.inner.handles.get(session.id) else {
            return false;
        };
        let view = handle.view.borrow();
        view.asked_by
            .as_deref()
            .is_some_and(|rule| self.inner.app.providers.is_menu(rule))
    }
}

/// The key of a choice, without the Enter after it; or the text, when it is none. Enter alone is a key.
fn key(mut typing: Typing) -> Result<Typing, String> {
    let line = typing.text.trim_end_matches(['\n', '\r']).len();
    let characters = typing.text[..line].chars().count();
    if characters == 0 {
        return Ok(typing);
    }
    if line == typing.text.len() {
        // Its Enter is the first of the keys.
        typing.keys.remove(0);
    }
    typing.text.truncate(line);
    if characters == 1 {
        Ok(typing)
    } else {
        Err(typing.text)
    }
}

fn refused(session: &Session, text: &str) -> Error {
    let name = &session.name;
    let said = text.chars().take(20).collect::<String>();
    let said = if said.len() < text.len() {
        format!("{said}…")
    } else {
        said
    };
    Error::new(
        ErrorKind::WrongState,
        format!("session {name} shows a menu, which takes keys and not {said:?}: the Enter after it would accept what is highlighted"),
    )
    .with_hint(format!(
        "outlast session peek {name}; then outlast session send {name} --keys 2 (or y, Down Enter, Escape); --raw types it all the same"
    ))
    .about(session.id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing(text: &str, keys: &[&str]) -> Typing {
        Typing {
            text: text.to_owned(),
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            raw: false,
        }
    }

    #[test]
    fn a_menu_gets_the_key_of_a_choice_and_no_enter() {
        assert_eq!(key(typing("1", &["Enter"])), Ok(typing("1", &[])));
        assert_eq!(key(typing("y\n", &[])), Ok(typing("y", &[])));
        assert_eq!(key(typing("é\r\n", &["Down"])), Ok(typing("é", &["Down"])));
        for text in ["no", "12", "use the other one"] {
            assert_eq!(key(typing(text, &["Enter"])), Err(text.to_owned()));
        }
        assert_eq!(key(typing("\n", &[])), Ok(typing("\n", &[])));
    }
}
