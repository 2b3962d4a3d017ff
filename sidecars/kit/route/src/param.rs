//! Parameters of a path or query: declared once, checked before a handler runs, described in the OpenAPI document.

use std::collections::BTreeMap;

use fep_bus::Colour;
use fep_identity::{Asked, Colours, Sessions, Target};
use fep_kit::Problem;
use fep_record::Session;
use serde_json::{Value, json};
use utoipa::PartialSchema;

use crate::text::{NO_CONTROL, Name};

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path: `{name}`.
    Path,
    /// After the `?`; may be missing.
    Query,
    /// After the `?`; must be there.
    RequiredQuery,
}

/// What values a parameter may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A decimal number, both bounds allowed.
    Integer(u64, u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// 1 to so many characters without control characters.
    Text(usize),
    /// A [`crate::Name`].
    Name,
}

impl Form {
    /// A spacecraft identifier (SCID).
    pub const SCID: Form = Form::Integer(0, u16::MAX as u64);
    /// A colour.
    pub const COLOUR: Form = Form::OneOf(Colours::NAMES);
    /// A session.
    pub const SESSION: Form = Form::OneOf(Sessions::NAMES);

    fn accepts(self, value: &str) -> bool {
        match self {
            Form::Integer(least, most) => {
                value.bytes().all(|octet| octet.is_ascii_digit())
                    && value.parse().is_ok_and(|number: u64| (least..=most).contains(&number))
            }
            Form::OneOf(words) => words.contains(&value),
            Form::Text(most) => {
                !value.is_empty() && value.chars().count() <= most && !value.chars().any(char::is_control)
            }
            Form::Name => Name::try_from(value.to_owned()).is_ok(),
        }
    }

    /// In words, for refusals.
    fn allowed(self) -> String {
        match self {
            Form::Integer(least, most) => format!("{least} to {most}"),
            Form::OneOf(words) => words.join(", "),
            Form::Text(most) => format!("1 to {most} printable characters"),
            Form::Name => "1 to 64 of A-Z, a-z, 0-9, _, . and -".to_owned(),
        }
    }

    /// As a JSON schema.
    pub(crate) fn schema(self) -> Value {
        match self {
            Form::Integer(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Form::OneOf(words) => json!({"type": "string", "enum": words}),
            Form::Text(most) => {
                json!({"type": "string", "minLength": 1, "maxLength": most, "pattern": NO_CONTROL})
            }
            Form::Name => serde_json::to_value(Name::schema()).unwrap_or_default(),
        }
    }

    /// A value of this form, for generated tests.
    pub(crate) fn sample(self) -> String {
        match self {
            Form::Integer(least, _) => least.to_string(),
            Form::OneOf(words) => words.first().copied().unwrap_or("x").to_owned(),
            Form::Text(_) | Form::Name => "x".to_owned(),
        }
    }
}

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it may be.
    pub form: Form,
    /// What it means, in words.
    pub text: &'static str,
}

/// The values of a request's parameters, all checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// Takes the parameters of a request.
    pub(crate) fn read<'a>(
        declared: &[Parameter],
        path: impl Iterator<Item = (&'a str, &'a str)>,
        query: &str,
    ) -> Result<Values, Problem> {
        let mut values = BTreeMap::new();
        let mut take = |name: &str, value: String, in_path: bool| -> Result<(), Problem> {
            let found = declared
                .iter()
                .find(|parameter| parameter.name == name && (parameter.place == Place::Path) == in_path);
            let Some(parameter) = found else {
                let names: Vec<&str> = declared.iter().map(|parameter| parameter.name).collect();
                return Err(Problem::bad_parameter(name, "unknown parameter", names.join(", ")));
            };
            if !parameter.form.accepts(&value) {
                let shown: String = value.chars().take(64).collect();
                let detail = format!("{shown:?} is not accepted");
                return Err(Problem::bad_parameter(name, detail, parameter.form.allowed()));
            }
            match values.insert(parameter.name, value) {
                None => Ok(()),
                Some(_) => Err(Problem::bad_parameter(name, "given twice", "one value")),
            }
        };
        for (name, value) in path {
            take(name, value.to_owned(), true)?;
        }
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            take(&name, value.into_owned(), false)?;
        }
        let missing =
            declared.iter().find(|one| one.place == Place::RequiredQuery && !values.contains_key(one.name));
        match missing {
            Some(missing) => Err(Problem::bad_parameter(missing.name, "is missing", missing.form.allowed())),
            None => Ok(Values(values)),
        }
    }

    /// The value of a parameter; `None` where it is not given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names and values of all parameters that are given, by name.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The value of an integer parameter of at most this type's range; `None` where it is not given.
    #[must_use]
    pub fn number<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok().and_then(|number: u64| T::try_from(number).ok())
    }
}

