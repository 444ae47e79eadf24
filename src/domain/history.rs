//! The bounded list of past transitions, newest last.
