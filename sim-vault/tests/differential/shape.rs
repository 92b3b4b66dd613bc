//! An answer made comparable: what depends on chance or clock is replaced by names.

use serde_json::{Value, json};
use sim_vault::Response;

use crate::{Vars, client::Answer, norm::Norm};

/// What a server said.
#[derive(Clone, Default)]
pub struct Said {
    pub shape: Value,
    pub body: Value,
}

impl Said {
    /// 0: no answer.
    pub fn status(&self) -> u64 {
        self.shape["status"].as_u64().unwrap_or_default()
    }
}

/// An answer over the wire; an error is a connection that closed without one.
pub fn of_wire(path: &str, answer: Result<Answer, &'static str>) -> Said {
    match answer {
        Ok(answer) => of(path, answer.status, &answer.headers, &answer.body),
        Err(_) => Said {
            shape: json!({ "closed": true }),
            body: Value::Null,
        },
    }
}

/// The model's answer. What the transport adds is not its business and not compared here.
pub fn of_model(method: &str, path: &str, response: &Response) -> Said {
    if response.status == 0 {
        return of_wire(path, Err("closed"));
    }
    let bodiless = method == "HEAD" || response.status == 204;
    let body: &[u8] = if bodiless { &[] } else { &response.body };
    of(path, response.status, &response.headers, body)
}

/// An answer by its parts.
pub fn of(path: &str, status: u16, headers: &[(String, String)], body: &[u8]) -> Said {
    const TRANSPORT: [&str; 4] = ["date", "content-length", "transfer-encoding", "connection"];
    let vars = Vars::new();
    let norm = Norm::new(&vars, path, true);
    let headers: Vec<(String, String)> = headers
        .iter()
        .filter(|(name, _)| !TRANSPORT.contains(&name.to_lowercase().as_str()))
        .cloned()
        .collect();
    let text = String::from_utf8_lossy(body);
    let (body, shown) = match serde_json::from_slice::<Value>(body) {
        Ok(body) => {
            let shown = norm.walk(&body, "", "");
            (body, shown)
        }
        Err(_) => (Value::Null, norm.text(&text, "", "").into()),
    };
    let shape = json!({
        "status": status,
        "headers": norm.headers(&headers),
        "body": shown,
        "line_end": text.ends_with('\n'),
    });
    Said { shape, body }
}

/// Equal but for times, which may lie a few seconds apart.
pub fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| alike(v, w)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(v, w)| alike(v, w))
        }
        (Value::String(a), Value::String(b)) => {
            let near = |t: &str| {
                t.strip_prefix("<approx:")?
                    .strip_suffix('>')?
                    .parse::<i64>()
                    .ok()
            };
            a == b || matches!((near(a), near(b)), (Some(a), Some(b)) if (a - b).abs() <= 5)
        }
        _ => a == b,
    }
}
