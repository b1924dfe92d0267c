//! Signing in with tokens, over the whole engine: what is given out, what is taken, what ends it.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use stentor_engine::clients::tokens::Usage;
use stentor_engine::sign_in::{BindWish, ShownToken, SignIn};
use stentor_engine::{Close, Flag, NotResumed, Session, Settings};
use stentor_jid::BareJid;
use stentor_payload::xep0352_csi::ClientState;
use stentor_sasl::client::Exchange as ClientExchange;
use stentor_sasl::server::{Exchange, ServerContext, Step};
use stentor_sasl::{Bindings, Condition, Hash, Mechanism, ScramKeys, TokenProof};
use stentor_store::{KeyHash, KeyRow, Write};
use stentor_testkit::World;
use stentor_xml::Frame;

const JULIET: &str = "juliet@capulet.example";
const PHONE: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const LAPTOP: &str = "7e1b5b1f-3a7b-4a4e-9a52-0cf1c3b4d5e6";
const MECHANISM: Mechanism = Mechanism::HtSha256None;
const DAY_SECS: i64 = 86_400;

#[tokio::test]
async fn a_token_comes_with_a_password_and_goes_on_by_itself() {
    let world = juliets_world().await;
    let (token, expires_ms) = ask_for_token(&world, PHONE).await.unwrap();
    assert_eq!(expires_ms, world.engine.clock.unix_ms() + 30 * DAY_SECS * 1_000);
    assert_eq!(show(&world, PHONE, &token).await, Ok(()));
    assert_eq!(come_back(&world, PHONE).await, None, "it is fresh");
    // Near its end another follows; the old one is good until that is used.
    world.advance(8 * DAY_SECS);
    assert_eq!(show(&world, PHONE, &token).await, Ok(()));
    let (second, _) = come_back(&world, PHONE).await.unwrap();
    assert_eq!(show(&world, PHONE, &token).await, Ok(()), "the second may never have arrived");
    assert_eq!(show(&world, PHONE, &second).await, Ok(()));
    assert_eq!(show(&world, PHONE, &token).await, Err(Condition::NotAuthorized));
}

#[tokio::test]
async fn a_token_is_of_one_client_and_one_account() {
    let world = juliets_world().await;
    world.add_account("romeo@capulet.example").await;
    let (token, _) = ask_for_token(&world, PHONE).await.unwrap();
    let refused = Err(Condition::NotAuthorized);
    assert_eq!(show(&world, LAPTOP, &token).await, refused);
    assert_eq!(show(&world, PHONE, "made up").await, refused);
    let as_other = |jid| show_as(&world, jid, PHONE, &token, Usage::default());
    assert_eq!(as_other("romeo@capulet.example").await, refused);
    assert_eq!(as_other("nobody@capulet.example").await, refused);
    assert_eq!(show(&world, PHONE, &token).await, Ok(()));
}

#[tokio::test]
async fn a_token_outlives_the_process_and_ends_at_its_time() {
    let mut world = juliets_world().await;
    let (token, _) = ask_for_token(&world, PHONE).await.unwrap();
    let count = |count| Usage { count: Some(count), invalidates: false };
    assert_eq!(show_as(&world, JULIET, PHONE, &token, count(5)).await, Ok(()));
    world.restart();
    let replayed = show_as(&world, JULIET, PHONE, &token, count(5)).await;
    assert_eq!(replayed, Err(Condition::NotAuthorized), "the count is on disk");
    assert_eq!(show_as(&world, JULIET, PHONE, &token, count(6)).await, Ok(()));
    world.advance(30 * DAY_SECS);
    assert_eq!(show(&world, PHONE, &token).await, Err(Condition::CredentialsExpired));
    assert_eq!(show(&world, PHONE, "made up").await, Err(Condition::NotAuthorized));
}

