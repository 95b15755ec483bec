//! Room laid out; see ARCHITECTURE.md for what belongs here.
