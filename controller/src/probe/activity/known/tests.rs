use vdi_planner::fixture::noon;

use super::*;

/// Gateways that are asked at times, in seconds after noon, and what is known then. An answer takes a second.
struct Asking {
    known: Known,
    start: Instant,
    now: u64,
}

/// A replica at the port of this number, and what it says.
struct Said {
    port: u16,
    is_listed: bool,
    answer: Result<Answer, String>,
}

fn says(port: u16, replica: &str, last_input: &[(&str, f64)]) -> Said {
    let last_input = last_input.iter().map(|(uid, seconds)| ((*uid).to_owned(), *seconds)).collect();
    Said { port, is_listed: true, answer: Ok(Answer { replica: replica.to_owned(), is_over: false, last_input }) }
}

fn silent(port: u16) -> Said {
    Said { port, is_listed: true, answer: Err("no answer".to_owned()) }
}

#[test]
fn the_report_of_a_gateway_of_the_last_release_is_read_and_so_is_that_of_a_newer_one_that_says_more() {
    let recorded = include_str!("../../../../../tests/last-release/formats/activity.json");
    let mut report: serde_json::Value = serde_json::from_str(recorded).unwrap();
    for field in ["replica", "isNew"] {
        report[field] = "2026-01-01T12:00:00Z".into();
        let answer: Answer = serde_json::from_value(report.clone()).unwrap();
        assert_eq!((&*answer.replica, answer.is_over), ("2026-01-01T12:00:00Z", false));
        let last_input = HashMap::from([("7f3a9c1e-0000-4000-8000-000000000001".to_owned(), 1.5)]);
        assert_eq!(answer.last_input, last_input);
    }
}

impl Said {
    fn not_listed(self) -> Self {
        Self { is_listed: false, ..self }
    }

    fn over(self) -> Self {
        Self { answer: self.answer.map(|answer| Answer { is_over: true, ..answer }), ..self }
    }
}

impl Asking {
    fn new() -> Self {
        // So that there is a time before.
        Self { known: Known::default(), start: Instant::now() + Duration::from_secs(100_000), now: 0 }
    }

    /// Whether idleness is known from now on.
    fn at(&mut self, seconds: u64, said: impl IntoIterator<Item = Said>) -> bool {
        self.now = seconds + 1;
        let answered = self.start + Duration::from_secs(self.now);
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let answers = said.into_iter().map(|Said { port, is_listed, answer }| {
            (Place { address: address(port), path: "/activity".to_owned(), is_listed }, answer)
        });
        let answered = Answered {
            answers: answers.collect(),
            are_all: true,
            asked: answered - Duration::from_secs(1),
            answered: (answered, noon() + Duration::from_secs(self.now)),
        };
        let sessions = ["a", "b"].map(str::to_owned).into();
        self.known.take(answered, &sessions)
    }

    /// From when and until when there was no input, in seconds after noon.
    fn idle(&self, uid: &str) -> Option<(i64, i64)> {
        let seconds = |time: Timestamp| time.duration_since(noon()).as_secs();
        self.known.idle(uid).map(|idle| (seconds(idle.since), seconds(idle.as_of)))
    }
}

#[test]
fn the_last_input_through_any_gateway_counts() {
    let mut asking = Asking::new();
    assert!(asking.at(0, [says(1, "one", &[]), says(2, "two", &[])]));
    assert!(!asking.at(1000, [says(1, "one", &[("a", 300.0)]), says(2, "two", &[("a", 20.0), ("b", 7.0)])]));
    assert_eq!((asking.idle("a"), asking.idle("b")), (Some((981, 1000)), Some((994, 1000))));
    // What was known stays known, also when nobody says it again.
    asking.at(1005, [says(1, "one", &[("a", 305.0)]), says(2, "two", &[])]);
    assert_eq!((asking.idle("a"), asking.idle("b")), (Some((981, 1005)), Some((994, 1005))));
}