#[tokio::test]
async fn logging_out_takes_the_token_and_brings_no_other() {
    let world = juliets_world().await;
    let (token, _) = ask_for_token(&world, PHONE).await.unwrap();
    world.advance(8 * DAY_SECS);
    let log_out = Usage { count: None, invalidates: true };
    assert_eq!(show_as(&world, JULIET, PHONE, &token, log_out).await, Ok(()));
    let wish = SignIn { has_invalidated: true, ..by_token(&world, PHONE) };
    assert_eq!(world.engine.sign_in(wish).await.unwrap().token, None);
    assert_eq!(show(&world, PHONE, &token).await, Err(Condition::CredentialsExpired));
}

#[tokio::test]
async fn a_new_password_ends_tokens_and_sessions_but_the_one_that_set_it() {
    let world = juliets_world().await;
    let (token, _) = ask_for_token(&world, PHONE).await.unwrap();
    let phone = bind(&world, PHONE).await;
    let laptop = bind(&world, LAPTOP).await;
    let juliet = BareJid::new(JULIET).unwrap();
    let own = Some(&*laptop.resource);
    world.engine.set_password(&juliet, "n3w".into(), own).await.unwrap();
    assert_eq!(phone.resource.outbox.closing(), Some(Close::Revoked));
    assert_eq!(laptop.resource.outbox.closing(), None);
    assert_eq!(show(&world, PHONE, &token).await, Err(Condition::CredentialsExpired));
    let listed = world.engine.clients(&juliet).await.unwrap();
    assert!(listed.iter().all(|access| !access.client.knows_password && !access.has_token));
    world.engine.set_password(&juliet, "n3w3r".into(), None).await.unwrap();
    assert_eq!(laptop.resource.outbox.closing(), Some(Close::Revoked));
}

#[tokio::test]
async fn a_sign_in_that_began_before_the_change_counts_no_more() {
    let world = juliets_world().await;
    let juliet = BareJid::new(JULIET).unwrap();
    let old = SignIn { bind: Some(BindWish::default()), ..by_password(&world, PHONE) };
    let proven = old.proven;
    world.engine.set_password(&juliet, "n3w".into(), None).await.unwrap();
    let outcome = world.engine.sign_in(old).await;
    assert_eq!(outcome.map(|_| ()).unwrap_err(), Condition::TemporaryAuthFailure);
    let bound = world.engine.bind_proven(&juliet, None, proven).await;
    assert_eq!(bound.map(|_| ()).unwrap_err().condition.name(), "not-authorized");
    let keys = ScramKeys::derive(Hash::Sha512, "old", b"salt", 4_096).unwrap();
    let kept = world.engine.keep_keys(&juliet, keys, proven).await;
    assert_eq!(kept, Err(Condition::TemporaryAuthFailure), "the old password stays out");
    assert!(world.engine.bind(&juliet, None).await.is_ok());
}

#[tokio::test]
async fn one_client_is_sent_away_and_the_others_stay() {
    let world = juliets_world().await;
    let (lost, _) = ask_for_token(&world, PHONE).await.unwrap();
    let (kept, _) = ask_for_token(&world, LAPTOP).await.unwrap();
    let phone = bind(&world, PHONE).await;
    let laptop = bind(&world, LAPTOP).await;
    let juliet = BareJid::new(JULIET).unwrap();
    let listed = world.engine.clients(&juliet).await.unwrap();
    let key = |name: &str| {
        listed.iter().find(|a| a.client.device.as_deref() == Some(name)).unwrap().key.clone()
    };
    let revoked = world.engine.revoke_client(&juliet, &key(PHONE), |_| ()).await.unwrap().unwrap();
    assert_eq!((revoked.sessions, revoked.knows_password), (1, true));
    assert_eq!(phone.resource.outbox.closing(), Some(Close::Revoked));
    assert_eq!(laptop.resource.outbox.closing(), None);
    assert_eq!(show(&world, PHONE, &lost).await, Err(Condition::CredentialsExpired));
    assert_eq!(show(&world, LAPTOP, &kept).await, Ok(()));
    assert_eq!(world.engine.revoke_client(&juliet, "nobody", |_| ()).await.unwrap(), None);
}

