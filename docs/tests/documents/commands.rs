//! Commands in the documents: those of our own programs are parsed by their command lines.

use clap::FromArgMatches;
use finality_sidecar::{
    cli::flags::SettingFlags,
    config::{Config, Environment},
};

use crate::page::root;

/// Problems in a block of shell commands.
pub(crate) fn problems(block: &str) -> Vec<String> {
    let words = match words(block) {
        Ok(lines) => lines,
        Err(problem) => return vec![problem],
    };
    let commands = words.iter().flat_map(|line| line.split(|word| is_separator(word)));
    commands
        .filter_map(|words| problem(words).map(|text| format!("{}: {text}", words.join(" "))))
        .collect()
}

fn is_separator(word: &str) -> bool {
    ["|", "||", "&&", ";", "&"].contains(&word)
}

/// The words of each line; a `\` or an open quote at its end continues a line.
fn words(block: &str) -> Result<Vec<Vec<String>>, String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in block.lines() {
        if open.is_empty() && line.trim_start().starts_with('#') {
            continue;
        }
        open.push_str(line);
        if let Some(begun) = open.strip_suffix('\\') {
            open = begun.to_owned();
            continue;
        }
        match shell_words::split(&open) {
            Ok(words) => {
                lines.push(words);
                open.clear();
            }
            // An open quote.
            Err(_) => open.push('\n'),
        }
    }
    if open.is_empty() { Ok(lines) } else { Err(format!("unterminated: {open}")) }
}

/// The problem of a command in text. Arguments may be missing; words in capitals and an ellipsis
/// are placeholders.
pub(crate) fn problem_of_mention(text: &str) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let is_value = words.last().is_some_and(|before| before.starts_with('-'));
        match word {
            "…" if is_value => words.push("1".into()),
            "…" => break,
            word if word.chars().all(|c| c.is_ascii_uppercase()) => words.push("1".into()),
            word => words.push(word.into()),
        }
    }
    let lacks = "required arguments were not provided";
    problem(&words).filter(|problem| !problem.contains(lacks))
}

/// The problem of one command.
fn problem(words: &[String]) -> Option<String> {
    let is_assignment = |word: &&String| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        })
    };
    let start = words.iter().take_while(is_assignment).count();
    let words: Vec<&str> = words[start..]
        .iter()
        .map(String::as_str)
        // Redirections end the arguments; their file is in the same word or the next one.
        .take_while(|word| !word.starts_with(['>', '<']) && !word.starts_with("2>") && *word != "#")
        .collect();
    let (program, arguments) = words.split_first()?;
    match program.rsplit('/').next()? {
        "finality-sidecar" => sidecar(arguments),
        "cargo" => cargo(arguments),
        "just" => just(arguments),
        _ => None,
    }
}

fn sidecar(arguments: &[&str]) -> Option<String> {
    let words = ["finality-sidecar"].iter().chain(arguments);
    let matches = match finality_sidecar::cli::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => return refused(&error),
    };
    let ("run" | "print-config", flags) = matches.subcommand()? else { return None };
    let values = SettingFlags::from_arg_matches(flags).unwrap().gather_in(&Environment::default());
    let problems = Config::from_values(&values).err()?;
    // Files and variables of the reader's machine are not available.
    let elsewhere = ["missing", "is not set", "cannot read"];
    let problems = problems.iter().map(ToString::to_string);
    problems.into_iter().find(|text| !elsewhere.iter().any(|word| text.contains(word)))
}

fn refused(error: &clap::Error) -> Option<String> {
    use clap::error::ErrorKind as Kind;
    let is_help = matches!(
        error.kind(),
        Kind::DisplayHelp | Kind::DisplayVersion | Kind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    (!is_help).then(|| error.to_string().lines().next().unwrap_or_default().to_owned())
}

fn cargo(arguments: &[&str]) -> Option<String> {
    let (command, rest) = arguments.split_first()?;
    if *command == "xtask" {
        let words = ["cargo xtask"].iter().chain(rest);
        return refused(&xtask::command().try_get_matches_from(words).err()?);
    }
    let package = rest.iter().position(|word| ["-p", "--package"].contains(word));
    let package = package.and_then(|place| rest.get(place + 1))?;
    if !packages().iter().any(|known| known == package) {
        return Some(format!("there is no package {package}"));
    }
    let program = rest.iter().position(|word| *word == "--")?;
    (*command == "run" && *package == "finality-sidecar").then(|| sidecar(&rest[program + 1..]))?
}

/// The packages of the workspace.
fn packages() -> Vec<String> {
    let read = |path: &str| -> toml::Table {
        std::fs::read_to_string(root().join(path)).unwrap().parse().unwrap()
    };
    let workspace = read("Cargo.toml");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let name = |folder: &str| {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        manifest["package"]["name"].as_str().unwrap().to_owned()
    };
    members.iter().map(|folder| name(folder.as_str().unwrap())).collect()
}

fn just(arguments: &[&str]) -> Option<String> {
    let recipe = arguments.first()?;
    (!recipes().iter().any(|known| known == recipe)).then(|| format!("there is no recipe {recipe}"))
}

/// The recipes of the justfile.
fn recipes() -> Vec<String> {
    let file = std::fs::read_to_string(root().join("justfile")).unwrap();
    let heads = file.lines().filter(|line| line.starts_with(char::is_alphabetic));
    heads.filter_map(|line| Some(line.split_once(':')?.0.split(' ').next()?.to_owned())).collect()
}

#[test]
fn just_has_a_recipe_for_each_command() {
    let recipes = recipes();
    for command in xtask::command().get_subcommands() {
        assert!(recipes.iter().any(|recipe| recipe == command.get_name()), "{command}");
    }
}

#[test]
fn a_wrong_command_is_found() {
    let good = "# a comment\nL1_RPC=x finality-sidecar run --store-path /a \\\n  --namespace 7 > log # more\n\
        cargo xtask e2e s03 && ./target/release/finality-sidecar store show --json | jq .\n\
        curl -d '{\n}' http://h\ncargo run -p finality-sidecar -- print-config\njust e2e s03";
    assert_eq!(problems(good), Vec::<String>::new());
    for wrong in [
        "finality-sidecar rum",
        "finality-sidecar run --store-pth /a",
        "finality-sidecar run --namespace many",
        "finality-sidecar store reset",
        "cargo xtask tset",
        "cargo xtask bench && cargo xtask demo --chekc",
        "cargo build -p finality-side",
        "cargo run -p finality-sidecar -- rum",
        "just tset",
        "echo 'open",
    ] {
        assert_eq!(problems(wrong).len(), 1, "{wrong}");
    }
}
