//! How templates look to people.

use outlast_client::v1;

use super::{
    escape::command,
    people::{Facts, fact},
    style::Tone,
    table::{Cell, Table},
};

/// What runs where a template says nothing.
fn program(template: &v1::Template) -> String {
    match (&template.command[..], &template.provider) {
        ([], Some(provider)) => format!("{provider}'s program"),
        ([], None) => "login shell".to_owned(),
        (words, _) => command(words),
    }
}

/// Templates, one a row.
pub fn templates(templates: &[v1::Template]) -> Table {
    let mut table = Table::new(&["NAME", "PROVIDER", "INHERITS", "COMMAND", "DESCRIPTION"]);
    for template in templates {
        table.row(vec![
            Cell::new(&template.name).tone(Tone::Bold),
            Cell::new(template.provider.as_deref().unwrap_or_default()),
            Cell::new(template.inherits.join(" ")),
            Cell::short(program(template), command(&template.command)),
            Cell::new(template.description.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// Everything known about a template.
pub fn facts(template: &v1::Template) -> Facts {
    let mut facts = Facts::new();
    fact(&mut facts, "name", Some(template.name.clone()));
    fact(&mut facts, "for", template.description.clone());
    fact(&mut facts, "command", Some(program(template)));
    fact(&mut facts, "restart", template.restart_command.clone());
    fact(&mut facts, "provider", template.provider.clone());
    fact(&mut facts, "directory", template.cwd.clone());
    let inherits = (!template.inherits.is_empty()).then(|| template.inherits.join(", "));
    fact(&mut facts, "inherits", inherits);
    let mut env: Vec<_> = template.env.iter().collect();
    env.sort();
    for (name, value) in env {
        fact(&mut facts, "variable", Some(format!("{name}={value}")));
    }
    facts
}
