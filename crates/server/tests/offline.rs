//! The command line on a data folder that no server has open.

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use support::{Place, Said};

const HERE: &str = "stentor: no server runs on `DIR/data`, so the folder itself was changed\n";

fn changed(out: &str) -> Said {
    Said { code: 0, out: out.into(), err: HERE.into() }
}

/// By the first command, before which there was nothing.
fn founded(out: &str) -> Said {
    let err = "stentor: no server runs on `DIR/data`, so a new folder was made\n";
    Said { code: 0, out: out.into(), err: err.into() }
}

#[test]
fn accounts_are_made_listed_changed_and_deleted() {
    let place = Place::new();
    let made = "Made juliet@localhost. Sign in with any XMPP client as juliet@localhost.\n";
    assert_eq!(place.run("account add juliet@localhost --password capulet"), founded(made));
    let again = place.run("account add juliet@localhost --password capulet");
    assert_eq!(again, Said::failed("the account exists already"));
    let words = ["account", "add", "romeo@localhost", "--password-stdin"];
    let made = "Made romeo@localhost. Sign in with any XMPP client as romeo@localhost.\n";
    assert_eq!(place.run_with(&words, "montague\nand more\n"), changed(made));
    assert_eq!(
        place.run("account password juliet@localhost --password other"),
        changed("Set the password of juliet@localhost.\n")
    );
    assert_eq!(
        place.run("account suspend romeo@localhost"),
        changed("Suspended romeo@localhost. It keeps all it owns.\n")
    );
    let list = "juliet@localhost  sessions: 0\nromeo@localhost  sessions: 0  suspended\n";
    assert_eq!(place.run("account list"), Said::done(list));
    assert_eq!(
        place.run("account unsuspend romeo@localhost"),
        changed("romeo@localhost may sign in again.\n")
    );
    assert_eq!(
        place.run("account delete juliet@localhost"),
        changed("Deleted juliet@localhost and everything it owned.\n")
    );
    let list = "romeo@localhost  sessions: 0\n";
    assert_eq!(place.run("account list localhost"), Said::done(list));
}

#[test]
fn a_list_of_accounts_is_imported_with_or_without_a_server() {
    let place = Place::new();
    let list = "# The house\njuliet@localhost capulet\nnurse@localhost capulet\n";
    let words = ["account", "import", "-"];
    assert_eq!(place.run_with(&words, list), founded("Made 2 accounts.\n"));
    let _server = place.start();
    let said = place.run_with(&words, "juliet@localhost other\nromeo@localhost montague\n");
    assert_eq!(said.out, "Made 1 account; 1 could not be made.\n");
    assert_eq!(said.err, "stentor: line 1, juliet@localhost: the account exists already\n");
    assert_eq!(said.code, 1);
    let all = "juliet@localhost  sessions: 0\nnurse@localhost  sessions: 0\n\
               romeo@localhost  sessions: 0\n";
    assert_eq!(place.run("account list"), Said::done(all));
    assert_eq!(
        place.run_with(&words, "benvolio@localhost montague\ntybalt@localhost\n"),
        Said::failed("line 2 has no password: write `name@domain password`")
    );
    assert_eq!(place.run("account list"), Said::done(all));
}

#[test]
fn what_cannot_be_done_is_said_with_its_reason() {
    let place = Place::new();
    place.run("account add juliet@localhost --password capulet");
    let unusable = "the password is empty, too long or has forbidden characters";
    let terminal = "no terminal to ask for the password: use `--password-stdin` or `--password`";
    let not_ours = "the address is not one of an account on a domain of this server";
    let not_running = "no server is running on this data folder; start it by `stentor run`";
    for (words, expected) in [
        ("account add romeo@elsewhere.example --password a", not_ours),
        (
            "account add localhost --password a",
            "`localhost` names no account: write `name@localhost`",
        ),
        ("account add romeo@localhost --password= ", unusable),
        ("account add romeo@localhost", terminal),
        ("account add romeo@localhost --password-stdin", "standard input holds no password"),
        ("account password romeo@localhost --password a", "there is no such account"),
        ("account delete romeo@localhost", "there is no such account"),
        ("account suspend romeo@localhost", "there is no such account"),
        ("account list elsewhere.example", "`elsewhere.example` is no domain of this server"),
        ("account unlock juliet@localhost", not_running),
        ("blocked list", not_running),
        ("blocked lift 192.0.2.1", not_running),
        ("reload", not_running),
        ("stop", not_running),
        ("backup DIR/no/such.db", "the database could not be copied to"),
    ] {
        let words = words.replace("DIR", &place.path().display().to_string());
        let said = place.run(words.trim_end());
        assert_eq!((said.code, &*said.out), (1, ""), "{words}");
        assert!(said.err.starts_with(&format!("stentor: {expected}")), "{words}: {}", said.err);
        assert_eq!(said.err.matches('\n').count(), 1, "{words}: {}", said.err);
    }
    assert_eq!(place.run("account list").out, "juliet@localhost  sessions: 0\n");
}