#[test]
fn no_session_is_idle_before_all_gateways_have_answered_once() {
    let mut asking = Asking::new();
    assert_eq!(asking.idle("a"), None);
    assert!(!asking.at(0, [says(1, "one", &[("a", 9000.0)]), silent(2)]));
    assert_eq!(asking.idle("a"), None, "the other may know better");
    assert!(asking.at(5, [says(1, "one", &[("a", 9005.0)]), says(2, "two", &[])]));
    assert_eq!(asking.idle("a"), Some((5, 5)), "there may have been a third before");
}

#[test]
fn while_a_gateway_does_not_answer_no_session_becomes_idle() {
    let mut asking = Asking::new();
    asking.at(0, [says(1, "one", &[]), says(2, "two", &[])]);
    for seconds in [5, 30, 55] {
        asking.at(seconds, [says(1, "one", &[]), silent(2)]);
        assert_eq!(asking.idle("a"), Some((0, 0)));
    }
    asking.at(58, [says(1, "one", &[]), says(2, "two", &[("a", 50.0)])]);
    assert_eq!(asking.idle("a"), Some((9, 58)), "it has seen everything meanwhile");
    asking.at(10_000, [says(1, "one", &[]), silent(2)]);
    assert_eq!(asking.idle("a").unwrap().1, 58, "it is still said to be there");
}

#[test]
fn a_gateway_that_was_killed_may_have_seen_something_until_it_is_sure_to_be_gone() {
    let mut asking = Asking::new();
    asking.at(0, [says(1, "one", &[]), says(2, "two", &[])]);
    asking.at(5, [says(1, "one", &[]), says(2, "two", &[("a", 1.0)])]);
    // It is not listed any more, and nobody answers there.
    asking.at(10, [says(1, "one", &[]), silent(2).not_listed()]);
    assert_eq!(asking.known.not_listed_any_more(&[]).len(), 1, "the one that answers");
    for seconds in [15, 60] {
        asking.at(seconds, [says(1, "one", &[])]);
        assert_eq!(asking.idle("a"), Some((5, 5)), "not known");
    }
    asking.at(65, [says(1, "one", &[])]);
    assert_eq!((asking.idle("a"), asking.idle("b")), (Some((66, 65)), Some((66, 65))));
    asking.at(70, [says(1, "one", &[("b", 0.0)])]);
    assert_eq!((asking.idle("a"), asking.idle("b")), (Some((66, 70)), Some((71, 70))));
}

#[test]
fn a_gateway_that_reported_everything_before_it_went_loses_nothing() {
    let mut asking = Asking::new();
    asking.at(0, [says(1, "one", &[]), says(2, "two", &[])]);
    asking.at(5, [says(1, "one", &[]), says(2, "two", &[("a", 4.0)])]);
    let places = asking.known.not_listed_any_more(&[Place {
        address: SocketAddr::from(([127, 0, 0, 1], 1)),
        path: String::new(),
        is_listed: true,
    }]);
    assert_eq!(places.len(), 1, "it is asked although it is not listed: what is open goes on for a while");
    asking.at(10, [says(1, "one", &[]), says(2, "two", &[("a", 1.0)]).not_listed()]);
    asking.at(15, [says(1, "one", &[]), says(2, "two", &[("a", 2.0)]).not_listed().over()]);
    for seconds in [20, 1000] {
        asking.at(seconds, [says(1, "one", &[])]);
        assert_eq!(asking.idle("a"), Some((14, seconds as i64)));
    }
}

#[test]
fn another_gateway_at_the_address_of_one_is_not_the_same() {
    let mut asking = Asking::new();
    asking.at(0, [says(1, "one", &[("a", 0.0)])]);
    asking.at(5, [says(1, "another", &[])]);
    assert_eq!(asking.idle("a"), Some((1, 0)), "what the first saw in between is not known");
    asking.at(60, [says(1, "another", &[])]);
    assert_eq!(asking.idle("a"), Some((61, 60)));
}

