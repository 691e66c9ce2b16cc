//! A client's side of a stream, whatever it speaks.

use pal_resources::channel::Packet;
use tokio::sync::mpsc;

/// What is said to a client.
#[derive(Debug)]
pub(crate) enum Said {
    /// Bytes on a channel.
    Packet(Packet),
    /// How it ended: a `Status` as JSON.
    Ending(Vec<u8>),
}

/// Packets that wait in either direction.
const QUEUE: usize = 8;

/// The ends of the queues on the server's side.
pub(crate) struct Client {
    /// What the client sends.
    pub(crate) heard: mpsc::Receiver<Packet>,
    /// When this is dropped the client is told the end.
    pub(crate) said: mpsc::Sender<Said>,
}

/// The other ends, of what speaks the client's protocol.
pub(crate) struct Wire {
    pub(crate) heard: mpsc::Sender<Packet>,
    pub(crate) said: mpsc::Receiver<Said>,
}

/// Both ends of a pair of queues.
pub(crate) fn pair() -> (Client, Wire) {
    let (heard_sender, heard) = mpsc::channel(QUEUE);
    let (said_sender, said) = mpsc::channel(QUEUE);
    (Client { heard, said: said_sender }, Wire { heard: heard_sender, said })
}

/// The words of an ending, for protocols that have only words; none after success.
pub(crate) fn words(ending: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Told {
        #[serde(default)]
        status: String,
        #[serde(default)]
        message: String,
    }
    let told: Told = serde_json::from_slice(ending).ok()?;
    (told.status != "Success").then_some(told.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_has_words_unless_it_is_success() {
        let check = |ending: &str, expected: Option<&str>| assert_eq!(words(ending.as_bytes()).as_deref(), expected);
        check(r#"{"metadata":{},"status":"Success"}"#, None);
        check(r#"{"metadata":{},"status":"Failure","message":"no"}"#, Some("no"));
        check("", None);
    }
}
