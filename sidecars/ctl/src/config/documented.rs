//! Explanations of keys, read out of what documents them: the comments of the built-in configuration, and the tables of
//! Markdown that a mission's keys, and those of links and merged spacecraft, are listed in.

/// Which file a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Daemon,
    Mission,
}

/// What is documented of a key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It is a table: its head.
    Table(String),
    Default(String),
    /// It has no default.
    Example(String),
    Required,
    /// The explanation says it all.
    Nothing,
}

/// A key and its explanation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Explained {
    /// With dots; `NAME` and `APID` stand for names of one's own, `[]` for the tables of a list.
    pub(super) key: String,
    pub(super) said: Said,
    pub(super) comment: Vec<String>,
    pub(super) of: File,
}

/// Every table and key of a commented TOML text, with the comments directly above it.
pub(super) fn of_toml(text: &str) -> Vec<Explained> {
    let mut found: Vec<Explained> = Vec::new();
    let mut table = String::new();
    let mut comment: Vec<String> = Vec::new();
    // Whether a key has used the comment: the next comment line then begins another.
    let mut used = false;
    let mut depth = 0i32;
    for line in text.lines() {
        let trimmed = line.trim();
        // Inside a value of several lines.
        if depth > 0 {
            depth += brackets(trimmed);
            continue;
        }
        if trimmed.is_empty() {
            comment.clear();
            used = false;
        } else if let Some(said) = trimmed.strip_prefix('#') {
            // A key that has no default stands in a comment of its own: `# id = 1`.
            match said.trim().split_once(" = ").filter(|(key, _)| is_key(key)) {
                Some((key, value)) if !said.starts_with("  ") => {
                    found.push(Explained {
                        key: join(&table, key),
                        said: Said::Example(value.to_owned()),
                        comment: comment.clone(),
                        of: File::Daemon,
                    });
                    used = true;
                }
                _ => {
                    if std::mem::take(&mut used) {
                        comment.clear();
                    }
                    comment.push(said.strip_prefix(' ').unwrap_or(said).to_owned());
                }
            }
        } else if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name.trim_matches(['[', ']']).to_owned();
            found.push(Explained {
                key: table.clone(),
                said: Said::Table(trimmed.to_owned()),
                comment: std::mem::take(&mut comment),
                of: File::Daemon,
            });
        } else if let Some((key, value)) = trimmed.split_once('=') {
            depth = brackets(value);
            used = true;
            // Keys that share one comment stand directly below one another.
            found.push(Explained {
                key: join(&table, key.trim()),
                said: Said::Default(value.trim().to_owned()),
                comment: comment.clone(),
                of: File::Daemon,
            });
        }
    }
    found
}

fn brackets(text: &str) -> i32 {
    text.chars()
        .map(|letter| match letter {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        })
        .sum()
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

/// Longest line of an explanation out of a table.
const LINE_MAX: usize = 100;

/// Every key in the tables of a text in Markdown. A row begins with the key, or several, in backticks; then come its default,
/// where the table has such a column, and its meaning.
pub(super) fn of_markdown(text: &str, of: File) -> Vec<Explained> {
    let mut found = Vec::new();
    // Where the keys of this part of the text stand, and of which channel codes they are.
    let mut inside = "";
    let mut codes: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            inside = match title {
                "Secondary headers of packets" => "spacecraft.NAME.packets.all",
                "Channel codes" => "channel.NAME.code",
                _ => "",
            };
            codes.clear();
        }
        let Some(row) = line.strip_prefix("| `") else {
            if line.starts_with("`code = ") {
                codes.clear();
            }
            codes.extend(line.split("`code = \"").skip(1).filter_map(|rest| rest.split('"').next()));
            continue;
        };
        let cells: Vec<&str> = row.trim_end_matches('|').split(" | ").map(str::trim).collect();
        let (keys, default, meaning) = match cells[..] {
            [keys, default, meaning] => (keys, Some(default), meaning),
            [keys, meaning] => (keys, None, meaning),
            _ => continue,
        };
        let said = match default.map(|default| default.replace('`', "")) {
            None => Said::Nothing,
            Some(default) if default == "required" => Said::Required,
            Some(default) => Said::Default(default),
        };
        let mut meaning = meaning.replace('`', "");
        if !codes.is_empty() {
            meaning = format!("{}: {meaning}", codes.join(", "));
        }
        // The first key's backtick went with the front of the row.
        for key in keys.split('`').step_by(2) {
            let key = match (key.strip_prefix("…."), inside) {
                (Some(rest), _) => join("channel.NAME", rest),
                (None, inside) => join(inside, key),
            };
            found.push(Explained { key, said: said.clone(), comment: wrapped(&meaning), of });
        }
    }
    found
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LINE_MAX => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use fep_control::config::DEFAULT_TOML;

    use super::*;

    #[test]
    fn every_key_of_the_default_configuration_has_an_explanation() {
        let all = of_toml(DEFAULT_TOML);
        let silent: Vec<&str> = all
            .iter()
            .filter(|one| {
                !one.key.starts_with("links.")
                    && !matches!(one.said, Said::Table(_))
                    && one.comment.is_empty()
            })
            .map(|one| one.key.as_str())
            .collect();
        assert!(silent.is_empty(), "keys without a comment: {silent:?}");
        assert!(all.iter().any(|one| one.key == "daemon.run_dir"), "{all:?}");
    }

    #[test]
    fn keys_that_share_a_comment_share_the_explanation() {
        let text =
            "[a]\n# Both.\nx = 1\ny = [\n  2,\n]\n\n# Third,\n# two lines.\nz = 3\n# Optional.\n# id = 1\n";
        let all = of_toml(text);
        let keys: Vec<&str> = all.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["a", "a.x", "a.y", "a.z", "a.id"]);
        assert_eq!(all[1].comment, all[2].comment);
        assert_eq!(all[3].comment, ["Third,", "two lines."]);
        assert_eq!(
            (&all[4].said, all[4].comment.as_slice()),
            (&Said::Example("1".to_owned()), &["Optional.".to_owned()][..])
        );
    }

    // REQ: FEP-CTL-102
    #[test]
    fn a_key_has_the_comment_directly_above_it_and_none_of_its_neighbours() {
        let text = "[link]\n# One.\na = 1\n# Two,\n# of two lines.\nb = 2\nc = 3\n# Three.\nd = 4\n";
        let comments: Vec<Vec<String>> = of_toml(text).into_iter().map(|one| one.comment).collect();
        assert_eq!(
            comments,
            [
                vec![],
                vec!["One."],
                vec!["Two,", "of two lines."],
                vec!["Two,", "of two lines."],
                vec!["Three."]
            ]
        );
        // In the built-in file: no key of [link] repeats what another is explained by, unless they share it.
        let all = of_toml(DEFAULT_TOML);
        let of = |key: &str| all.iter().find(|one| one.key == key).map(|one| one.comment.join(" "));
        let wait = of("link.wait").expect("a key of the built-in file");
        assert!(
            wait.contains("spins") && !wait.contains("session") && !wait.contains("Number of the link"),
            "{wait}"
        );
        assert_eq!(of("link.spin_us"), of("link.wait"), "they share it");
    }
}