#[test]
fn a_stranger_at_the_address_of_a_former_gateway_is_ignored() {
    let mut asking = Asking::new();
    asking.at(0, [says(1, "one", &[]), says(2, "two", &[])]);
    asking.at(5, [says(1, "one", &[]), says(2, "somebody", &[("a", 0.0)]).not_listed()]);
    asking.at(10, [says(1, "one", &[])]);
    assert_eq!(asking.idle("a"), Some((0, 0)));
}

#[test]
fn an_invalid_answer_makes_no_session_idle_for_longer() {
    for nonsense in [f64::NAN, -5.0, -f64::INFINITY, -0.0] {
        let mut asking = Asking::new();
        asking.at(0, [says(1, "one", &[])]);
        asking.at(100, [says(1, "one", &[("a", nonsense)])]);
        assert_eq!(asking.idle("a"), Some((101, 100)), "{nonsense}");
    }
    for nonsense in [f64::INFINITY, f64::MAX, 1e18, 1e9] {
        let mut asking = Asking::new();
        asking.at(0, [says(1, "one", &[])]);
        asking.at(100, [says(1, "one", &[("a", nonsense)])]);
        assert_eq!(asking.idle("a"), Some((0, 100)), "{nonsense}");
    }
}

/// Whatever depends on it is written again with each change.
#[test]
fn the_time_of_the_last_input_is_in_whole_seconds_and_ignores_small_differences_of_the_clocks() {
    let mut known = Known::default();
    let (start, sessions) = (Instant::now() + Duration::from_secs(100_000), ["a".to_owned()].into());
    let mut idle_after = |passed: Duration, off: SignedDuration| {
        let answers = says(1, "one", &[]);
        let place = Place { address: SocketAddr::from(([127, 0, 0, 1], 1)), path: String::new(), is_listed: true };
        let now = (start + passed, noon() + passed + off);
        known.take(
            Answered { answers: vec![(place, answers.answer)], are_all: true, asked: now.0, answered: now },
            &sessions,
        );
        known.idle("a").unwrap().since
    };
    let since = idle_after(Duration::from_millis(300), SignedDuration::ZERO);
    assert_eq!(since, noon() + SignedDuration::from_secs(1));
    for (seconds, off) in [(5, 400), (10, -300), (15, 900), (20, -1)] {
        assert_eq!(idle_after(Duration::from_secs(seconds), SignedDuration::from_millis(off)), since);
    }
    let day = SignedDuration::from_hours(24);
    assert_eq!(
        idle_after(Duration::from_secs(25), day),
        since + day,
        "one of them has jumped, and nobody has got idle by that"
    );
}

#[test]
fn nothing_is_kept_of_sessions_and_gateways_that_are_gone() {
    let mut asking = Asking::new();
    for second in 0..1000 {
        let (replica, uid) = (format!("replica-{second}"), format!("session-{second}"));
        asking.at(second, [says(1, &replica, &[(&uid, 0.0), ("a", 0.0)])]);
    }
    assert_eq!(asking.known.last_input.len(), 1);
    assert!(asking.known.replicas.len() <= 60, "{}", asking.known.replicas.len());
    let gone = Answered { answers: vec![], are_all: true, asked: asking.start, answered: (asking.start, noon()) };
    asking.known.take(gone, &HashSet::new());
    assert!(asking.known.last_input.is_empty());
}

#[test]
fn an_answer_of_another_shape_is_none() {
    let parsed = |text| serde_json::from_str::<Answer>(text).is_ok();
    assert!(parsed(r#"{"replica": "2026-01-01T12:00:00Z", "isOver": true, "lastInput": {"a": 1}}"#));
    for odd in [
        r#"{"isOver": false, "lastInput": {}}"#,
        r#"{"replica": "r", "lastInput": {"a": null}}"#,
        r#"{"replica": "r", "lastInput": {"a": 1e999}}"#,
        r#"{"replica": "r", "lastInput": {"a": "soon"}}"#,
        r#"{"replica": "r", "lastOutput": {}}"#,
    ] {
        assert!(!parsed(odd), "{odd}");
    }
}