#[tokio::test]
async fn a_suspended_account_is_told_only_to_who_has_a_good_token_and_a_lock_bars_no_token() {
    let world = juliets_world().await;
    let (token, _) = ask_for_token(&world, PHONE).await.unwrap();
    let juliet = BareJid::new(JULIET).unwrap();
    world.engine.suspend_account(&juliet, true).await.unwrap();
    assert_eq!(show(&world, PHONE, &token).await, Err(Condition::AccountDisabled));
    assert_eq!(show(&world, PHONE, "made up").await, Err(Condition::NotAuthorized));
    world.engine.suspend_account(&juliet, false).await.unwrap();
    assert_eq!(show(&world, PHONE, &token).await, Ok(()));
    let guard = &world.engine.credentials.guard;
    while !guard.failed(None, Some(&juliet), world.engine.clock.unix_ms()).1 {}
    assert_eq!(show(&world, PHONE, &token).await, Ok(()));
}

/// XEP-0386 §3.2, §3.2.1.
#[tokio::test]
async fn a_client_has_one_resource_and_its_earlier_session_ends() {
    let world = juliets_world().await;
    let first = bind(&world, PHONE).await;
    let other = bind(&world, LAPTOP).await;
    let name = first.resource.jid.resource().to_owned();
    assert!(name.starts_with("Awesome/") && !name.contains(PHONE), "{name}");
    let second = bind(&world, PHONE).await;
    assert_eq!(second.resource.jid, first.resource.jid);
    assert_eq!(first.resource.outbox.closing(), Some(Close::Conflict));
    assert_eq!(other.resource.outbox.closing(), None);
    assert_ne!(other.resource.jid, second.resource.jid);
    let juliet = BareJid::new(JULIET).unwrap();
    assert_eq!(world.engine.account(&juliet).await.unwrap().unwrap().resources().len(), 2);

    let tagged = |tag: Option<&str>| SignIn {
        bind: Some(BindWish { tag: tag.map(str::to_owned), wishes: Vec::new() }),
        ..by_password(&world, PHONE)
    };
    for tag in [None, Some(""), Some("\u{0}"), Some(&*"x".repeat(1_023))] {
        let session = world.engine.sign_in(tagged(tag)).await.unwrap().session.unwrap();
        assert_eq!(session.resource.jid.resource().len(), 16, "{tag:?} is left out");
    }
    let unnamed = SignIn { client: None, ..tagged(Some("a")) };
    let session = world.engine.sign_in(unnamed).await.unwrap().session.unwrap();
    assert!(session.resource.jid.resource().starts_with("a/"));
}

#[tokio::test]
async fn a_full_account_signs_in_without_a_resource_and_a_known_client_in_its_own_place() {
    let settings = Settings { sessions_max: 1, ..Settings::default() };
    let world = World::with(settings, "");
    world.add_account(JULIET).await;
    bind(&world, PHONE).await;
    let wish = SignIn { bind: Some(BindWish::default()), ..by_password(&world, LAPTOP) };
    assert!(world.engine.sign_in(wish).await.unwrap().session.is_none());
    bind(&world, PHONE).await;
}

#[tokio::test]
async fn carbons_are_on_from_the_beginning() {
    let world = juliets_world().await;
    let enable = "<enable xmlns='urn:xmpp:carbons:2'/>";
    let wishing = world.sign_in(JULIET, PHONE, &[enable]).await;
    let other = world.sign_in(JULIET, LAPTOP, &[]).await;
    assert!(wishing.session().resource.has(Flag::Carbons));
    assert!(!other.session().resource.has(Flag::Carbons));
    let host = world.engine.host("capulet.example").unwrap();
    let features: Vec<_> = host.profile.sign_in.inline_features().collect();
    assert!(features.contains(&"urn:xmpp:carbons:2"), "{features:?}");
}

