//! The pane at the bottom: the screen of the selected session as it really is, or what is known of another thing.

use outlast_client::v1;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::row::{Painted, put};
use crate::{
    commands::top::{look::Look, order, section::Section, state::State},
    follow::away,
    render::{
        away::amount,
        escape::escape,
        people::{Facts, host_facts, job_facts, rough, session_facts},
        style::Tone,
        sync,
    },
};

pub fn draw(state: &State, look: Look, buffer: &mut Buffer, area: Rect) {
    if area.height < 2 {
        return;
    }
    let title = Rect { height: 1, ..area };
    let body = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    match state.focus {
        Section::Sessions => session(state, look, buffer, title, body),
        section => {
            let Some(facts) = facts_of(state, section) else {
                return heading("nothing is selected", Tone::Dim, look, buffer, title);
            };
            heading("what is known", Tone::Dim, look, buffer, title);
            list(&facts, look, buffer, body);
        }
    }
}

fn heading(text: &str, tone: Tone, look: Look, buffer: &mut Buffer, area: Rect) {
    let mut painted = Painted::new(look);
    painted.add(escape(text), tone);
    painted.rule(area.width, false);
    put(buffer, area, &painted.line(), look);
}

fn session(state: &State, look: Look, buffer: &mut Buffer, title: Rect, body: Rect) {
    let Some(session) = state.selected_session() else {
        return heading("no session is selected", Tone::Dim, look, buffer, title);
    };
    let name = format!("{} on {}", session.name, session.host);
    let seen = state.seen.get(&session.id);
    let trouble = trouble(state, session);
    let age = seen.map(|seen| amount((state.now - seen.at).max(0.0)));
    match (&trouble, &age) {
        (Some(trouble), Some(age)) => heading(
            &format!("{name}, {age} ago: {trouble}"),
            Tone::Warn,
            look,
            buffer,
            title,
        ),
        (Some(trouble), None) => heading(&format!("{name}: {trouble}"), Tone::Warn, look, buffer, title),
        (None, _) => heading(&name, Tone::Dim, look, buffer, title),
    }
    match seen {
        Some(seen) => {
            let first = seen.picture.lines.len().saturating_sub(usize::from(body.height));
            for (y, line) in (body.top()..body.bottom()).zip(seen.picture.lines.iter().skip(first)) {
                let line: Line<'_> = line
                    .iter()
                    .map(|span| Span::styled(&*span.content, look.adapt(span.style)))
                    .collect();
                put(buffer, Rect { y, height: 1, ..body }, &line, look);
            }
        }
        // Never seen: what else is known.
        None if trouble.is_some() => list(&session_facts(session), look, buffer, body),
        None => {}
    }
}

/// Why the screen is not shown as it is now.
fn trouble(state: &State, session: &v1::Session) -> Option<String> {
    if state.away_since.is_some() {
        return Some("outlastd is away".to_owned());
    }
    let host = state.hosts.iter().find(|host| host.name == session.host);
    if let Some(link) = away(state.link(&session.host, session.link())) {
        let known = host.and_then(|host| state.age(host.observed_at.as_ref()));
        let known = known.map(|age| format!(", what is known is {} old", rough(age)));
        return Some(format!("its host is away ({link}){}", known.unwrap_or_default()));
    }
    state.unseen.clone()
}

/// What is known of the selected thing.
fn facts_of(state: &State, section: Section) -> Option<Facts> {
    let index = state.selected(section)?;
    match section {
        Section::Sessions => state.selected_session().map(session_facts),
        Section::Jobs => state.selected_job().map(job_facts),
        Section::Syncs => order::syncs(state).get(index).map(|it| sync::facts(it)),
        Section::Hosts => order::hosts(state).get(index).map(|host| host_facts(host)),
        Section::Events => order::events(state).get(index).map(|event| {
            let mut facts: Facts = vec![("kind", event.kind.clone(), Tone::Plain)];
            facts.push(("number", event.seq.to_string(), Tone::Plain));
            facts.push(("subject", event.subject.clone(), Tone::Plain));
            facts.push(("data", event.data_json.clone(), Tone::Plain));
            facts
        }),
    }
}

fn list(facts: &Facts, look: Look, buffer: &mut Buffer, area: Rect) {
    let width = facts.iter().map(|(name, ..)| name.len()).max().unwrap_or(0) + 2;
    for (y, (name, value, tone)) in (area.top()..area.bottom()).zip(facts) {
        let mut painted = Painted::new(look);
        painted.add(format!("{name:width$}"), Tone::Dim);
        painted.add(escape(value), *tone);
        put(buffer, Rect { y, height: 1, ..area }, &painted.line(), look);
    }
}
