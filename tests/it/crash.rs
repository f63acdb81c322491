//! Law 1, proved from outside: killed at any call which changes something that outlives it, and
//! started again, the driver leaves nothing behind and no interface without its probe.

use std::collections::BTreeMap;
use std::pin::pin;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use netclaim_tests::world::driver::{self, Driver};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::left::{ledger, left};
use netclaim_tests::world::tracer::{Call, Counts, Point, Trace};
use netclaim_tests::world::traffic::{self, Totals};
use netclaim_tests::world::{Worker, World};
use serde_json::Value;

use crate::steps::{delete, is_whole, nothing_left, pod, start, talk_to_each_other, up};

/// Worlds side by side: a driver that starts mostly waits.
const LANES: usize = 4;

/// Most points per phase and kind of call; of more, every k-th is taken.
const MOST: usize = 6;

/// When the driver is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// A pod's claim is prepared, and its sandbox started.
    Start,
    /// The sandbox is stopped, and the claim given back.
    Stop,
    /// The driver starts again after it was killed between an interface and its probe.
    Restart,
}

const PHASES: [Phase; 3] = [Phase::Start, Phase::Stop, Phase::Restart];

/// In [`Phase::Restart`], where the first life ended: the result of ADD is about to be kept.
const HALF_ATTACHED: Point = Point {
    call: Call::Rename,
    nth: 1,
};

#[test]
fn a_crash_at_any_call_leaves_nothing() -> Result<()> {
    test(|| async {
        let mut lanes = try_join_all((0..LANES).map(|_| Lane::up())).await?;
        let mut plan = Vec::new();
        for phase in PHASES {
            let calls = lanes[0].calls_in(phase).await?;
            plan.extend(points(&calls).into_iter().map(|point| (phase, point)));
            println!("note: {phase:?} has {calls:?}");
        }
        let plan = &plan;
        let lives = lanes.iter_mut().enumerate().map(|(at, lane)| async move {
            let mut died = Vec::new();
            for &(phase, point) in plan.iter().skip(at).step_by(LANES) {
                let lived = lane.live(phase, Some(point)).await;
                let log = || driver::last_words(&lane.world.workers[0]).unwrap_or_default();
                let lived = lived
                    .with_context(|| format!("killed in {phase:?} at {point:?}:\n{}", log()))?;
                died.extend(lived.died.then_some((phase, point.call)));
            }
            Ok::<_, anyhow::Error>(died)
        });
        let died: Vec<(Phase, Call)> = try_join_all(lives).await?.concat();
        report(plan, &died);
        // Background work differs from life to life, and some points may not be reached.
        ensure!(died.len() * 10 >= plan.len() * 8, "too few points were met");
        Ok(())
    })
}

/// Which points of each kind to take: all, or every k-th.
fn points(calls: &Counts) -> Vec<Point> {
    let of = |(&call, &count): (&Call, &usize)| {
        let step = count.div_ceil(MOST);
        (1..=count)
            .step_by(step)
            .map(move |nth| Point { call, nth })
    };
    calls.iter().flat_map(of).collect()
}

fn report(plan: &[(Phase, Point)], died: &[(Phase, Call)]) {
    let mut planned: BTreeMap<(Phase, Call), usize> = BTreeMap::new();
    for (phase, point) in plan {
        *planned.entry((*phase, point.call)).or_default() += 1;
    }
    for (at, count) in &planned {
        let met = died.iter().filter(|died| *died == at).count();
        println!("note: {:?} {:?}: killed at {met} of {count}", at.0, at.1);
    }
}

/// What came of one life of the driver.
struct Life {
    calls: Counts,
    died: bool,
}

/// A world with a driver, and a pod that stays while the driver dies again and again.
struct Lane {
    world: World,
    driver: Driver,
}

impl Lane {
    /// What a life does that nobody ends. On a busy machine it can be over before it is followed.
    async fn calls_in(&mut self, phase: Phase) -> Result<Counts> {
        for _ in 0..3 {
            let Life { calls, .. } = self.live(phase, None).await?;
            if !calls.is_empty() {
                return Ok(calls);
            }
        }
        bail!("nothing was met in {phase:?}")
    }

    async fn up() -> Result<Self> {
        let (world, driver) = up().await?;
        let steady = pod(&world)?;
        start(&world, &steady).await?;
        is_whole(&world).await?;
        Ok(Self { world, driver })
    }

    /// One pod's life, in a phase of which the driver is killed at `end`, if it gets there.
    async fn live(&mut self, phase: Phase, end: Option<Point>) -> Result<Life> {
        let world = &self.world;
        let worker = &world.workers[0];
        let before = left(world)?;
        let pod = pod(world)?;
        let start = Box::pin(async {
            start(world, &pod).await?;
            is_whole(world).await
        });
        let driver = &mut self.driver;
        let life = match phase {
            Phase::Start => through(worker, driver, &[end], start).await?,
            Phase::Restart => through(worker, driver, &[Some(HALF_ATTACHED), end], start).await?,
            Phase::Stop => {
                start.await?;
                talk_to_each_other(world).await?;
                let counted = counted(world, &pod).await?;
                let life = through(worker, driver, &[end], delete(world, &pod)).await?;
                keeps(worker, &pod, counted)?;
                life
            }
        };
        if phase != Phase::Stop {
            talk_to_each_other(world).await?;
            is_whole(world).await?;
            delete(world, &pod).await?;
        }
        is_whole(world).await?;
        nothing_left(world, &before).await?;
        Ok(life)
    }
}

/// Takes `step` while the driver lives one life after the other, each up to its end, and then one
/// more without an end. Returns the last of those that were followed.
async fn through(
    worker: &Worker,
    driver: &mut Driver,
    ends: &[Option<Point>],
    step: impl Future<Output = Result<()>>,
) -> Result<Life> {
    let mut step = pin!(step);
    let mut last = Counts::new();
    for end in ends {
        let trace = Trace::start(driver.pid()?, *end)?;
        let done = tokio::select! {
            done = &mut step => Some(done),
            ended = driver.end() => ended.map(|_| None)?,
        };
        last = trace.stop()?;
        let met = |end: &Point| last.get(&end.call).is_some_and(|met| *met >= end.nth);
        let died = end.as_ref().is_some_and(met);
        if died {
            // The tracer may have killed it just now, and its end takes a moment.
            driver.end().await?;
            *driver = Driver::start(worker, &driver::Options::default())?;
        }
        if let Some(done) = done {
            return done.map(|()| Life { calls: last, died });
        }
    }
    step.await?;
    let died = true;
    Ok(Life { calls: last, died })
}

/// What the kernel has counted of a pod's interface.
async fn counted(world: &World, pod: &Value) -> Result<Totals> {
    let worker = &world.workers[0];
    let interface = traffic::interface(&worker.node, worker.netns(pod).await?, "net1")?;
    Ok(interface.counters)
}

/// The ledger keeps the last counters of a pod that is gone: all of `counted`, and perhaps what
/// came after it.
fn keeps(worker: &Worker, pod: &Value, counted: Totals) -> Result<()> {
    let ledger = ledger(worker)?;
    let ended = ledger
        .ended()
        .filter(|ended| pod["metadata"]["uid"] == ended.attachment.pod.uid.as_str());
    let last = ended.last().context("the ledger forgot the pod")?.last;
    let kept = last.is_some_and(|last| {
        last.rx.packets >= counted.rx_packets && last.tx.packets >= counted.tx_packets
    });
    ensure!(kept, "{last:?} is kept of {counted:?}");
    Ok(())
}
