//! Compares the compiled policy with the same code built natively, on random requests.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    panic::{catch_unwind, resume_unwind},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use serde_json::json;
use vdi_tests::policy::{
    Capabilities, Played, PolicyHost, PolicyResponse, invariants, native,
    random::{Material, Sample},
};
use wapc::WapcHost;

static HOST: LazyLock<PolicyHost> = LazyLock::new(|| PolicyHost::load(vdi_release::policy::build().unwrap()).unwrap());

/// The number of requests per run.
const COUNT: u64 = 100_000;
/// The number of requests per instance. Creating an instance takes longer than a request.
const BATCH: u64 = 100;

#[test]
fn random_requests_get_the_same_answer_with_and_without_wasm_and_no_answer_breaks_a_promise() {
    let material = Material::load().unwrap();
    // The seed that a failure prints repeats that request.
    if let Ok(seed) = std::env::var("SEED") {
        let sample = material.sample(seed.parse().unwrap());
        println!("{}\n{:?}", String::from_utf8_lossy(&sample.payload), sample.host);
        return println!("{:?}", compare(&sample, &Compiled::new()).unwrap());
    }
    let (first, asked) = (fastrand::u64(..), AtomicU64::new(0));
    let tally = Mutex::<BTreeMap<String, u64>>::default();
    let work = || {
        while let batch @ ..COUNT = asked.fetch_add(BATCH, Relaxed) {
            let compiled = Compiled::new();
            for seed in (batch..batch + BATCH).map(|number| first.wrapping_add(number)) {
                let answer = compare(&material.sample(seed), &compiled);
                let answer = answer.unwrap_or_else(|why| panic!("{why}\nSEED={seed} repeats it"));
                *tally.lock().unwrap().entry(kind(&answer)).or_default() += 1;
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, Into::into);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
    });
    let tally = tally.into_inner().unwrap();
    println!("{tally:?}");
    // Otherwise the requests wouldn't cover every kind of answer.
    for kind in ["accepted", "mutated", "400", "403", "422", "500"] {
        assert!(tally.get(kind).is_some_and(|count| *count > COUNT / 100), "{tally:?}");
    }
}

fn kind(answer: &PolicyResponse) -> String {
    match (answer.code, &answer.mutated_object) {
        (Some(code), _) => code.to_string(),
        (None, Some(_)) => "mutated".to_owned(),
        (None, None) => "accepted".to_owned(),
    }
}

fn compare(sample: &Sample, compiled: &Compiled) -> Result<PolicyResponse, String> {
    let native = |payload: &[u8]| native::validate_raw(payload, &sample.host).unwrap();
    let expected = catch_unwind(|| native(&sample.payload)).map_err(|_| "it panics natively")?;
    let answer = compiled.validate(sample)?;
    if answer != expected {
        return Err(format!("natively {expected:?}\ncompiled {answer:?}"));
    }
    invariants::check(&sample.payload, &json!(expected), |payload| json!(native(payload)))?;
    Ok(expected)
}

/// An instance, and the host's answers to its current request.
struct Compiled {
    instance: WapcHost,
    answers: Arc<Current>,
}

#[derive(Default)]
struct Current(Mutex<Played>);

impl Capabilities for Current {
    fn call(&self, capability: &str, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.0.lock().unwrap().call(capability, request)
    }
}

impl Compiled {
    fn new() -> Self {
        let answers = Arc::new(Current::default());
        Self { instance: HOST.instance(Some(answers.clone())).unwrap(), answers }
    }

    fn validate(&self, sample: &Sample) -> Result<PolicyResponse, String> {
        *self.answers.0.lock().unwrap() = sample.host.clone();
        let answer = self.instance.call("validate", &sample.payload).map_err(|error| error.to_string())?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }
}
