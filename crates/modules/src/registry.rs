//! The list of all modules, and the profile that they make.

use std::collections::BTreeMap;

use stentor_engine::host::{Profile, Settings};
use stentor_engine::{Factory, Registrar, Spec};

use crate::{
    floods, rfc4505_anonymous, rfc6121_roster, strangers, xep0012_last, xep0016_privacy,
    xep0030_disco, xep0033_address, xep0049_private, xep0050_commands, xep0054_vcard,
    xep0077_register, xep0092_version, xep0115_caps, xep0157_contact, xep0160_offline, xep0163_pep,
    xep0191_blocking, xep0199_ping, xep0202_time, xep0280_carbons, xep0313_mam, xep0352_csi,
    xep0357_push, xep0359_sid, xep0386_bind2, xep0388_sasl2, xep0430_inbox, xep0484_fast,
    xep0494_access,
};

/// Order matters inside a phase and nowhere else: who screens first, who keeps first.
pub const ALL: &[Factory] = &[
    // Privacy lists are the first rule of all (XEP-0016 §2.2).
    xep0191_blocking::MODULE,
    rfc4505_anonymous::MODULE,
    strangers::MODULE,
    floods::MODULE,
    xep0359_sid::MODULE,
    xep0313_mam::MODULE,
    // It takes messages that are for it, whatever else would become of them.
    xep0357_push::MODULE,
    xep0160_offline::MODULE,
    xep0280_carbons::MODULE,
    // From here on order has no effect.
    rfc6121_roster::MODULE,
    xep0012_last::MODULE,
    xep0016_privacy::MODULE,
    xep0030_disco::MODULE,
    xep0033_address::MODULE,
    xep0049_private::MODULE,
    xep0050_commands::MODULE,
    xep0054_vcard::MODULE,
    xep0077_register::MODULE,
    xep0092_version::MODULE,
    xep0115_caps::MODULE,
    xep0157_contact::MODULE,
    xep0163_pep::MODULE,
    xep0199_ping::MODULE,
    xep0202_time::MODULE,
    xep0352_csi::MODULE,
    xep0386_bind2::MODULE,
    xep0388_sasl2::MODULE,
    xep0430_inbox::MODULE,
    xep0484_fast::MODULE,
    xep0494_access::MODULE,
];

/// Builds a profile of all modules with their tables of the configuration. A table with
/// `enabled = false` leaves its module out, and with it those that need it and have no table.
///
/// # Errors
/// One sentence for each mistake: `module: what is wrong`.
pub fn profile(
    settings: Settings,
    mut tables: BTreeMap<String, toml::Value>,
) -> Result<Profile, Vec<String>> {
    let mut registrar = Registrar::default();
    let mut mistakes = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let mut has_caps = false;
    let off = left_out(&mut tables);
    for factory in ALL.iter().filter(|factory| !off.contains(&factory.spec.name)) {
        let table = tables.remove(factory.spec.name);
        names.push(factory.spec.name);
        has_caps |= factory.spec.name == xep0115_caps::MODULE.spec.name;
        registrar.begin(factory.spec);
        if let Err(mistake) = factory.install(table, &mut registrar) {
            mistakes.push(format!("{}: {mistake}", factory.spec.name));
        }
    }
    mistakes.extend(tables.keys().map(|name| format!("{name}: there is no such module")));
    for spec in ALL.iter().map(|f| f.spec).filter(|s| names.contains(&s.name)) {
        for needed in spec.requires.iter().filter(|n| !names.contains(n)) {
            mistakes.push(format!("{}: needs the module `{needed}`, which is off", spec.name));
        }
    }
    mistakes.extend_from_slice(registrar.clashes());
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let mut profile = Profile::new(settings, registrar);
    if has_caps {
        let feature = xep0115_caps::feature(&profile.disco);
        profile.stream_features.push(feature);
    }
    Ok(profile)
}

/// The modules that are off; their tables are taken out.
fn left_out(tables: &mut BTreeMap<String, toml::Value>) -> Vec<&'static str> {
    let specs = || ALL.iter().map(|factory| factory.spec);
    let is_off = |spec: &&Spec| {
        let table = tables.get_mut(spec.name).and_then(toml::Value::as_table_mut);
        table.and_then(|table| table.remove("enabled")?.as_bool()) == Some(false)
    };
    let mut off: Vec<&str> = specs().filter(is_off).map(|spec| spec.name).collect();
    off.iter().for_each(|name| _ = tables.remove(*name));
    loop {
        let is_useless = |spec: &&Spec| {
            let misses = spec.requires.iter().any(|needed| off.contains(needed));
            misses && !off.contains(&spec.name) && !tables.contains_key(spec.name)
        };
        let Some(spec) = specs().find(is_useless) else { return off };
        off.push(spec.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> BTreeMap<String, toml::Value> {
        toml::from_str(text).unwrap()
    }

    fn mistakes(text: &str) -> Vec<String> {
        profile(Settings::default(), table(text)).err().unwrap_or_default()
    }

    #[test]
    fn the_defaults_make_a_profile_without_clashes() {
        assert_eq!(mistakes(""), Vec::<String>::new());
    }

    #[test]
    fn names_are_unique_and_requirements_exist() {
        let mut names: Vec<_> = ALL.iter().map(|f| f.spec.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|p| p[0] != p[1]), "{names:?}");
        for spec in ALL.iter().map(|f| f.spec) {
            assert!(spec.requires.iter().all(|n| names.contains(n)), "{}", spec.name);
        }
    }

    #[test]
    fn documented_options_are_the_options_with_their_defaults() {
        for factory in ALL {
            let documented: String = factory
                .spec
                .options
                .iter()
                .map(|o| format!("{} = {}\n", o.key, o.default))
                .collect();
            let value = toml::Value::Table(toml::from_str(&documented).unwrap());
            let installed = factory.install(Some(value), &mut Registrar::default());
            assert_eq!(installed, Ok(()), "{}", factory.spec.name);
        }
    }

    #[test]
    fn mistakes_are_told_all_at_once() {
        let told = mistakes(
            "[ping]\nodd = 1\n[weather]\n[offline]\nmessages_max = 'many'\n[last]\n\
             [roster]\nenabled = false",
        );
        assert_eq!(told.len(), 4, "{told:#?}");
        for (part, told) in ["offline: ", "ping: ", "weather: ", "last: needs the module `roster`"]
            .iter()
            .zip([&told[0], &told[1], &told[2], &told[3]])
        {
            assert!(told.starts_with(part), "{told} / {part}");
        }
    }

    #[test]
    fn modules_can_be_left_out() {
        let profile = profile(Settings::default(), table("[version]\nenabled = false")).unwrap();
        assert!(profile.modules.iter().all(|s| s.name != "version"));
        assert!(!profile.disco.host.contains(&"jabber:iq:version"));
    }

    #[test]
    fn what_needs_a_module_goes_with_it_unless_it_was_asked_for() {
        let profile = profile(Settings::default(), table("[disco]\nenabled = false")).unwrap();
        let names: Vec<_> = profile.modules.iter().map(|s| s.name).collect();
        assert!(["disco", "caps", "pep"].iter().all(|name| !names.contains(name)), "{names:?}");
        assert!(names.contains(&"ping"));
        let told = mistakes("[disco]\nenabled = false\n[pep]");
        assert_eq!(
            told,
            [
                "pep: needs the module `caps`, which is off",
                "pep: needs the module `disco`, which is off"
            ]
        );
    }
}