/// XEP-0386 §3.2.1: nothing reaches a client that says so with its first word before that holds.
#[tokio::test]
async fn a_client_may_begin_as_inactive() {
    let world = juliets_world().await;
    let inactive = "<inactive xmlns='urn:xmpp:csi:0'/>";
    let mut phone = world.sign_in(JULIET, PHONE, &[inactive]).await;
    let mut laptop = world.sign_in(JULIET, LAPTOP, &[]).await;
    phone.send("<presence/>").await;
    laptop.send("<presence/>").await;
    assert!(phone.receive_all().is_empty());
    assert_eq!(laptop.receive_all().len(), 2, "itself and the phone");
    phone.indicate(ClientState::Active);
    assert_eq!(phone.receive_all().len(), 2);
    let host = world.engine.host("capulet.example").unwrap();
    let features: Vec<_> = host.profile.sign_in.inline_features().collect();
    assert!(features.contains(&"urn:xmpp:csi:0"), "{features:?}");
}

/// XEP-0386 §3.2: what the archive has is not delivered as well, and what it does not have is.
#[tokio::test]
async fn offline_messages_are_left_to_the_archive_where_it_has_them() {
    for (options, is_archived, is_cleared) in [
        ("", true, true),
        ("[archive]\ndefault = 'never'", false, false),
        ("[bind2]\nclear_offline = false", true, false),
    ] {
        let world = World::with(Settings::default(), options);
        for jid in [JULIET, "romeo@montague.example"] {
            world.add_account(jid).await;
        }
        let mut romeo = world.connect("romeo@montague.example/orchard").await;
        for body in ["first", "last"] {
            let message =
                format!("<message to='{JULIET}' type='chat'><body>{body}</body></message>");
            romeo.send(&message).await;
        }
        let wish = SignIn { bind: Some(BindWish::default()), ..by_password(&world, PHONE) };
        let signed_in = world.engine.sign_in(wish).await.unwrap();
        let [metadata] = &signed_in.bound[..] else { panic!("{:?}", signed_in.bound) };
        let root = metadata.root();
        assert!(root.is("urn:xmpp:mam:2", "metadata"));
        let ids: Vec<_> = root.children().filter_map(|mark| mark.attr("id")).collect();
        assert_eq!(ids.len(), if is_archived { 2 } else { 0 });
        assert!(!is_archived || ids[0] != ids[1]);

        let mut juliet = world.connect("juliet@capulet.example/old").await;
        juliet.send("<presence/>").await;
        let came = juliet.receive_all();
        let messages = came.iter().filter(|stanza| stanza.message_type().is_some()).count();
        assert_eq!(messages, if is_cleared { 0 } else { 2 }, "{options}");
    }
}

/// A client that comes while the other is signing in is handed what is left.
#[tokio::test]
async fn messages_that_arrive_after_binding_are_delivered() {
    let world = juliets_world().await;
    world.add_account("romeo@montague.example").await;
    let mut romeo = world.connect("romeo@montague.example/orchard").await;
    let message =
        |body| format!("<message to='{JULIET}' type='chat'><body>{body}</body></message>");
    romeo.send(&message("before")).await;
    let mut phone = world.sign_in(JULIET, PHONE, &[]).await;
    romeo.send(&message("between")).await;
    phone.send("<presence/>").await;
    romeo.send(&message("after")).await;
    let bodies: Vec<_> = (phone.receive_all().iter())
        .filter_map(|stanza| Some(stanza.child("jabber:client", "body")?.text().into_owned()))
        .collect();
    assert_eq!(bodies, ["between", "after"]);
}

