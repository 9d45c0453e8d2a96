//! Plots as SVG, small enough to read as text. Colours of text and lines are those of the page.

use std::fmt::Write;

use super::html::escape;
use super::{Axis, Bars, Lines, number};

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 46.0;
const BAR: f64 = 26.0;
const BAR_LEFT: f64 = 230.0;
/// Told apart by those who see few colours too (Okabe and Ito).
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f",
];
/// Where a curve of percentiles ends: 100 % has no number of nines.
const NINES_MAX: f64 = 5.3;
/// Percentiles with a line.
const PERCENTILES: [(f64, &str); 7] = [
    (0.0, "0"),
    (50.0, "50"),
    (90.0, "90"),
    (99.0, "99"),
    (99.9, "99.9"),
    (99.99, "99.99"),
    (100.0, "max"),
];

/// The place of a value: 0 and above, in decades or nines.
fn place(axis: Axis, value: f64) -> f64 {
    match axis {
        Axis::Log => value.max(f64::MIN_POSITIVE).log10(),
        Axis::Nines => (2.0 - (100.0 - value).max(0.0).log10()).min(NINES_MAX),
    }
}

/// Whole decades around the places of `values`; at least one.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let places = values
        .filter(|value| *value > 0.0)
        .map(|value| place(Axis::Log, value));
    let (low, high) = places.fold((f64::MAX, f64::MIN), |(low, high), place| {
        (low.min(place), high.max(place))
    });
    if low > high {
        return (0.0, 1.0);
    }
    (low.floor(), high.ceil().max(low.floor() + 1.0))
}

/// `10`, `1,000`, `0.1`.
fn power(decade: i32) -> String {
    match usize::try_from(-decade) {
        Ok(places @ 1..) => format!("{:.places$}", 10f64.powi(decade)),
        _ => crate::table::count(10f64.powi(decade)),
    }
}

struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn x(&self, place: f64) -> f64 {
        let (low, high) = self.x;
        LEFT + (place - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, place: f64) -> f64 {
        let (low, high) = self.y;
        HEIGHT - BOTTOM - (place - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
    }
}

fn begin(title: &str, height: f64) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{title}\" font-size=\"13\" fill=\"currentColor\">\n"
    )
}

fn label(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escape(text);
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"currentColor\" stroke-opacity=\".18\"/>",
        from.0, from.1, to.0, to.1
    );
}

/// Curves, both axes with a line for each decade or percentile.
pub(super) fn lines(plot: &Lines) -> String {
    let (axis, x_title) = plot.x;
    let points = || plot.series.iter().flat_map(|(_, points)| points);
    let frame = Frame {
        x: match axis {
            Axis::Nines => (0.0, NINES_MAX),
            Axis::Log => decades(points().map(|point| point.0)),
        },
        y: decades(points().map(|point| point.1)),
    };
    let mut svg = begin(&plot.title, HEIGHT);
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let ticks: Vec<(f64, String)> = match axis {
        Axis::Nines => PERCENTILES
            .map(|(at, name)| (place(axis, at), name.to_owned()))
            .to_vec(),
        Axis::Log => (frame.x.0 as i32..=frame.x.1 as i32)
            .map(|decade| (f64::from(decade), power(decade)))
            .collect(),
    };
    for (place, name) in ticks {
        let x = frame.x(place);
        rule(&mut svg, (x, TOP), (x, bottom));
        label(&mut svg, x, bottom + 18.0, "middle", &name);
    }
    for decade in frame.y.0 as i32..=frame.y.1 as i32 {
        let y = frame.y(f64::from(decade));
        rule(&mut svg, (LEFT, y), (right, y));
        label(&mut svg, LEFT - 8.0, y + 4.0, "end", &power(decade));
    }
    label(
        &mut svg,
        LEFT.midpoint(right),
        HEIGHT - 8.0,
        "middle",
        x_title,
    );
    label(&mut svg, 4.0, 12.0, "start", plot.y);
    for (index, (name, points)) in plot.series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let dash = if index < COLOURS.len() {
            ""
        } else {
            " stroke-dasharray=\"6 4\""
        };
        let mut path = String::new();
        for (x, y) in points.iter().filter(|(_, y)| *y > 0.0) {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let (x, y) = (frame.x(place(axis, *x)), frame.y(place(Axis::Log, *y)));
            let _ = write!(path, "{letter}{x:.1} {y:.1}");
        }
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>"
        );
        let y = TOP + 10.0 + 20.0 * index as f64;
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {:.1}h22\" stroke=\"{colour}\" stroke-width=\"3\"{dash}/>",
            right + 14.0,
            y - 4.0
        );
        label(&mut svg, right + 42.0, y, "start", name);
    }
    svg + "</svg>\n"
}

/// A bar for each value, all from 0.
pub(super) fn bars(plot: &Bars) -> String {
    let height = BAR * plot.bars.len() as f64 + 20.0;
    let values = plot.bars.iter().map(|(_, value)| *value);
    let most = values.chain(plot.mark).fold(f64::MIN_POSITIVE, f64::max);
    let room = WIDTH - BAR_LEFT - 100.0;
    let mut svg = begin(&plot.title, height);
    for (index, (name, value)) in plot.bars.iter().enumerate() {
        let y = 10.0 + BAR * index as f64;
        let width = (value / most).max(0.0) * room;
        let colour = COLOURS[index % COLOURS.len()];
        label(&mut svg, BAR_LEFT - 10.0, y + 17.0, "end", name);
        let _ = writeln!(
            svg,
            "<rect x=\"{BAR_LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            y + 3.0,
            BAR - 7.0
        );
        label(
            &mut svg,
            BAR_LEFT + width + 8.0,
            y + 17.0,
            "start",
            &number(*value),
        );
    }
    if let Some(mark) = plot.mark {
        let x = BAR_LEFT + mark / most * room;
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} 4V{:.1}\" stroke=\"currentColor\" stroke-dasharray=\"4 3\"/>",
            height - 4.0
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_takes_the_same_room() {
        for (percentile, expected) in [(0.0, 0.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0)] {
            assert!((place(Axis::Nines, percentile) - expected).abs() < 1e-9);
        }
        assert_eq!(place(Axis::Nines, 100.0), NINES_MAX, "not infinity");
    }

    #[test]
    fn powers_of_ten_are_written_out() {
        for (decade, text) in [(0, "1"), (3, "1,000"), (-1, "0.1"), (-3, "0.001")] {
            assert_eq!(power(decade), text);
        }
    }

    #[test]
    fn axes_have_whole_decades() {
        assert_eq!(decades([3.0, 250.0].into_iter()), (0.0, 3.0));
        assert_eq!(decades([10.0].into_iter()), (1.0, 2.0));
        assert_eq!(decades([0.0].into_iter()), (0.0, 1.0), "nothing to draw");
    }
}
