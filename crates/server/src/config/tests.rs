//! The exact texts of mistakes, and that the reference page says what is so.

use std::path::Path;

use stentor_edge::{AdmissionSettings, Rates};
use stentor_engine::Settings as ProfileSettings;
use stentor_engine::guard::GuardSettings;
use stentor_stream::c2s::Settings as StreamSettings;

use super::*;

/// What is wrong with a text, as it is printed; the file is called `f`.
fn told(text: &str) -> Vec<String> {
    told_with(text, &[])
}

fn told_with(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let mistakes = match Config::parse(text, &set(variables), Path::new("/etc")) {
        Ok((_, mistakes)) | Err(mistakes) => mistakes,
    };
    Mistakes::new(Some("f".into()), mistakes).lines().collect()
}

fn sound(text: &str) -> Config {
    sound_with(text, &[])
}

fn sound_with(text: &str, variables: &[(&str, &str)]) -> Config {
    assert_eq!(told_with(text, variables), [""; 0]);
    Config::parse(text, &set(variables), Path::new("/etc")).unwrap().0
}

fn set(variables: &[(&str, &str)]) -> Vec<Variable> {
    let variable =
        |(name, raw): &(&str, &str)| Variable { name: (*name).to_owned(), raw: (*raw).to_owned() };
    variables.iter().map(variable).collect()
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "\
[limits]
idel_secs = 5
header_wait_secs = 0
[[listen]]
adress = '127.0.0.1:5222'
[logs]
[[host]]
profile = 'defualt'
[log]
format = 'yaml'
level = 7
";
    let expected = [
        "f:2:1: there is no key `idel_secs` in `limits`; did you mean `idle_secs`?",
        "f:3:20: `header_wait_secs` must be a number from 1 to 3600",
        "f:5:1: there is no key `adress` in `listen`; did you mean `address`?",
        "f:6:2: there is no key `logs` in the file; did you mean `log`?",
        "f:7:1: a `[[host]]` needs a `name`",
        "f:8:11: there is no profile `defualt`; did you mean `default`?",
        "f:10:10: `format` must be one of `text`, `json`",
        "f:11:9: `level` must be a text in quotes",
    ];
    assert_eq!(told(text), expected);
}

