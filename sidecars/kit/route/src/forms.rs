//! What stands in bodies of the routes of identity: checked when a body is read, and described with the same bounds.

use std::borrow::Cow;
use std::collections::BTreeSet;

use fep_identity::accounts::is_account_name;
use fep_identity::{
    All, Colours, MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS, NumericDate, PersonId, Role, RoleSet, Scope,
    Sessions, Spacecraft,
};
use serde::Deserialize;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::text::Text;

/// What the pattern of an account's name says, and [`is_account_name`] too.
const ACCOUNT: &str = "^[a-z0-9][a-z0-9._-]{0,63}$";
/// A person without its control characters.
const PERSON: &str = "^(local|ldap):[^\\u0000-\\u001F\\u007F-\\u009F]{1,120}$";
const PERSON_MAX: usize = 120;
/// 9999-12-31T23:59:59Z, the last second that a date of four digits has.
const LAST_SECOND: i64 = 253_402_300_799;
const MAX_ROLES: usize = 16;
/// A ticket with so many scopes of so many spacecraft is shorter than the longest one that services take.
const MAX_SCOPES: usize = 16;
const MAX_SPACECRAFT: usize = 32;

/// Gives a type the name and the schema of its form.
macro_rules! described {
    ($form:ident, $schema:expr) => {
        impl PartialSchema for $form {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $form {
            fn name() -> Cow<'static, str> {
                stringify!($form).into()
            }
        }
    };
}

/// Name and password of a login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    pub(crate) account: String,
    pub(crate) password: String,
}

/// A token that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenOrder {
    pub(crate) name: Text<64>,
    pub(crate) roles: RoleList,
    pub(crate) scopes: ScopeList,
    /// How long it shall be valid.
    pub(crate) lifetime_s: Lifetime,
}

/// A local account that is made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    pub(crate) name: AccountName,
    pub(crate) password: Password,
    /// The person it belongs to; a person of its own where it is missing.
    pub(crate) person: Option<Whose>,
    /// Roles and configured sets of roles.
    pub(crate) roles: RoleNames,
    pub(crate) scopes: ScopeList,
    /// When it ends.
    pub(crate) expires: Option<Moment>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    pub(crate) password: Password,
    /// When it ends.
    pub(crate) expires: Option<Moment>,
}

/// Name of a local account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct AccountName(pub(crate) String);

/// A new password.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Password(pub(crate) String);

/// Whose an account is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Whose(pub(crate) PersonId);

/// Seconds since 1970-01-01T00:00:00 UTC, in years of four digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Whole")]
pub(crate) struct Moment(pub(crate) NumericDate);

/// Names of roles and of configured sets; which sets there are is in the document of the running service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct RoleNames(pub(crate) Vec<String>);

/// Roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Role>")]
pub(crate) struct RoleList(pub(crate) RoleSet);

/// Where roles hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<OneScope>")]
pub(crate) struct ScopeList(pub(crate) Vec<Scope>);

/// How long a token is valid, in seconds; the most is in the document of the running service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Whole")]
pub(crate) struct Lifetime(pub(crate) u32);

/// An integer as JSON Schema has it: 3, and 3.0 as well.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
enum Whole {
    Integer(i64),
    Real(f64),
}

impl Whole {
    /// `None` for a number with a fraction, or one that a real cannot hold exactly.
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number of at most 53 bits")]
    fn integer(self) -> Option<i64> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Whole::Integer(number) => Some(number),
            Whole::Real(number) if number.fract() == 0.0 && number.abs() <= EXACT => Some(number as i64),
            Whole::Real(_) => None,
        }
    }
}

/// A scope as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneScope {
    spacecraft: Named,
    colours: Colours,
    sessions: Sessions,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Named {
    All(All),
    These(Vec<Whole>),
}

impl TryFrom<String> for AccountName {
    type Error = String;

    fn try_from(text: String) -> Result<AccountName, String> {
        if is_account_name(&text) {
            return Ok(AccountName(text));
        }
        Err("the name of an account has 1 to 64 of a-z, 0-9, '.', '-' and '_', and begins with a letter or digit"
            .to_owned())
    }
}

impl TryFrom<String> for Password {
    type Error = String;

    fn try_from(text: String) -> Result<Password, String> {
        if (MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&text.chars().count()) {
            return Ok(Password(text));
        }
        Err(format!("a password has {MIN_PASSWORD_CHARS} characters to {MAX_PASSWORD_CHARS} characters"))
    }
}

impl TryFrom<String> for Whose {
    type Error = String;

    fn try_from(text: String) -> Result<Whose, String> {
        let rest = text.strip_prefix("local:").or_else(|| text.strip_prefix("ldap:")).unwrap_or_default();
        if (1..=PERSON_MAX).contains(&rest.chars().count()) && !rest.chars().any(char::is_control) {
            return Ok(Whose(PersonId(text)));
        }
        Err(format!(
            "a person is local: or ldap: and 1 to {PERSON_MAX} characters, none of them a control character"
        ))
    }
}

