//! RFC 6121 Appendix A end to end: each of nine states, four events, two directions, driven by two
//! sessions and looked at from both sides, before and after a restart.

#![allow(clippy::unwrap_used)]

use stentor_engine::presence::table::{Direction, Event, State};
use stentor_jid::BareJid;
use stentor_stanza::{Kind, PresenceType, Stanza};
use stentor_testkit::{Client, World};

const EVENTS: [Event; 4] =
    [Event::Subscribe, Event::Unsubscribe, Event::Subscribed, Event::Unsubscribed];
const JULIET: &str = "juliet@capulet.example";
const ROMEO: &str = "romeo@montague.example";

/// One side's view: what the client got, in order.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// Subscription stanzas.
    events: Vec<&'static str>,
    /// Pushes as (subscription, ask).
    pushes: Vec<(String, bool)>,
    /// Whether the other's presence came, available or not.
    presences: Vec<&'static str>,
}

#[tokio::test]
async fn every_state_event_and_direction_from_both_sides() {
    for state in State::ALL {
        for event in EVENTS {
            for direction in [Direction::Outbound, Direction::Inbound] {
                check(state, event, direction).await;
            }
        }
    }
}

async fn check(state: State, event: Event, direction: Direction) {
    let at = format!("{state:?} {event:?} {direction:?}");
    let mut world = World::new();
    world.add_account(JULIET).await;
    world.add_account(ROMEO).await;
    let mut juliet = online(&world, JULIET).await;
    let mut romeo = online(&world, ROMEO).await;
    bring(state, &mut juliet, &mut romeo).await;
    assert_eq!(states(&world).await, (state, mirror(state)), "{at}: beginning");
    drop((juliet.receive_all(), romeo.receive_all()));

    // From the sender's side, whoever that is.
    let (sender_state, receiver_state) = match direction {
        Direction::Outbound => (state, mirror(state)),
        Direction::Inbound => (mirror(state), state),
    };
    let expected = expected(sender_state, receiver_state, event);
    let (sender, receiver, to) = match direction {
        Direction::Outbound => (&mut juliet, &mut romeo, ROMEO),
        Direction::Inbound => (&mut romeo, &mut juliet, JULIET),
    };
    sender.send(&format!("<presence type='{}' to='{to}'/>", name(event))).await;
    assert_eq!(seen(sender), expected.sender, "{at}: the sender");
    assert_eq!(seen(receiver), expected.receiver, "{at}: the receiver");

    let ends = match direction {
        Direction::Outbound => (expected.sender_end, expected.receiver_end),
        Direction::Inbound => (expected.receiver_end, expected.sender_end),
    };
    assert_eq!(states(&world).await, ends, "{at}: end");
    assert_eq!(ends.1, mirror(ends.0), "{at}: the rosters agree");
    // A request that waits is delivered again (§3.1.3); nothing else is.
    let (juliet_waits, romeo_waits) = (ends.0.is_pending_in(), ends.1.is_pending_in());
    world.restart();
    assert_eq!(states(&world).await, ends, "{at}: after a restart");
    for (jid, waits) in [(JULIET, juliet_waits), (ROMEO, romeo_waits)] {
        let events = seen(&mut online_loud(&world, jid).await).events;
        let due: &[&str] = if waits { &["subscribe"] } else { &[] };
        assert_eq!(events, due, "{at}: {jid} after a restart");
    }
}

struct Expected {
    sender: Seen,
    receiver: Seen,
    sender_end: State,
    receiver_end: State,
}

/// The two halves put together: the sender's server (A.2), the receiver's (A.3), and the answer
/// that the latter may give at once, which comes back to the former.
fn expected(sender: State, receiver: State, event: Event) -> Expected {
    let mut e = Expected {
        sender: Seen::default(),
        receiver: Seen::default(),
        sender_end: sender,
        receiver_end: receiver,
    };
    let out = sender.step(Direction::Outbound, event);
    e.sender_end = out.next;
    // §3.4.2: the item changes though the state does not.
    let approves = event == Event::Subscribed && !out.pass && !sender.has_from();
    note_push(&mut e.sender, sender, out.next, approves);
    if sender.has_from() && !out.next.has_from() {
        e.receiver.presences.push("unavailable");
    }
    if !out.pass {
        return e;
    }
    let inn = receiver.step(Direction::Inbound, event);
    e.receiver_end = inn.next;
    if inn.pass {
        e.receiver.events.push(name(event));
    }
    note_push(&mut e.receiver, receiver, inn.next, false);
    if receiver.has_from() && !inn.next.has_from() {
        e.sender.presences.push("unavailable");
    }
    if event == Event::Subscribed {
        e.receiver.presences.push("available");
    }
    if let Some(reply) = inn.reply {
        let back = e.sender_end.step(Direction::Inbound, reply);
        if back.pass {
            e.sender.events.push(name(reply));
        }
        note_push(&mut e.sender, e.sender_end, back.next, false);
        e.sender_end = back.next;
        if reply == Event::Subscribed {
            e.sender.presences.push("available");
        }
    }
    e
}

