//! The servers as they are listed, removed, and made to lead.

use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use pal_resources::{Reason, Status};
use pal_store::{MemberStatus, Membership, ServerId, Standing};
use serde_json::{Value, json};

use super::super::{Call, reply};
use super::refused;
use crate::Body;

/// A member that lacks fewer log entries than this is up to date: some are always on their way.
const BEHIND: u64 = 1_000;

/// The leader hears of every server that lives within this time.
const HEARD_LIMIT: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// `GET /cluster/servers`
pub(super) fn list(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let store = call.api.store();
    let membership = store.membership();
    let mut members: Vec<&MemberStatus> = membership.members.iter().collect();
    members.sort_by(|one, other| one.member.name.cmp(&other.member.name));
    let items: Vec<Value> = members.into_iter().map(|status| item(&membership, status)).collect();
    let body = json!({
        "kind": "ServerList", "apiVersion": "palinurus.dev/v1",
        "cluster": store.identity().cluster,
        "answeredBy": membership.me.to_string(),
        "leader": membership.leader.map(|id| id.to_string()),
        "items": items,
    });
    reply::value(StatusCode::OK, &body, call.accepted)
}

fn item(membership: &Membership, status: &MemberStatus) -> Value {
    let member = &status.member;
    let mut item = json!({
        "name": member.name, "id": member.id.to_string(), "address": member.address,
        "role": role(membership, status), "status": health(membership, status),
    });
    if let Some(progress) = status.progress {
        item["matchedIndex"] = progress.matched.into();
    }
    item
}

fn role(membership: &Membership, status: &MemberStatus) -> &'static str {
    match status.standing {
        Standing::Learner => "learner",
        Standing::Voter if membership.leader == Some(status.member.id) => "leader",
        Standing::Voter => "follower",
    }
}

/// How a member is, as far as the server that was asked can tell: only the one that leads hears of all.
fn health(membership: &Membership, status: &MemberStatus) -> String {
    if status.member.id == membership.me {
        return if membership.leader.is_some() { "ready" } else { "without a leader" }.to_owned();
    }
    match status.progress {
        None => "unknown".to_owned(),
        Some(progress) if !progress.active => "unreachable".to_owned(),
        Some(progress) => match membership.applied.saturating_sub(progress.matched) {
            behind if behind > BEHIND || status.standing == Standing::Learner => {
                format!("catching up, {behind} changes behind")
            }
            _ => "ready".to_owned(),
        },
    }
}

/// `DELETE /cluster/servers/NAME`; with `dryRun=All` it only tells whether the others could go on.
pub(super) async fn remove(call: &Call<'_>, name: &str) -> Result<Response<Body>, Status> {
    let store = call.api.store();
    let started = Instant::now();
    let (membership, found) = loop {
        let membership = store.membership();
        let found = find(&membership, name)?.clone();
        only_the_leader(&membership)?;
        match removable(&membership, &found) {
            Ok(()) => break (membership, found),
            Err(status) if started.elapsed() > HEARD_LIMIT => return Err(status),
            // One that has just come to lead has heard of nobody yet.
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    };
    if call.query.get("dryRun").is_some() {
        return reply::value(StatusCode::OK, &item(&membership, &found), call.accepted);
    }
    if found.member.id == membership.me {
        let message =
            format!("{} leads: have another lead first, by `pal server transfer-leader NAME`", found.member.name);
        return Err(Status::new(409, Reason::Conflict, message));
    }
    store.remove_member(found.member.id).await.map_err(|error| refused(&error))?;
    reply::value(StatusCode::OK, &item(&membership, &found), call.accepted)
}

/// `POST /cluster/servers/NAME/lead`
pub(super) async fn lead(call: &Call<'_>, name: &str) -> Result<Response<Body>, Status> {
    let store = call.api.store();
    let membership = store.membership();
    let found = find(&membership, name)?.clone();
    store.transfer_leader(found.member.id).await.map_err(|error| refused(&error))?;
    reply::value(StatusCode::OK, &item(&store.membership(), &found), call.accepted)
}

/// The member of that name or id.
fn find<'a>(membership: &'a Membership, name: &str) -> Result<&'a MemberStatus, Status> {
    let id = name.parse::<ServerId>().ok();
    let named = |status: &&MemberStatus| status.member.name == name || Some(status.member.id) == id;
    membership.members.iter().find(named).ok_or_else(|| {
        let known: Vec<&str> = membership.members.iter().map(|status| status.member.name.as_str()).collect();
        let message = format!("servers {name:?} not found: the servers are {}", known.join(", "));
        Status::new(404, Reason::NotFound, message)
    })
}

