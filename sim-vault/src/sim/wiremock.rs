//! The simulation behind a wiremock server, for tests that have one already.
//!
//! wiremock can answer late and answer with anything, but it cannot hold a connection forever, cut an answer or send
//! bytes that are no HTTP: faults that need those answer 501 and say so.

use std::{net::IpAddr, time::Duration};

use wiremock::{Mock, MockServer, Respond, ResponseTemplate, matchers::any};

use super::{SimVault, fault::Verdict};
use crate::{Request, Response};

/// As long as wiremock can hold an answer back.
const HELD: Duration = Duration::from_secs(86_400);

impl SimVault {
    /// Answers all requests of a wiremock server that nothing mounted before answers.
    pub async fn mount_on(&self, server: &MockServer) {
        Mock::given(any())
            .respond_with(self.clone())
            .mount(server)
            .await;
    }
}

impl Respond for SimVault {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let query = request
            .url
            .query()
            .map(|q| format!("?{q}"))
            .unwrap_or_default();
        let headers = request
            .headers
            .iter()
            .map(|(n, v)| {
                (
                    n.as_str().to_owned(),
                    String::from_utf8_lossy(v.as_bytes()).into_owned(),
                )
            })
            .collect();
        let request = Request {
            method: request.method.to_string(),
            path: format!("{}{query}", request.url.path()),
            headers,
            body: request.body.clone().into(),
            peer: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            client_cert: None,
        };
        let handled = |then| template(&self.answer(&request, 0, then).0);
        match self.judge(&request, 0) {
            Verdict::Pass => handled(None),
            Verdict::Then(id) => handled(Some(id)),
            Verdict::Delay(d) => handled(None).set_delay(d),
            Verdict::HoldAfter => handled(None).set_delay(HELD),
            Verdict::Hold => ResponseTemplate::new(503).set_delay(HELD),
            Verdict::Garbage(bytes) => {
                let answer = self.answer(&request, 0, None).0;
                template(&Response {
                    body: bytes,
                    ..answer
                })
            }
            Verdict::Status(status, body, headers) => template(&Response {
                status,
                headers,
                body,
            }),
            Verdict::Redirect(to) => {
                ResponseTemplate::new(307).insert_header("Location", to.as_str())
            }
            Verdict::CloseBefore
            | Verdict::CloseAfter
            | Verdict::Reset
            | Verdict::CutBody(_)
            | Verdict::Raw(_)
            | Verdict::WrongContentLength => ResponseTemplate::new(501)
                .set_body_string("this fault cannot be shown over wiremock"),
        }
    }
}

fn template(response: &Response) -> ResponseTemplate {
    if response.status == 0 {
        return ResponseTemplate::new(501)
            .set_body_string("the real server closes the connection here");
    }
    let mut out = ResponseTemplate::new(response.status);
    if !response.body.is_empty() {
        out = out.set_body_raw(
            response.body.to_vec(),
            response.get("Content-Type").unwrap_or("application/json"),
        );
    }
    for (name, value) in response
        .headers
        .iter()
        .filter(|(n, _)| n != "Content-Type" && n != "Connection")
    {
        out = out.append_header(name.as_str(), value.as_str());
    }
    out
}
