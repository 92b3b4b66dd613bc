//! Stimuli: what the suite sends to a plugin to judge it.
