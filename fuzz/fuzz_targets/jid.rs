//! Addresses: preparation never panics, is idempotent, and agrees with itself on whole and parts.

#![cfg_attr(fuzzing, no_main)]

use stentor_jid::limits::PART_BYTES_MAX;
use stentor_jid::{Jid, domain_to_ascii, prep_domain, prep_local, prep_resource, xep0106_escaping};

stentor_fuzz::target!(check);

fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(jid) = Jid::new(text) {
        check_address(&jid);
    }
    check_parts(text);
    check_escaping(text);
}

fn check_address(jid: &Jid) {
    assert_eq!(Jid::new(jid.as_str()).as_ref(), Ok(jid));
    let again = Jid::from_parts(jid.local(), jid.domain(), jid.resource());
    assert_eq!(again.as_ref(), Ok(jid));
    let parts = [jid.local(), Some(jid.domain()), jid.resource()];
    assert!(parts.into_iter().flatten().all(|part| (1..=PART_BYTES_MAX).contains(&part.len())));

    let bare = jid.to_bare();
    assert_eq!(bare, jid.bare_str());
    assert_eq!((bare.local(), bare.domain()), (jid.local(), jid.domain()));
    match jid.as_full() {
        Some(full) => assert_eq!(bare.with_resource(full.resource()), Ok(full)),
        None => assert_eq!(bare.as_jid(), jid),
    }

    let ascii = domain_to_ascii(jid.domain()).expect("a canonical domainpart has A-labels");
    assert_eq!(prep_domain(&ascii).as_deref(), Ok(jid.domain()));
}

fn check_parts(text: &str) {
    for prep in [prep_local, prep_domain, prep_resource] {
        if let Ok(once) = prep(text) {
            assert_eq!(prep(&once).as_deref(), Ok(&*once));
        }
    }
}

fn check_escaping(text: &str) {
    if let Ok(escaped) = xep0106_escaping::escape(text) {
        assert!(!escaped.contains([' ', '"', '&', '\'', '/', ':', '<', '>', '@']));
        assert_eq!(xep0106_escaping::unescape(&escaped), text);
    }
    assert!(xep0106_escaping::unescape(text).len() <= text.len());
}