#[test]
fn every_mistake_names_its_place_reason_and_remedy() {
    let mut wrong = Vec::new();
    for (text, expected) in [
        ("a = ", "f:1:5: string values must be quoted, expected literal string"),
        ("data_dir = ''", "f:1:12: `data_dir` must be the path of a file or folder"),
        ("data_dir = 3", "f:1:12: `data_dir` must be a text in quotes"),
        ("log = 3", "f:1:7: `log` must be a table: write `[log]`"),
        ("[listen]", "f:1:1: `listen` is a list of tables: write `[[listen]]`"),
        ("host = []", "f:1:8: `host` is an empty list: leave it out"),
        ("listen = [3]", "f:1:11: `listen` must be a table: write `[[listen]]`"),
        ("weather = 'fine'", "f:1:1: there is no key `weather` in the file"),
        (
            "[[listen]]\naddress = 'localhost'",
            "f:2:11: `localhost` is no IP address with a port: write it as `[::]:5222`",
        ),
        (
            "[federation]\ndns = '192.0.2.7'",
            "f:2:7: `192.0.2.7` is no IP address with a port: write it as `192.0.2.7:53`",
        ),
        (
            "[log]\nlevel = 'loud'",
            "f:2:9: `loud` is no level or filter: write `info`, `debug`, or `info,stentor_edge=debug`",
        ),
        (
            "[[listen]]\nkind = 'c2s-tls'\ntls = 'off'",
            "f:1:1: only a port of kind `c2s` can do without TLS: leave out `tls`; for servers there \
             is `tls_required` in `[federation]`",
        ),
        (
            "[[listen]]\ntls = 'optional'\naddress = '0.0.0.0:5222'",
            "f:3:11: `0.0.0.0:5222` is not on the loopback interface, and passwords and messages \
             would cross the network in clear: leave out `tls`, or set \
             `allow_plaintext_beyond_loopback = true` if a proxy does TLS",
        ),
        (
            "[[listen]]\naddress = '[::]:5222'\n[[listen]]\naddress = '127.0.0.1:5222'",
            "f:4:11: `127.0.0.1:5222` is taken by the port on `[::]:5222`: choose another port",
        ),
        (
            "[[listen]]\naddress = '127.0.0.1:5280'",
            "f:2:11: `127.0.0.1:5280` is taken by the metrics on `127.0.0.1:5280`: choose another \
             port",
        ),
        (
            "[[host]]\nname = 'a b'",
            "f:2:8: `a b` is no domain: the domainpart is not a domain name",
        ),
        (
            "[[host]]\nname = 'a.example'\n[[host]]\nname = 'A.example'",
            "f:4:8: `A.example` stands there twice: take one out",
        ),
        (
            "[[host]]\nname = 'a.example'\nprofile = 'visitors'",
            "f:3:11: there is no profile `visitors`; write `[profile.visitors]`",
        ),
        (
            "[[host]]\nname = 'a.example'\n[[component]]\ndomain = 'A.example'\nsecret = 's'",
            "f:4:10: `A.example` is a `[[host]]`: give the component a domain of its own",
        ),
        (
            "[[component]]\ndomain = 'a b'\nsecret = 's'",
            "f:2:10: `a b` is no domain: the domainpart is not a domain name",
        ),
        (
            "[[component]]\ndomain = 'irc.example'\nsecret = 's'\n[[component]]\n\
             domain = 'irc.example'\nsecret = 's'",
            "f:5:10: `irc.example` stands there twice: take one out",
        ),
        ("[[component]]\nsecret = 's'", "f:1:1: a `[[component]]` needs a `domain`"),
        (
            "[[component]]\ndomain = 'irc.example'",
            "f:1:1: a `[[component]]` needs either `secret` or `secret_file`",
        ),
        (
            "[[component]]\ndomain = 'irc.example'\nsecret = 's'\nsecret_file = 'f'",
            "f:1:1: a `[[component]]` needs either `secret` or `secret_file`",
        ),
        (
            "[[component]]\ndomain = 'irc.example'\nsecret = ''",
            "f:3:10: the secret is empty: anybody would know it",
        ),
        (
            "[[component]]\ndomain = 'irc.example'\nsecret = 's'\nhosts = ['b.example']",
            "f:4:10: `b.example` is no domain of this server; add a `[[host]]`",
        ),
        (
            "[[component]]\ndomain = 'irc.example'\nsecret = 's'\npresence_access = 'roster'",
            "f:1:1: `presence_access = \"roster\"` needs `roster_access` of `get` or `both` (XEP-0356 \
             §7.4)",
        ),
        (
            "[[component]]\ndomain = 'irc.example'\nsecret = 's'\niq_access = ['urn:x all']",
            "f:4:14: `urn:x all` is no namespace with `get`, `set` or `both` behind it",
        ),
        (
            "[[component]]\ndomain = 'irc.example'\nsecret = 's'\n\
             delegate = ['urn:xmpp:delegation:2']",
            "f:4:13: `urn:xmpp:delegation:2` itself cannot be delegated (XEP-0355 §8)",
        ),
        (
            "[[listen]]\nkind = 'component'\naddress = '0.0.0.0:5347'",
            "f:3:11: `0.0.0.0:5347` is not on the loopback interface, and passwords and messages \
             would cross the network in clear: leave out `tls`, or set \
             `allow_plaintext_beyond_loopback = true` if a proxy does TLS",
        ),
        ("profile = 3", "f:1:11: `profile` must be a table of profiles: write `[profile.default]`"),
        (
            "[profile.default]\nsessions_max = 'many'",
            "f:2:16: `sessions_max` must be a number from 1 to 10000",
        ),
        (
            "[profile.default]\nmodules = 1",
            "f:2:11: `modules` must be a table: write `[profile.default.modules.offline]`",
        ),
        (
            "[profile.default.modules.ofline]",
            "f:1:26: there is no module `ofline`; did you mean `offline`?",
        ),
        (
            "[profile.default.modules.weather]",
            "f:1:26: there is no module `weather`; `stentor modules` lists them",
        ),
        (
            "[profile.default.modules]\nping = true",
            "f:2:8: `ping` must be a table: write `[….modules.ping]`",
        ),
        (
            "[profile.default.modules.ping]\nenabled = 'no'",
            "f:2:11: `enabled` must be `true` or `false`",
        ),
        (
            "[[certificate]]\nchain = 'c.pem'",
            "f:1:1: a `[[certificate]]` needs both `chain` and `key`",
        ),
        (
            "[tls]\nclient_certificates = 'optional'",
            "f:1:1: `client_certificates` needs `client_authority`: a PEM file with the authorities",
        ),
        ("[tls]\nversion_min = '1.1'", "f:2:15: `version_min` must be one of `1.2`, `1.3`"),
        ("[sign_in]\nmechanisms = ['PLAIN', 'PLAIN']", "f:2:24: `PLAIN` stands there twice"),
        (
            "[sign_in]\nmechanisms = ['ANONYMOUS']",
            "f:2:15: `ANONYMOUS` is not among them: set `anonymous = true` in the profile of a \
             domain",
        ),
        (
            "[sign_in]\nmechanisms = 'PLAIN'",
            "f:2:14: `mechanisms` must be a list of texts: `[\"…\", \"…\"]`",
        ),
        (
            "[log]\nlevel = 'a=b=c'",
            "f:2:9: `a=b=c` is no level or filter: write `info`, `debug`, or \
             `info,stentor_edge=debug`",
        ),
        (
            "[metrics]\naddress = '0.0.0.0:5280'",
            "f:2:11: `0.0.0.0:5280` is not on the loopback interface, and the page has no \
             password: use a proxy, or set `allow_beyond_loopback = true` if only the monitoring \
             reaches it",
        ),
    ] {
        let told = told(text);
        if told != [expected] {
            wrong.push(format!("{text}\n  told {told:#?}\n  not  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mistakes_in_options_of_modules_have_the_place_of_the_option() {
    let text = "\
[profile.default.modules.offline]
messages_max = 'many'
[profile.default.modules.ping]
odd = 1
";
    let expected = [
        "f:2:16: module offline: `messages_max` must be a whole number",
        "f:4:1: module ping: there is no option `odd`; it has none",
    ];
    assert_eq!(told(text), expected);
}

#[test]
fn variables_win_over_the_file() {
    let config = sound_with(
        "[log]\nlevel = 'warn'\n[profile.default]\nsessions_max = 9",
        &[
            ("STENTOR__DATA_DIR", "/srv/chat"),
            ("STENTOR__LIMITS__IDLE_SECS", "7"),
            ("STENTOR__LOG__LEVEL", "debug"),
            ("STENTOR__METRICS__ADDRESS", "127.0.0.1:9000"),
            ("STENTOR__PROFILE__DEFAULT__SESSIONS_MAX", "3"),
            ("STENTOR__SIGN_IN__MECHANISMS", "['SCRAM-SHA-256']"),
            ("STENTOR__TLS__VERSION_MIN", "1.3"),
        ],
    );
    assert_eq!(config.data_dir, Path::new("/srv/chat"));
    assert_eq!(config.stream.idle.after_ms, 7_000);
    assert_eq!(config.log_level, "debug");
    assert_eq!(config.metrics, Some("127.0.0.1:9000".parse().unwrap()));
    assert_eq!(config.profiles["default"].settings.sessions_max, 3);
    assert_eq!(config.mechanisms, Some(vec![Mechanism::ScramSha256]));
    assert_eq!(config.version_min, VersionMin::Tls13);
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    let told = told_with(
        "[[listen]]\naddress = '127.0.0.1:5222'",
        &[
            ("STENTOR__LIMITS__IDLE_SECS", "soon"),
            ("STENTOR__LISTEN__0__ADDRESS", "127.0.0.1:1"),
            ("STENTOR__LOG", "debug"),
            ("STENTOR__LOGS__LEVEL", "debug"),
            ("STENTOR__SIGN_IN__MECHANISMS", "['NONE']"),
            ("STENTOR____", "1"),
        ],
    );
    let nowhere = "no key can be set by this name; lists of tables are set in the file";
    let expected = [
        format!("STENTOR__LISTEN__0__ADDRESS: {nowhere}"),
        format!("STENTOR____: {nowhere}"),
        "STENTOR__LIMITS__IDLE_SECS: `idle_secs` must be a number from 0 to 86400".into(),
        "STENTOR__LOG: `log` must be a table: write `[log]`".into(),
        "STENTOR__LOGS__LEVEL: there is no key `logs` in the file; did you mean `log`?".into(),
    ];
    for expected in &expected {
        assert!(told.contains(expected), "{expected} is not in {told:#?}");
    }
    assert!(told.iter().any(|t| t.starts_with("STENTOR__SIGN_IN__MECHANISMS: there is no mech")));
    assert_eq!(told.len(), expected.len() + 1);
}

#[test]
fn relative_paths_begin_at_the_folder_of_the_file() {
    let config = sound("data_dir = 'data'\n[[certificate]]\nchain = 'c.pem'\nkey = '/k.pem'");
    assert_eq!(config.data_dir, Path::new("/etc/data"));
    let files = &config.certificates[0].files;
    assert_eq!(files.certificate, Path::new("/etc/c.pem"));
    assert_eq!(files.key, Path::new("/k.pem"));
}

#[test]
fn components_have_a_port_on_the_loopback_interface() {
    let component = "[[component]]\ndomain = 'irc.example'\nsecret = 's'";
    let of = |text: &str| {
        let ports = sound(text).listeners.into_iter().filter(|l| l.kind.is_component());
        ports.map(|l| l.address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of(""), [""; 0]);
    assert_eq!(of(component), ["127.0.0.1:5347"]);
    let tls = format!("{component}\n[[listen]]\nkind = 'component-tls'\naddress = '[::]:5348'");
    assert_eq!(of(&tls), ["[::]:5348"]);
}

#[test]
fn the_secret_of_a_component_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    let text = "[[component]]\ndomain = 'irc.example'\nsecret_file = 's'";
    std::fs::write(&file, text).unwrap();
    let sources = Sources { file: Some(file), ..Sources::default() };
    let load = || Config::load_checked(&sources).map(|(config, _)| config);
    let told = |config: Result<Config, Mistakes>| {
        let lines: Vec<String> = config.unwrap_err().lines().collect();
        lines[0].replace(&folder.path().display().to_string(), "DIR")
    };
    let missing = "DIR/stentor.toml:3:15: DIR/s: cannot be read (No such file or directory (os \
                   error 2)); name a file that the server may read";
    assert_eq!(told(load()), missing);
    std::fs::write(folder.path().join("s"), "two\nlines\n").unwrap();
    assert_eq!(told(load()), "DIR/stentor.toml:3:15: DIR/s: must hold one line, the secret");
    std::fs::write(folder.path().join("s"), "Mercutio\n").unwrap();
    let config = load().unwrap();
    assert_eq!(config.components[0].settings().unwrap().secret.as_str(), "Mercutio");
    assert!(!format!("{config:?}").contains("Mercutio"));
}

#[test]
fn an_unreadable_file_is_one_mistake_with_its_remedy() {
    let sources = Sources { file: Some("/no/such.toml".into()), ..Sources::default() };
    let told: Vec<_> = Config::load(&sources).unwrap_err().lines().collect();
    let expected = "`/no/such.toml` cannot be read: No such file or directory (os error 2); name \
                    another by `--config`";
    assert_eq!(told, [expected]);
}

#[test]
fn missing_certificates_are_told_with_all_other_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    let text = "\
[[certificate]]
chain = 'a.pem'
key = 'a.pem'
[[certificate]]
chain = 'b.pem'
key = 'b.pem'
[limits]
idle_secs = -1
[tls]
client_authority = 'c.pem'
";
    std::fs::write(&file, text).unwrap();
    let sources = Sources { file: Some(file), ..Sources::default() };
    let folder = folder.path().display();
    let told: Vec<String> = Config::load_checked(&sources)
        .unwrap_err()
        .lines()
        .map(|line| line.replace(&format!("{folder}/"), ""))
        .collect();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(told[0].starts_with("stentor.toml:2:9: a.pem: cannot be read (No such file"));
    assert!(told[1].starts_with("stentor.toml:5:9: b.pem: cannot be read (No such file"));
    assert_eq!(told[2], "stentor.toml:8:13: `idle_secs` must be a number from 0 to 86400");
    assert!(told[3].starts_with("stentor.toml:10:20: c.pem: cannot be read (No such file"));
    // Commands on the data folder need no certificate.
    assert_eq!(Config::load(&sources).unwrap_err().all.len(), 1);
}

#[test]
fn documented_defaults_are_those_of_the_parts() {
    let config = sound("");
    let stream = StreamSettings::default();
    assert_eq!(config.stream.limits, stream.limits);
    assert_eq!(config.stream.limits_before_auth, stream.limits_before_auth);
    assert_eq!(config.stream.header_wait_ms, stream.header_wait_ms);
    assert_eq!(config.stream.sign_in_wait_ms, stream.sign_in_wait_ms);
    assert_eq!(config.stream.auth_retries_max, stream.auth_retries_max);
    assert_eq!(config.stream.idle, stream.idle);
    let admission = AdmissionSettings::default();
    assert_eq!(config.admission, admission);
    assert_eq!(config.rates, Rates::default());
    assert_eq!(format!("{:?}", config.guard), format!("{:?}", GuardSettings::default()));
    // A written profile has the same defaults as none.
    let written = sound("[profile.default]").profiles["default"].settings.clone();
    assert_eq!(format!("{written:?}"), format!("{:?}", ProfileSettings::default()));
    assert_eq!((config.version_min, config.unknown_name), Default::default());
    let listen = |kind, address: &str| Listen {
        kind,
        address: address.parse().unwrap(),
        tls: TlsUse::Required,
    };
    let expected = [
        listen(PortKind::C2s, "[::]:5222"),
        listen(PortKind::C2sTls, "[::]:5223"),
        listen(PortKind::S2s, "[::]:5269"),
        listen(PortKind::S2sTls, "[::]:5270"),
    ];
    assert_eq!(config.listeners, expected);
    let (policy, default) = (&config.federation.policy, stentor_edge::s2s::Policy::default());
    assert_eq!(format!("{policy:?}"), format!("{default:?}"));
    assert!(config.federation.is_enabled);
    assert_eq!(config.metrics, Some("127.0.0.1:5280".parse().unwrap()));
    assert_eq!(config.hosts[0].name, "localhost");
}

#[test]
fn every_documented_default_can_stand_in_the_file() {
    for section in keys::ALL {
        let mut text = String::new();
        if section.heading.starts_with('[') {
            text.push_str(&section.heading.replace("NAME", "default"));
            text.push('\n');
        }
        let written = section.keys.iter().filter(|key| !["none", "all"].contains(&key.default));
        for key in written {
            text.push_str(&format!("{} = {}\n", key.name, key.default));
        }
        // These have no default and must be there.
        match section.heading {
            "[[certificate]]" => text.push_str("chain = 'c.pem'\nkey = 'k.pem'\n"),
            "[[host]]" => text.push_str("name = 'capulet.example'\n"),
            "[[component]]" => text.push_str("domain = 'irc.example'\nsecret = 's'\n"),
            "[[peer]]" => text.push_str("domain = 'far.example'\n"),
            "[[route]]" => text.push_str("domain = 'far.example'\nhost = '127.0.0.1'\n"),
            _ => {}
        }
        assert_eq!(told(&text), [""; 0], "{text}");
    }
}

#[test]
fn only_what_needs_a_restart_and_was_changed_is_named() {
    let old = sound("[limits]\nidle_secs = 5\n[[listen]]\naddress = '127.0.0.1:1'");
    let new = sound(
        "data_dir = '/d'\n[log]\nlevel = 'debug'\nformat = 'json'\n[[host]]\nname = 'a.example'\n\
         [[listen]]\naddress = '127.0.0.1:2'\n[profile.default]\nsessions_max = 3",
    );
    let expected = ["data_dir", "limits.idle_secs", "listen.0.address", "log.format"];
    let mut changes = old.fixed_changes(&new);
    changes.sort_unstable();
    assert_eq!(changes, expected);
    assert_eq!(old.fixed_changes(&old), [""; 0]);
}

#[test]
fn the_reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == reference(), "write it anew: cargo run -- reference > docs/configuration.md");
}
