//! What federation must never allow, tried: each attempt gets its error and one line in the log.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stentor_edge::limits::{S2S_QUEUE_BYTES_MAX, S2S_VERIFICATIONS_PER_STREAM_MAX};
use stentor_edge::s2s::Policy;
use stentor_engine::{Component, Components, Host, Hosts};
use stentor_stanza::Condition;
use stentor_stream::limits::DIALBACK_REFUSALS_MAX;
use tokio::sync::watch;

use self::servers::log::Log;
use self::servers::peer::{Peer, header};
use self::servers::{Half, Plan, Server, User, alone, route};

mod servers;

/// `one.example`, which believes the certificates of `two.example` and `three.example`, and finds
/// `evil.example`, whose certificate it does not believe.
struct Scene {
    one: Server,
    two: Half,
    three: Half,
    evil: Half,
    log: Log,
    _stop: watch::Sender<bool>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Policy { hold_ms: 0, ..Policy::default() }).await
    }

    async fn with(policy: Policy) -> Self {
        let log = Log::begin();
        // What a certificate says of our own domains counts for nothing.
        let two = Half::named("two.example", &["one.example", "irc.one.example"]);
        let [three, evil] = ["three.example", "evil.example"].map(Half::new);
        let first = Half::new("one.example");
        let mut routes = vec![two.route(), three.route(), evil.route()];
        // To ourselves.
        routes.push(route("loop.example", first.listener.addr()));
        // Whatever else is asked for is where `evil.example` is.
        routes.push(route("*", evil.listener.addr()));
        let authorities = [two.authority(), three.authority()].concat();
        let plan = Plan { authorities, policy, routes, ..Plan::default() };
        let (one, _stop) = alone(first, plan).await;
        Self { one, two, three, evil, log, _stop }
    }

    async fn two(&self) -> Peer {
        Peer::external(&self.one, &self.two.ca, "two.example").await
    }

    /// A stream that claims to be of a domain whose certificate proves nothing.
    async fn evil(&self) -> Peer {
        Peer::secure(&self.one, &self.evil.ca, "evil.example").await
    }

    /// Accepts the stream on which a key of `evil.example` is to be verified; its text.
    async fn asked(&self) -> (Peer, String) {
        let mut authority = Peer::accept(&self.evil.listener, &self.evil.ca, "evil.example").await;
        authority.say("<stream:features/>").await;
        let text = authority.hear("</db:verify>").await;
        (authority, text)
    }
}

fn message(from: &str) -> String {
    format!("<message from='{from}' to='user@one.example' type='chat'><body>x</body></message>")
}

async fn is_undisturbed(user: &mut User, scene: &Scene) {
    // A stream of an honest server works, and nothing came before its message.
    let mut two = scene.two().await;
    two.say(&message("honest@two.example")).await;
    let heard = user.hear_message().await;
    assert_eq!(heard.head.from.as_ref().unwrap().as_str(), "honest@two.example");
}

#[tokio::test]
async fn a_sender_of_a_domain_that_was_not_proven_ends_the_stream() {
    let scene = Scene::new().await;
    let mut user = scene.one.user().await;
    let mut two = scene.two().await;
    two.say(&message("forged@three.example")).await;
    let heard = two.hear_end().await;
    assert!(heard.contains("<invalid-from "), "{heard}");
    scene
        .log
        .has_once(&["event=s2s_in_ended", "remote=two.example", "of an authenticated domain"])
        .await;
    is_undisturbed(&mut user, &scene).await;
}

#[tokio::test]
async fn a_domain_proven_on_one_stream_is_not_proven_on_another() {
    let scene = Scene::new().await;
    let mut user = scene.one.user().await;
    let _two = scene.two().await;
    let mut three = Peer::external(&scene.one, &scene.three.ca, "three.example").await;
    three.say(&message("forged@two.example")).await;
    let heard = three.hear_end().await;
    assert!(heard.contains("<invalid-from "), "{heard}");
    scene
        .log
        .has_once(&["event=s2s_in_ended", "remote=three.example", "of an authenticated domain"])
        .await;
    is_undisturbed(&mut user, &scene).await;
}

