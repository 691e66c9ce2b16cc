//! What is done to a cluster of three or more servers while it is under load. Each leaves it whole.

use std::time::Duration;

use pal_tests::{Link, Load, Seed, Servers};

use super::SOME;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    KillLeader,
    KillFollower,
    KillAll,
    PauseLeader,
    PauseFollower,
    /// The leader alone on one side.
    CutLeaderOff,
    /// What the leader sends is lost, what is sent to it arrives.
    MuteLeader,
    /// What is sent to the leader is lost, what it sends arrives.
    DeafenLeader,
    /// Two servers cannot reach each other; all others reach both.
    Bridge,
    /// The connections of all pairs end and are refused for a while.
    RefuseAll,
    SlowLinks,
    RestartEach,
    ReplaceOne,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::KillAll,
        Self::PauseLeader,
        Self::PauseFollower,
        Self::CutLeaderOff,
        Self::MuteLeader,
        Self::DeafenLeader,
        Self::Bridge,
        Self::RefuseAll,
        Self::SlowLinks,
        Self::RestartEach,
        Self::ReplaceOne,
    ];

    /// Does it, waits until the cluster goes on in spite of it, takes it back, and waits until the cluster goes on.
    pub async fn inflict(self, servers: &mut Servers, load: &Load, seed: &mut Seed) {
        load.turn();
        let leader = servers.leader().await;
        let others: Vec<usize> = (0..servers.all().len()).filter(|place| *place != leader).collect();
        let follower = others[seed.below(others.len())];
        match self {
            Self::KillLeader => kill(servers, load, leader).await,
            Self::KillFollower => kill(servers, load, follower).await,
            Self::KillAll => kill_all(servers).await,
            Self::PauseLeader => pause(servers, load, leader, &others).await,
            Self::PauseFollower => {
                let rest: Vec<usize> = (0..servers.all().len()).filter(|place| *place != follower).collect();
                pause(servers, load, follower, &rest).await;
            }
            Self::CutLeaderOff | Self::MuteLeader | Self::DeafenLeader => {
                self.cut(servers, leader, &others);
                servers.leader_among(&others).await;
                load.goes_on(SOME).await;
            }
            Self::Bridge => {
                let (one, other) = (servers.all()[leader].ip, servers.all()[follower].ip);
                servers.network().set_both(one, other, Link::Silent);
                load.goes_on(SOME).await;
            }
            Self::RefuseAll => refuse_all(servers, load).await,
            Self::SlowLinks => {
                let all = servers.ips(&(0..servers.all().len()).collect::<Vec<_>>());
                servers.network().part(&all, &all, Link::Slow(Duration::from_millis(20)));
                load.goes_on(SOME).await;
            }
            Self::RestartEach => restart_each(servers, load).await,
            Self::ReplaceOne => replace(servers, seed.below(servers.all().len())).await,
        }
        if servers.is_relayed() {
            servers.network().heal();
        }
        load.goes_on(SOME).await;
    }

    fn cut(self, servers: &Servers, leader: usize, others: &[usize]) {
        let (leader, network) = (servers.all()[leader].ip, servers.network());
        for other in servers.ips(others) {
            match self {
                Self::MuteLeader => network.set(leader, other, Link::Silent),
                Self::DeafenLeader => network.set(other, leader, Link::Silent),
                _ => network.set_both(leader, other, Link::Silent),
            }
        }
    }
}

async fn kill(servers: &mut Servers, load: &Load, place: usize) {
    servers.kill(place).await;
    load.goes_on(SOME).await;
    servers.start(place);
    servers.ready(place).await;
}

async fn kill_all(servers: &mut Servers) {
    let all = 0..servers.all().len();
    for place in all.clone() {
        servers.kill(place).await;
    }
    for place in all.clone() {
        servers.start(place);
    }
    for place in all {
        servers.ready(place).await;
    }
}

/// The others go on without it, with a leader among them.
async fn pause(servers: &Servers, load: &Load, place: usize, others: &[usize]) {
    servers.pause(place).await;
    servers.leader_among(others).await;
    load.goes_on(SOME).await;
    servers.resume(place).await;
}

async fn refuse_all(servers: &Servers, load: &Load) {
    let all = servers.ips(&(0..servers.all().len()).collect::<Vec<_>>());
    servers.network().part(&all, &all, Link::Refused);
    load.is_stuck().await;
}

/// Stops each in turn as an operator does, the next when the one before serves again.
pub async fn restart_each(servers: &mut Servers, load: &Load) {
    for place in 0..servers.all().len() {
        servers.stop(place).await;
        load.goes_on(SOME).await;
        servers.start(place);
        servers.ready(place).await;
    }
}

/// Joins a new server, and takes one out when the new one votes.
pub async fn replace(servers: &mut Servers, place: usize) {
    let count = servers.all().len();
    servers.join().await;
    servers.until_voters(count + 1).await;
    servers.remove(place).await;
    servers.until_voters(count).await;
}