/// Only the leader knows who answers.
fn only_the_leader(membership: &Membership) -> Result<(), Status> {
    if membership.leader == Some(membership.me) {
        return Ok(());
    }
    let leader = membership.members.iter().find(|status| Some(status.member.id) == membership.leader);
    let message = match leader {
        Some(leader) => format!("servers are removed by the one that leads: ask https://{}", leader.member.address),
        None => "there is no leader, so no server can be removed: bring back as many as make a majority, or, where they are gone for good, restore a backup (pal snapshot restore)".to_owned(),
    };
    Err(Status::unavailable(message))
}

/// Refuses what would leave the cluster without a majority that answers, or without a leader.
fn removable(membership: &Membership, target: &MemberStatus) -> Result<(), Status> {
    let refuse = |message: String| Err(Status::new(409, Reason::Conflict, message));
    let name = &target.member.name;
    let voters: Vec<&MemberStatus> =
        membership.members.iter().filter(|status| status.standing == Standing::Voter).collect();
    if target.standing == Standing::Learner {
        return Ok(());
    }
    if voters.len() < 2 {
        return refuse(format!(
            "{name} is the only server: a cluster is ended by stopping it and removing its data directory"
        ));
    }
    let left = voters.iter().filter(|status| status.member.id != target.member.id);
    let (mut count, mut silent) = (0_usize, Vec::new());
    for status in left {
        count += 1;
        if status.member.id != membership.me && !status.progress.is_some_and(|progress| progress.active) {
            silent.push(status.member.name.as_str());
        }
    }
    let majority = count / 2 + 1;
    if count - silent.len() >= majority {
        return Ok(());
    }
    refuse(format!(
        "without {name} too few servers would answer to go on: {} of {count}, and {majority} are needed. Bring back {}, or remove it first",
        count - silent.len(),
        silent.join(", "),
    ))
}

#[cfg(test)]
mod tests {
    use pal_store::{Member, Progress};

    use super::*;

    /// Members by a word each: the name, `!` for one that does not answer, `+` for a learner. The first one leads.
    fn cluster(words: &str) -> Membership {
        let members: Vec<MemberStatus> = words
            .split(' ')
            .zip(1_u64..)
            .map(|(word, id)| MemberStatus {
                member: Member {
                    id: ServerId(id),
                    name: word.trim_end_matches(['!', '+']).to_owned(),
                    address: format!("{id}.example:6443"),
                },
                standing: if word.ends_with('+') { Standing::Learner } else { Standing::Voter },
                leads: id == 1,
                progress: Some(Progress { matched: 10, active: !word.ends_with('!') }),
            })
            .collect();
        Membership { me: ServerId(1), leader: Some(ServerId(1)), members, applied: 12, revision: Default::default() }
    }

    #[test]
    fn a_server_is_removed_only_while_the_others_can_go_on() {
        let check = |words: &str, name: &str, expected: Result<(), &str>| {
            let membership = cluster(words);
            let outcome = find(&membership, name).and_then(|target| removable(&membership, target));
            match (&outcome, expected) {
                (Ok(()), Ok(())) => {}
                (Err(status), Err(part)) => assert!(status.message.contains(part), "{words}: {status}"),
                _ => panic!("{words} without {name}: {outcome:?}"),
            }
        };
        check("a b c", "b", Ok(()));
        check("a b! c", "b", Ok(()));
        check("a b c!", "b", Err("1 of 2, and 2 are needed. Bring back c"));
        check("a b", "b", Ok(()));
        check("a b!", "b", Ok(()));
        check("a b c! d e", "b", Ok(()));
        check("a b c! d! e", "b", Err("2 of 4, and 3 are needed"));
        check("a", "a", Err("the only server"));
        check("a b+", "b", Ok(()));
        check("a b+", "a", Err("the only server"));
        check("a b c", "a", Ok(()));
        check("a b! c", "a", Err("Bring back b"));
        check("a b c", "x", Err("the servers are a, b, c"));
        check("a b c", "0000000000000002", Ok(()));
    }

    #[test]
    fn a_list_says_who_leads_and_who_is_away() {
        let membership = cluster("a b! c+ d");
        let told: Vec<(&str, String)> =
            membership.members.iter().map(|status| (role(&membership, status), health(&membership, status))).collect();
        let expected = [
            ("leader", "ready"),
            ("follower", "unreachable"),
            ("learner", "catching up, 2 changes behind"),
            ("follower", "ready"),
        ];
        assert_eq!(told, expected.map(|(role, status)| (role, status.to_owned())));
        let alone = Membership { leader: None, ..membership };
        assert_eq!(health(&alone, &alone.members[0]), "without a leader");
    }
}
