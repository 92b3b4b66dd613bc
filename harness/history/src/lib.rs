//! The recorded transcript of a run, and its file format history.jsonl.
