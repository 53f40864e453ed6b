use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    pin::pin,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{actions::Users, arena::Arena, clock, length::Length, life::Life, storm::Storm, stream::Cut};
use crate::{audit, stack::ControllerLaunch, test_namespace::TestNamespace};

/// What happens to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// It is killed after each write, before it sees the response; then after every second write, every third ... of everything
    /// that can happen to a session.
    KilledAfterWrites,
    /// The API server and etcd crash.
    Servers,
    /// Its watches are dropped, or expire.
    Watches,
    /// Its requests are refused, fail, are slow, or lose their response.
    Storms,
    /// Two replicas, one of them the leader, crash in turn and come back.
    TwoControllers,
    /// No faults, but users are active.
    Users,
    /// All faults of watches and requests.
    Everything,
    /// Its clock jumps a day ahead and back.
    Clock,
    /// The `Date` of the API server's responses is a day ahead, then a day back.
    Dates,
}

impl Scenario {
    pub const ALL: [Self; 9] = [
        Self::KilledAfterWrites,
        Self::Servers,
        Self::Watches,
        Self::Storms,
        Self::TwoControllers,
        Self::Users,
        Self::Everything,
        Self::Clock,
        Self::Dates,
    ];

    /// Scenarios that the controller doesn't survive yet.
    pub const NOT_YET: [Self; 0] = [];

    fn name(self) -> &'static str {
        match self {
            Self::KilledAfterWrites => "killed-after-writes",
            Self::Servers => "servers",
            Self::Watches => "watches",
            Self::Storms => "storms",
            Self::TwoControllers => "two-controllers",
            Self::Users => "users",
            Self::Everything => "everything",
            Self::Clock => "clock",
            Self::Dates => "dates",
        }
    }

    async fn play(self, arena: &Arena, namespace: &TestNamespace, seed: u64, length: Length) -> Result<()> {
        let stage = Stage { arena, namespace, seed, length };
        match self {
            Self::KilledAfterWrites => stage.killed_after_writes().await,
            Self::Servers => stage.beside_users(stage.servers_crash()).await,
            Self::Watches => stage.beside_users(stage.storms(&Storm::OF_WATCHES)).await,
            Self::Storms => stage.beside_users(stage.storms(&Storm::OF_REQUESTS)).await,
            Self::TwoControllers => stage.two_controllers().await,
            Self::Users => stage.beside_users(stage.nothing()).await,
            Self::Everything => {
                let all = [&Storm::OF_REQUESTS[..], &Storm::OF_WATCHES].concat();
                stage.beside_users(stage.storms(&all)).await
            }
            Self::Clock => clock::own_clock_jumps(arena, namespace, length).await,
            Self::Dates => clock::dates_jump(arena, namespace, length).await,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == text);
        found.ok_or_else(|| format!("there are {}", names()))
    }
}

impl Arena {
    /// Plays a scenario with the faults of a seed. Returns the number of faults.
    pub async fn play(&self, scenario: Scenario, seed: u64, length: Length) -> Result<usize> {
        let mut turn = self.turn.lock().await;
        *turn += 1;
        let before = self.proxy.faults();
        let play = async {
            let namespace = TestNamespace::new(&self.stack, &format!("{scenario}-{turn}")).await?;
            let start = audit::end(&self.stack.cluster)?;
            let result = scenario.play(self, &namespace, seed, length).await;
            self.proxy.calm();
            self.clear(&namespace).await?;
            result?;
            self.asked_within_reason(&namespace, start)
        };
        let logs = self.stack.cluster.logs();
        play.await.with_context(|| {
            let long = if length == Length::Long { " --long" } else { "" };
            format!(
                "{scenario} failed; `cargo xtask faults --scenario {scenario} --seed {seed}{long}` has the same faults \
                 again; logs are in {}",
                logs.display()
            )
        })?;
        Ok(self.proxy.faults() - before)
    }
}

/// What a scenario needs.
struct Stage<'a> {
    arena: &'a Arena,
    namespace: &'a TestNamespace,
    seed: u64,
    length: Length,
}

