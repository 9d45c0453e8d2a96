//! Dates as people and programs read them.

/// Year, month, day, hour, minute and second of a time in UTC.
type Civil = (i64, u8, u8, u8, u8, u8);

/// First second of the year 10000, and of the year 0.
const RANGE: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;

/// Seconds since 1970 as a date, if its year has four digits.
fn civil(seconds: i64) -> Option<Civil> {
    if !RANGE.contains(&seconds) {
        return None;
    }
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March: the day that leap years have more is their last.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let small = |number: i64| u8::try_from(number).unwrap_or(0);
    Some((
        year,
        small(month),
        small(day),
        small(rest / 3_600),
        small(rest / 60 % 60),
        small(rest % 60),
    ))
}

/// `2001-02-03T04:05:06Z`, RFC 3339.
pub(super) fn machine(seconds: i64) -> Option<String> {
    let (year, month, day, hour, minute, second) = civil(seconds)?;
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
    ))
}

/// `2001-02-03 04:05`.
pub(super) fn human(seconds: i64) -> Option<String> {
    let (year, month, day, hour, minute, _) = civil(seconds)?;
    Some(format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, Some("1970-01-01T00:00:00Z")),
            (-1, Some("1969-12-31T23:59:59Z")),
            (784_111_777, Some("1994-11-06T08:49:37Z")),
            (951_782_400, Some("2000-02-29T00:00:00Z")),
            (4_107_542_399, Some("2100-02-28T23:59:59Z")),
            (4_107_542_400, Some("2100-03-01T00:00:00Z")),
            (253_402_300_799, Some("9999-12-31T23:59:59Z")),
            (253_402_300_800, None),
            (RANGE.start, Some("0000-01-01T00:00:00Z")),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            assert_eq!(machine(seconds).as_deref(), expected, "{seconds}");
        }
        assert_eq!(human(784_111_777).as_deref(), Some("1994-11-06 08:49"));
    }

    /// Two rounds of the 400 years after which the calendar repeats itself.
    #[test]
    fn each_day_follows_the_one_before() {
        let (mut seconds, mut date) = (RANGE.start, (0, 1, 1));
        while date.0 < 801 {
            let (year, month, day) = date;
            assert_eq!(civil(seconds), Some((year, month, day, 0, 0, 0)));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            date = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                _ if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
            seconds += 86_400;
        }
    }
}
