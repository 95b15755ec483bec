//! What is typed at an attached session, on its way to the far end, and the sizes of the terminal.

use outlast_client::v1::{AttachSessionRequest, attach_session_request::Event as Input};
use tokio::{signal::unix::Signal, sync::mpsc};

use super::{Left, Turn, message, message_of_size, screen::Screen};
use crate::{
    escapes::{Escape, Escapes},
    notice::Notice,
    terminal::Keyboard,
};

/// Sends what is typed until the terminal is gone or an escape asks for something. While the host is away it is refused.
pub(super) async fn type_in(
    keyboard: &Keyboard,
    escapes: &mut Escapes,
    typed_ahead: &mut Vec<u8>,
    screen: &Screen,
    send: &mpsc::Sender<AttachSessionRequest>,
) -> Turn {
    let mut was_away = screen.is_away();
    loop {
        // Room first: what is not read stays in the terminal.
        let Ok(mut room) = send.reserve().await else {
            // The call is over; how, the other direction says.
            return std::future::pending().await;
        };
        let typed = match keyboard.typed().await {
            Ok(Some(typed)) => typed,
            Ok(None) | Err(_) => return Turn::Left(Left::Signal(1)),
        };
        if screen.is_away() && !was_away {
            // From here on escapes count, whatever was typed before.
            escapes.new_line();
        }
        was_away = screen.is_away();
        let mut rest: &[u8] = &typed;
        loop {
            let (passed, escape, left) = escapes.take(rest);
            rest = rest.get(rest.len() - left..).unwrap_or_default();
            if passed.is_empty() {
            } else if screen.is_away() {
                screen.refuse();
            } else if screen.helps() {
                typed_ahead.extend(passed);
                match escape {
                    // What the help stood on is drawn anew, then it is typed.
                    None => return Turn::Redraw,
                    Some(Escape::Leave) => {
                        room.send(message(Input::Input(std::mem::take(typed_ahead).into())));
                        return Turn::Detach;
                    }
                    // It is shown already.
                    Some(Escape::Help) => continue,
                }
            } else {
                room.send(message(Input::Input(passed.into())));
                match send.reserve().await {
                    Ok(more) => room = more,
                    Err(_over) => return std::future::pending().await,
                }
            }
            match escape {
                Some(Escape::Leave) if screen.is_away() => return Turn::Left(Left::Away),
                Some(Escape::Leave) => return Turn::Detach,
                // While the host is away the notice says what can be done.
                Some(Escape::Help) if screen.is_away() => {}
                Some(Escape::Help) => screen.show(Notice::Help),
                None => break,
            }
        }
    }
}

/// Sends each new size.
pub(super) async fn resize(resized: &mut Signal, screen: &Screen, send: &mpsc::Sender<AttachSessionRequest>) {
    while resized.recv().await.is_some() {
        screen.resized();
        if send.send(message_of_size()).await.is_err() {
            break;
        }
    }
    // The other direction says how it ends.
    std::future::pending::<()>().await;
}
