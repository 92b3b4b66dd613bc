//! Answers of a plugin as the faults that alter them make them: the same on every arm.

use kms_scenario::fault::SICK;
use kms_v2_api::{DecryptResponse, StatusResponse};
use prost::Message;

/// A Status answer that says [`SICK`] and names the key as before; what is no such answer stays as it is.
#[must_use]
pub fn sick(answer: &[u8]) -> Vec<u8> {
    let Ok(mut status) = StatusResponse::decode(answer) else {
        return answer.to_vec();
    };
    SICK.clone_into(&mut status.healthz);
    status.encode_to_vec()
}

/// A Decrypt answer with other bytes of the same length; what is no such answer stays as it is.
#[must_use]
pub fn wrong_key(answer: &[u8]) -> Vec<u8> {
    let Ok(decrypted) = DecryptResponse::decode(answer) else {
        return answer.to_vec();
    };
    let wrong = decrypted.plaintext.iter().map(|byte| !byte).collect();
    DecryptResponse { plaintext: wrong }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_part_of_an_answer_is_another() {
        let status = StatusResponse {
            version: "v2".to_owned(),
            healthz: "ok".to_owned(),
            key_id: "k".to_owned(),
        };
        let altered = StatusResponse::decode(&*sick(&status.encode_to_vec())).unwrap();
        let wanted = StatusResponse {
            healthz: SICK.to_owned(),
            ..status
        };
        assert_eq!(altered, wanted);
        let decrypted = DecryptResponse {
            plaintext: vec![7; 32].into(),
        };
        let altered = DecryptResponse::decode(&*wrong_key(&decrypted.encode_to_vec())).unwrap();
        assert_eq!(altered.plaintext, vec![!7; 32]);
    }
}
