//! RFC 9110, 5.6.7: dates, in seconds since 1970.

const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The date that `text` says in one of the three formats, if there is such a date.
///
/// Rules: not before 1970, no leap seconds, the day of the week must be right, and of two digits of a
/// year 70 is 1970.
#[must_use]
pub fn read(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [day, number, month, year, time, "GMT"] if number.len() == 2 => {
            let short = |name: &str| day.strip_suffix(',') == Some(&name[..3]);
            date(short, number, month, digits(year, 4)?, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [day, numbers, time, "GMT"] => {
            let numbers: Vec<&str> = numbers.split('-').collect();
            let [number, month, year] = numbers[..] else {
                return None;
            };
            let year = digits(year, 2)?;
            let century = if year < 70 { 2000 } else { 1900 };
            let long = |name: &str| day.strip_suffix(',') == Some(name);
            date(long, number, month, century + year, time)
        }
        // Sun Nov  6 08:49:37 1994
        [day, month, "", number, time, year] if number.len() == 1 => {
            let short = |name: &str| day == &name[..3];
            date(short, &format!("0{number}"), month, digits(year, 4)?, time)
        }
        [day, month, number, time, year] => {
            let short = |name: &str| day == &name[..3];
            date(short, number, month, digits(year, 4)?, time)
        }
        _ => None,
    }
}

fn digits(text: &str, count: usize) -> Option<u64> {
    let good = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| text.parse().ok())?
}

fn date(
    is_day: impl Fn(&str) -> bool,
    number: &str,
    month: &str,
    year: u64,
    time: &str,
) -> Option<u64> {
    let number = digits(number, 2)?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let times: Vec<&str> = time.split(':').collect();
    let [hours, minutes, seconds] = times[..] else {
        return None;
    };
    let (hours, minutes, seconds) = (digits(hours, 2)?, digits(minutes, 2)?, digits(seconds, 2)?);
    let in_range = year >= 1970
        && (1..=days_of(month, year)).contains(&number)
        && hours < 24
        && minutes < 60
        && seconds < 60;
    if !in_range {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + leap(year)).sum();
    let months: u64 = (0..month).map(|month| days_of(month, year)).sum();
    let days = years + months + number - 1;
    is_day(DAYS[(days % 7) as usize])
        .then_some(days * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

fn days_of(month: usize, year: u64) -> u64 {
    match MONTHS[month] {
        "Feb" => 28 + leap(year),
        "Apr" | "Jun" | "Sep" | "Nov" => 30,
        _ => 31,
    }
}

fn leap(year: u64) -> u64 {
    u64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
}
