//! RFC 6121 Appendix A as one table: nine states, four events, two directions.

/// A subscription as the owner of a roster sees it (Appendix A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Neither is subscribed to the other; also a contact who is not in the roster.
    None,
    /// The owner has asked.
    NonePendingOut,
    /// The contact has asked.
    NonePendingIn,
    /// Both have asked.
    NonePendingOutIn,
    /// The owner sees the contact.
    To,
    /// The owner sees the contact, who has asked.
    ToPendingIn,
    /// The contact sees the owner.
    From,
    /// The contact sees the owner, who has asked.
    FromPendingOut,
    /// Each sees the other.
    Both,
}

/// A subscription stanza (RFC 6121 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Asks to see the other's presence.
    Subscribe,
    /// Ends or withdraws that.
    Unsubscribe,
    /// Lets the other see the sender's presence.
    Subscribed,
    /// Denies or ends that.
    Unsubscribed,
}

/// Whether the owner sent the stanza or is to receive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the owner to the contact (Appendix A.2).
    Outbound,
    /// From the contact to the owner (Appendix A.3).
    Inbound,
}

/// What the server does with the stanza, and the state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Outbound: route it to the contact. Inbound: deliver it to the owner.
    pub pass: bool,
    /// The state afterwards.
    pub next: State,
    /// What the server answers on the owner's behalf.
    pub reply: Option<Event>,
}

impl State {
    /// All states, in the order of Appendix A.1.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::NonePendingOut,
        Self::NonePendingIn,
        Self::NonePendingOutIn,
        Self::To,
        Self::ToPendingIn,
        Self::From,
        Self::FromPendingOut,
        Self::Both,
    ];

    /// The state with these properties. Contradictions (asking for what one has) are dropped.
    #[must_use]
    pub const fn of(to: bool, from: bool, pending_out: bool, pending_in: bool) -> Self {
        match (to, from, pending_out, pending_in) {
            (true, true, _, _) => Self::Both,
            (true, false, _, false) => Self::To,
            (true, false, _, true) => Self::ToPendingIn,
            (false, true, false, _) => Self::From,
            (false, true, true, _) => Self::FromPendingOut,
            (false, false, false, false) => Self::None,
            (false, false, true, false) => Self::NonePendingOut,
            (false, false, false, true) => Self::NonePendingIn,
            (false, false, true, true) => Self::NonePendingOutIn,
        }
    }

    /// Whether the owner is subscribed to the contact.
    #[must_use]
    pub const fn has_to(self) -> bool {
        matches!(self, Self::To | Self::ToPendingIn | Self::Both)
    }

    /// Whether the contact is subscribed to the owner.
    #[must_use]
    pub const fn has_from(self) -> bool {
        matches!(self, Self::From | Self::FromPendingOut | Self::Both)
    }

    /// Whether the owner waits for the contact's answer.
    #[must_use]
    pub const fn is_pending_out(self) -> bool {
        matches!(self, Self::NonePendingOut | Self::NonePendingOutIn | Self::FromPendingOut)
    }

    /// Whether the contact waits for the owner's answer.
    #[must_use]
    pub const fn is_pending_in(self) -> bool {
        matches!(self, Self::NonePendingIn | Self::NonePendingOutIn | Self::ToPendingIn)
    }

    /// What happens in this state on this event.
    #[must_use]
    pub const fn step(self, direction: Direction, event: Event) -> Step {
        let table = match (direction, event) {
            (Direction::Outbound, Event::Subscribe) => &OUT_SUBSCRIBE,
            (Direction::Outbound, Event::Unsubscribe) => &OUT_UNSUBSCRIBE,
            (Direction::Outbound, Event::Subscribed) => &OUT_SUBSCRIBED,
            (Direction::Outbound, Event::Unsubscribed) => &OUT_UNSUBSCRIBED,
            (Direction::Inbound, Event::Subscribe) => &IN_SUBSCRIBE,
            (Direction::Inbound, Event::Unsubscribe) => &IN_UNSUBSCRIBE,
            (Direction::Inbound, Event::Subscribed) => &IN_SUBSCRIBED,
            (Direction::Inbound, Event::Unsubscribed) => &IN_UNSUBSCRIBED,
        };
        table[self as usize]
    }
}

const fn pass(next: State) -> Step {
    Step { pass: true, next, reply: Option::None }
}

const fn stop(next: State) -> Step {
    Step { pass: false, next, reply: Option::None }
}

const fn pass_reply(next: State, reply: Event) -> Step {
    Step { pass: true, next, reply: Some(reply) }
}

const fn stop_reply(next: State, reply: Event) -> Step {
    Step { pass: false, next, reply: Some(reply) }
}

use State::{
    Both, From, FromPendingOut, None, NonePendingIn, NonePendingOut, NonePendingOutIn, To,
    ToPendingIn,
};

// Rows in the order of State::ALL.

/// Table 2.
const OUT_SUBSCRIBE: [Step; 9] = [
    pass(NonePendingOut),
    pass(NonePendingOut),
    pass(NonePendingOutIn),
    pass(NonePendingOutIn),
    pass(To),
    pass(ToPendingIn),
    pass(FromPendingOut),
    pass(FromPendingOut),
    pass(Both),
];