impl TryFrom<Whole> for Moment {
    type Error = String;

    fn try_from(seconds: Whole) -> Result<Moment, String> {
        match seconds.integer() {
            Some(seconds) if (0..=LAST_SECOND).contains(&seconds) => Ok(Moment(NumericDate(seconds))),
            _ => Err(format!("a time is 0 to {LAST_SECOND} seconds since 1970-01-01T00:00:00 UTC")),
        }
    }
}

impl TryFrom<Whole> for Lifetime {
    type Error = String;

    fn try_from(seconds: Whole) -> Result<Lifetime, String> {
        let seconds = seconds.integer().and_then(|seconds| u32::try_from(seconds).ok());
        seconds.map(Lifetime).ok_or_else(|| "a lifetime is a whole number of seconds".to_owned())
    }
}

fn few(what: &str, count: usize, most: usize) -> Result<(), String> {
    if (1..=most).contains(&count) {
        Ok(())
    } else {
        Err(format!("there are 1 to {most} {what}, not {count}"))
    }
}

impl TryFrom<Vec<String>> for RoleNames {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<RoleNames, String> {
        few("roles", names.len(), MAX_ROLES)?;
        Ok(RoleNames(names))
    }
}

impl TryFrom<Vec<Role>> for RoleList {
    type Error = String;

    fn try_from(roles: Vec<Role>) -> Result<RoleList, String> {
        few("roles", roles.len(), MAX_ROLES)?;
        Ok(RoleList(RoleSet::of(&roles)))
    }
}

impl TryFrom<Vec<OneScope>> for ScopeList {
    type Error = String;

    fn try_from(scopes: Vec<OneScope>) -> Result<ScopeList, String> {
        few("scopes", scopes.len(), MAX_SCOPES)?;
        let one = |scope: OneScope| {
            let spacecraft = match scope.spacecraft {
                Named::All(_) => Spacecraft::ALL,
                Named::These(scids) if scids.len() > MAX_SPACECRAFT => {
                    return Err(format!(
                        "a scope names {MAX_SPACECRAFT} spacecraft at most; \"all\" names every one"
                    ));
                }
                Named::These(scids) => {
                    let scid = |whole: Whole| whole.integer().and_then(|scid| u16::try_from(scid).ok());
                    let scids: Option<BTreeSet<u16>> = scids.into_iter().map(scid).collect();
                    Spacecraft::These(scids.ok_or("a spacecraft is a number of 0 to 65535")?)
                }
            };
            Ok(Scope { spacecraft, colours: scope.colours, sessions: scope.sessions })
        };
        scopes.into_iter().map(one).collect::<Result<_, _>>().map(ScopeList)
    }
}

fn text(least: usize, most: usize, pattern: Option<&str>) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.min_length(Some(least)).max_length(Some(most)).pattern(pattern)
}

fn word(words: &[&str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()))
}

/// Names of roles, and these beside them.
pub(crate) fn role_names(sets: &[&str]) -> RefOr<Schema> {
    let names: Vec<&str> = Role::ALL.iter().map(|role| role.name()).chain(sets.iter().copied()).collect();
    ArrayBuilder::new().items(word(&names)).min_items(Some(1)).max_items(Some(MAX_ROLES)).into()
}

/// A lifetime of at most so many seconds.
pub(crate) fn lifetime(most_s: u32) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(most_s)).into()
}

fn scope() -> ObjectBuilder {
    let scid = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(u16::MAX));
    let these = ArrayBuilder::new().items(scid).max_items(Some(MAX_SPACECRAFT));
    ObjectBuilder::new()
        .property("spacecraft", OneOfBuilder::new().item(word(&["all"])).item(these))
        .property("colours", ArrayBuilder::new().items(word(Colours::NAMES)))
        .property("sessions", ArrayBuilder::new().items(word(Sessions::NAMES)))
        .required("spacecraft")
        .required("colours")
        .required("sessions")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