/// Where one dimension of a route's scope comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source<T> {
    /// The route has nothing to do with it.
    #[default]
    Nothing,
    /// From the parameter of this name; a request without it asks for everything.
    Parameter(&'static str),
    /// From the parameter of this name where it is one value; else, a list or nothing, what of it is in the caller's scope.
    /// The handler must hold a list to the scope, and answer with nothing else.
    Selected(&'static str),
    /// From the parameter of this name; a request without it asks for this. Of a list, as [`Source::Selected`].
    Defaulted(&'static str, T),
    /// What of it is in the caller's scope. The handler must answer with nothing else.
    InScope,
    /// Always this.
    Always(T),
    /// Always everything.
    Everything,
}

/// What a route reaches for: the scope that a caller needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Spacecraft.
    pub scid: Source<u16>,
    /// Colour.
    pub colour: Source<Colour>,
    /// Session.
    pub session: Source<Session>,
}

impl Reach {
    /// Everything there is.
    pub const EVERYTHING: Reach =
        Reach { scid: Source::Everything, colour: Source::Everything, session: Source::Everything };

    /// By parameters `scid`, `colour` and `session`.
    pub const PARAMETERS: Reach = Reach {
        scid: Source::Parameter("scid"),
        colour: Source::Parameter("colour"),
        session: Source::Parameter("session"),
    };

    /// Names of the parameters that it is read from.
    pub(crate) fn names(&self) -> [Option<&'static str>; 3] {
        fn name<T>(source: &Source<T>) -> Option<&'static str> {
            match source {
                Source::Parameter(name) | Source::Selected(name) | Source::Defaulted(name, _) => Some(name),
                Source::Nothing | Source::InScope | Source::Always(_) | Source::Everything => None,
            }
        }
        [name(&self.scid), name(&self.colour), name(&self.session)]
    }

    /// What a request with these parameters reaches for.
    pub(crate) fn target(&self, values: &Values) -> Target {
        Target {
            scid: asked(self.scid, values, |text| text.parse().ok()),
            colour: asked(self.colour, values, Colours::named),
            session: asked(self.session, values, Sessions::named),
        }
    }
}

fn asked<T>(source: Source<T>, values: &Values, read: impl Fn(&str) -> Option<T>) -> Asked<T> {
    match source {
        Source::Nothing => Asked::Nothing,
        Source::Always(one) => Asked::One(one),
        Source::Everything => Asked::Everything,
        Source::InScope => Asked::Any,
        Source::Selected(name) => values.get(name).and_then(read).map_or(Asked::Any, Asked::One),
        Source::Defaulted(name, default) => match values.get(name) {
            Some(text) => read(text).map_or(Asked::Any, Asked::One),
            None => Asked::One(default),
        },
        // What cannot be read asks for everything, so that a mistake in a declaration refuses and never opens.
        Source::Parameter(name) => values.get(name).and_then(read).map_or(Asked::Everything, Asked::One),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &[Parameter] = &[
        Parameter { name: "scid", place: Place::Path, form: Form::SCID, text: "" },
        Parameter { name: "colour", place: Place::Query, form: Form::COLOUR, text: "" },
        Parameter { name: "from", place: Place::RequiredQuery, form: Form::Text(3), text: "" },
    ];

    fn read(scid: &str, query: &str) -> Result<Values, String> {
        Values::read(DECLARED, [("scid", scid)].into_iter(), query).map_err(|problem| problem.place)
    }

    #[test]
    fn parameters_that_are_unknown_doubled_missing_or_of_another_form_are_refused_by_name() {
        let good = read("157", "colour=red&from=a%20b").expect("good");
        assert_eq!(
            (good.number::<u16>("scid"), good.get("colour"), good.get("from")),
            (Some(157), Some("red"), Some("a b"))
        );
        for (scid, query, place) in [
            ("65536", "from=a", "scid"),
            ("+1", "from=a", "scid"),
            ("", "from=a", "scid"),
            ("1", "from=a&colour=green", "colour"),
            ("1", "from=a&colour=red&colour=red", "colour"),
            ("1", "from=a&scid=2", "scid"),
            ("1", "from=a&x=1", "x"),
            ("1", "from=abcd", "from"),
            ("1", "from=%00", "from"),
            ("1", "", "from"),
        ] {
            assert_eq!(read(scid, query), Err(place.to_owned()), "{scid} {query}");
        }
    }

    #[test]
    fn a_scope_parameter_that_is_not_given_asks_for_everything() {
        let values = read("157", "from=a").expect("good");
        let target = Reach::PARAMETERS.target(&values);
        assert_eq!(target, Target { scid: Asked::One(157), ..Target::EVERYTHING });
        assert_eq!(Reach::default().target(&values), Target::default());
        let selected = Reach {
            scid: Source::Selected("scid"),
            colour: Source::Defaulted("colour", Colour::Black),
            session: Source::InScope,
        };
        let expected =
            Target { scid: Asked::One(157), colour: Asked::One(Colour::Black), session: Asked::Any };
        assert_eq!(selected.target(&values), expected);
        let red = read("157", "from=a&colour=red").expect("good");
        assert_eq!(selected.target(&red).colour, Asked::One(Colour::Red));
        assert_eq!(Reach { scid: Source::Selected("none"), ..selected }.target(&values).scid, Asked::Any);
    }
}
