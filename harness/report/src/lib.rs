//! The conformance report: canonical JSON and its renderings.
