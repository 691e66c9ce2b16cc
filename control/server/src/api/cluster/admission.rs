//! How a server becomes a member: by a token, under an id that nobody had, at an address that answers.

use std::net::IpAddr;
use std::time::Duration;

use http::{Response, StatusCode};
use pal_resources::{Reason, Status};
use pal_store::{Member, Membership, Standing, StoreError};
use tokio::net::TcpStream;

use super::super::{Call, Unread, reply};
use super::refused;
use crate::Body;
use crate::auth::MASTERS;
use crate::join::{Admission, Application, MemberRecord, host_and_port};

/// How long the new server's address may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// `POST /cluster/servers`
pub(super) async fn admit(call: &Call<'_>, body: &mut Unread) -> Result<Response<Body>, Status> {
    by_token_of_a_server(call)?;
    let body = call.body(body).await?;
    let application: Application = serde_json::from_slice(&body)
        .map_err(|error| Status::bad_request(format!("the request to join cannot be read: {error}")))?;
    let member = application.member().map_err(Status::bad_request)?;
    let store = call.api.store();
    if !already_admitted(&store.membership(), &member)? {
        reachable(&member, call.from.ip()).await.map_err(Status::bad_request)?;
    }
    store.add_member(member.clone()).await.map_err(|error| match error {
        StoreError::Removed => Status::new(409, Reason::Conflict, removed(&member)),
        other => refused(&other),
    })?;
    tracing::info!(name = member.name, id = %member.id, address = member.address, "a server joins");
    let keys = call.api.ca.export().map_err(Status::internal)?;
    let members = store.membership().members.iter().map(|status| MemberRecord::from(&status.member)).collect();
    let admission = Admission { cluster: store.identity().cluster.clone(), keys, members };
    let body = serde_json::to_value(&admission).map_err(Status::internal)?;
    reply::value(StatusCode::CREATED, &body, call.accepted)
}

fn removed(member: &Member) -> String {
    format!(
        "server {} ({}) was removed from the cluster, and an id is never given again: join from an empty data directory",
        member.name, member.id
    )
}

/// A token is for one purpose.
fn by_token_of_a_server(call: &Call<'_>) -> Result<(), Status> {
    if call.user.is_in(MASTERS) || call.user.is_in("system:bootstrappers:server") {
        return Ok(());
    }
    let message = "this token lets a node join, not a server: `pal token create --role server` makes one for a server";
    Err(Status::new(403, Reason::Forbidden, message))
}

/// Whether this very server was admitted before and did not hear of it. Refuses names, addresses and ids of others.
fn already_admitted(membership: &Membership, new: &Member) -> Result<bool, Status> {
    let taken = |what: &str, of: &Member| {
        let message = format!(
            "{what} is taken by the server {} ({}): choose another, or, if that server is gone for good, remove it first by `pal server remove {}`",
            of.name, of.id, of.name
        );
        Err(Status::new(409, Reason::AlreadyExists, message))
    };
    for status in &membership.members {
        let known = &status.member;
        if known == new && status.standing == Standing::Learner {
            return Ok(true);
        }
        if known.id == new.id {
            return taken(&format!("the id {}", new.id), known);
        }
        if known.name == new.name {
            return taken(&format!("the name {:?}", new.name), known);
        }
        if known.address == new.address {
            return taken(&format!("the address {}", new.address), known);
        }
    }
    Ok(false)
}

/// Whether the others will find the new server where it says that it is.
async fn reachable(new: &Member, from: IpAddr) -> Result<(), String> {
    let Member { name, address, .. } = new;
    let advice = "say with --advertise HOST:PORT where the other servers reach it";
    let (host, _) = host_and_port(address)?;
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if loopback && !from.is_loopback() {
        return Err(format!("{name} says that it is at {address}, which is each machine's own address: {advice}"));
    }
    let why = match tokio::time::timeout(ANSWER_LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", ANSWER_LIMIT.as_secs()),
    };
    Err(format!("{name} says that it is at {address}, which cannot be reached from here ({why}): {advice}"))
}

#[cfg(test)]
mod tests {
    use pal_store::{MemberStatus, ServerId};

    use super::*;

    fn member(id: u64, name: &str, address: &str) -> Member {
        Member { id: ServerId(id), name: name.to_owned(), address: address.to_owned() }
    }

    #[test]
    fn nobody_takes_what_another_has_and_whoever_did_not_hear_the_answer_asks_again() {
        let status = |member: Member, standing| MemberStatus { member, standing, leads: false, progress: None };
        let membership = Membership {
            members: vec![
                status(member(1, "a", "a.example:1"), Standing::Voter),
                status(member(2, "b", "b.example:1"), Standing::Learner),
            ],
            ..Membership::default()
        };
        let check = |new: Member, expected: Result<bool, &str>| {
            let outcome = already_admitted(&membership, &new);
            match (&outcome, expected) {
                (Ok(known), Ok(expected)) => assert_eq!(*known, expected),
                (Err(status), Err(part)) => assert!(status.message.contains(part) && status.code == 409, "{status}"),
                _ => panic!("{new:?}: {outcome:?}"),
            }
        };
        check(member(3, "c", "c.example:1"), Ok(false));
        check(member(2, "b", "b.example:1"), Ok(true));
        // One that votes has a log, and without it must not come back.
        check(member(1, "a", "a.example:1"), Err("the id 0000000000000001"));
        check(member(2, "b", "other.example:1"), Err("the id"));
        check(member(3, "a", "c.example:1"), Err("pal server remove a"));
        check(member(3, "c", "a.example:1"), Err("the address a.example:1"));
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_refused_with_what_to_do() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let local: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(reachable(&member(1, "a", &address), local).await, Ok(()));
        let refused = reachable(&member(1, "a", &address), [192, 0, 2, 1].into()).await.expect_err("a refusal");
        assert!(refused.contains("each machine's own"), "{refused}");
        drop(listener);
        let refused = reachable(&member(1, "a", &address), local).await.expect_err("a refusal");
        assert!(refused.contains("--advertise"), "{refused}");
    }
}