#[tokio::test]
async fn stanzas_without_addresses_or_for_others_end_the_stream() {
    for (stanza, condition) in [
        ("<message to='user@one.example'/>", "improper-addressing"),
        ("<message from='a@two.example'/>", "improper-addressing"),
        ("<message from='a@two.example' to='user@three.example'/>", "host-unknown"),
    ] {
        let scene = Scene::new().await;
        let mut two = scene.two().await;
        two.say(stanza).await;
        let heard = two.hear_end().await;
        assert!(heard.contains(&format!("<{condition} ")), "{stanza}: {heard}");
        scene.log.has_once(&["event=s2s_in_ended", "remote=two.example"]).await;
    }
}

// covers: fed-27
#[tokio::test]
async fn what_is_malformed_or_forged_costs_only_its_own_stream() {
    let to = "to='user@one.example'";
    for (stanza, condition) in [
        (format!("<message from='a@two.example' {to}><body>bad</message>"), "not-well-formed"),
        (format!("<message {to}><body>bad</body></message>"), "improper-addressing"),
        ("<message from='a@two.example'><body>bad</body></message>".into(), "improper-addressing"),
        (message("a@three.example"), "invalid-from"),
        ("<message from='a@two.example' to='a@nowhere.example'/>".into(), "host-unknown"),
    ] {
        let scene = Scene::new().await;
        let mut user = scene.one.user().await;
        let mut three = Peer::external(&scene.one, &scene.three.ca, "three.example").await;
        let mut two = scene.two().await;
        user.say("<message to='a@two.example' type='chat' id='before'/>").await;
        two.hear("id='before'").await;
        two.say(&stanza).await;
        let heard = two.hear_end().await;
        assert!(heard.contains(&format!("<{condition} ")), "{stanza}: {heard}");
        assert!(heard.ends_with("</stream:stream>"), "{stanza}: {heard}");
        // What is for the other server goes over another stream.
        user.say("<message to='a@two.example' type='chat' id='after'/>").await;
        let mut again = Peer::accept(&scene.two.listener, &scene.two.ca, "two.example").await;
        again.say("<stream:features/>").await;
        again.hear("</db:result>").await;
        again.say("<db:result from='two.example' to='one.example' type='valid'/>").await;
        again.hear("id='after'").await;
        // Nothing of the bad stanza came, and others go on.
        three.say(&message("good@three.example")).await;
        let first = user.hear_message().await;
        assert_eq!(first.head.from.as_ref().unwrap().as_str(), "good@three.example");
    }
    let scene = Scene::new().await;
    let mut early = Peer::secure(&scene.one, &scene.two.ca, "two.example").await;
    early.say(&message("a@two.example")).await;
    let heard = early.hear_end().await;
    assert!(heard.contains("<not-authorized "), "{heard}");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_the_stream() {
    for answer in [
        "<db:result from='evil.example' to='one.example' type='valid'/>",
        "<db:verify from='evil.example' to='one.example' id='x' type='valid'/>",
    ] {
        let scene = Scene::new().await;
        let mut user = scene.one.user().await;
        let mut evil = scene.evil().await;
        evil.say(&(answer.to_owned() + &message("a@evil.example"))).await;
        let heard = evil.hear_end().await;
        assert!(heard.contains("<policy-violation "), "{answer}: {heard}");
        scene.log.has_once(&["event=s2s_in_refused", "Nobody asked"]).await;
        is_undisturbed(&mut user, &scene).await;
    }
}

#[tokio::test]
async fn an_answer_about_another_domain_is_not_believed_on_our_own_stream() {
    let scene = Scene::new().await;
    let mut user = scene.one.user().await;
    user.say("<message to='a@evil.example' id='1'><body>x</body></message>").await;
    let mut evil = Peer::accept(&scene.evil.listener, &scene.evil.ca, "evil.example").await;
    evil.say("<stream:features/>").await;
    evil.hear("</db:result>").await;
    evil.say("<db:result from='two.example' to='one.example' type='valid'/>").await;
    let heard = evil.hear_end().await;
    assert!(heard.contains("<policy-violation "), "{heard}");
    assert!(!heard.contains("<message "), "{heard}");
    let error = user.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
    scene.log.has_once(&["event=s2s_failed", "remote=evil.example", "Nobody asked"]).await;
}

#[tokio::test]
async fn a_key_that_its_domain_did_not_make_ends_the_stream() {
    let scene = Scene::new().await;
    let mut user = scene.one.user().await;
    let mut evil = scene.evil().await;
    evil.say("<db:result from='evil.example' to='one.example'>forged</db:result>").await;
    let (mut authority, asked) = scene.asked().await;
    assert!(asked.contains(">forged</db:verify>"), "{asked}");
    let id = asked.split("id='").nth(1).unwrap().split('\'').next().unwrap();
    let answer = format!("<db:verify from='evil.example' to='one.example' id='{id}'");
    authority.say(&(answer + " type='invalid'/>")).await;
    let heard = evil.hear_end().await;
    assert!(heard.contains(" type='invalid'/>"), "{heard}");
    scene.log.has_once(&["event=dialback_invalid", "remote=evil.example"]).await;
    scene.log.has_once(&["event=s2s_in_refused", "remote=evil.example"]).await;
    is_undisturbed(&mut user, &scene).await;
}

#[tokio::test]
async fn a_verification_for_another_stream_or_by_a_stranger_is_not_believed() {
    for answer in [
        "<db:verify from='evil.example' to='one.example' id='another' type='valid'/>",
        "<db:verify from='two.example' to='one.example' id='ID' type='valid'/>",
        "<db:verify from='evil.example' to='three.example' id='ID' type='valid'/>",
    ] {
        let scene = Scene::new().await;
        let mut user = scene.one.user().await;
        let mut evil = scene.evil().await;
        evil.say("<db:result from='evil.example' to='one.example'>key</db:result>").await;
        let (mut authority, asked) = scene.asked().await;
        let id = asked.split("id='").nth(1).unwrap().split('\'').next().unwrap();
        authority.say(&answer.replace("ID", id)).await;
        let heard = evil.hear("</db:result>").await;
        assert!(heard.contains(" type='error'"), "{answer}: {heard}");
        assert!(heard.contains("<remote-server-timeout "), "{answer}: {heard}");
        scene.log.has_once(&["event=dialback_failed", "remote=evil.example"]).await;
        evil.say(&message("a@evil.example")).await;
        let heard = evil.hear_end().await;
        assert!(heard.contains("<not-authorized "), "{heard}");
        is_undisturbed(&mut user, &scene).await;
    }
}

#[tokio::test]
async fn keys_that_we_did_not_make_for_that_stream_are_called_invalid() {
    let scene = Scene::new().await;
    let mut user = scene.one.user().await;
    user.say("<message to='a@evil.example' id='1'><body>x</body></message>").await;
    let mut receiving = Peer::accept(&scene.evil.listener, &scene.evil.ca, "evil.example").await;
    receiving.say("<stream:features/>").await;
    let shown = receiving.hear("</db:result>").await;
    let key = shown.rsplit('>').nth(1).unwrap().split('<').next().unwrap();
    let mut asking = scene.evil().await;
    for (id, key, verdict) in [
        ("second", key, "valid"),
        ("first", key, "invalid"),
        ("second", "00", "invalid"),
        ("second", "", ""),
    ] {
        let to = "from='evil.example' to='one.example'";
        asking.say(&format!("<db:verify {to} id='{id}'>{key}</db:verify>")).await;
        if verdict.is_empty() {
            assert!(asking.hear_end().await.contains("<bad-format "));
            return;
        }
        let heard = asking.hear("/>").await;
        assert!(heard.contains(&format!("type='{verdict}'")), "{id} {key}: {heard}");
    }
}

#[tokio::test]
async fn nobody_speaks_for_a_domain_of_ours() {
    let scene = Scene::new().await;
    let mut peer = Peer::plain(scene.one.addr).await;
    peer.say(&header("one.example", "one.example", "")).await;
    let heard = peer.hear_end().await;
    assert!(heard.contains("<policy-violation "), "{heard}");
    scene.log.has_once(&["event=s2s_in_refused", "remote=one.example"]).await;
    let mut two = scene.two().await;
    two.say("<db:result from='one.example' to='one.example'>key</db:result>").await;
    let heard = two.hear("</db:result>").await;
    assert!(heard.contains("<not-acceptable "), "{heard}");
}

#[tokio::test]
async fn a_good_certificate_for_a_domain_of_ours_proves_nothing() {
    let scene = Scene::new().await;
    let irc = Component { domain: "irc.one.example".into(), ..Component::default() };
    scene.one.engine.replace_components(Components::new([irc]));
    for ours in ["one.example", "irc.one.example"] {
        let mut peer = Peer::encrypted(&scene.one, &scene.two.ca, "two.example").await;
        peer.say(&header(ours, "one.example", "")).await;
        let heard = peer.hear_end().await;
        assert!(heard.contains("<policy-violation "), "{ours}: {heard}");
        let mut peer = Peer::secure(&scene.one, &scene.two.ca, "two.example").await;
        let authzid =
            if ours == "one.example" { "b25lLmV4YW1wbGU=" } else { "aXJjLm9uZS5leGFtcGxl" };
        let ns = "urn:ietf:params:xml:ns:xmpp-sasl";
        peer.say(&format!("<auth xmlns='{ns}' mechanism='EXTERNAL'>{authzid}</auth>")).await;
        let heard = peer.hear("</failure>").await;
        assert!(heard.contains("<invalid-authzid"), "{ours}: {heard}");
        peer.say(&format!("<db:result from='{ours}' to='one.example'>key</db:result>")).await;
        let heard = peer.hear("</db:result>").await;
        assert!(heard.contains("<not-acceptable "), "{ours}: {heard}");
        peer.say(&message(&format!("a@{ours}"))).await;
        assert!(peer.hear_end().await.contains("<not-authorized "));
    }
}

#[tokio::test]
async fn a_domain_that_becomes_ours_is_nobody_elses_on_streams_that_stand() {
    let scene = Scene::new().await;
    let mut user = scene.one.user().await;
    let mut two = scene.two().await;
    two.say(&message("a@two.example")).await;
    user.hear_message().await;
    let profile = scene.one.engine.host("one.example").unwrap().profile.clone();
    let host = |domain: &str| Host { domain: domain.into(), profile: profile.clone() };
    scene.one.engine.replace_hosts(Hosts::new(["one.example", "two.example"].map(host)));
    two.say(&message("a@two.example")).await;
    let heard = two.hear_end().await;
    assert!(heard.contains("<policy-violation "), "{heard}");
    let mut three = Peer::external(&scene.one, &scene.three.ca, "three.example").await;
    three.say(&message("honest@three.example")).await;
    let heard = user.hear_message().await;
    assert_eq!(heard.head.from.as_ref().unwrap().as_str(), "honest@three.example");
}

#[tokio::test]
async fn a_server_that_offers_no_tls_is_not_spoken_to_and_nothing_waits_for_it() {
    let scene = Scene::with(Policy::default()).await;
    let mut user = scene.one.user().await;
    user.say("<message to='a@evil.example' id='1'><body>secret</body></message>").await;
    let (tcp, addr) = scene.evil.listener.accept().await;
    let mut evil = Peer::over(tcp, addr);
    evil.hear("version=").await;
    let features = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/>";
    evil.say(&(header("evil.example", "one.example", "1") + features + "</stream:features>")).await;
    let heard = evil.hear_end().await;
    assert!(!heard.contains("secret") && !heard.contains("db:result "), "{heard}");
    let error = user.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
    scene.log.has_once(&["event=s2s_failed", "remote=evil.example", "TLS"]).await;
}

#[tokio::test]
async fn in_clear_nobody_proves_anything() {
    let scene = Scene::new().await;
    let mut evil = Peer::plain(scene.one.addr).await;
    evil.say(&header("evil.example", "one.example", "")).await;
    let features = evil.hear("</stream:features>").await;
    assert!(features.contains("<required/>") || features.contains("<required "), "{features}");
    assert!(!features.contains("mechanisms") && !features.contains("<dialback"), "{features}");
    evil.say("<db:result from='evil.example' to='one.example'>key</db:result>").await;
    let heard = evil.hear("</db:result>").await;
    assert!(heard.contains("<policy-violation "), "{heard}");
    evil.say(&message("a@evil.example")).await;
    let heard = evil.hear_end().await;
    assert!(heard.contains("<not-authorized "), "{heard}");
    scene.log.has_once(&["event=s2s_in_refused", "remote=evil.example"]).await;
}

#[tokio::test]
async fn who_sends_and_does_not_read_costs_a_bounded_amount() {
    let scene = Scene::new().await;
    let mut user = scene.one.user().await;
    let mut two = scene.two().await;
    let ping = "<iq from='a@two.example' to='one.example' type='get' id='p'>\
                <ping xmlns='urn:xmpp:ping'/></iq>";
    let many = ping.repeat(200);
    let mut said = 0;
    // Until the server reads no more from who does not read.
    while said < 500 {
        let saying = tokio::time::timeout(Duration::from_secs(2), two.say(&many));
        if saying.await.is_err() {
            break;
        }
        said += 1;
    }
    let waiting = scene.one.links.waiting_bytes();
    assert!(waiting <= S2S_QUEUE_BYTES_MAX, "{waiting} bytes wait");
    // Others are served meanwhile.
    let mut three = Peer::external(&scene.one, &scene.three.ca, "three.example").await;
    three.say(&message("a@three.example")).await;
    user.hear_message().await;
}

#[tokio::test]
async fn a_queue_that_nobody_drains_is_full_at_some_point_and_says_so() {
    let scene = Scene::with(Policy::default()).await;
    let mut user = scene.one.user().await;
    // Accepts connections and says nothing.
    let body = "x".repeat(60_000);
    let mut refused = 0;
    for n in 0..200 {
        let to = "to='a@evil.example' type='chat'";
        user.say(&format!("<message {to} id='{n}'><body>{body}</body></message>")).await;
        if !user.has_heard_all() {
            refused += 1;
            break;
        }
    }
    assert_eq!(refused, 1, "the queue never was full");
    assert!(scene.one.links.waiting_bytes() <= S2S_QUEUE_BYTES_MAX);
    let mut three = Peer::external(&scene.one, &scene.three.ca, "three.example").await;
    three.say(&message("a@three.example")).await;
    user.hear_message().await;
}

#[tokio::test]
async fn a_domain_that_leads_back_to_us_is_not_found() {
    let scene = Scene::new().await;
    let mut user = scene.one.user().await;
    user.say("<message to='a@loop.example' id='1'><body>x</body></message>").await;
    let error = user.hear_message().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerNotFound);
    scene.log.has_once(&["event=s2s_failed", "remote=loop.example"]).await;
    assert_eq!(scene.one.links.open(), 0);
}

