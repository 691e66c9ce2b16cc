//! date, in UTC, which is the only time zone here.

use wasip2::clocks::wall_clock;

use super::{Call, Outcome, failed};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment, taken apart.
pub struct Date {
    seconds: i64,
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    pub fn new(seconds: i64) -> Self {
        // From days to a date of the Gregorian calendar, in eras of 400 years that begin in March.
        let days = seconds.div_euclid(86_400) + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { seconds, year, month, day: of_year - (153 * shifted + 2) / 5 + 1 }
    }

    fn days_before(year: i64, month: i64, day: i64) -> i64 {
        let year = if month <= 2 { year - 1 } else { year };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// `2026-11-22`, `2026-11-22 10:30`, `2026-11-22T10:30:00Z` or `@seconds`.
    pub fn parse(text: &str) -> Option<i64> {
        if let Some(seconds) = text.strip_prefix('@') {
            return seconds.parse().ok();
        }
        let numbers: Vec<i64> = text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .map_while(|n| n.parse().ok())
            .collect();
        let [year, month, day, time @ ..] = numbers.as_slice() else { return None };
        if !(1..=12).contains(month) || !(1..=31).contains(day) {
            return None;
        }
        let of = |i: usize| time.get(i).copied().unwrap_or(0);
        Some(Self::days_before(*year, *month, *day) * 86_400 + of(0) * 3600 + of(1) * 60 + of(2))
    }

    pub fn format(&self, format: &str) -> String {
        let of_day = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let weekday = (self.seconds.div_euclid(86_400) + 4).rem_euclid(7) as usize;
        let month = MONTHS[(self.month - 1).rem_euclid(12) as usize];
        let of_year = Self::days_before(self.year, self.month, self.day) - Self::days_before(self.year, 1, 1) + 1;
        let half = if hour < 12 { "AM" } else { "PM" };
        let (mut out, mut chars) = (String::new(), format.chars());
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            out.push_str(&match chars.next() {
                Some('Y') => self.year.to_string(),
                Some('y') => format!("{:02}", self.year % 100),
                Some('m') => format!("{:02}", self.month),
                Some('d') => format!("{:02}", self.day),
                Some('e') => format!("{:>2}", self.day),
                Some('H') => format!("{hour:02}"),
                Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
                Some('M') => format!("{minute:02}"),
                Some('S') => format!("{second:02}"),
                Some('N') => format!("{:09}", wall_clock::now().nanoseconds),
                Some('j') => format!("{of_year:03}"),
                Some('a') => DAYS[weekday][..3].to_owned(),
                Some('A') => DAYS[weekday].to_owned(),
                Some('b' | 'h') => month[..3].to_owned(),
                Some('B') => month.to_owned(),
                Some('u') => (if weekday == 0 { 7 } else { weekday }).to_string(),
                Some('w') => weekday.to_string(),
                Some('p') => half.to_owned(),
                Some('Z') => "UTC".to_owned(),
                Some('z') => "+0000".to_owned(),
                Some('s') => self.seconds.to_string(),
                Some('F') => self.format("%Y-%m-%d"),
                Some('T') => self.format("%H:%M:%S"),
                Some('R') => self.format("%H:%M"),
                Some('D') => self.format("%m/%d/%y"),
                Some('c') => self.format("%a %b %e %H:%M:%S %Y"),
                Some('n') => "\n".to_owned(),
                Some('t') => "\t".to_owned(),
                Some('%') => "%".to_owned(),
                Some(other) => format!("%{other}"),
                None => "%".to_owned(),
            });
        }
        out
    }
}

pub async fn run(call: &Call) -> Outcome {
    let options = call.options("uR", "drI")?;
    let mut seconds = wall_clock::now().seconds as i64;
    if let Some(text) = options.value('d') {
        match Date::parse(text) {
            Some(found) => seconds = found,
            None if text == "now" => {}
            None => return failed(format!("invalid date '{text}'")),
        }
    }
    if let Some(name) = options.value('r') {
        let found = std::fs::metadata(call.path(name)).map_err(|e| super::Failure::Told(1, super::about(name, &e)))?;
        seconds = super::list::seconds(&found);
    }
    if let Some(time) = options.rest.iter().find(|arg| !arg.starts_with('+')) {
        let known = Date::parse(time).is_some();
        return failed(if known {
            "cannot set date: Operation not permitted".into()
        } else {
            format!("invalid date '{time}'")
        });
    }
    let format = match (options.rest.first().and_then(|arg| arg.strip_prefix('+')), options.value('I')) {
        (Some(format), _) => format,
        (None, Some("seconds" | "s")) => "%Y-%m-%dT%H:%M:%S+00:00",
        (None, Some(_)) => "%Y-%m-%d",
        (None, None) if options.has('R') => "%a, %d %b %Y %H:%M:%S +0000",
        (None, None) if options.long.iter().any(|long| long.starts_with("iso")) => "%Y-%m-%dT%H:%M:%S+00:00",
        (None, None) => "%a %b %e %H:%M:%S UTC %Y",
    };
    call.print(Date::new(seconds).format(format) + "\n").await?;
    Ok(0)
}