/// Only what a roster shows is pushed: a request that came in is not part of it (§3.1.3).
fn note_push(seen: &mut Seen, before: State, after: State, approves: bool) {
    let shown = |s: State| (s.has_to(), s.has_from(), s.is_pending_out());
    if shown(before) != shown(after) || approves {
        let subscription = match (after.has_to(), after.has_from()) {
            (false, false) => "none",
            (true, false) => "to",
            (false, true) => "from",
            (true, true) => "both",
        };
        seen.pushes.push((subscription.to_owned(), after.is_pending_out()));
    }
}

async fn online(world: &World, jid: &str) -> Client {
    let mut client = online_loud(world, jid).await;
    drop(client.receive_all());
    client
}

async fn online_loud(world: &World, jid: &str) -> Client {
    let mut client = world.connect(&format!("{jid}/r")).await;
    client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
    client.send("<presence/>").await;
    client
}

async fn bring(state: State, juliet: &mut Client, romeo: &mut Client) {
    let juliet_asks = state.has_to() || state.is_pending_out();
    let romeo_asks = state.has_from() || state.is_pending_in();
    if juliet_asks {
        juliet.send(&format!("<presence type='subscribe' to='{ROMEO}'/>")).await;
    }
    if romeo_asks {
        romeo.send(&format!("<presence type='subscribe' to='{JULIET}'/>")).await;
    }
    if state.has_to() {
        romeo.send(&format!("<presence type='subscribed' to='{JULIET}'/>")).await;
    }
    if state.has_from() {
        juliet.send(&format!("<presence type='subscribed' to='{ROMEO}'/>")).await;
    }
}

async fn states(world: &World) -> (State, State) {
    let (juliet, romeo) = (BareJid::new(JULIET).unwrap(), BareJid::new(ROMEO).unwrap());
    let of = async |owner: &BareJid, contact: &BareJid| {
        let account = world.engine.account(owner).await.unwrap().unwrap();
        account.lock().roster.state(contact)
    };
    (of(&juliet, &romeo).await, of(&romeo, &juliet).await)
}

fn mirror(s: State) -> State {
    State::of(s.has_from(), s.has_to(), s.is_pending_in(), s.is_pending_out())
}

fn seen(client: &mut Client) -> Seen {
    let mut seen = Seen::default();
    let own = client.jid();
    for stanza in client.receive_all() {
        let from = stanza.head.from.as_ref().map(|f| f.as_str().to_owned()).unwrap_or_default();
        match stanza.head.kind {
            Kind::Presence(_) if from == own => {}
            Kind::Presence(PresenceType::Available) => seen.presences.push("available"),
            Kind::Presence(PresenceType::Unavailable) => seen.presences.push("unavailable"),
            Kind::Presence(PresenceType::Subscribe) => seen.events.push("subscribe"),
            Kind::Presence(PresenceType::Subscribed) => seen.events.push("subscribed"),
            Kind::Presence(PresenceType::Unsubscribe) => seen.events.push("unsubscribe"),
            Kind::Presence(PresenceType::Unsubscribed) => seen.events.push("unsubscribed"),
            Kind::Iq(kind) if kind.is_request() => seen.pushes.push(push(&stanza)),
            Kind::Iq(_) => {}
            _ => panic!("{}", String::from_utf8_lossy(&stanza.to_bytes())),
        }
    }
    seen
}

fn push(stanza: &Stanza) -> (String, bool) {
    let item = stanza.payload().unwrap().children().next().unwrap();
    (item.attr("subscription").unwrap().into_owned(), item.attr("ask").is_some())
}

const fn name(event: Event) -> &'static str {
    match event {
        Event::Subscribe => "subscribe",
        Event::Unsubscribe => "unsubscribe",
        Event::Subscribed => "subscribed",
        Event::Unsubscribed => "unsubscribed",
    }
}
