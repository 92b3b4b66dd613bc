//! Replays recorded transcripts against the simulation, in virtual time over in-memory streams.

use std::{fs, path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sim_vault::{ClientCert, Flavour};

#[path = "client.rs"]
mod client;
#[path = "derive.rs"]
mod derive;
#[path = "norm.rs"]
mod norm;
#[path = "outside.rs"]
mod outside;
#[path = "signers.rs"]
pub mod signers;
#[path = "world.rs"]
mod world;

use norm::Norm;
use outside::Outside;
use world::World;

/// Captured values in the order in which they were first seen.
pub type Vars = Vec<(String, String)>;

/// What became of the steps of one topic.
#[derive(Debug, Default)]
pub struct Report {
    pub alike: usize,
    /// Step and difference.
    pub different: Vec<String>,
    /// Requests that cannot be made here, and why.
    pub not_applicable: Vec<String>,
    /// Steps that record no single request.
    pub observations: usize,
}

fn folder(flavour: Flavour) -> PathBuf {
    let name = if flavour == Flavour::OpenBao {
        "openbao"
    } else {
        "vault"
    };
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(name)
}

/// The recorded topics of a flavour, in order.
pub fn topics(flavour: Flavour) -> Vec<String> {
    let files = fs::read_dir(folder(flavour)).expect("the transcripts are part of the crate");
    let mut names: Vec<String> = files
        .filter_map(|f| {
            f.ok()?
                .file_name()
                .into_string()
                .ok()?
                .strip_suffix(".json")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// Replays one topic in a runtime with a clock of its own.
pub fn replay(flavour: Flavour, topic: &str) -> Report {
    let path = folder(flavour).join(format!("{topic}.json"));
    let text = fs::read_to_string(&path).expect("the transcripts are part of the crate");
    let doc: Value = serde_json::from_str(&text).expect("a transcript is JSON");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O always starts");
    runtime.block_on(async move {
        let mut run = Run::new(flavour, topic, &doc);
        for step in doc["steps"].as_array().expect("a transcript has steps") {
            run.step(step).await;
        }
        run.report
    })
}

struct Run {
    topic: String,
    world: World,
    outside: Outside,
    vars: Vars,
    report: Report,
    /// An observation took time that nobody recorded.
    clock_unknown: bool,
}

impl Run {
    fn new(flavour: Flavour, topic: &str, doc: &Value) -> Self {
        let world = World::new(
            flavour,
            topic,
            doc["server"]["mode"].as_str().unwrap_or_default(),
        );
        let vars = vec![
            ("root_token".to_owned(), world.root_token()),
            // the recorder's name for a token of no server
            (
                "nothing".to_owned(),
                "s.notokenofthisserver00000".to_owned(),
            ),
        ];
        let outside = Outside::new();
        Self {
            topic: topic.to_owned(),
            world,
            outside,
            vars,
            report: Report::default(),
            clock_unknown: false,
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.vars
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.vars.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.vars.push((name.to_owned(), value)),
        }
    }

    async fn step(&mut self, step: &Value) {
        let n = step["n"].as_u64().unwrap_or_default();
        if let Some(token) = self.world.before(n, step) {
            self.set("root_token", token);
        }
        if step.get("observation").is_some() {
            self.report.observations += 1;
            self.clock_unknown = true;
            return;
        }
        let name = format!("#{n} {}", step["name"].as_str().unwrap_or_default());
        if let Some(reason) = step.get("not_run") {
            self.report.not_applicable.push(format!(
                "{name}: {}",
                reason.as_str().unwrap_or("not recorded")
            ));
            return;
        }
        if let Err(reason) = self.derive(step) {
            self.report.not_applicable.push(format!("{name}: {reason}"));
            return;
        }
        if step.get("align").is_some() {
            self.world.align().await;
        }
        if let Some(seconds) = step["sleep_before_s"].as_f64() {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
        match self.request(step).await {
            Err(reason) => self.report.not_applicable.push(format!("{name}: {reason}")),
            Ok((got, parsed)) => {
                let mut want = step["response"].clone();
                if let Some(map) = want.as_object_mut() {
                    map.retain(|k, _| {
                        matches!(
                            k.as_str(),
                            "status" | "headers" | "body" | "body_text" | "transport_error"
                        )
                    });
                    if let Some(error) = map.get_mut("transport_error") {
                        *error = error
                            .as_str()
                            .unwrap_or_default()
                            .split(':')
                            .next()
                            .unwrap_or_default()
                            .into();
                    }
                }
                let reach = if self.clock_unknown { 3600 } else { 5 };
                if alike(&want, &got, reach) {
                    self.report.alike += 1;
                } else {
                    self.report.different.push(format!(
                        "{} {name}\n      want {want}\n      got  {got}",
                        self.topic
                    ));
                }
                if let Some(captures) = step["capture"].as_object() {
                    for (var, pointer) in captures {
                        if let Some(value) = parsed.pointer(pointer.as_str().unwrap_or_default()) {
                            let text = value
                                .as_str()
                                .map_or_else(|| value.to_string(), str::to_owned);
                            self.set(var, text);
                        }
                    }
                }
            }
        }
    }

    fn derive(&mut self, step: &Value) -> Result<(), String> {
        for d in step["derive"].as_array().into_iter().flatten() {
            let var = d["var"].as_str().unwrap_or_default();
            let value = if d["op"] == "external" {
                let now = self.world.unix();
                self.outside.make(&self.topic, d, now, &self.vars)?
            } else {
                let from = self
                    .get(d["from"].as_str().unwrap_or_default())
                    .ok_or("an earlier step gave no value")?;
                derive::derive(d, from).ok_or("unknown derivation")?
            };
            self.set(var, value);
        }
        Ok(())
    }

    /// Fills in variables and generated values.
    fn fill(&self, v: &Value) -> Result<Value, String> {
        Ok(match v {
            Value::String(s) => self.fill_text(s)?.into(),
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|x| self.fill(x))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(map) => match map.get("$gen").and_then(Value::as_str) {
                Some(kind) => {
                    let n =
                        usize::try_from(v["n"].as_u64().unwrap_or_default()).unwrap_or_default();
                    match kind {
                        "b64zeros" => STANDARD.encode(vec![0u8; n]).into(),
                        "chars" => v["c"].as_str().unwrap_or_default().repeat(n).into(),
                        "repeat" | "list" => Value::Array(vec![self.fill(&v["item"])?; n]),
                        other => return Err(format!("unknown generator {other}")),
                    }
                }
                None => Value::Object(
                    map.iter()
                        .map(|(k, x)| Ok((self.fill_text(k)?, self.fill(x)?)))
                        .collect::<Result<_, String>>()?,
                ),
            },
            other => other.clone(),
        })
    }

    fn fill_text(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, tail) = after.split_once('}').ok_or("an open reference")?;
            out.push_str(before);
            out.push_str(
                self.get(name)
                    .ok_or_else(|| format!("no value for {name}"))?,
            );
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }

    async fn request(&mut self, step: &Value) -> Result<(Value, Value), String> {
        let request = &step["request"];
        let method = request["method"].as_str().unwrap_or_default();
        let path = match &request["path"] {
            Value::String(s) => self.fill_text(s)?,
            other => self.fill(other)?.as_str().unwrap_or_default().to_owned(),
        };
        let mut headers = Vec::new();
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            headers.push((
                name.clone(),
                self.fill(value)?.as_str().unwrap_or_default().to_owned(),
            ));
        }
        let body = match (&request["raw_body"], &request["body"]) {
            (Value::String(s), _) => Some(self.fill_text(s)?.into_bytes()),
            (raw @ Value::Object(_), _) => Some(match raw["base64"].as_str() {
                Some(text) => STANDARD.decode(text).map_err(|e| e.to_string())?,
                None => outside::described_body(raw["note"].as_str().unwrap_or_default())
                    .ok_or("the body was not recorded")?,
            }),
            (_, Value::Null) if request.get("body").is_none() => None,
            (_, body) => Some(self.fill(body)?.to_string().into_bytes()),
        };
        let cert: Option<ClientCert> = match request["tls_client_cert"].as_str() {
            Some(name) => Some(
                self.outside
                    .certificate(name)
                    .ok_or("unknown certificate")?,
            ),
            None => None,
        };
        let answer = match self.world.connect(cert) {
            Err(error) => Err(error),
            Ok(stream) => client::exchange(stream, method, &path, &headers, body.as_deref()).await,
        };
        let recorded = &step["response"];
        let approximate = recorded["body"]["auth"].to_string().contains("<approx");
        Ok(match answer {
            Err(error) => (json!({ "transport_error": error }), Value::Null),
            Ok(answer) => {
                let norm = Norm::new(&self.vars, &path, approximate);
                let mut got =
                    json!({ "status": answer.status, "headers": norm.headers(&answer.headers) });
                let parsed = serde_json::from_slice::<Value>(&answer.body);
                match &parsed {
                    _ if answer.body.is_empty() => got["body"] = Value::Null,
                    Ok(parsed) => got["body"] = norm.walk(parsed, "", ""),
                    Err(_) => {
                        got["body_text"] = norm
                            .text(&String::from_utf8_lossy(&answer.body), "", "")
                            .into()
                    }
                }
                let parsed = parsed.unwrap_or_default();
                self.outside.seen(&path, &parsed);
                (got, parsed)
            }
        })
    }
}

/// Equal but for clock-dependent numbers within `reach`, and for the counters of the raft log.
fn alike(want: &Value, got: &Value, reach: i64) -> bool {
    match (want, got) {
        (Value::Object(w), Value::Object(g)) => {
            w.len() == g.len()
                && w.iter().all(|(k, wv)| {
                    let counter = matches!(
                        k.as_str(),
                        "raft_committed_index"
                            | "raft_applied_index"
                            | "echo_duration_ms"
                            | "clock_skew_ms"
                    );
                    g.get(k)
                        .is_some_and(|gv| counter && gv.is_i64() || alike(wv, gv, reach))
                })
        }
        (Value::Array(w), Value::Array(g)) => {
            w.len() == g.len() && w.iter().zip(g).all(|(w, g)| alike(w, g, reach))
        }
        (Value::String(w), Value::String(g)) if w != g => match (approximate(w), approximate(g)) {
            (Some(w), Some(g)) => (w - g).abs() <= reach,
            // an in-memory stream can end but not be reset
            _ => w == "ConnectionResetError" && g == "RemoteDisconnected",
        },
        _ => want == got,
    }
}

fn approximate(text: &str) -> Option<i64> {
    text.strip_prefix("<approx:")?
        .strip_suffix('>')?
        .parse()
        .ok()
}
