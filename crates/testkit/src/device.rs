//! A client that keeps to XEP-0198: what it remembers from connection to connection, and what it
//! insists on.
//!
//! It sends numbered messages and panics as soon as one comes that should not: one that it has had,
//! or one that overtook another. Only at the beginning of a new session may messages come once more,
//! marked as delayed and under the same id: the server cannot know that they were received. Beside
//! another device of the same account it need not get everything, and what that one lost comes late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stentor_jid::BareJid;
use stentor_xml::{ElementRef, Frame};

use crate::wire::{Broken, Wire, text};

/// A client of one account.
pub struct Device {
    /// Its account.
    pub me: BareJid,
    resource: String,
    password: String,
    /// Whether the account has another device.
    pub has_twin: bool,
    /// The priority of its presence.
    pub priority: i8,
    /// Whether it acknowledges when it is asked to. Clients may take their time.
    pub is_prompt: bool,
    /// The session that can be resumed.
    session: Option<Resumable>,
    /// What the server has not acknowledged, and its place in the session.
    unacked: VecDeque<(u32, Sent)>,
    /// Messages for the next session: the last one ended before they were dealt with.
    unsent: Vec<(BareJid, u32)>,
    /// Requests without an answer.
    open: BTreeSet<String>,
    requests: u32,
    /// The number of the last message to each.
    pub sent: BTreeMap<BareJid, u32>,
    /// The number of the last message to each that the server has acknowledged.
    pub acknowledged: BTreeMap<BareJid, u32>,
    /// What each has sent, in the order in which it came.
    pub got: BTreeMap<BareJid, Vec<Got>>,
    /// The last number of each when the session began.
    earlier: BTreeMap<BareJid, u32>,
    /// What it has seen.
    pub counts: Counts,
}

/// What a run has seen, so that nobody takes a run without trouble for a proof.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Messages that arrived.
    pub messages: u64,
    /// Sessions that were resumed.
    pub resumed: u64,
    /// Sessions that could not be resumed.
    pub refused: u64,
    /// Sessions that began afresh.
    pub fresh: u64,
    /// Stanzas that were sent again after a resumption.
    pub repeated: u64,
    /// Messages that came once more in a new session.
    pub again: u64,
}

impl Counts {
    /// Adds what another has seen.
    pub fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.resumed += more.resumed;
        self.refused += more.refused;
        self.fresh += more.fresh;
        self.repeated += more.repeated;
        self.again += more.again;
    }
}

struct Resumable {
    id: String,
    /// Stanzas received, modulo 2³².
    received: u32,
    /// Stanzas sent.
    sent: u32,
    /// Those that the server has dealt with.
    acked: u32,
}

#[derive(Clone)]
enum Sent {
    Message(BareJid, u32),
    Other(String),
}

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// Its number.
    pub number: u32,
    /// Its id in our archive.
    id: Option<String>,
}

impl Device {
    /// A device that has never been connected.
    #[must_use]
    pub fn new(me: BareJid, resource: &str, password: &str) -> Self {
        Self {
            me,
            resource: resource.to_owned(),
            password: password.to_owned(),
            has_twin: false,
            priority: 0,
            is_prompt: true,
            session: None,
            unacked: VecDeque::new(),
            unsent: Vec::new(),
            open: BTreeSet::new(),
            requests: 0,
            sent: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            got: BTreeMap::new(),
            earlier: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Its account and its name there.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.me, self.resource)
    }

