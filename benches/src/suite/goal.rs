//! What is wanted, what was seen, and whether that is a hit.

use super::Outcome;
use crate::results::Figure;
use crate::statistics::{median, paired_ratio};

/// What a value is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Bound {
    /// Whether `value` is as it should be.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        }
    }
}

/// A figure of a contestant, or its ratio to that of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What it is called.
    pub name: String,
    /// Which figure of the cells.
    pub figure: &'static str,
    /// Whose.
    pub of: String,
    /// To whose: the best of these. None, and it is the figure itself.
    pub to: Vec<String>,
    /// What is wanted; `None` if it is only told, for comparison.
    pub bound: Option<Bound>,
}

impl Goal {
    /// The figure itself.
    pub(super) fn of(name: impl Into<String>, figure: &'static str, of: impl Into<String>) -> Goal {
        Goal {
            name: name.into(),
            figure,
            of: of.into(),
            to: Vec::new(),
            bound: None,
        }
    }

    /// As a ratio to the best of `others`.
    pub(super) fn to<T: Into<String>>(mut self, others: impl IntoIterator<Item = T>) -> Goal {
        self.to = others.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn at_most(mut self, most: f64) -> Goal {
        self.bound = Some(Bound::AtMost(most));
        self
    }

    pub(super) fn at_least(mut self, least: f64) -> Goal {
        self.bound = Some(Bound::AtLeast(least));
        self
    }

    /// What is told of it, from the cells of `row`.
    #[must_use]
    pub fn judge(self, row: u8, outcome: &Outcome) -> Finding {
        let seen = |who: &str| seen(outcome, row, who, self.figure);
        let ours = seen(&self.of);
        let best = self.best(|who| middle(&seen(who)));
        let theirs = best.map(seen).unwrap_or_default();
        let rounds: Vec<f64> = if self.to.is_empty() {
            ours.iter().map(|(_, value)| *value).collect()
        } else {
            pairs(&ours, &theirs)
                .map(|(one, other)| one / other)
                .collect()
        };
        let rounds: Vec<f64> = rounds
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        let value = if self.to.is_empty() {
            median(&rounds)
        } else {
            let (over, under): (Vec<f64>, Vec<f64>) = pairs(&ours, &theirs).unzip();
            paired_ratio(&over, &under)
        };
        let verdict = match (value, self.bound) {
            (None, _) => Verdict::NotMeasured(self.reason(row, outcome)),
            (Some(_), None) => Verdict::Told,
            (Some(value), Some(bound)) if bound.holds(value) => Verdict::Hit,
            (Some(_), Some(_)) => Verdict::Miss,
        };
        Finding {
            row,
            ours: middle(&ours),
            theirs: middle(&theirs),
            best: best.map(str::to_owned),
            rounds,
            value,
            verdict,
            goal: self,
        }
    }

    /// Who of those it is compared with does best.
    fn best(&self, middle: impl Fn(&str) -> Option<f64>) -> Option<&str> {
        let sign = if Figure::is_rate(self.figure) {
            -1.0
        } else {
            1.0
        };
        let others = self.to.iter();
        let others = others.filter_map(|who| Some((middle(who)? * sign, who.as_str())));
        let best = others.min_by(|(one, _), (other, _)| one.total_cmp(other));
        best.map(|(_, who)| who)
    }

    /// Why there is no value.
    fn reason(&self, row: u8, outcome: &Outcome) -> String {
        let who = std::iter::once(&self.of).chain(&self.to);
        let refusals = outcome.refusals.iter().filter(|one| one.row == row);
        let whole = refusals.clone().find(|one| one.who.is_none());
        let refused = |who: &String| {
            let mut of = refusals.clone().filter(|one| one.who.is_some());
            of.find(|one| one.is_of(who)).map(|one| one.why.clone())
        };
        let failed = |who: &String| {
            let mut cells = outcome.cells.iter().filter(|cell| cell.row == row);
            cells.find_map(|cell| cell.failure.clone().filter(|_| cell.who == *who))
        };
        let of = |why: &dyn Fn(&String) -> Option<String>| {
            let mut all = who.clone();
            all.find_map(|who| Some(format!("{who}: {}", why(who)?)))
        };
        let told = whole.map(|one| one.why.clone());
        // Whoever is not there at all explains more than whoever was too slow.
        let told = told.or_else(|| of(&refused)).or_else(|| of(&failed));
        told.unwrap_or_else(|| {
            let why = if outcome.interrupted {
                "interrupted"
            } else {
                "no round counts"
            };
            why.to_owned()
        })
    }
}

/// A figure of each round that counts.
fn seen(outcome: &Outcome, row: u8, who: &str, figure: &str) -> Vec<(usize, f64)> {
    let cells = outcome.cells.iter();
    let cells = cells.filter(|cell| cell.row == row && cell.who == who && cell.failure.is_none());
    cells
        .filter_map(|cell| Some((cell.round, cell.figure(figure)?)))
        .collect()
}

fn middle(values: &[(usize, f64)]) -> Option<f64> {
    median(&values.iter().map(|(_, value)| *value).collect::<Vec<f64>>())
}

/// The values of rounds that both have.
fn pairs<'a>(
    ours: &'a [(usize, f64)],
    theirs: &'a [(usize, f64)],
) -> impl Iterator<Item = (f64, f64)> + 'a {
    ours.iter().filter_map(|(round, one)| {
        let other = theirs.iter().find(|(other, _)| other == round)?;
        Some((*one, other.1))
    })
}

/// What one contestant did in one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Of which row.
    pub row: u8,
    /// Whose.
    pub who: String,
    /// Counted from 0.
    pub round: usize,
    /// What was seen.
    pub figures: Vec<Figure>,
    /// Why it does not count, if it does not.
    pub failure: Option<String>,
}

impl Cell {
    /// The figure of that name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        let found = self.figures.iter().find(|figure| figure.name == name);
        found.map(|figure| figure.value)
    }
}

/// Who could not take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In which row.
    pub row: u8,
    /// Who; `None` is the whole row.
    pub who: Option<String>,
    /// Why.
    pub why: String,
}

impl Refusal {
    /// Whether it is of the whole row, of `who`, or of one who would have been `who` with more behind.
    #[must_use]
    pub fn is_of(&self, who: &str) -> bool {
        let Some(one) = self.who.as_deref() else {
            return true;
        };
        let rest = who.strip_prefix(one);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
    }

    pub(super) fn of_row(row: u8, why: &str) -> Refusal {
        Refusal {
            row,
            who: None,
            why: why.to_owned(),
        }
    }
}

/// Whether a goal was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was.
    Hit,
    /// It was not.
    Miss,
    /// There is none: the value is told for comparison.
    Told,
    /// There is no value, and this is why.
    NotMeasured(String),
}

/// What is told of a goal.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Of which row.
    pub row: u8,
    /// The goal.
    pub goal: Goal,
    /// The median of the rounds.
    pub value: Option<f64>,
    /// The value of each round.
    pub rounds: Vec<f64>,
    /// The median of the figure itself.
    pub ours: Option<f64>,
    /// That of who it is compared with.
    pub theirs: Option<f64>,
    /// Who that is.
    pub best: Option<String>,
    /// Whether the goal was reached.
    pub verdict: Verdict,
}
