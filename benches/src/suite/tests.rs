use super::goal::Goal;
use super::*;
use crate::results::Figure;

fn cell(who: &str, round: usize, name: &str, value: f64) -> Cell {
    Cell {
        row: 1,
        who: who.to_owned(),
        round,
        figures: vec![Figure {
            name: name.to_owned(),
            value,
        }],
        failure: None,
    }
}

/// Rounds of one contestant.
fn rounds(who: &str, name: &str, values: &[f64]) -> Vec<Cell> {
    let rounds = values.iter().enumerate();
    rounds
        .map(|(round, value)| cell(who, round, name, *value))
        .collect()
}

fn outcome(cells: Vec<Vec<Cell>>) -> Outcome {
    Outcome {
        cells: cells.concat(),
        ..Outcome::default()
    }
}

fn cpu(bound: f64) -> Goal {
    Goal::of("", "cpu us", "ours")
        .to(["one", "other"])
        .at_most(bound)
}

#[test]
fn a_ratio_is_the_median_of_paired_rounds_to_the_best_of_the_others() {
    let seen = outcome(vec![
        rounds("ours", "cpu us", &[1.0, 30.0, 4.0]),
        rounds("one", "cpu us", &[2.0, 10.0, 8.0]),
        // A better round, a worse median.
        rounds("other", "cpu us", &[1.0, 90.0, 90.0]),
    ]);
    let found = cpu(0.5).judge(1, &seen);
    assert_eq!(found.best.as_deref(), Some("one"));
    assert_eq!(found.rounds, [0.5, 3.0, 0.5]);
    assert_eq!((found.value, &found.verdict), (Some(0.5), &Verdict::Hit));
    assert_eq!((found.ours, found.theirs), (Some(4.0), Some(8.0)));
    assert_eq!(cpu(0.49).judge(1, &seen).verdict, Verdict::Miss);
}

#[test]
fn of_rates_the_highest_is_the_best() {
    let seen = outcome(vec![
        rounds("ours", "x/s", &[100.0]),
        rounds("one", "x/s", &[50.0]),
        rounds("other", "x/s", &[80.0]),
    ]);
    let goal = |least| {
        Goal::of("", "x/s", "ours")
            .to(["one", "other"])
            .at_least(least)
    };
    assert_eq!(goal(1.25).judge(1, &seen).value, Some(1.25));
    assert_eq!(goal(1.25).judge(1, &seen).verdict, Verdict::Hit);
    assert_eq!(goal(1.26).judge(1, &seen).verdict, Verdict::Miss);
}

#[test]
fn a_figure_alone_is_its_median_and_without_a_goal_it_is_told() {
    let seen = outcome(vec![rounds("ours", "p99 us", &[9.0, 1.0, 2.0])]);
    let goal = Goal::of("", "p99 us", "ours");
    let found = goal.clone().judge(1, &seen);
    assert_eq!((found.value, found.verdict), (Some(2.0), Verdict::Told));
    assert_eq!(
        goal.clone().at_most(2.0).judge(1, &seen).verdict,
        Verdict::Hit
    );
    assert_eq!(goal.at_least(2.1).judge(1, &seen).verdict, Verdict::Miss);
}

#[test]
fn rounds_pair_by_their_number_and_those_that_do_not_count_have_no_pair() {
    let mut ours = rounds("ours", "cpu us", &[1.0, 2.0, 3.0]);
    ours[0].failure = Some("the server was lost".to_owned());
    let seen = outcome(vec![ours, rounds("one", "cpu us", &[1.0, 1.0, 2.0])]);
    let found = cpu(1.0).judge(1, &seen);
    assert_eq!(found.rounds, [2.0, 1.5]);
    assert_eq!(found.value, Some(1.75));
    // Of another row.
    assert_eq!(cpu(1.0).judge(2, &seen).value, None);
}

fn reason(found: Finding) -> String {
    match found.verdict {
        Verdict::NotMeasured(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_not_measured_says_why() {
    let goal = || {
        Goal::of("", "cpu us", "ours, 1 MiB")
            .to(["one, 1 MiB"])
            .at_most(1.0)
    };
    let mut seen = outcome(vec![rounds("ours, 1 MiB", "cpu us", &[1.0])]);
    assert_eq!(reason(goal().judge(1, &seen)), "no round counts");
    seen.interrupted = true;
    assert_eq!(reason(goal().judge(1, &seen)), "interrupted");
    let mut lost = cell("one, 1 MiB", 0, "cpu us", 1.0);
    lost.failure = Some("the server was lost".to_owned());
    seen.cells.push(lost);
    assert_eq!(
        reason(goal().judge(1, &seen)),
        "one, 1 MiB: the server was lost"
    );
    seen.refusals.push(Refusal {
        row: 1,
        who: Some("one".to_owned()),
        why: "not installed".to_owned(),
    });
    assert_eq!(reason(goal().judge(1, &seen)), "one, 1 MiB: not installed");
    seen.refusals.push(Refusal::of_row(1, "needs root"));
    assert_eq!(reason(goal().judge(1, &seen)), "needs root");
}

#[test]
fn each_row_is_there_once_and_each_goal_has_its_own_name() {
    let rows = Row::all();
    assert!(rows.is_sorted_by(|one, next| one.number < next.number));
    for row in rows {
        let names: Vec<String> = row.goals().into_iter().map(|goal| goal.name).collect();
        let all = names.iter().enumerate();
        let twice = all.filter(|(at, name)| names[..*at].contains(name));
        assert_eq!(twice.count(), 0, "{names:?}");
        assert!(!names.is_empty());
    }
}