#[tokio::test]
async fn errors_and_results_are_not_answered() {
    let scene = Scene::new().await;
    let mut two = scene.two().await;
    let head = "from='a@two.example' to='nobody@one.example' id='e'";
    let error = "<error type='cancel'>\
                 <gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    for stanza in [
        format!("<message {head} type='error'>{error}</message>"),
        format!("<iq {head} type='error'>{error}</iq>"),
        format!("<iq {head} type='result'/>"),
        format!("<presence {head} type='error'>{error}</presence>"),
        format!("<presence {head} type='unavailable'/>"),
    ] {
        two.say(&stanza).await;
    }
    two.say("<iq from='a@two.example' to='one.example' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    let heard = two.hear("id='p'").await;
    assert!(!heard.contains("id='e'"), "{heard}");
}

#[tokio::test]
async fn many_domains_on_one_stream_cost_few_calls_at_once_and_end_it() {
    let scene = Scene::new().await;
    let listener = scene.evil.listener;
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (open.clone(), most.clone());
    let mut evil = Peer::secure(&scene.one, &scene.evil.ca, "evil.example").await;
    // Each call is answered by hanging up.
    let calls = tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await;
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let now = now.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                drop(tcp);
            });
        }
    });
    for n in 0..60 {
        evil.say(&format!("<db:result from='d{n}.example' to='one.example'>k</db:result>")).await;
    }
    let heard = evil.hear_end().await;
    assert!(heard.contains("<policy-violation "), "{heard}");
    let answers = heard.matches("<db:result ").count();
    assert!(answers <= usize::from(DIALBACK_REFUSALS_MAX) + 1, "{answers}: {heard}");
    assert!(most.load(Ordering::SeqCst) <= S2S_VERIFICATIONS_PER_STREAM_MAX);
    scene.log.has_once(&["event=s2s_in_refused", "remote=evil.example"]).await;
    calls.abort();
}

#[tokio::test]
async fn a_domain_that_is_limited_is_read_slowly_and_others_are_not() {
    let terms = stentor_edge::s2s::Terms { bytes_per_sec: 4_000, ..Default::default() };
    let peers = vec![("two.example".to_owned(), terms)];
    let scene = Scene::with(Policy { peers, ..Policy::default() }).await;
    let mut user = scene.one.user().await;
    let mut two = scene.two().await;
    let stanza = message("a@two.example");
    // Two seconds' worth in one write: one second may be owed, the rest is read later.
    let many = stanza.repeat(8_000 / stanza.len());
    two.say(&many).await;
    user.hear_message().await;
    two.say(&message("late@two.example")).await;
    let mut three = Peer::external(&scene.one, &scene.three.ca, "three.example").await;
    three.say(&message("quick@three.example")).await;
    let mut senders = Vec::new();
    while senders.last().is_none_or(|last| last != "late@two.example") {
        senders.push(user.hear_message().await.head.from.unwrap().as_str().to_owned());
    }
    assert!(senders.iter().any(|sender| sender == "quick@three.example"), "{senders:?}");
}