described!(AccountName, text(1, 64, Some(ACCOUNT)));
described!(Password, text(MIN_PASSWORD_CHARS, MAX_PASSWORD_CHARS, None));
described!(Whose, text(1, PERSON_MAX + 6, Some(PERSON)));
described!(
    Moment,
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(LAST_SECOND as isize))
);
described!(RoleNames, role_names(&[]));
described!(RoleList, role_names(&[]));
described!(ScopeList, ArrayBuilder::new().items(scope()).min_items(Some(1)).max_items(Some(MAX_SCOPES)));
described!(Lifetime, lifetime(u32::MAX));

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn reads<T: DeserializeOwned>(value: &Value) -> bool {
        serde_json::from_value::<T>(value.clone()).is_ok()
    }

    // REQ: FEP-KIT-194
    #[test]
    fn what_stands_in_bodies_of_identity_is_taken_within_its_bounds_and_not_beyond() {
        let all = |taken: bool, values: &[Value], reads: fn(&Value) -> bool| {
            for value in values {
                assert_eq!(reads(value), taken, "{value}");
            }
        };
        all(
            true,
            &[json!("anna"), json!("7"), json!("a.b-c_d"), json!("x".repeat(64))],
            reads::<AccountName>,
        );
        let names =
            ["", "Anna", "anna ", " anna", "an na", "-a", ".a", "änna", "аnna", "anna\n", "a\u{200B}b"];
        all(false, &names.map(|name| json!(name)), reads::<AccountName>);
        all(false, &[json!("x".repeat(65)), json!(1), json!(null)], reads::<AccountName>);
        let satellites = |count| json!("🛰".repeat(count));
        all(true, &[satellites(MIN_PASSWORD_CHARS), satellites(MAX_PASSWORD_CHARS)], reads::<Password>);
        all(
            false,
            &[satellites(MIN_PASSWORD_CHARS - 1), satellites(MAX_PASSWORD_CHARS + 1)],
            reads::<Password>,
        );
        all(
            true,
            &[json!("local:anna"), json!("ldap:ä"), json!(format!("ldap:{}", "x".repeat(120)))],
            reads::<Whose>,
        );
        let long = format!("ldap:{}", "x".repeat(121));
        let persons = ["", "local:", "anna", "service:recorder", "local:a\n", &long];
        all(false, &persons.map(|person| json!(person)), reads::<Whose>);
        all(true, &[json!(0), json!(LAST_SECOND), json!(1279.0)], reads::<Moment>);
        all(
            false,
            &[json!(-1), json!(LAST_SECOND + 1), json!(1.5), json!(1e300), json!("1")],
            reads::<Moment>,
        );
        all(true, &[json!(["observer"]), json!(["shift-leader"])], reads::<RoleNames>);
        all(false, &[json!([]), json!(vec!["observer"; 17]), json!("observer")], reads::<RoleNames>);
        all(true, &[json!(["observer", "administrator"])], reads::<RoleList>);
        all(false, &[json!([]), json!(["root"]), json!(vec!["observer"; 17])], reads::<RoleList>);
        let scope =
            |spacecraft: Value| json!({"spacecraft": spacecraft, "colours": ["red"], "sessions": ["ops"]});
        let good = [json!("all"), json!([]), json!([0, 65_535, 26.0]), json!(vec![1; MAX_SPACECRAFT])];
        all(true, &good.map(|spacecraft| json!([scope(spacecraft)])), reads::<ScopeList>);
        let bad = [
            json!("most"),
            json!([65_536]),
            json!([-1]),
            json!([0.5]),
            json!(vec![1; MAX_SPACECRAFT + 1]),
            json!(null),
        ];
        all(false, &bad.map(|spacecraft| json!([scope(spacecraft)])), reads::<ScopeList>);
        let one = scope(json!("all"));
        all(true, &[json!(vec![one.clone(); MAX_SCOPES])], reads::<ScopeList>);
        let mut more = one.clone();
        more["more"] = json!(1);
        let other = [json!([]), json!(vec![one.clone(); MAX_SCOPES + 1]), json!([more]), json!([{}]), one];
        all(false, &other, reads::<ScopeList>);
    }

    // REQ: FEP-KIT-194
    #[test]
    fn the_largest_account_that_is_taken_has_a_ticket_that_services_take() {
        let scids: Vec<u16> = (u16::MAX - 31..=u16::MAX).collect();
        let scope = json!({"spacecraft": scids, "colours": Colours::NAMES, "sessions": Sessions::NAMES});
        let ScopeList(scopes) = serde_json::from_value(json!(vec![scope; MAX_SCOPES])).expect("taken");
        let Whose(person) =
            serde_json::from_value(json!(format!("ldap:{}", "🛰".repeat(PERSON_MAX)))).expect("taken");
        let claims = fep_identity::ticket::Claims {
            iss: "i".repeat(64),
            sub: "x".repeat(64),
            person,
            roles: RoleSet::ALL,
            scopes,
            iat: NumericDate(LAST_SECOND),
            exp: NumericDate(LAST_SECOND),
            jti: "0".repeat(32),
            token: Some("0".repeat(16)),
        };
        let octets = serde_json::to_vec(&claims).expect("JSON").len();
        // Base64 of the claims; a header with its key's name and a signature are shorter than 300 characters.
        assert!(octets.div_ceil(3) * 4 + 300 < fep_identity::ticket::MAX_TICKET_BYTES, "{octets}");
    }
}
