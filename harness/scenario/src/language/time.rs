//! Texts with a unit: times, ranges of times, rates.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest time that can be written.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A length of time with its unit: `100us`, `1.5s`, `1m30s`, `2h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// One time, or a range from which one is drawn: `30s`, `10s..60s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Shortest.
    pub min: Duration,
    /// Longest; the same for one time.
    pub max: Duration,
}

/// So many in a time: `6/min`, `2/s`, `0.5/s`, `1/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Thousandths of one …
    pub milli: u64,
    /// … in this time.
    pub per: Duration,
}

impl Rate {
    /// The mean time between two; nothing for a rate of zero.
    #[must_use]
    pub fn every(self) -> Option<Duration> {
        let nanos = self.per.as_nanos() * 1000;
        let nanos = nanos.checked_div(u128::from(self.milli))?;
        Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }
}

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            format!("{text:?} is no time: {why}; write it like \"30s\", \"1m30s\" or \"250ms\"")
        };
        let mut rest = text;
        let mut total: u128 = 0;
        if rest.is_empty() {
            return Err(bad("it is empty"));
        }
        while !rest.is_empty() {
            let digits = rest
                .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
                .unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let letters = tail
                .find(|letter: char| !letter.is_ascii_alphabetic())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            if number.is_empty() {
                return Err(bad("a number is missing"));
            }
            if unit.is_empty() {
                return Err(bad("the unit is missing"));
            }
            let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(bad(&format!(
                    "{unit:?} is no unit (ns, us, ms, s, m, h, d)"
                )));
            };
            let milli =
                thousandths(number).ok_or_else(|| bad(&format!("{number:?} is no number")))?;
            total += u128::from(milli) * u128::from(*nanos) / 1000;
            rest = tail;
        }
        let nanos = u64::try_from(total).map_err(|_| bad("it is too long"))?;
        let time = Duration::from_nanos(nanos);
        if time > LONGEST {
            return Err(bad("it is longer than a year"));
        }
        Ok(Self(time))
    }
}

/// `1.25` as 1250. Three places at most.
fn thousandths(number: &str) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 3 || (part.is_empty() && number.contains('.')) {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(part)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, nanos) in UNITS.iter().rev() {
            let count = rest / nanos;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
            rest %= nanos;
        }
        Ok(())
    }
}

impl FromStr for TimeRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let (Time(min), Time(max)) = (min.trim().parse()?, max.trim().parse()?);
        if max < min {
            return Err(format!(
                "{text:?} runs backwards; write the shorter time first"
            ));
        }
        Ok(Self { min, max })
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Time(self.min))?;
        if self.max != self.min {
            write!(f, "..{}", Time(self.max))?;
        }
        Ok(())
    }
}

const PERS: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3600)];

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no rate; write it like \"6/min\", \"2/s\" or \"1/h\"");
        let (number, per) = text.split_once('/').ok_or_else(bad)?;
        let (_, seconds) = PERS.iter().find(|(name, _)| *name == per).ok_or_else(bad)?;
        let milli = thousandths(number).ok_or_else(bad)?;
        if milli / seconds > 1_000_000 {
            return Err(format!("{text:?} is more than 1000/s; write a lower rate"));
        }
        Ok(Self {
            milli,
            per: Duration::from_secs(*seconds),
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.milli / 1000, self.milli % 1000);
        write!(f, "{whole}")?;
        if part > 0 {
            write!(f, "{}", format!(".{part:03}").trim_end_matches('0'))?;
        }
        let per = PERS
            .iter()
            .find(|(_, seconds)| *seconds == self.per.as_secs());
        write!(f, "/{}", per.map_or("s", |(name, _)| *name))
    }
}

/// Reads and writes the type as its text, with a schema that has the pattern.
macro_rules! as_text {
    ($type:ty, $name:literal, $expected:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Reader;
                impl de::Visitor<'_> for Reader {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                from.deserialize_str(Reader)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $expected, "pattern": $pattern })
            }
        }
    };
}

as_text!(
    Time,
    "Time",
    "a time with its unit, such as \"30s\"",
    r"^([0-9]+(\.[0-9]{1,3})?(ns|us|ms|s|m|h|d))+$"
);
as_text!(
    TimeRange,
    "TimeRange",
    "a time or a range of times with units, such as \"30s\" or \"10s..60s\"",
    r"^([0-9]+(\.[0-9]{1,3})?(ns|us|ms|s|m|h|d))+(\.\.([0-9]+(\.[0-9]{1,3})?(ns|us|ms|s|m|h|d))+)?$"
);
as_text!(
    Rate,
    "Rate",
    "a rate, such as \"6/min\"",
    r"^[0-9]+(\.[0-9]{1,3})?/(s|min|h)$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, written, millis) in [
            ("30s", "30s", 30_000),
            ("1m30s", "1m30s", 90_000),
            ("90s", "1m30s", 90_000),
            ("1.5s", "1s500ms", 1_500),
            ("2d", "2d", 172_800_000),
            ("0s", "0s", 0),
        ] {
            let time: Time = text.parse().unwrap();
            assert_eq!(time.0.as_millis(), millis, "{text}");
            assert_eq!(time.to_string(), written);
        }
        for text in [
            "", "30", "s", "30 s", "30x", "1..s", "1.2345s", "-3s", "9999d",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_and_rates_are_read_and_written() {
        for text in ["30s", "10s..1m", "100us"] {
            assert_eq!(text.parse::<TimeRange>().unwrap().to_string(), text);
        }
        assert!("1m..10s".parse::<TimeRange>().is_err());
        for (text, millis) in [("6/min", 10_000), ("0.5/s", 2_000), ("1/h", 3_600_000)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string(), text);
            assert_eq!(rate.every().unwrap().as_millis(), millis);
        }
        assert_eq!("0/min".parse::<Rate>().unwrap().every(), None);
        for text in ["6", "6/day", "x/s", "2000/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
