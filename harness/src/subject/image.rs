//! The container image behind a socket: what an archive holds, and whether that is what answers.
//!
//! A report names the image by its manifest's digest, as `NAME@sha256:…` does. A socket does not say who made it, so the
//! program of the process behind it is compared with the one that the image starts: a report about an image that did not
//! run would be worse than none.
//!
//! Not for running containers (`vault::container`), nor for registries: the archive is a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kms_report::model::{Artifact, ArtifactDigest, ArtifactKind};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};
use tokio::net::UnixStream;

use crate::bundle::sha256;

/// Longest index, manifest or configuration that is read, in bytes.
const DOCUMENT: u64 = 4 * 1024 * 1024;
/// What the report calls an image whose archive does not name it.
const UNNAMED: &str = "image";

/// An image in an archive: an OCI layout in a tar, as `ci/image`, `docker save` (from version 25 on) and
/// `skopeo copy … oci-archive:` write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageArchive {
    name: String,
    digest: String,
    program: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Configuration {
    config: Started,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Started {
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    cmd: Option<Vec<String>>,
}

impl ImageArchive {
    /// Reads the archive: every digest in it is recomputed.
    ///
    /// # Errors
    /// The file is no such archive, holds several images, or its parts do not fit their digests; the program that it
    /// starts has no absolute path, or is not in its layers as a file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::open(path).with_context(|| {
            format!(
                "the image archive {} (an OCI layout in a tar: write it with `ci/image`, `docker save` of Docker 25 or \
                 newer, or `skopeo copy --dest-decompress … oci-archive:FILE`)",
                path.display()
            )
        })
    }

    fn open(path: &Path) -> Result<Self> {
        let index: Index = document(path, "index.json", None)?;
        let [top] = &index.manifests[..] else {
            bail!("it holds {} images, not one", index.manifests.len());
        };
        ensure!(
            !top.media_type.contains(".index.") && !top.media_type.contains("manifest.list"),
            "it holds an image of several platforms: save the one that runs"
        );
        let manifest: Manifest = blob(path, &top.digest)?;
        let config: Configuration = blob(path, &manifest.config.digest)?;
        let Started { entrypoint, cmd } = config.config;
        let words = [entrypoint, cmd].into_iter().flatten().flatten();
        let program = words.into_iter().next().context("it starts no program")?;
        let inside = program
            .strip_prefix('/')
            .with_context(|| format!("it starts {program:?}, which is no absolute path"))?;
        let mut found = None;
        for layer in &manifest.layers {
            found = in_layer(path, layer, Path::new(inside))?.or(found);
        }
        let digest = hex_of(&top.digest)?.to_owned();
        let named = [
            "io.containerd.image.name",
            "org.opencontainers.image.ref.name",
        ];
        let name = named.iter().find_map(|key| top.annotations.get(*key));
        let name = name.and_then(|name| name.rsplit('/').next());
        Ok(Self {
            name: name.unwrap_or(UNNAMED).to_owned(),
            digest,
            program: found.with_context(|| format!("no layer has its program {program}"))?,
        })
    }

    /// How the report names it.
    pub fn artifact(&self) -> Artifact {
        Artifact {
            kind: ArtifactKind::Image,
            name: self.name.clone(),
            digest: ArtifactDigest {
                sha256: self.digest.clone(),
            },
        }
    }

    /// Whether the process behind this socket runs the image's program.
    ///
    /// # Errors
    /// It does not, or this process may not look: that needs the same machine, and root where the plugin keeps its
    /// memory to itself.
    pub async fn serves(&self, socket: &Path) -> Result<()> {
        let connected = UnixStream::connect(socket).await;
        let stream = connected.with_context(|| format!("connect to {}", socket.display()))?;
        let peer = stream
            .peer_cred()
            .context("ask who is behind the socket")?
            .pid();
        let peer = peer.filter(|pid| *pid > 0).with_context(|| {
            format!(
                "the process behind {} is out of sight: look from the machine itself, not from a container",
                socket.display()
            )
        })?;
        let file = PathBuf::from(format!("/proc/{peer}/exe"));
        let program = std::fs::read(&file).with_context(|| {
            format!(
                "read {}, the program behind {}: root may",
                file.display(),
                socket.display()
            )
        })?;
        ensure!(
            sha256(&program) == self.program,
            "process {peer} behind {} does not run the program of the image {} (sha256:{}): a report would name what did \
             not run",
            socket.display(),
            self.name,
            self.digest
        );
        Ok(())
    }
}

/// The 64 digits of `sha256:…`.
fn hex_of(digest: &str) -> Result<&str> {
    digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .with_context(|| format!("{digest:?} is no SHA-256 digest"))
}

fn blob<T: for<'de> Deserialize<'de>>(path: &Path, digest: &str) -> Result<T> {
    let hex = hex_of(digest)?;
    document(path, &format!("blobs/sha256/{hex}"), Some(hex))
}

fn document<T: for<'de> Deserialize<'de>>(
    path: &Path,
    name: &str,
    digest: Option<&str>,
) -> Result<T> {
    with_entry(path, name, |entry| {
        let mut bytes = Vec::new();
        entry.take(DOCUMENT).read_to_end(&mut bytes)?;
        ensure!(
            digest.is_none_or(|wanted| sha256(&bytes) == wanted),
            "{name} does not fit its digest"
        );
        serde_json::from_slice(&bytes).with_context(|| format!("in {name}"))
    })
}