#[test]
fn a_wrong_command_line_is_told_apart() {
    let place = Place::new();
    for words in [
        "account",
        "account add",
        "account add a@localhost --password a --password-stdin",
        "blocked lift here",
        "backup",
        "weather",
        "status --loud",
    ] {
        assert_eq!(place.run(words).code, 2, "{words}");
    }
    assert!(!place.data().exists());
}

#[test]
fn programs_get_json() {
    let place = Place::new();
    let made = place.run("account add juliet@localhost --password capulet --json");
    assert_eq!(made, Said::done("{\"jid\":\"juliet@localhost\"}\n"));
    let again = place.run("--json account add juliet@localhost --password capulet");
    let expected = "{\"code\":\"account-exists\",\"error\":\"the account exists already\"}\n";
    assert_eq!(again, Said { code: 1, out: expected.into(), err: String::new() });
    let list = place.run("account list --json");
    assert!(list.out.starts_with("{\"created_ms\":1"), "{}", list.out);
    assert!(
        list.out.ends_with(",\"jid\":\"juliet@localhost\",\"sessions\":0,\"suspended\":false}\n")
    );
    let status = place.run("status --json");
    assert!(status.out.contains("\"accounts\":1,"), "{}", status.out);
    assert!(status.out.contains("\"running\":false,"), "{}", status.out);
    let sound = place.run("check --json");
    assert_eq!(sound, Said::done("{\"mistakes\":[],\"warnings\":[]}\n"));
    for words in ["modules --json", "version --json"] {
        let said = place.run(words);
        assert!(serde_json::from_str::<serde_json::Value>(&said.out).is_ok(), "{words}: {said:?}");
    }
    place.configure("[limits]\nidle_secs = -1");
    let expected = "{\"mistakes\":[\"DIR/stentor.toml:3:13: `idle_secs` must be a number from 0 \
                    to 86400\"]}\n";
    let checked = place.run("check --json");
    assert_eq!(checked, Said { code: 1, out: expected.into(), err: String::new() });
}

#[test]
fn what_is_not_utf_8_harms_nothing() {
    let place = Place::new();
    let odd = |bytes: &[u8]| std::ffi::OsStr::from_bytes(bytes).to_owned();
    let sound = place.command().env(odd(b"ODD\xff"), odd(b"\xff")).arg("check").output().unwrap();
    assert!(sound.status.success(), "{sound:?}");
    let wrong = place.command().env("STENTOR__LOG__FORMAT", odd(b"\xff")).arg("check").output();
    let said = String::from_utf8(wrong.unwrap().stderr).unwrap();
    assert!(said.contains("STENTOR__LOG__FORMAT: `format` must be one of"), "{said}");
    let data = place.path().join(odd(b"d\xff"));
    let mut add = place.command();
    add.arg("--data").arg(&data).args(["account", "add", "a@localhost", "--password", "b"]);
    assert!(add.output().unwrap().status.success() && data.is_dir());
}

#[test]
fn a_data_folder_that_is_a_file_is_a_mistake() {
    let place = Place::new();
    std::fs::write(place.data(), "").unwrap();
    let said = place.run("check");
    let expected = "stentor: DIR/data: is no folder; name another as `data_dir`\n";
    assert!(said.code == 1 && said.err.starts_with(expected), "{said:?}");
}

#[test]
fn mistakes_of_the_configuration_are_told_all_at_once() {
    let place = Place::new();
    let sound = "The configuration is sound: 1 domain, 2 ports, 0 certificates.\n";
    assert_eq!(place.run("check"), Said::done(sound));
    place.configure("[[host]]\nnme = 'a.example'\n[[certificate]]\nchain = 'c.pem'\nkey = 'c.pem'");
    let expected = "\
stentor: DIR/stentor.toml:2:1: a `[[host]]` needs a `name`
stentor: DIR/stentor.toml:3:1: there is no key `nme` in `host`; did you mean `name`?
stentor: DIR/stentor.toml:5:9: DIR/c.pem: cannot be read (No such file or directory (os error 2)); ";
    let said = place.run("check");
    assert_eq!((said.code, &*said.out), (1, ""));
    assert!(said.err.starts_with(expected), "{}", said.err);
    let end = "\nstentor: 3 mistakes to mend; nothing was started or changed\n";
    assert!(said.err.ends_with(end), "{}", said.err);
    // The server does not start with any either.
    assert_eq!(place.run("run").err, said.err);
    // On the folder itself only a sound configuration is worked with.
    let account = place.run("account add juliet@localhost --password capulet");
    assert_eq!((account.code, account.err.contains("3:1: there is no key `nme`")), (1, true));
    assert!(!place.data().exists());
}

