//! How long a token may live: increment, mount's and role's limits, explicit maximum, period.

use std::time::Duration;

use crate::duration::short;

/// What the calculation looks at; zero means not set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub increment: Duration,
    pub role_ttl: Duration,
    pub role_max: Duration,
    pub period: Duration,
    pub explicit_max: Duration,
    pub default_ttl: Duration,
    pub mount_max: Duration,
}

/// The granted time and the warnings, or the refusal's text. All times are cut to whole seconds first,
/// so a token may outlive its maximum by a fraction of a second. `start` is the time of creation.
pub(crate) fn grant(
    limits: &Limits,
    start: Duration,
    now: Duration,
) -> Result<(Duration, Vec<String>), String> {
    let start = Duration::from_secs(start.as_secs());
    let now = Duration::from_secs(now.as_secs());
    let mut max = limits.mount_max;
    for narrower in [limits.role_max, limits.explicit_max] {
        if !narrower.is_zero() && narrower < max {
            max = narrower;
        }
    }
    let mut warnings = Vec::new();
    let (mut ttl, end) = if limits.period.is_zero() {
        let wanted = [limits.increment, limits.role_ttl, limits.default_ttl]
            .into_iter()
            .find(|d| !d.is_zero());
        (wanted.unwrap_or_default(), Some(start + max))
    } else {
        let mut period = limits.period;
        if period > max {
            warnings.push(format!(
                "period of \"{}\" exceeded the effective max_ttl of \"{}\"; period value is capped accordingly",
                short(period),
                short(max)
            ));
            period = max;
        }
        (
            period,
            (!limits.explicit_max.is_zero()).then(|| start + limits.explicit_max),
        )
    };
    if let Some(end) = end {
        let left = end.saturating_sub(now);
        if left.is_zero() {
            return Err("past the max TTL, cannot renew".to_owned());
        }
        if ttl > left {
            warnings.push(format!(
                "TTL of \"{}\" exceeded the effective max_ttl of \"{}\"; TTL value is capped accordingly",
                short(ttl),
                short(left)
            ));
            ttl = left;
        }
    }
    Ok((ttl, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(increment: u64, explicit_max: u64) -> Limits {
        Limits {
            increment: Duration::from_secs(increment),
            explicit_max: Duration::from_secs(explicit_max),
            default_ttl: Duration::from_secs(2_764_800),
            mount_max: Duration::from_secs(2_764_800),
            ..Limits::default()
        }
    }

    #[test]
    fn the_rest_to_the_maximum_is_counted_in_whole_seconds() {
        let ms = Duration::from_millis;
        let (ttl, warnings) = grant(&limits(3, 4), ms(100), ms(2_700)).unwrap();
        assert_eq!(ttl, Duration::from_secs(2));
        assert_eq!(
            warnings,
            [
                "TTL of \"3s\" exceeded the effective max_ttl of \"2s\"; TTL value is capped accordingly"
            ]
        );
        assert!(grant(&limits(3, 4), ms(100), ms(4_140)).is_err());
    }
}
