//! A flag for every setting.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::config::{Environment, GoProxyName, SETTINGS, Setting, Values, old_flags};

const CONFIG: &str = "config";

/// The flags as given; the configuration validates their values. `Debug` shows only their names,
/// since a value may be a secret.
#[derive(Clone, Default)]
pub struct SettingFlags {
    config: Option<PathBuf>,
    values: BTreeMap<&'static str, String>,
}

impl fmt::Debug for SettingFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl SettingFlags {
    /// Values from these flags, the environment, the file and the defaults.
    #[must_use]
    pub fn gather(&self) -> Values {
        self.gather_in(&Environment::of_process())
    }

    /// Values from these flags, an environment, the file and the defaults.
    #[must_use]
    pub fn gather_in(&self, environment: &Environment) -> Values {
        Values::gather(&self.values, self.config.as_deref(), environment)
    }

    fn add_to(
        command: Command,
        settings: impl Iterator<Item = &'static Setting> + Clone,
    ) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Configuration file, in TOML or the Go proxy's JSON [env: FINALITY_CONFIG]");
        let is_there = |name: &GoProxyName| {
            name.setting().is_none_or(|name| settings.clone().any(|setting| setting.name == name))
        };
        let old = old_flags().filter(|name| is_there(name)).map(old_flag);
        command.arg(config).args(settings.clone().map(flag)).args(old)
    }
}

fn flag(setting: &Setting) -> Arg {
    let default = setting.default.map_or_else(String::new, |text| format!(" [default: {text}]"));
    let help = format!("{} [env: {}]{default}", setting.help, setting.variable());
    Arg::new(setting.name)
        .long(setting.flag())
        .help_heading(setting.group)
        .value_name(setting.form.name)
        .action(if setting.form.list { ArgAction::Append } else { ArgAction::Set })
        // A value that begins with a dash is validated with the others.
        .allow_hyphen_values(true)
        .help(help)
}

/// A flag of the Go proxy; `docs/migration.md` lists them.
fn old_flag(name: &'static GoProxyName) -> Arg {
    let flag = Arg::new(name.member)
        .long(name.flag())
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .hide(true);
    if name.switch {
        flag.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        flag
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>(CONFIG).cloned();
        let given = |name| matches.try_get_many::<String>(name).ok().flatten();
        for name in SETTINGS.iter().map(|setting| setting.name) {
            if let Some(given) = given(name) {
                let given: Vec<_> = given.map(String::as_str).collect();
                self.values.insert(name, given.join(","));
            }
        }
        // Of that program's flags, the last one counts.
        for name in old_flags().map(|name| name.member) {
            if let Some(last) = given(name).and_then(Iterator::last) {
                self.values.insert(name, last.clone());
            }
        }
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        Self::add_to(command, SETTINGS.iter())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The flags of commands that use only the stored head.
#[derive(Debug, Clone, Default)]
pub struct StoreFlags(pub SettingFlags);

impl FromArgMatches for StoreFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        SettingFlags::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for StoreFlags {
    fn augment_args(command: Command) -> Command {
        let of_store = |setting: &&Setting| setting.name.starts_with("store");
        SettingFlags::add_to(command, SETTINGS.iter().filter(of_store))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The settings that `prove` uses.
const PROVING: [&str; 4] =
    ["query_service_url", "l1_rpc", "light_client_address", "request_timeout"];

/// The flags of `prove`.
#[derive(Debug, Clone, Default)]
pub struct ProveFlags(pub SettingFlags);

impl FromArgMatches for ProveFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        SettingFlags::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for ProveFlags {
    fn augment_args(command: Command) -> Command {
        SettingFlags::add_to(command, PROVING.iter().filter_map(|name| Setting::named(name)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