/// XEP-0198 §9.
#[tokio::test]
async fn a_session_goes_on_or_makes_room_for_a_new_one() {
    let world = juliets_world().await;
    let wish = |resume, enable| SignIn {
        bind: Some(BindWish::default()),
        resume,
        enable,
        ..by_password(&world, PHONE)
    };
    let first = world.engine.sign_in(wish(None, Some((true, Some(60))))).await.unwrap();
    let (id, secs) = first.enabled.flatten().unwrap();
    assert_eq!(secs, 60);
    let session = first.session.unwrap();
    assert!(session.break_off(Vec::new()).is_none(), "it waits");

    let back = world.engine.sign_in(wish(Some((id.clone(), 0)), None)).await.unwrap();
    assert!(back.session.is_none() && back.bound.is_empty(), "the wish to bind is ignored");
    let resumed = back.resumption.unwrap().unwrap();
    assert_eq!(resumed.session.resource.serial, session.resource.serial);
    assert!(session.break_off(Vec::new()).is_none());

    let too_high = world.engine.sign_in(wish(Some((id, 9)), None)).await.unwrap();
    assert!(matches!(too_high.resumption, Some(Err(NotResumed::TooHigh(_)))));
    assert!(too_high.session.is_none(), "that stream is to end");

    let unknown = Some(("unknown".to_owned(), 0));
    let new = world.engine.sign_in(wish(unknown, Some((false, None)))).await.unwrap();
    assert!(matches!(new.resumption, Some(Err(NotResumed::Unknown(None)))));
    assert_eq!(new.enabled, Some(None), "counted, and not to be resumed");
    let newer = new.session.unwrap();
    assert_eq!(newer.resource.jid, session.resource.jid);
    assert_eq!(session.resource.outbox.closing(), Some(Close::Conflict));
}

/// A session that outlives the process is still that of its client.
#[tokio::test]
async fn a_restored_session_ends_with_the_access_of_its_client() {
    let mut world = juliets_world().await;
    let juliet = BareJid::new(JULIET).unwrap();
    let mut wish = by_password(&world, PHONE);
    (wish.bind, wish.enable) = (Some(BindWish::default()), Some((true, None)));
    let signed_in = world.engine.sign_in(wish).await.unwrap();
    assert!(signed_in.enabled.flatten().is_some());
    drop(signed_in.session);
    world.restart();
    world.engine.restore_sessions().await.unwrap();
    let listed = world.engine.clients(&juliet).await.unwrap();
    let [phone] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((phone.client.device.as_deref(), phone.sessions.len()), (Some(PHONE), 1));
    let revoked = world.engine.revoke_client(&juliet, &phone.key, |_| ()).await.unwrap();
    assert_eq!(revoked.unwrap().sessions, 1);
    let account = world.engine.account(&juliet).await.unwrap().unwrap();
    let left: Vec<_> = account.resources();
    assert!(left.iter().all(|resource| resource.outbox.closing().is_some()));
}

/// XEP-0494 §6: the operator says what is kept.
#[tokio::test]
async fn names_are_kept_only_where_the_operator_wants() {
    for (options, expected) in [("", Some("Awesome")), ("[sasl2]\nclient_names = false", None)] {
        let world = World::with(Settings::default(), options);
        world.add_account(JULIET).await;
        bind(&world, PHONE).await;
        let listed = world.engine.clients(&BareJid::new(JULIET).unwrap()).await.unwrap();
        assert_eq!(listed[0].client.software.as_deref(), expected);
    }
}

#[tokio::test]
async fn old_clients_are_forgotten() {
    let mut world = juliets_world().await;
    drop(world.engine.sign_in(by_password(&world, PHONE)).await.unwrap());
    world.advance(181 * DAY_SECS);
    drop(world.engine.sign_in(by_password(&world, LAPTOP)).await.unwrap());
    world.restart();
    let listed = world.engine.clients(&BareJid::new(JULIET).unwrap()).await.unwrap();
    let devices: Vec<_> = listed.iter().filter_map(|a| a.client.device.as_deref()).collect();
    assert_eq!(devices, [LAPTOP]);
}

