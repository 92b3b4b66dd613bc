//! The few shell tools that the procedure pipes into.

/// `grep -i PATTERN`, for the patterns that the procedure uses: words, `.*` and `\|`.
pub fn grep(text: &str, pattern: &str) -> Vec<String> {
    let alternatives: Vec<Vec<String>> = pattern
        .to_lowercase()
        .split("\\|")
        .map(|alternative| alternative.split(".*").map(str::to_owned).collect())
        .collect();
    let fits = |line: &str| {
        let line = line.to_lowercase();
        alternatives.iter().any(|parts| {
            let mut rest = line.as_str();
            parts.iter().all(|part| match rest.find(part.as_str()) {
                Some(at) => {
                    rest = &rest[at + part.len()..];
                    true
                }
                None => false,
            })
        })
    };
    text.lines()
        .filter(|line| fits(line))
        .map(str::to_owned)
        .collect()
}

/// `tail -N`
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The first line of `hexdump -C`.
pub fn hexdump_line(bytes: &[u8]) -> String {
    let row = &bytes[..bytes.len().min(16)];
    let half = |part: &[u8]| {
        let hex: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.join(" ")
    };
    let (left, right) = row.split_at(row.len().min(8));
    let hex = format!("{}  {}", half(left), half(right));
    let shown: String = row
        .iter()
        .map(|byte| {
            if (0x20..0x7f).contains(byte) {
                char::from(*byte)
            } else {
                '.'
            }
        })
        .collect();
    format!("00000000  {hex:48}  |{shown}|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grep_knows_the_procedures_patterns() {
        let text = "a KMS line\npermission denied\nkms call: Error\nmigrating\n";
        assert_eq!(grep(text, "kms").len(), 2);
        assert_eq!(grep(text, "decrypt\\|kms.*error"), ["kms call: Error"]);
        assert_eq!(grep(text, "kms\\|permission\\|access denied").len(), 3);
        assert!(grep(text, "error.*kms").is_empty(), "the order counts");
    }

    #[test]
    fn a_hexdump_line_is_that_of_hexdump() {
        assert_eq!(
            hexdump_line(b"k8s:enc:kms:v2:1_secrets:"),
            "00000000  6b 38 73 3a 65 6e 63 3a  6b 6d 73 3a 76 32 3a 31  |k8s:enc:kms:v2:1|"
        );
        assert_eq!(
            hexdump_line(b"k8s\0"),
            format!("00000000  {:48}  |k8s.|", "6b 38 73 00  ")
        );
    }
}
