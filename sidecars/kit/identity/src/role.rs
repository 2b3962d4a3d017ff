//! Roles, and the named sets of roles that a site configures.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a caller may do. Each role stands alone: who may approve may not therefore operate, and an administrator who
/// shall also observe gets both roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees everything in scope, changes nothing.
    Observer,
    /// Starts and stops work that destroys nothing.
    Operator,
    /// Makes and changes plans: passes, reservations, schedules.
    Planner,
    /// Handles flight software: images, uploads, dumps.
    FlightSoftware,
    /// Handles keys and the protected modes of links.
    SecurityOfficer,
    /// Is the second person of an act that needs two.
    Approver,
    /// Handles accounts, tokens and the configuration.
    Administrator,
}

impl Role {
    /// Every role, in the order of their numbers.
    pub const ALL: [Role; 7] = [
        Role::Observer,
        Role::Operator,
        Role::Planner,
        Role::FlightSoftware,
        Role::SecurityOfficer,
        Role::Approver,
        Role::Administrator,
    ];

    /// Name in configurations, tickets and messages, e.g. `flight-software`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Role::Observer => "observer",
            Role::Operator => "operator",
            Role::Planner => "planner",
            Role::FlightSoftware => "flight-software",
            Role::SecurityOfficer => "security-officer",
            Role::Approver => "approver",
            Role::Administrator => "administrator",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Role, UnknownRole> {
        Role::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| UnknownRole { name: text.to_owned(), allowed: names_of_all() })
    }
}

fn names_of_all() -> String {
    RoleSet::ALL.to_string()
}

/// A name that is neither a role nor a configured set of roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a role (allowed: {allowed})")]
pub struct UnknownRole {
    /// The name.
    pub name: String,
    /// What is known.
    pub allowed: String,
}

/// Any number of roles. As JSON and TOML it is a list of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Role>", into = "Vec<Role>")]
pub struct RoleSet(u8);

impl RoleSet {
    /// No role.
    pub const NONE: RoleSet = RoleSet(0);
    /// Every role.
    pub const ALL: RoleSet = RoleSet((1 << Role::ALL.len()) - 1);

    /// These roles.
    #[must_use]
    pub const fn of(roles: &[Role]) -> RoleSet {
        let mut set = 0;
        let mut at = 0;
        while at < roles.len() {
            set |= roles[at].bit();
            at += 1;
        }
        RoleSet(set)
    }

    /// Whether it has this role.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether it shares a role with another set.
    #[must_use]
    pub const fn meets(self, other: RoleSet) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether every role of `other` is in it.
    #[must_use]
    pub const fn covers(self, other: RoleSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The roles of both.
    #[must_use]
    pub const fn and(self, other: RoleSet) -> RoleSet {
        RoleSet(self.0 | other.0)
    }

    /// Its roles.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

impl From<Vec<Role>> for RoleSet {
    fn from(roles: Vec<Role>) -> RoleSet {
        RoleSet::of(&roles)
    }
}

impl From<RoleSet> for Vec<Role> {
    fn from(set: RoleSet) -> Vec<Role> {
        set.iter().collect()
    }
}

impl FromIterator<Role> for RoleSet {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> RoleSet {
        roles.into_iter().fold(RoleSet::NONE, |set, role| set.and(RoleSet::of(&[role])))
    }
}

impl fmt::Display for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Role::name).collect();
        f.write_str(&names.join(", "))
    }
}

/// Sets of roles that a site gives a name: `[identity.role_sets]` with `shift-leader = ["operator", "planner"]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleSets(BTreeMap<String, RoleSet>);

impl RoleSets {
    /// These sets. A set with the name of a role would hide the role, and is refused by [`RoleSets::check`].
    #[must_use]
    pub fn new(sets: BTreeMap<String, RoleSet>) -> RoleSets {
        RoleSets(sets)
    }

    /// Refuses a set that has the name of a role or no role in it.
    ///
    /// # Errors
    /// The name, and what is wrong with it.
    pub fn check(&self) -> Result<(), (String, &'static str)> {
        for (name, set) in &self.0 {
            if name.parse::<Role>().is_ok() {
                return Err((name.clone(), "a role has this name already"));
            }
            if set.is_empty() {
                return Err((name.clone(), "a set without a role gives nothing"));
            }
        }
        Ok(())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The roles that these names give together; each is a role or a configured set.
    ///
    /// # Errors
    /// The first name that is neither.
    pub fn resolve<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<RoleSet, UnknownRole> {
        names.into_iter().try_fold(RoleSet::NONE, |all, name| {
            let set = match self.0.get(name) {
                Some(set) => *set,
                None => RoleSet::of(&[name.parse().map_err(|unknown: UnknownRole| self.known(unknown))?]),
            };
            Ok(all.and(set))
        })
    }

    fn known(&self, unknown: UnknownRole) -> UnknownRole {
        let sets: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let allowed = if sets.is_empty() {
            unknown.allowed
        } else {
            format!("{}; sets: {}", unknown.allowed, sets.join(", "))
        };
        UnknownRole { allowed, ..unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-KIT-101
    #[test]
    fn each_role_stands_alone_and_a_set_is_exactly_its_roles() {
        for role in Role::ALL {
            let only = RoleSet::of(&[role]);
            for other in Role::ALL {
                assert_eq!(only.has(other), role == other, "{role} and {other}");
            }
            assert_eq!(role.name().parse(), Ok(role));
        }
        let json =
            serde_json::to_string(&RoleSet::of(&[Role::FlightSoftware, Role::Observer])).expect("JSON");
        assert_eq!(json, r#"["observer","flight-software"]"#);
        assert!(serde_json::from_str::<RoleSet>(r#"["root"]"#).is_err());
    }

    // REQ: FEP-KIT-101
    #[test]
    fn a_site_names_sets_of_roles_and_an_unknown_name_is_refused_with_what_is_known() {
        let sets = RoleSets::new(BTreeMap::from([(
            "shift-leader".to_owned(),
            RoleSet::of(&[Role::Operator, Role::Planner]),
        )]));
        assert_eq!(sets.check(), Ok(()));
        let given = sets.resolve(["shift-leader", "observer"]).expect("known names");
        assert_eq!(given, RoleSet::of(&[Role::Observer, Role::Operator, Role::Planner]));
        let text = sets.resolve(["shift-leader", "boss"]).expect_err("unknown").to_string();
        assert!(text.starts_with("\"boss\" is not a role") && text.contains("sets: shift-leader"), "{text}");
        let hiding = RoleSets::new(BTreeMap::from([("observer".to_owned(), RoleSet::ALL)]));
        assert_eq!(hiding.check(), Err(("observer".to_owned(), "a role has this name already")));
    }
}
