//! `history.jsonl`: the header's line, then one line per event. Strict: what this version does not
//! know is an error with its line number.

use std::io::{self, BufRead, Write};

use serde::Deserialize;

use crate::event::Event;
use crate::history::{Header, History, HistoryError};
use crate::{FORMAT, VERSION};

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The reader failed.
    #[error("line {line}: cannot be read: {source}")]
    Io {
        /// Counted from 1.
        line: u64,
        /// The reader's error.
        source: io::Error,
    },
    /// There is no first line.
    #[error("line 1: the file is empty, expected a {FORMAT} header")]
    Empty,
    /// Another kind of file.
    #[error("line 1: format is {found:?}, expected {FORMAT:?}")]
    Format {
        /// What it says it is.
        found: String,
    },
    /// Written by another version.
    #[error("line 1: version {found} of {FORMAT} is not known, this build reads version {VERSION}")]
    Version {
        /// What it says.
        found: u64,
    },
    /// Not the JSON of this version.
    #[error("line {line}: {source}")]
    Json {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The line does not fit the ones before.
    #[error("line {line}: {source}")]
    Inconsistent {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        source: HistoryError,
    },
}

/// Just enough of a first line to say what the file is.
#[derive(Deserialize)]
struct Identity {
    #[serde(default)]
    format: String,
    #[serde(default)]
    version: u64,
}

/// Reads a whole file.
pub fn read(reader: impl BufRead) -> Result<History, ReadError> {
    let mut lines = reader.lines().zip(1u64..);
    let (first, line) = lines.next().ok_or(ReadError::Empty)?;
    let first = first.map_err(|source| ReadError::Io { line, source })?;
    let identity: Identity =
        serde_json::from_str(&first).map_err(|source| ReadError::Json { line, source })?;
    if identity.format != FORMAT {
        return Err(ReadError::Format {
            found: identity.format,
        });
    }
    if identity.version != u64::from(VERSION) {
        return Err(ReadError::Version {
            found: identity.version,
        });
    }
    let header: Header =
        serde_json::from_str(&first).map_err(|source| ReadError::Json { line, source })?;
    let mut history = History::new(header, Vec::new())
        .map_err(|source| ReadError::Inconsistent { line, source })?;
    for (text, line) in lines {
        let text = text.map_err(|source| ReadError::Io { line, source })?;
        let event: Event =
            serde_json::from_str(&text).map_err(|source| ReadError::Json { line, source })?;
        history
            .push(event)
            .map_err(|source| ReadError::Inconsistent { line, source })?;
    }
    Ok(history)
}

/// Writes a file line by line, so that an interrupted run leaves whole lines.
pub struct Writer<W> {
    inner: W,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn new(mut inner: W, header: &Header) -> io::Result<Self> {
        serde_json::to_writer(&mut inner, header)?;
        inner.write_all(b"\n")?;
        Ok(Writer { inner })
    }

    /// Writes one event.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        serde_json::to_writer(&mut self.inner, event)?;
        self.inner.write_all(b"\n")
    }

    /// Writes a whole history, header included.
    pub fn write(inner: W, history: &History) -> io::Result<W> {
        let mut writer = Writer::new(inner, history.header())?;
        for event in history.events() {
            writer.event(event)?;
        }
        writer.finish()
    }

    /// Flushes and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.inner.flush()?;
        Ok(self.inner)
    }
}
