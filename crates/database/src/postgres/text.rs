//! The settings on which the text of a value depends.

/// Settings that every session has, so that a value has the same text in each of them and in the log, under any
/// defaults of the server, the database and the role.
///
/// `TimeZone` and `lc_monetary` are not among them: a statement may compute with them (`created_at::date`), so
/// its sessions keep the role's own.
pub const TEXT_SETTINGS: [(&str, &str); 4] = [
    ("datestyle", "ISO"),
    ("intervalstyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

/// Returns settings as the server's startup options.
#[must_use]
pub fn startup_options(settings: &[(&str, &str)]) -> String {
    let options: Vec<_> =
        settings.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
    options.join(" ")
}

/// Returns the settings of startup options, as the server splits them: `-c name=value` or `--name=value`,
/// separated by spaces; a backslash escapes the character after it. `None`: another option is among them.
pub(super) fn parse_options(options: &str) -> Option<Vec<(String, String)>> {
    let mut words = words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => setting.to_owned(),
            (None, Some("")) => words.next()?,
            (None, Some(setting)) => setting.to_owned(),
            (None, None) => return None,
        };
        let (name, value) = setting.split_once('=')?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Some(settings)
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_parsed_as_by_the_server() {
        let parsed = |options| {
            let settings = parse_options(options)?;
            Some(settings.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>())
        };
        let list = |settings: &[&str]| {
            Some(settings.iter().map(|s| (*s).to_owned()).collect::<Vec<String>>())
        };
        assert_eq!(parsed(""), list(&[]));
        assert_eq!(
            parsed("-c a=1  -cb=2 --c-d=3 -c search_path=x,\\ y -c e="),
            list(&["a:1", "b:2", "c_d:3", "search_path:x, y", "e:"])
        );
        for wrong in ["-c", "-c a", "a=1", "-B 7", "--a"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        let written = startup_options(&TEXT_SETTINGS);
        let read = parse_options(&written).expect("parsed");
        assert!(
            read.iter().map(|(name, value)| (&**name, &**value)).eq(TEXT_SETTINGS),
            "{written}"
        );
    }
}