fn with_entry<T>(
    path: &Path,
    name: &str,
    read: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<T> {
    let mut archive = Archive::new(File::open(path)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let here = entry.path()?;
        if here.strip_prefix("./").unwrap_or(&here) == Path::new(name) {
            return read(&mut entry);
        }
    }
    bail!("it has no {name}")
}

/// Digest of a file in a layer, if the layer has it.
fn in_layer(path: &Path, layer: &Descriptor, wanted: &Path) -> Result<Option<String>> {
    ensure!(
        layer.media_type.ends_with("tar"),
        "its layer is a {}: save it without compression",
        layer.media_type
    );
    let hex = hex_of(&layer.digest)?;
    with_entry(path, &format!("blobs/sha256/{hex}"), |entry| {
        let mut hashing = Hashing {
            inner: entry,
            hash: Sha256::new(),
        };
        let mut found = None;
        let mut files = Archive::new(&mut hashing);
        for file in files.entries()? {
            let mut file = file?;
            let here = file.path()?;
            if here.strip_prefix("./").unwrap_or(&here) != wanted {
                continue;
            }
            ensure!(
                file.header().entry_type() == EntryType::Regular,
                "its program {} is a link: start the file itself",
                wanted.display()
            );
            let mut program = Hashing {
                inner: &mut file,
                hash: Sha256::new(),
            };
            io::copy(&mut program, &mut io::sink())?;
            found = Some(program.hex());
        }
        io::copy(&mut hashing, &mut io::sink())?;
        ensure!(hashing.hex() == hex, "a layer does not fit its digest");
        Ok(found)
    })
}

/// A reader that hashes what goes through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    fn hex(self) -> String {
        self.hash
            .finalize()
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a String cannot fail");
                text
            })
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tempfile::TempDir;

    /// An archive whose program is this; `spoil` changes a blob after its digest was taken.
    fn archive(program: &[u8], kind: &str, spoil: Option<&str>) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let layer = tarred(&[("usr/bin/kms", program)]);
        let config = json!({"config": {"Entrypoint": ["/usr/bin/kms"], "Cmd": null}}).to_string();
        let descriptor = |kind: &str, data: &[u8]| {
            let digest = format!("sha256:{}", sha256(data));
            json!({"mediaType": kind, "digest": digest, "size": data.len()})
        };
        let manifest = json!({
            "config": descriptor("config", config.as_bytes()),
            "layers": [descriptor(kind, &layer)],
        });
        let manifest = manifest.to_string();
        let mut top = descriptor("manifest", manifest.as_bytes());
        top["annotations"] = json!({"io.containerd.image.name": "docker.io/library/kms:1"});
        let index = json!({"manifests": [top]}).to_string();
        let mut files = vec![("index.json".to_owned(), index.into_bytes())];
        for (what, data) in [
            ("layer", layer),
            ("config", config.into_bytes()),
            ("manifest", manifest.into_bytes()),
        ] {
            let name = format!("blobs/sha256/{}", sha256(&data));
            let mut data = data;
            if spoil == Some(what) {
                // In a layer this is the padding, which no tar reader looks at.
                *data.last_mut().unwrap() ^= 0x80;
            }
            files.push((name, data));
        }
        let files: Vec<_> = files
            .iter()
            .map(|(name, data)| (&**name, &**data))
            .collect();
        let path = folder.path().join("image.tar");
        std::fs::write(&path, tarred(&files)).unwrap();
        (folder, path)
    }

    fn tarred(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, data) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(data.len() as u64);
            builder.append_data(&mut header, name, *data).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn an_image_is_named_by_its_manifest() {
        let (_folder, path) = archive(b"program", "layer.tar", None);
        let image = ImageArchive::read(&path).unwrap();
        assert_eq!(image.program, sha256(b"program"));
        assert_eq!(image.artifact().kind, ArtifactKind::Image);
        assert_eq!(image.artifact().name, "kms:1");
        let (_folder, other) = archive(b"Program", "layer.tar", None);
        let other = ImageArchive::read(&other).unwrap();
        assert_ne!(other.digest, image.digest);
    }

    #[test]
    fn what_does_not_fit_its_digest_is_refused() {
        for part in ["layer", "config", "manifest"] {
            let (_folder, path) = archive(b"program", "layer.tar", Some(part));
            let error = format!("{:#}", ImageArchive::read(&path).unwrap_err());
            assert!(error.contains("does not fit its digest"), "{part}: {error}");
        }
        let (_folder, path) = archive(b"program", "layer.tar+gzip", None);
        let error = format!("{:#}", ImageArchive::read(&path).unwrap_err());
        assert!(error.contains("without compression"), "{error}");
        std::fs::write(&path, "no tar").unwrap();
        let error = format!("{:#}", ImageArchive::read(&path).unwrap_err());
        assert!(error.contains("image.tar"), "{error}");
    }

    /// The socket of this very test is not served by the image's program.
    #[tokio::test]
    async fn another_program_behind_the_socket_is_told_apart() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        for (program, fits) in [(&own[..], true), (b"program", false)] {
            let (folder, path) = archive(program, "layer.tar", None);
            let socket = folder.path().join("s");
            let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
            let image = ImageArchive::read(&path).unwrap();
            let served = image.serves(&socket).await;
            assert_eq!(served.is_ok(), fits, "{served:?}");
        }
    }
}