    /// Whether the server has dealt with all that was sent, and answered all that was asked.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.unacked.is_empty() && self.unsent.is_empty() && self.open.is_empty()
    }

    /// What keeps it from being settled.
    #[must_use]
    pub fn owed(&self) -> String {
        let unacked = self.unacked.len();
        format!("{} waits for {unacked} acknowledgements, answers to {:?}", self.me, self.open)
    }

    /// Signs in, and resumes the session if it can.
    ///
    /// # Errors
    /// The stream broke.
    pub async fn establish(&mut self, wire: &mut Wire) -> Result<(), Broken> {
        let user = self.me.local().unwrap().to_owned();
        let features = wire.sign_in(&user, self.me.as_jid().domain(), &self.password).await?;
        let has_sm = features.root().child(NS_SM, "sm").is_some();
        assert!(has_sm, "{}", text(&features));
        if self.session.is_some() && self.resume(wire).await? {
            return Ok(());
        }
        self.begin(wire).await
    }

    async fn resume(&mut self, wire: &mut Wire) -> Result<bool, Broken> {
        let Some(session) = &self.session else { return Ok(false) };
        let (id, received) = (session.id.clone(), session.received);
        wire.write(&format!("<resume xmlns='{NS_SM}' previd='{id}' h='{received}'/>"))?;
        let answer = wire.frame().await?;
        let root = answer.root();
        if root.is(NS_SM, "resumed") {
            assert_eq!(root.attr("previd").as_deref(), Some(&*id));
            self.counts.resumed += 1;
            self.acknowledged(count(root).expect("`resumed` tells a count"));
            self.counts.repeated += self.unacked.len() as u64;
            for (_, sent) in &self.unacked {
                wire.write(&self.xml(sent))?;
            }
            return Ok(true);
        }
        assert!(root.is(NS_SM, "failed"), "{}", text(&answer));
        self.counts.refused += 1;
        match count(root) {
            Some(h) => self.acknowledged(h),
            None => assert!(
                self.unacked.is_empty(),
                "nothing tells whether {} messages were dealt with: {}",
                self.unacked.len(),
                text(&answer)
            ),
        }
        self.forget();
        Ok(false)
    }

    /// The session is over for good. What the server has not dealt with is sent in the next.
    pub fn forget(&mut self) {
        self.session = None;
        self.open.clear();
        for (_, sent) in self.unacked.drain(..) {
            if let Sent::Message(to, number) = sent {
                self.unsent.push((to, number));
            }
        }
    }

    async fn begin(&mut self, wire: &mut Wire) -> Result<(), Broken> {
        self.counts.fresh += 1;
        wire.write(&format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{}</resource></bind></iq><enable xmlns='{NS_SM}' resume='true'/>",
            self.resource
        ))?;
        let bound = wire.frame().await?;
        assert_eq!(bound.root().attr("type").as_deref(), Some("result"), "{}", text(&bound));
        let enabled = wire.frame().await?;
        let root = enabled.root();
        assert!(root.is(NS_SM, "enabled"), "{}", text(&enabled));
        let id = root.attr("id").expect("the session can be resumed").into_owned();
        self.session = Some(Resumable { id, received: 0, sent: 0, acked: 0 });
        self.earlier = self
            .got
            .iter()
            .map(|(from, got)| (from.clone(), got.iter().map(|got| got.number).max().unwrap_or(0)))
            .collect();
        self.send(wire, Sent::Other(self.presence("")))?;
        if self.has_twin {
            self.request(wire, "set", "<enable xmlns='urn:xmpp:carbons:2'/>")?;
        }
        for (to, number) in std::mem::take(&mut self.unsent) {
            self.send(wire, Sent::Message(to, number))?;
        }
        Ok(())
    }

    /// Sends somebody the next message.
    ///
    /// # Errors
    /// The stream broke.
    pub fn say(&mut self, wire: &mut Wire, to: &BareJid) -> Result<(), Broken> {
        let number = self.sent.entry(to.clone()).or_default();
        *number += 1;
        let number = *number;
        self.send(wire, Sent::Message(to.clone(), number))
    }

    /// Asks the server something.
    ///
    /// # Errors
    /// The stream broke.
    pub fn ask(&mut self, wire: &mut Wire) -> Result<(), Broken> {
        self.request(wire, "get", "<ping xmlns='urn:xmpp:ping'/>")
    }

    fn request(&mut self, wire: &mut Wire, kind: &str, payload: &str) -> Result<(), Broken> {
        self.requests += 1;
        let id = format!("ask-{}", self.requests);
        let request = format!("<iq type='{kind}' id='{id}'>{payload}</iq>");
        self.open.insert(id);
        self.send(wire, Sent::Other(request))
    }

    /// Changes its presence.
    ///
    /// # Errors
    /// The stream broke.
    pub fn show(&mut self, wire: &mut Wire, show: &str) -> Result<(), Broken> {
        self.send(wire, Sent::Other(self.presence(&format!("<show>{show}</show>"))))
    }

    fn presence(&self, show: &str) -> String {
        format!("<presence>{show}<priority>{}</priority></presence>", self.priority)
    }

    /// Asks for an acknowledgement.
    ///
    /// # Errors
    /// The stream broke.
    pub fn request_ack(&self, wire: &mut Wire) -> Result<(), Broken> {
        wire.write(&format!("<r xmlns='{NS_SM}'/>"))
    }

    /// Acknowledges what has come.
    ///
    /// # Errors
    /// The stream broke.
    pub fn acknowledge(&self, wire: &mut Wire) -> Result<(), Broken> {
        let received = self.session.as_ref().map_or(0, |session| session.received);
        wire.write(&format!("<a xmlns='{NS_SM}' h='{received}'/>"))
    }

    fn send(&mut self, wire: &mut Wire, sent: Sent) -> Result<(), Broken> {
        let xml = self.xml(&sent);
        let session = self.session.as_mut().expect("it is signed in");
        session.sent = session.sent.wrapping_add(1);
        self.unacked.push_back((session.sent, sent));
        wire.write(&xml)
    }

    fn xml(&self, sent: &Sent) -> String {
        match sent {
            Sent::Other(xml) => xml.clone(),
            Sent::Message(to, number) => format!(
                "<message type='chat' to='{to}' id='{0}'><body>{number}</body>\
                 <origin-id xmlns='urn:xmpp:sid:0' id='{0}'/></message>",
                format_args!("{}-{number}", self.me.local().unwrap_or_default())
            ),
        }
    }

    fn acknowledged(&mut self, h: u32) {
        let session = self.session.as_mut().expect("it is signed in");
        let told = h.wrapping_sub(session.acked);
        let possible = session.sent.wrapping_sub(session.acked);
        assert!(
            told <= possible,
            "{} was told {h} after {} of {}",
            self.me,
            session.acked,
            session.sent
        );
        session.acked = h;
        for (_, sent) in self.unacked.drain(..usize::try_from(told).unwrap()) {
            if let Sent::Message(to, number) = sent {
                self.acknowledged.insert(to, number);
            }
        }
    }

    /// Takes in one element from the server.
    ///
    /// # Errors
    /// The stream broke.
    pub fn hear(&mut self, wire: &mut Wire, frame: &Frame) -> Result<(), Broken> {
        let root = frame.root();
        if root.is(NS_SM, "a") {
            self.acknowledged(count(root).expect("`a` tells a count"));
            return Ok(());
        }
        if root.is(NS_SM, "r") {
            return if self.is_prompt { self.acknowledge(wire) } else { Ok(()) };
        }
        let session = self.session.as_mut().expect("it is signed in");
        session.received = session.received.wrapping_add(1);
        match root.name() {
            "message" if root.child(NS_CARBONS, "sent").is_some() => {}
            "message" => self.message(frame),
            "iq" => self.iq(wire, root)?,
            "presence" => {}
            _ => panic!("no stanza: {}", text(frame)),
        }
        Ok(())
    }

    fn iq(&mut self, wire: &mut Wire, root: ElementRef<'_>) -> Result<(), Broken> {
        let id = root.attr("id").unwrap_or_default();
        match root.attr("type").as_deref() {
            Some("get" | "set") => {
                let to = root.attr("from").map(|from| format!(" to='{from}'")).unwrap_or_default();
                self.send(wire, Sent::Other(format!("<iq type='result' id='{id}'{to}/>")))
            }
            _ => {
                self.open.remove(&*id);
                Ok(())
            }
        }
    }

    fn message(&mut self, frame: &Frame) {
        let root = original(frame.root());
        let xml = || text(frame);
        assert_ne!(root.attr("type").as_deref(), Some("error"), "{} got {}", self.me, xml());
        let from = root.attr("from").unwrap_or_default();
        let from = BareJid::new(from.split('/').next().unwrap_or_default()).unwrap();
        let body = root.children().find(|child| child.name() == "body");
        let number: u32 = body.unwrap_or_else(|| panic!("{}", xml())).text().parse().unwrap();
        let is_ours = |child: &ElementRef<'_>| {
            child.is("urn:xmpp:sid:0", "stanza-id")
                && child.attr("by").as_deref() == Some(self.me.as_str())
        };
        let id =
            root.children().find(is_ours).and_then(|child| Some(child.attr("id")?.into_owned()));
        let got = Got { number, id };
        let known = self.got.entry(from.clone()).or_default();
        let last = known.last().map_or(0, |got| got.number);
        let is_delayed = root.child("urn:xmpp:delay", "delay").is_some();
        let is_others = self.has_twin && !known.contains(&got);
        if number == last + 1 || is_others {
            known.push(got);
            self.counts.messages += 1;
            return;
        }
        // What came in the last session and was not acknowledged there comes again, marked so that
        // it can be told.
        let earlier = self.earlier.get_mut(&from);
        let is_again = known.contains(&got)
            && got.id.is_some()
            && earlier.as_ref().is_some_and(|earlier| number <= **earlier)
            && is_delayed;
        assert!(is_again, "{} got {number} of {from} after {last}: {}", self.me, xml());
        self.counts.again += 1;
    }
}

/// The message in a copy (XEP-0280), or the message itself.
fn original(root: ElementRef<'_>) -> ElementRef<'_> {
    let received = root.child(NS_CARBONS, "received");
    received.and_then(|r| r.first_child()?.first_child()).unwrap_or(root)
}

fn count(root: ElementRef<'_>) -> Option<u32> {
    Some(root.attr("h")?.parse().unwrap())
}

const NS_SM: &str = "urn:xmpp:sm:3";
const NS_CARBONS: &str = "urn:xmpp:carbons:2";
