//! One picture of the state: what it is on the screen, from the first line to the last. Pure.

mod bottom;
mod help;
mod pane;
mod room;
mod row;
mod rows;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Modifier, Style},
};

use self::{
    room::{heights, pane_height},
    row::{Painted, put},
};
use super::{
    look::Look,
    order::{self, Rank},
    section::Section,
    state::{Mode, State},
};
use crate::render::{
    escape::escape,
    people::{has_ended, rough},
    style::Tone,
};

/// Draws the state. Where the cursor is to be, when something is typed.
pub fn draw(state: &State, look: Look, buffer: &mut Buffer) -> Option<Position> {
    let area = buffer.area;
    if area.height == 0 || area.width == 0 {
        return None;
    }
    let bottom = bottom::height(state, area.width).min(area.height);
    let head = u16::from(area.height > bottom);
    let mut body = Rect {
        y: head,
        height: area.height - bottom - head,
        ..area
    };
    if head > 0 {
        header(state, look, buffer, Rect { height: 1, ..area });
    }
    if state.mode == Mode::Help {
        help::draw(look, buffer, body);
    } else {
        let pane = if state.peek { pane_height(body.height) } else { 0 };
        body.height -= pane;
        lists(state, look, buffer, body);
        pane::draw(
            state,
            look,
            buffer,
            Rect {
                y: body.bottom(),
                height: pane,
                ..body
            },
        );
    }
    bottom::draw(
        state,
        look,
        buffer,
        Rect {
            y: area.bottom() - bottom,
            height: bottom,
            ..area
        },
    )
}

/// What matters most, in one line.
fn header(state: &State, look: Look, buffer: &mut Buffer, area: Rect) {
    let mut painted = Painted::new(look);
    painted.add("outlast", Tone::Bold);
    if let Some(since) = state.away_since {
        let since = rough((state.now - since).max(0.0));
        painted.add(
            format!("  outlastd is away since {since}; trying to come back"),
            Tone::Warn,
        );
    } else if !state.ready {
        painted.add("  asking outlastd", Tone::Dim);
    } else {
        let ranks = state.sessions.iter().map(order::of_session);
        let ranks = ranks.chain(state.syncs.iter().map(order::of_sync));
        let (waits, wrong) = order::count(ranks.chain(state.hosts.iter().map(order::of_host)));
        match waits {
            0 => painted.add("  nothing waits for you", Tone::Dim),
            1 => painted.add("  1 waits for you", Tone::Warn),
            waits => painted.add(format!("  {waits} wait for you"), Tone::Warn),
        }
        if wrong > 0 {
            painted.add(format!(", {wrong} not well"), Tone::Bad);
        }
    }
    if state.waiting_only {
        painted.add("  only what waits", Tone::Busy);
    }
    if !state.filter.is_empty() {
        painted.add(format!("  only with \"{}\"", escape(&state.filter)), Tone::Busy);
    }
    put(buffer, area, &painted.line(), look);
}

/// The five lists below each other, each under its heading.
fn lists(state: &State, look: Look, buffer: &mut Buffer, area: Rect) {
    let lists = Section::ALL.map(|section| rows::rows(state, section));
    let needs = [0, 1, 2, 3, 4].map(|at| lists.get(at).map_or(0, |list: &Vec<_>| list.len()));
    let heights = heights(area.height, needs, state.focus);
    let mut y = area.y;
    for ((section, list), height) in Section::ALL.into_iter().zip(&lists).zip(heights) {
        let Some(room) = height else { continue };
        heading(state, section, look, buffer, Rect { y, height: 1, ..area });
        y += 1;
        let selected = state.selected(section);
        let focused = state.focus == section;
        let first = selected.map_or(0, |selected| (selected + 1).saturating_sub(usize::from(room)));
        let widths = row::widths(list, area.width);
        for (at, row) in list.iter().enumerate().skip(first).take(usize::from(room)) {
            let line = Rect { y, height: 1, ..area };
            row.draw(&widths, look, buffer, line);
            if focused && selected == Some(at) {
                // In no colour but its own, which reads on every terminal.
                buffer.set_style(line, Style::reset().add_modifier(Modifier::REVERSED));
            }
            y += 1;
        }
    }
}

/// The heading of a list: its key, its name, and how many there are.
fn heading(state: &State, section: Section, look: Look, buffer: &mut Buffer, area: Rect) {
    let focused = state.focus == section;
    let mut painted = Painted::new(look);
    let title = format!("{} {}", section.index() + 1, section.title());
    painted.add(title, if focused { Tone::Bold } else { Tone::Dim });
    let (number, ranks): (usize, Vec<Rank>) = match section {
        Section::Sessions => (
            state.sessions.len(),
            state.sessions.iter().map(order::of_session).collect(),
        ),
        Section::Jobs => (state.jobs.len(), state.jobs.iter().map(order::of_job).collect()),
        Section::Syncs => (
            state.syncs.len(),
            state.syncs.iter().map(order::of_sync).collect(),
        ),
        Section::Hosts => (
            state.hosts.len(),
            state.hosts.iter().map(order::of_host).collect(),
        ),
        Section::Events => (0, Vec::new()),
    };
    let (waits, wrong) = order::count(ranks.into_iter());
    if section == Section::Jobs {
        let live = state.jobs.iter().filter(|job| !has_ended(job)).count();
        painted.add(
            format!("  {live} live, {} ended lately", number - live),
            Tone::Dim,
        );
    } else if section != Section::Events {
        painted.add(
            format!(
                "  {}",
                if number == 0 {
                    "none".to_owned()
                } else {
                    number.to_string()
                }
            ),
            Tone::Dim,
        );
        if waits > 0 {
            painted.add(
                format!(
                    ", {}",
                    if waits == 1 {
                        "1 waits".to_owned()
                    } else {
                        format!("{waits} wait")
                    }
                ),
                Tone::Warn,
            );
        }
        if wrong > 0 {
            painted.add(format!(", {wrong} not well"), Tone::Bad);
        }
    }
    painted.rule(area.width, focused);
    put(buffer, area, &painted.line(), look);
}
