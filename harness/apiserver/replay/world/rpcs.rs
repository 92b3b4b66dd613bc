//! Calls to the plugin, compared with the recorded ones.

use std::collections::BTreeMap;

use kms_apiserver::config::Endpoint;
use kms_apiserver::gotext;
use kms_apiserver::grpc::Method;
use kms_apiserver::seam::Rpc;
use kms_apiserver::version::Version;

use super::super::compare::{Outcome, normal};
use super::super::plugin::{field, fields};
use super::super::trace::Event;
use super::values::same_or_elided;
use super::words::near;
use super::{LATE, World};

impl<'t> World<'t> {
    pub(super) fn compare_rpc(&mut self, recorded: Option<&Event>, rpc: &Rpc) -> Outcome {
        let what = format!("{:?}", rpc.method);
        let Some(recorded) = recorded else {
            return Outcome::Different(format!("at {:?}: {what} was not recorded", self.now));
        };
        if let different @ Outcome::Different(_) = near(&what, self.now, recorded.at, self.late()) {
            return different;
        }
        if let Some(left) = recorded.millis("deadline_ms")
            && left.abs_diff(rpc.timeout) > LATE
        {
            return Outcome::Different(format!(
                "{what} at {:?}: {:?} left of the deadline, recorded {left:?}",
                self.now, rpc.timeout
            ));
        }
        let request = &rpc.request;
        let uid = String::from_utf8_lossy(&field(request, 2)).into_owned();
        let shaped = normal(&uid, true) == "UID" && uid.as_bytes()[14] == b'4';
        let fits = match rpc.method {
            Method::Status => request.is_empty(),
            Method::Encrypt => shaped && field(request, 1).len() == 32,
            Method::Decrypt => shaped && self.same_decrypt(recorded, request),
        };
        if fits {
            Outcome::Alike
        } else {
            Outcome::Different(format!("{what} at {:?}: another request", self.now))
        }
    }

    /// The same key_id, annotations and wrapped seed, or our seed in place of a recorded one.
    pub(super) fn same_decrypt(&mut self, recorded: &Event, request: &[u8]) -> bool {
        let theirs = recorded.text("ciphertext_hex").to_owned();
        let ours = field(request, 1);
        let known = self.seeds.get(&theirs).is_some_and(|known| *known == ours);
        if !same_or_elided(&gotext::hex(&ours), &theirs) && !known {
            return false;
        }
        let annotations: BTreeMap<String, String> = fields(request, 4)
            .iter()
            .map(|entry| {
                let key = String::from_utf8_lossy(&field(entry, 1)).into_owned();
                (key, gotext::hex(&field(entry, 2)))
            })
            .collect();
        let expected = recorded.body["annotations"]
            .as_object()
            .into_iter()
            .flatten();
        let expected: BTreeMap<String, String> = expected
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()))
            .collect();
        let listed = recorded.body["annotations"].is_object();
        // The very large one is given by its length alone.
        (annotations == expected || !listed || recorded.body["request_len"].is_number())
            && same_or_elided(
                &String::from_utf8_lossy(&field(request, 3)),
                recorded.text("key_id"),
            )
    }
}

pub(super) fn headers(event: &Event) -> Outcome {
    let library = event.body["modules"]["k8s.io/apiserver"]
        .as_str()
        .unwrap_or("");
    let minor: u8 = library
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0);
    let version = Version::new(minor).expect("an emulated version");
    let endpoint = Endpoint::parse(event.text("endpoint")).expect("a good endpoint");
    let all = event.body["headers"].to_string();
    let authority = version.authority(endpoint.address());
    if all.contains(&format!(":authority: {authority}\""))
        || all.contains(&format!("\":authority\":[\"{authority}\"]"))
    {
        Outcome::Alike
    } else {
        Outcome::Different(format!("{minor}: {authority}, recorded {all}"))
    }
}