impl Stage<'_> {
    fn rng(&self) -> Rng {
        Rng::with_seed(self.seed)
    }

    fn users(&self) -> Users<'_> {
        Users::new(self.namespace, self.seed, self.length)
    }

    /// Users are active during the faults, and for a moment after them.
    async fn beside_users(&self, faults: impl Future<Output = Result<()>>) -> Result<()> {
        let controller = self.arena.controller()?;
        let mut users = self.users();
        users.act(self.length, faults).await?;
        self.arena.check(self.namespace, vec![controller], users.lasting().collect(), self.length).await
    }

    /// Plays each kind of fault, in an order that the seed determines.
    async fn storms(&self, kinds: &[Storm]) -> Result<()> {
        let mut rng = self.rng();
        let mut kinds = kinds.to_vec();
        rng.shuffle(&mut kinds);
        let before = self.arena.proxy.faults();
        for storm in kinds {
            self.arena.proxy.storm(storm, rng.u64(..));
            let end = Instant::now() + self.length.storm().mul_f64(0.5 + rng.f64());
            while Instant::now() < end {
                sleep(Duration::from_millis(rng.u64(50..500))).await;
                match storm {
                    Storm::WatchesDrop => self.arena.proxy.cut_watches(Cut::Drop),
                    Storm::WatchesExpire => self.arena.proxy.cut_watches(Cut::Expire),
                    _ => {}
                }
            }
        }
        self.arena.proxy.calm();
        ensure!(self.arena.proxy.faults() > before, "no fault has hit anything");
        Ok(())
    }

    async fn nothing(&self) -> Result<()> {
        sleep(self.length.storm() * 2).await;
        Ok(())
    }

    async fn servers_crash(&self) -> Result<()> {
        let [etcd, apiserver, ..] = self.arena.stack.cluster.servers();
        let mut rng = self.rng();
        let mut servers = [etcd, apiserver].repeat(self.length.either(1, 4));
        rng.shuffle(&mut servers);
        for server in servers {
            sleep(Duration::from_millis(rng.u64(500..2000))).await;
            server.crash(rng.u32(0..3))?;
            sleep(Duration::from_millis(500)).await;
            self.arena.wait_until_up().await?;
        }
        self.touch_pods().await
    }

    /// Unlike a kubelet, KWOK doesn't retry when a request about a pod fails. It looks again at a pod that changes.
    async fn touch_pods(&self) -> Result<()> {
        let pods = &self.namespace.pods;
        let touch = Patch::Merge(json!({ "metadata": { "annotations": { "touched": "yes" } } }));
        for pod in pods.list_metadata(&ListParams::default()).await? {
            match pods.patch_metadata(&pod.name_any(), &PatchParams::default(), &touch).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                result => drop(result?),
            }
        }
        Ok(())
    }

    /// Two replicas, one of them the leader. Killing the leader costs the duration of a lease.
    async fn two_controllers(&self) -> Result<()> {
        let start = |name| {
            let launch = self.arena.stack.controller_launch()?;
            self.arena.launch(ControllerLaunch { name, flags: Vec::new(), ..launch })
        };
        let names = ["replica-a", "replica-b"];
        let mut replicas = VecDeque::from([start(names[0])?, start(names[1])?]);
        let mut users = self.users();
        let crashes = async {
            // In a short run, the second is killed last, when it is the leader.
            for round in 0..self.length.either(2, 10) {
                sleep(self.length.storm() * 2).await;
                replicas.pop_front().context("no replica")?.kill()?;
                replicas.push_back(start(names[round % 2])?);
            }
            Ok(())
        };
        users.act(self.length, crashes).await?;
        self.arena.check(self.namespace, replicas.into(), users.lasting().collect(), self.length).await
    }

    async fn killed_after_writes(&self) -> Result<()> {
        // A short run plays the first step, where each controller has to continue another's work, and one other step.
        let mut rng = self.rng();
        let short = [1, rng.usize(2..10)];
        let all = 1..;
        let steps: Vec<usize> = self.length.either(short.to_vec(), all.take(100).collect());
        let mut stay = BTreeSet::new();
        for step in steps {
            let life = Life { namespace: self.namespace, prefix: format!("every-{step}") };
            let writes = self.killed_after_every(step, &life).await;
            stay.insert(life.stays());
            if writes.with_context(|| format!("killed after every {step} writes"))?.is_empty() {
                break;
            }
        }
        let controller = self.arena.controller()?;
        self.arena.check(self.namespace, vec![controller], stay, self.length).await
    }

    /// Returns the writes after which the controller was killed.
    async fn killed_after_every(&self, step: usize, life: &Life<'_>) -> Result<Vec<String>> {
        let mut writes = Vec::new();
        let mut life = pin!(life.whole());
        let result = loop {
            let trap = self.arena.proxy.trap(step);
            let controller = self.arena.controller()?;
            let over = tokio::select! {
                over = &mut life => Some(over),
                write = trap => {
                    writes.extend(write);
                    None
                }
            };
            controller.kill()?;
            if let Some(over) = over {
                break over;
            }
        };
        self.arena.proxy.calm();
        result.with_context(|| format!("it was killed after {writes:#?}"))?;
        Ok(writes)
    }
}
