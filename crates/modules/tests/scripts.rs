//! Scripts, one for each topic of a specification: `scripts/*.txt`, in the words of the testkit.

#![allow(clippy::unwrap_used)]

use stentor_testkit::World;

fn run(name: &str) {
    let path = format!("{}/tests/scripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { stentor_testkit::run(&mut World::new(), &script).await });
}

#[test]
fn every_script_is_run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let mut forgotten = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !include_str!("scripts.rs").contains(&format!("run(\"{name}\")")) {
            forgotten.push(name);
        }
    }
    assert!(forgotten.is_empty(), "not run: {forgotten:?}");
}

#[test]
fn rfc6121_roster_basic() {
    run("rfc6121_roster_basic");
}

#[test]
fn xep0033_addressing() {
    run("xep0033_addressing");
}

// covers: off-14
#[test]
fn xep0033_offline() {
    run("xep0033_offline");
}

#[test]
fn rfc6121_roster_errors() {
    run("rfc6121_roster_errors");
}

#[test]
fn rfc6121_roster_versions() {
    run("rfc6121_roster_versions");
}

#[test]
fn rfc6121_cancel() {
    run("rfc6121_cancel");
}

#[test]
fn rfc6121_deny() {
    run("rfc6121_deny");
}

#[test]
fn rfc6121_preapproval() {
    run("rfc6121_preapproval");
}

#[test]
fn rfc6121_presence_directed() {
    run("rfc6121_presence_directed");
}

#[test]
fn rfc6121_presence_initial() {
    run("rfc6121_presence_initial");
}

// covers: presence-36
#[test]
fn rfc6121_presence_invalid() {
    run("rfc6121_presence_invalid");
}

#[test]
fn rfc6121_presence_priority() {
    run("rfc6121_presence_priority");
}

// covers: presence-15
#[test]
fn rfc6121_presence_probe() {
    run("rfc6121_presence_probe");
}

#[test]
fn rfc6121_presence_unavailable() {
    run("rfc6121_presence_unavailable");
}

#[test]
fn rfc6121_presence_update() {
    run("rfc6121_presence_update");
}

#[test]
fn rfc6121_remove_contact() {
    run("rfc6121_remove_contact");
}

// covers: xml-38
#[test]
fn rfc6121_subscribe() {
    run("rfc6121_subscribe");
}

#[test]
fn rfc6121_subscribe_offline() {
    run("rfc6121_subscribe_offline");
}

#[test]
fn rfc6121_subscription_full() {
    run("rfc6121_subscription_full");
}

#[test]
fn rfc6121_unsubscribe() {
    run("rfc6121_unsubscribe");
}

#[test]
fn rfc6121_iq_rules() {
    run("rfc6121_iq_rules");
}

#[test]
fn rfc6121_message_bare() {
    run("rfc6121_message_bare");
}

#[test]
fn rfc6121_message_full() {
    run("rfc6121_message_full");
}

#[test]
fn rfc6121_message_types() {
    run("rfc6121_message_types");
}

#[test]
fn xep0012_last_activity() {
    run("xep0012_last_activity");
}

#[test]
fn xep0030_disco() {
    run("xep0030_disco");
}

#[test]
fn xep0049_private_storage() {
    run("xep0049_private_storage");
}

#[test]
fn xep0054_vcard() {
    run("xep0054_vcard");
}

#[test]
fn xep0060_items() {
    run("xep0060_items");
}

#[test]
fn xep0060_nodes() {
    run("xep0060_nodes");
}

#[test]
fn xep0060_access() {
    run("xep0060_access");
}

#[test]
fn xep0060_approval() {
    run("xep0060_approval");
}

#[test]
fn xep0077_change_and_cancel() {
    run("xep0077_change_and_cancel");
}

#[test]
fn xep0092_version() {
    run("xep0092_version");
}

#[test]
fn xep0092_version_hidden() {
    run("xep0092_version_hidden");
}

#[test]
fn xep0160_offline_content() {
    run("xep0160_offline_content");
}

#[test]
fn xep0160_offline_expiry() {
    run("xep0160_offline_expiry");
}

#[test]
fn xep0160_offline_flow() {
    run("xep0160_offline_flow");
}

#[test]
fn xep0160_offline_quota() {
    run("xep0160_offline_quota");
}

#[test]
fn xep0160_offline_roster_changes() {
    run("xep0160_offline_roster_changes");
}

#[test]
fn xep0160_offline_types() {
    run("xep0160_offline_types");
}

#[test]
fn xep0199_ping() {
    run("xep0199_ping");
}

#[test]
fn xep0202_time() {
    run("xep0202_time");
}

#[test]
fn xep0280_carbons() {
    run("xep0280_carbons");
}

#[test]
fn xep0359_stanza_ids() {
    run("xep0359_stanza_ids");
}

#[test]
fn xep0386_bind2() {
    run("xep0386_bind2");
}

#[test]
fn xep0490_displayed() {
    run("xep0490_displayed");
}

#[test]
fn xep0494_access() {
    run("xep0494_access");
}

#[test]
fn xep0160_offline_archive() {
    run("xep0160_offline_archive");
}

#[test]
fn xep0313_query() {
    run("xep0313_query");
}

#[test]
fn xep0313_errors() {
    run("xep0313_errors");
}

#[test]
fn xep0313_expiry() {
    run("xep0313_expiry");
}

#[test]
fn xep0313_pages() {
    run("xep0313_pages");
}

#[test]
fn xep0313_page_limit() {
    run("xep0313_page_limit");
}

#[test]
fn xep0334_hints() {
    run("xep0334_hints");
}

#[test]
fn xep0424_retraction() {
    run("xep0424_retraction");
}

#[test]
fn xep0430_inbox() {
    run("xep0430_inbox");
}

#[test]
fn xep0441_mam_prefs() {
    run("xep0441_mam_prefs");
}

#[test]
fn xep0441_mam_prefs_off() {
    run("xep0441_mam_prefs_off");
}

#[test]
fn xep0013_by_hand() {
    run("xep0013_by_hand");
}

#[test]
fn xep0313_copies() {
    run("xep0313_copies");
}

#[test]
fn xep0163_events() {
    run("xep0163_events");
}

#[test]
fn xep0163_reply_to() {
    run("xep0163_reply_to");
}

#[test]
fn xep0163_sharing() {
    run("xep0163_sharing");
}

#[test]
fn xep0191_blocking() {
    run("xep0191_blocking");
}

#[test]
fn xep0191_blocking_forms() {
    run("xep0191_blocking_forms");
}

#[test]
fn floods() {
    run("floods");
}

#[test]
fn strangers() {
    run("strangers");
}

#[test]
fn xep0016_privacy() {
    run("xep0016_privacy");
}

#[test]
fn xep0016_stored() {
    run("xep0016_stored");
}

#[test]
fn xep0016_effects() {
    run("xep0016_effects");
}

#[test]
fn xep0377_reports() {
    run("xep0377_reports");
}

#[test]
fn xep0352_csi() {
    run("xep0352_csi");
}

#[test]
fn xep0191_resources() {
    run("xep0191_resources");
}

#[test]
fn xep0163_cancelled() {
    run("xep0163_cancelled");
}

#[test]
fn xep0203_forged() {
    run("xep0203_forged");
}

#[test]
fn xep0060_batches() {
    run("xep0060_batches");
}

#[test]
fn xep0060_bounces() {
    run("xep0060_bounces");
}

#[test]
fn xep0060_types() {
    run("xep0060_types");
}
