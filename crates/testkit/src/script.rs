//! Scripts: who connects, who sends what, who receives what.
//!
//! ```text
//! accounts: juliet@capulet.example romeo@montague.example
//! Romeo connects as romeo@montague.example/orchard
//! Romeo sends:
//!     <message to='juliet@capulet.example'><body>Hello</body></message>
//! Juliet receives:
//!     <message from='{any}' to='juliet@capulet.example'><body>Hello</body></message>
//! Juliet receives nothing
//! ```
//!
//! Elements are indented and end at the next line that is not. `{any}` fits any attribute or text.
//! `$name` fits anything where it first stands and the same from then on, also in what is sent. Ids
//! under which messages are archived are compared only where the expected element has one, or after
//! `X receives exactly`.
//! `X receives` looks at the next stanza that came in, `X receives later` passes over others before
//! it, `X ignores what came` throws all away. `X signs in as ADDRESS from CLIENT` is a client that
//! tells its id (XEP-0388), `X has ended` and `X goes on` say whether the engine has asked its
//! session to end, `X is inactive` and `X is active` whether somebody looks at it. `X is cut` breaks a connection, `the server restarts` ends them all, `N seconds
//! pass` moves the clock, `the server does its chores` removes what has expired. `options:`, which
//! comes first, is followed by
//! module options as in the configuration file. A line that begins with `#` is a comment.

use std::collections::BTreeMap;

use stentor_engine::Settings;
use stentor_payload::xep0352_csi::ClientState;

use crate::matching::{Names, difference, exact_difference, filled_in, tree};
use crate::world::{Client, World};

/// Runs a script; panics with the line that failed.
pub async fn run(world: &mut World, script: &str) {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut names = Names::new();
    let mut lines = script.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let at = format!("line {}: {line}", number + 1);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        assert!(!line.starts_with(' '), "{at}\nan element without a sentence before it");
        let mut element = String::new();
        while let Some((_, more)) = lines.next_if(|(_, l)| l.starts_with(' ')) {
            element.push_str(more.trim());
            element.push('\n');
        }
        step(world, &mut clients, &mut names, line, element.trim(), &at).await;
    }
}

async fn step(
    world: &mut World,
    clients: &mut BTreeMap<String, Client>,
    names: &mut Names,
    line: &str,
    element: &str,
    at: &str,
) {
    if line == "options:" {
        assert!(clients.is_empty(), "{at}\noptions come first");
        *world = World::with(Settings::default(), element);
        return;
    }
    if let Some(accounts) = line.strip_prefix("accounts:") {
        for jid in accounts.split_whitespace() {
            world.add_account(jid).await;
        }
        return;
    }
    if line == "the server restarts" {
        clients.clear();
        return world.restart();
    }
    if line == "the server does its chores" {
        return world.engine.do_chores().await;
    }
    if let Some(seconds) = line.strip_suffix(" seconds pass") {
        return world.advance(seconds.parse().unwrap_or_else(|_| panic!("{at}")));
    }
    let (name, deed) = line.split_once(' ').unwrap_or_else(|| panic!("{at}"));
    if let Some(jid) = deed.strip_prefix("connects as ") {
        let client = world.connect(jid).await;
        clients.insert(name.to_owned(), client);
        return;
    }
    if let Some(whom) = deed.strip_prefix("signs in as ") {
        let (jid, client_id) = whom.split_once(" from ").unwrap_or_else(|| panic!("{at}"));
        let client = world.sign_in(jid, client_id, &[]).await;
        clients.insert(name.to_owned(), client);
        return;
    }
    if deed == "is cut" {
        let client = clients.remove(name).unwrap_or_else(|| panic!("{at}\nwho is {name}?"));
        return client.cut().await;
    }
    let client = clients.get_mut(name).unwrap_or_else(|| panic!("{at}\nwho is {name}?"));
    match deed {
        "sends:" => client.send(&filled_in(element, names)).await,
        "receives:" | "receives exactly:" => {
            let compare = if deed == "receives:" { difference } else { exact_difference };
            let Some(stanza) = client.receive() else {
                panic!("{at}\nnothing came; expected\n    {element}")
            };
            if let Some(words) = compare(element, &stanza, names) {
                panic!("{at}\n{words}");
            }
        }
        "receives later:" => {
            let _ = tree(element);
            if client.find(|s| difference(element, s, names).is_none()).is_none() {
                let all: Vec<String> = client
                    .receive_all()
                    .iter()
                    .map(|s| String::from_utf8_lossy(&s.to_bytes()).into_owned())
                    .collect();
                panic!("{at}\nexpected\n    {element}\nbut there came\n    {}", all.join("\n    "));
            }
        }
        "receives nothing" => {
            if let Some(stanza) = client.receive() {
                panic!("{at}\nthere came\n    {}", String::from_utf8_lossy(&stanza.to_bytes()));
            }
        }
        "has ended" => assert!(client.session().resource.outbox.closing().is_some(), "{at}"),
        "goes on" => assert!(client.session().resource.outbox.closing().is_none(), "{at}"),
        "is inactive" => client.indicate(ClientState::Inactive),
        "is active" => client.indicate(ClientState::Active),
        "ignores what came" => drop(client.receive_all()),
        _ => panic!("{at}\nno such deed"),
    }
}