#[test]
fn warnings_fail_only_where_that_was_asked_for() {
    let place = Place::new();
    place.configure("[[host]]\nname = 'capulet.example'");
    let said = place.run("check");
    let warning = "stentor: warning: no certificate is configured, and clients of \
                   `capulet.example` do not trust the one for development; add a \
                   `[[certificate]]`\n";
    assert_eq!((said.code, &*said.err), (0, warning));
    assert_eq!(place.run("check --strict").code, 1);
}

#[test]
fn a_backup_is_put_back_by_moving_a_file() {
    let place = Place::new();
    place.run("account add juliet@localhost --password capulet");
    let copy = place.path().join("copy.db");
    let words = ["backup", copy.to_str().unwrap()];
    assert_eq!(place.run_with(&words, ""), Said::done("Copied the database to DIR/copy.db.\n"));
    let again = Said::failed("`DIR/copy.db` exists already; name a file that does not");
    assert_eq!(place.run_with(&words, ""), again);
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds keys");
    place.run("account delete juliet@localhost");
    for name in ["stentor.db", "stentor.db-wal", "stentor.db-shm"] {
        let _ = std::fs::remove_file(place.data().join(name));
    }
    std::fs::rename(copy, place.data().join("stentor.db")).unwrap();
    assert_eq!(place.run("account list").out, "juliet@localhost  sessions: 0\n");
}

#[test]
fn only_a_new_account_makes_a_data_folder() {
    let place = Place::new();
    let none = "there is no data folder `DIR/data`; name that of the server by `--data` or \
                `--config`";
    for words in ["account list", "status", "backup /nowhere.db"] {
        assert_eq!(place.run(words), Said::failed(none), "{words}");
    }
    let other = place.path().join("other");
    let words = ["--data", other.to_str().unwrap(), "account", "add", "a@localhost"];
    let words = [&words[..], &["--password", "b"]].concat();
    assert_eq!(place.run_with(&words, "").code, 0);
    for (file, expected) in [("", 0o700), ("secret", 0o600), ("stentor.db", 0o600)] {
        let mode = std::fs::metadata(other.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, expected, "{file}");
    }
    assert!(!place.data().exists());
}

#[test]
fn a_damaged_folder_is_told_in_a_sentence_with_the_remedy() {
    let place = Place::new();
    place.run("account add juliet@localhost --password capulet");
    let secret = place.data().join("secret");
    let kept = std::fs::read(&secret).unwrap();
    std::fs::write(&secret, "short").unwrap();
    let damaged = "`DIR/data/secret` is damaged; delete it, and one is made";
    assert_eq!(place.run("account list"), Said::failed(damaged));
    std::fs::write(&secret, kept).unwrap();
    std::fs::write(place.data().join("stentor.db"), "this is no database").unwrap();
    for words in ["account list", "run"] {
        let said = place.run(words);
        assert_eq!(said.code, 1, "{words}");
        let errors: Vec<_> = said.err.lines().filter(|l| l.starts_with("stentor: ")).collect();
        assert_eq!(errors.len(), 1, "{words}: {}", said.err);
        assert!(errors[0].starts_with("stentor: `DIR/data/stentor.db` is damaged ("), "{words}");
        assert!(errors[0].ends_with("put a backup in its place"), "{words}");
    }
}

#[test]
fn help_teaches_examples_and_exit_codes() {
    let place = Place::new();
    let help = place.run("--help").out;
    for part in ["Examples:", "stentor account add juliet@localhost", "Exit codes:"] {
        assert!(help.contains(part), "{part} is not in {help}");
    }
    for words in ["run", "account", "check", "backup", "status", "blocked", "reload", "stop"] {
        let said = place.run(&format!("{words} --help"));
        assert_eq!(said.code, 0, "{words}");
        assert!(said.out.contains("Usage: stentor"), "{words}");
    }
    assert!(place.run("modules").out.contains("\noffline (XEP-0013, XEP-0160"));
    assert!(place.run("version").out.starts_with("stentor "));
}
