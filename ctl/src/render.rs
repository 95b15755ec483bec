//! How answers look: tables for people, JSON for programs, text from outside made safe.

pub mod away;
pub mod diff;
pub mod escape;
pub mod json;
pub mod people;
pub mod provider;
pub mod style;
pub mod sync;
pub mod table;
pub mod template;
pub mod time;