/// XEP-0480, and the same by PLAIN.
#[tokio::test]
async fn an_account_with_keys_of_one_hash_gets_the_others() {
    let world = World::new();
    let keys = ScramKeys::derive(Hash::Sha1, "r0m30", b"salt", 4_096).unwrap();
    let row = KeyRow {
        hash: KeyHash::Sha1,
        iterations: keys.iterations,
        salt: keys.salt,
        stored_key: keys.stored_key,
        server_key: keys.server_key,
    };
    let juliet = BareJid::new(JULIET).unwrap();
    let create = Write::CreateAccount { owner: juliet.clone(), created_ms: 0, keys: vec![row] };
    world.stores().writer.submit(create).await.unwrap();
    let engine = &world.engine;
    let verify = |password: &str| {
        engine.credentials.verify(&engine.stores.accounts, &juliet, password.into())
    };
    assert!(verify("r0m30").await.unwrap() && !verify("wrong").await.unwrap());

    assert_eq!(engine.lacking_keys(&juliet, Hash::Sha1).await, Ok(None));
    let (salt, iterations) = engine.lacking_keys(&juliet, Hash::Sha256).await.unwrap().unwrap();
    let salted = ScramKeys::salted(Hash::Sha256, "r0m30", &salt, iterations).unwrap();
    let keys = ScramKeys::from_salted(Hash::Sha256, &salted, &salt, iterations).unwrap();
    engine.keep_keys(&juliet, keys, engine.moment()).await.unwrap();
    assert_eq!(engine.lacking_keys(&juliet, Hash::Sha256).await, Ok(None));
    assert!(verify("r0m30").await.unwrap());

    engine.complete_keys(&juliet, "r0m30", engine.moment()).await;
    let (keys, exists) =
        engine.credentials.keys(&engine.stores.accounts, &juliet, Hash::Sha512).await.unwrap();
    assert!(exists && keys.verify("r0m30"));
}

async fn juliets_world() -> World {
    let world = World::new();
    world.add_account(JULIET).await;
    world
}

fn by_password(world: &World, client: &str) -> SignIn {
    SignIn {
        account: BareJid::new(JULIET).unwrap(),
        mechanism: Mechanism::ScramSha256,
        proven: world.engine.moment(),
        client: Some(client.to_owned()),
        software: Some("Awesome".into()),
        device: Some(client.to_owned()),
        bind: None,
        wants_token: None,
        resume: None,
        enable: None,
        has_invalidated: false,
    }
}

fn by_token(world: &World, client: &str) -> SignIn {
    SignIn { mechanism: MECHANISM, ..by_password(world, client) }
}

async fn ask_for_token(world: &World, client: &str) -> Option<(String, i64)> {
    let wish = SignIn { wants_token: Some(MECHANISM), ..by_password(world, client) };
    world.engine.sign_in(wish).await.unwrap().token
}

/// Signs in after a token was taken; returns the token that follows, if one is due.
async fn come_back(world: &World, client: &str) -> Option<(String, i64)> {
    world.engine.sign_in(by_token(world, client)).await.unwrap().token
}

async fn bind(world: &World, client: &str) -> Arc<Session> {
    let bind = BindWish { tag: Some("Awesome".into()), wishes: Vec::<Frame>::new() };
    let wish = SignIn { bind: Some(bind), ..by_password(world, client) };
    world.engine.sign_in(wish).await.unwrap().session.unwrap()
}

async fn show(world: &World, client: &str, token: &str) -> Result<(), Condition> {
    show_as(world, JULIET, client, token, Usage::default()).await
}

async fn show_as(
    world: &World,
    jid: &str,
    client: &str,
    token: &str,
    usage: Usage,
) -> Result<(), Condition> {
    let proof = &proof(token);
    let shown = ShownToken { client, proof, usage };
    world.engine.take_token(&BareJid::new(jid).unwrap(), shown).await.map(|_| ())
}

/// What a client shows of its token.
fn proof(token: &str) -> TokenProof {
    let bindings = Bindings::default();
    let mut client = ClientExchange::with_token(MECHANISM, "juliet", token, &bindings).unwrap();
    let cx = ServerContext { bindings: &bindings, plus_offered: false, nonce: "", offered: None };
    match Exchange::start(MECHANISM, &cx).begin(client.first().as_deref()) {
        Ok(Step::NeedToken { proof, .. }) => proof,
        step => panic!("{step:?}"),
    }
}