/// Table 3.
const OUT_UNSUBSCRIBE: [Step; 9] = [
    pass(None),
    pass(None),
    pass(NonePendingIn),
    pass(NonePendingIn),
    pass(None),
    pass(NonePendingIn),
    pass(From),
    pass(From),
    pass(From),
];

/// Table 4; where the state is None or To and nobody has asked, §3.4 makes it a pre-approval.
const OUT_SUBSCRIBED: [Step; 9] = [
    stop(None),
    stop(NonePendingOut),
    pass(From),
    pass(FromPendingOut),
    stop(To),
    pass(Both),
    stop(From),
    stop(FromPendingOut),
    stop(Both),
];

/// Table 5; where it is not routed it still cancels a pre-approval (§3.4).
const OUT_UNSUBSCRIBED: [Step; 9] = [
    stop(None),
    stop(NonePendingOut),
    pass(None),
    pass(NonePendingOut),
    stop(To),
    pass(To),
    pass(None),
    pass(NonePendingOut),
    pass(To),
];

/// Table 6.
const IN_SUBSCRIBE: [Step; 9] = [
    pass(NonePendingIn),
    pass(NonePendingOutIn),
    stop(NonePendingIn),
    stop(NonePendingOutIn),
    pass(ToPendingIn),
    stop(ToPendingIn),
    stop_reply(From, Event::Subscribed),
    stop_reply(FromPendingOut, Event::Subscribed),
    stop_reply(Both, Event::Subscribed),
];

/// Table 7.
const IN_UNSUBSCRIBE: [Step; 9] = [
    stop(None),
    stop(NonePendingOut),
    pass_reply(None, Event::Unsubscribed),
    pass_reply(NonePendingOut, Event::Unsubscribed),
    stop(To),
    pass_reply(To, Event::Unsubscribed),
    pass_reply(None, Event::Unsubscribed),
    pass_reply(NonePendingOut, Event::Unsubscribed),
    pass_reply(To, Event::Unsubscribed),
];

/// Table 8.
const IN_SUBSCRIBED: [Step; 9] = [
    stop(None),
    pass(To),
    stop(NonePendingIn),
    pass(ToPendingIn),
    stop(To),
    stop(ToPendingIn),
    stop(From),
    pass(Both),
    stop(Both),
];

/// Table 9.
const IN_UNSUBSCRIBED: [Step; 9] = [
    stop(None),
    pass(None),
    stop(NonePendingIn),
    pass(NonePendingIn),
    pass(None),
    pass(NonePendingIn),
    stop(From),
    pass(From),
    pass(From),
];

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 4] =
        [Event::Subscribe, Event::Unsubscribe, Event::Subscribed, Event::Unsubscribed];

    /// What Appendix A says in words, derived from the properties instead of listed.
    fn expected(state: State, direction: Direction, event: Event) -> (bool, State) {
        let (to, from) = (state.has_to(), state.has_from());
        let (out, inn) = (state.is_pending_out(), state.is_pending_in());
        match (direction, event) {
            (Direction::Outbound, Event::Subscribe) => (true, State::of(to, from, out || !to, inn)),
            (Direction::Outbound, Event::Unsubscribe) => (true, State::of(false, from, false, inn)),
            (Direction::Outbound, Event::Subscribed) => {
                (inn, State::of(to, from || inn, out, false))
            }
            (Direction::Outbound, Event::Unsubscribed) => {
                (inn || from, State::of(to, false, out, false))
            }
            (Direction::Inbound, Event::Subscribe) => {
                (!from && !inn, State::of(to, from, out, !from))
            }
            (Direction::Inbound, Event::Unsubscribe) => {
                (inn || from, State::of(to, false, out, false))
            }
            (Direction::Inbound, Event::Subscribed) => {
                (out, State::of(to || out, from, false, inn))
            }
            (Direction::Inbound, Event::Unsubscribed) => {
                (out || to, State::of(false, from, false, inn))
            }
        }
    }

    #[test]
    fn every_state_event_and_direction_is_as_the_appendix_says() {
        for state in State::ALL {
            for direction in [Direction::Outbound, Direction::Inbound] {
                for event in EVENTS {
                    let step = state.step(direction, event);
                    let (pass, next) = expected(state, direction, event);
                    assert_eq!(
                        (step.pass, step.next),
                        (pass, next),
                        "{state:?} {direction:?} {event:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_inbound_requests_and_ends_are_answered_for_the_owner() {
        for state in State::ALL {
            for event in EVENTS {
                assert_eq!(state.step(Direction::Outbound, event).reply, Option::None);
                let reply = state.step(Direction::Inbound, event).reply;
                let due = match event {
                    Event::Subscribe if state.has_from() => Some(Event::Subscribed),
                    Event::Unsubscribe if state.has_from() || state.is_pending_in() => {
                        Some(Event::Unsubscribed)
                    }
                    _ => Option::None,
                };
                assert_eq!(reply, due, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn states_and_properties_are_two_ways_to_say_the_same() {
        for s in State::ALL {
            let again = State::of(s.has_to(), s.has_from(), s.is_pending_out(), s.is_pending_in());
            assert_eq!(again, s);
        }
    }
}
