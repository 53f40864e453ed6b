//! Short runs of the fault scenarios for the controller. `cargo xtask faults` plays longer ones.

use anyhow::Result;
use vdi_tests::{
    faults::{Arena, Length, Scenario},
    shared::{Shared, directory},
};

static ARENA: Shared<Arena> = Shared::new();

/// A fixed seed, so that a failure can be repeated.
fn play(scenario: Scenario) -> Result<()> {
    if Scenario::NOT_YET.contains(&scenario) {
        return Ok(());
    }
    ARENA.with(
        async || Arena::start(&directory()).await,
        async |arena| {
            let faults = arena.play(scenario, 1, Length::Short).await?;
            println!("{scenario}: {faults} faults");
            Ok(())
        },
    )
}

#[test]
fn sessions_survive_a_controller_that_is_killed_after_any_write() -> Result<()> {
    play(Scenario::KilledAfterWrites)
}

#[test]
fn sessions_survive_crashes_of_etcd_and_of_the_api_server() -> Result<()> {
    play(Scenario::Servers)
}

#[test]
fn sessions_survive_watches_that_end_or_expire() -> Result<()> {
    play(Scenario::Watches)
}

#[test]
fn sessions_survive_requests_that_fail_are_slow_or_lose_their_answer() -> Result<()> {
    play(Scenario::Storms)
}

#[test]
fn sessions_survive_two_controllers_at_once() -> Result<()> {
    play(Scenario::TwoControllers)
}

#[test]
fn sessions_survive_their_users() -> Result<()> {
    play(Scenario::Users)
}

#[test]
fn sessions_survive_their_users_and_everything_else() -> Result<()> {
    play(Scenario::Everything)
}

#[test]
fn sessions_survive_a_clock_that_jumps_by_a_day() -> Result<()> {
    play(Scenario::Clock)
}

#[test]
fn sessions_survive_an_api_server_whose_clock_is_a_day_off() -> Result<()> {
    play(Scenario::Dates)
}
