//! Times and durations. The zone's database is not consulted: zones are UTC or an offset.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use pal_resources::duration;

use super::super::meter::{Fail, Meter};
use super::super::value::V;
use super::Outcome;

pub(super) fn call<'a>(name: &str, args: &[V<'a>], _: &mut Meter) -> Option<Outcome<'a>> {
    Some(match (name, args) {
        ("timestamp", [time @ V::Time(_)]) | ("duration", [time @ V::Duration(_)]) => Ok(time.clone()),
        ("timestamp", [V::Text(text)]) => {
            text.parse::<Timestamp>().map(V::Time).map_err(|_| Fail::error(format!("invalid timestamp {:?}", &**text)))
        }
        ("timestamp", [V::Int(seconds)]) => {
            Timestamp::from_second(*seconds).map(V::Time).map_err(|_| Fail::error("timestamp overflow"))
        }
        ("duration", [V::Text(text)]) => duration::parse(text)
            .map(V::Duration)
            .ok_or_else(|| Fail::error(format!("time: invalid duration {:?}", &**text))),
        ("duration", [V::Int(nanoseconds)]) => Ok(V::Duration(*nanoseconds)),
        ("getHours", [V::Duration(span)]) => Ok(V::Int(span / 3_600_000_000_000)),
        ("getMinutes", [V::Duration(span)]) => Ok(V::Int(span / 60_000_000_000)),
        ("getSeconds", [V::Duration(span)]) => Ok(V::Int(span / 1_000_000_000)),
        ("getMilliseconds", [V::Duration(span)]) => Ok(V::Int(span / 1_000_000)),
        (name, [V::Time(time), zone @ ..]) if name.starts_with("get") => part(name, *time, zone),
        _ => return None,
    })
}

fn part<'a>(name: &str, time: Timestamp, zone: &[V<'a>]) -> Outcome<'a> {
    let zone = match zone {
        [V::Text(text)] => offset(text).ok_or_else(|| Fail::error(format!("unknown time zone {}", &**text)))?,
        _ => Offset::UTC,
    };
    let local = time.to_zoned(TimeZone::fixed(zone));
    Ok(V::Int(match name {
        "getFullYear" => local.year().into(),
        "getMonth" => i64::from(local.month()) - 1,
        "getDate" => local.day().into(),
        "getDayOfMonth" => i64::from(local.day()) - 1,
        "getDayOfWeek" => local.weekday().to_sunday_zero_offset().into(),
        "getDayOfYear" => i64::from(local.day_of_year()) - 1,
        "getHours" => local.hour().into(),
        "getMinutes" => local.minute().into(),
        "getSeconds" => local.second().into(),
        "getMilliseconds" => local.millisecond().into(),
        _ => return Err(Fail::no_overload()),
    }))
}

fn offset(text: &str) -> Option<Offset> {
    if matches!(text, "UTC" | "Z" | "") {
        return Some(Offset::UTC);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Offset::from_seconds(sign * (hours.checked_mul(3600)? + minutes.checked_mul(60)?)).ok()
}
