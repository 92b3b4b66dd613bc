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
