use super::*;
use crate::RoleSet;

const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };
const PASSWORD: &str = "correct horse battery";
const NOW: NumericDate = NumericDate(1_780_000_000);

fn profile() -> Profile {
    Profile {
        person: PersonId("local:anna".to_owned()),
        roles: vec!["observer".to_owned()],
        scopes: vec![Scope::ALL],
        expires: None,
        password_expires: None,
        disabled: false,
    }
}

fn accounts(dir: &tempfile::TempDir) -> Accounts {
    let lockout = Lockout { failures: 3, period_s: 60 };
    let sets = RoleSets::new(BTreeMap::from([("bosses".to_owned(), RoleSet::ALL)]));
    let accounts =
        Accounts::new(StateDir::open(dir.path()).expect("a state directory"), CHEAP, lockout, sets);
    if !accounts.exists("anna").expect("readable") {
        accounts.add("anna", PASSWORD, profile()).expect("added");
    }
    accounts
}

fn login(accounts: &Accounts, password: &str, now: NumericDate) -> Result<LoggedIn, LoginRefused> {
    accounts.login("anna", password, now).expect("a usable state")
}

// REQ: FEP-KIT-105
#[test]
fn wrong_passwords_in_a_row_lock_an_account_for_a_period_that_a_restart_does_not_shorten() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = accounts(&dir);
    for _ in 0..3 {
        assert_eq!(login(&first, "wrong", NOW), Err(LoginRefused::WrongPassword));
    }
    let until = NOW.plus_s(60);
    assert_eq!(login(&first, PASSWORD, NOW.plus_s(1)), Err(LoginRefused::Locked { until }));
    let restarted = accounts(&dir);
    assert_eq!(login(&restarted, PASSWORD, NOW.plus_s(59)), Err(LoginRefused::Locked { until }));
    assert!(login(&restarted, PASSWORD, until).is_ok());
    // A success forgets failures: two more do not lock.
    for _ in 0..2 {
        assert_eq!(login(&restarted, "wrong", until), Err(LoginRefused::WrongPassword));
    }
    assert!(login(&restarted, PASSWORD, until).is_ok());
}

// REQ: FEP-KIT-105
#[test]
fn a_clock_that_is_set_back_locks_for_no_longer_than_the_period_and_an_administrator_unlocks() {
    let dir = tempfile::tempdir().expect("a directory");
    let accounts = accounts(&dir);
    for _ in 0..3 {
        assert!(login(&accounts, "wrong", NOW).is_err());
    }
    let back = NOW.plus_s(-1_000_000);
    assert_eq!(login(&accounts, PASSWORD, back), Err(LoginRefused::Locked { until: back.plus_s(60) }));
    accounts.unlock("anna", NOW).expect("unlocked");
    assert!(login(&accounts, PASSWORD, back).is_ok());
}

// REQ: FEP-KIT-105
#[test]
fn guesses_made_side_by_side_do_not_exceed_the_limit() {
    let dir = tempfile::tempdir().expect("a directory");
    let accounts = accounts(&dir);
    let tried = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                if login(&accounts, "wrong", NOW) == Err(LoginRefused::WrongPassword) {
                    tried.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(tried.load(Ordering::Relaxed) <= 3, "{tried:?} passwords were tried, 3 are allowed");
}

// REQ: FEP-KIT-105
#[test]
fn accounts_and_passwords_end_when_they_are_said_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let accounts = accounts(&dir);
    let at = NOW.plus_s(10);
    accounts.set_profile("anna", Profile { expires: Some(at), ..profile() }, NOW).expect("set");
    assert!(login(&accounts, PASSWORD, NOW.plus_s(9)).is_ok());
    assert_eq!(login(&accounts, PASSWORD, at), Err(LoginRefused::Expired { at }));
    accounts.set_profile("anna", Profile { disabled: true, ..profile() }, NOW).expect("set");
    assert_eq!(login(&accounts, PASSWORD, NOW), Err(LoginRefused::Disabled));
    accounts.set_profile("anna", profile(), NOW).expect("set");
    accounts.set_password("anna", "another horse battery", Some(at), NOW).expect("set");
    assert_eq!(login(&accounts, PASSWORD, NOW), Err(LoginRefused::WrongPassword));
    assert!(login(&accounts, "another horse battery", NOW).is_ok());
    assert_eq!(login(&accounts, "another horse battery", at), Err(LoginRefused::PasswordExpired { at }));
    assert_eq!(accounts.login("bert", PASSWORD, NOW).expect("usable"), Err(LoginRefused::Unknown));
}

// REQ: FEP-KIT-187
#[test]
fn no_change_takes_away_the_last_account_that_can_administer_or_the_last_one_without_an_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let accounts = accounts(&dir);
    let administrator = || Profile { roles: vec!["bosses".to_owned()], ..profile() };
    let last =
        |changed: Result<(), AccountError>| matches!(changed, Err(AccountError::LastAdministrator { .. }));
    let set = |name: &str, profile: Profile| accounts.set_profile(name, profile, NOW);
    // Without an administrator there is none to keep: every change is allowed.
    set("anna", Profile { disabled: true, ..profile() }).expect("set");
    set("anna", administrator()).expect("set");
    let at = Some(NOW.plus_s(1));
    let takings = [
        Profile { disabled: true, ..administrator() },
        Profile { roles: vec!["observer".to_owned()], ..administrator() },
        Profile { roles: vec!["administrator".to_owned(), "unknown".to_owned()], ..administrator() },
        Profile { scopes: vec![], ..administrator() },
        Profile { expires: Some(NOW), ..administrator() },
        Profile { expires: at, ..administrator() },
        Profile { password_expires: at, ..administrator() },
    ];
    for taking in &takings {
        assert!(last(set("anna", taking.clone())), "{taking:?}");
    }
    assert!(last(accounts.set_password("anna", "another horse battery", at, NOW)));
    assert!(last(accounts.set_disabled("anna", true, NOW).map(drop)));
    assert!(login(&accounts, PASSWORD, NOW).is_ok(), "nothing was changed by what was refused");
    // One that ends does not make up for one that does not; as soon as another has no end either, it may go.
    accounts.add("bert", PASSWORD, Profile { expires: at, ..administrator() }).expect("added");
    for taking in &takings {
        assert!(last(set("anna", taking.clone())), "{taking:?}");
    }
    set("bert", administrator()).expect("set");
    for taking in &takings {
        set("anna", taking.clone()).expect("bert is left");
        set("anna", administrator()).expect("set");
    }
    accounts.set_disabled("anna", true, NOW).expect("bert is left");
    assert!(last(accounts.set_disabled("bert", true, NOW).map(drop)));
    accounts.set_disabled("anna", false, NOW).expect("enabled");
    accounts.set_disabled("bert", true, NOW).expect("anna is left");
}

// REQ: FEP-KIT-187
#[test]
fn two_administrators_who_disable_one_another_at_the_same_time_are_not_both_disabled() {
    let dir = tempfile::tempdir().expect("a directory");
    let accounts = accounts(&dir);
    let administrator = Profile { roles: vec!["administrator".to_owned()], ..profile() };
    accounts.set_profile("anna", administrator.clone(), NOW).expect("set");
    accounts.add("bert", PASSWORD, administrator).expect("added");
    for _ in 0..20 {
        let (one, other) = std::thread::scope(|scope| {
            let accounts = &accounts;
            let disable = |name| scope.spawn(move || accounts.set_disabled(name, true, NOW).is_ok());
            let (one, other) = (disable("anna"), disable("bert"));
            (one.join().expect("no panic"), other.join().expect("no panic"))
        });
        assert!(one != other, "exactly one of the two is disabled");
        for name in ["anna", "bert"] {
            accounts.set_disabled(name, false, NOW).expect("enabled");
        }
    }
}

// REQ: FEP-KIT-188
#[test]
fn a_first_administrator_is_added_exactly_while_no_other_account_can_administer() {
    let dir = tempfile::tempdir().expect("a directory");
    let accounts = accounts(&dir);
    let administrator = || Profile { roles: vec!["administrator".to_owned()], ..profile() };
    let add = |name: &str, now| accounts.add_first(name, PASSWORD, administrator(), now);
    let end = NOW.plus_s(10);
    accounts.set_profile("anna", Profile { expires: Some(end), ..administrator() }, NOW).expect("set");
    assert!(matches!(add("bert", NOW), Err(AccountError::HasAdministrator(name)) if name == "anna"));
    assert_eq!(accounts.administrator(NOW).expect("readable").as_deref(), Some("anna"));
    // Locked for a while is not away.
    for _ in 0..3 {
        assert!(login(&accounts, "wrong", NOW).is_err());
    }
    assert!(matches!(add("bert", NOW), Err(AccountError::HasAdministrator(_))));
    assert_eq!(accounts.administrator(end).expect("readable"), None, "it has ended");
    assert!(matches!(add("anna", end), Err(AccountError::Exists(_))));
    add("bert", end).expect("nobody can administer");
    assert!(matches!(add("carl", end), Err(AccountError::HasAdministrator(name)) if name == "bert"));
}

#[test]
fn names_that_could_be_mistaken_for_others_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let accounts = accounts(&dir);
    for name in ["", "Anna", "anna ", "../x", "-x", "änna", "a\0b", &"a".repeat(65)] {
        let added = accounts.add(name, PASSWORD, profile());
        assert!(matches!(added, Err(AccountError::Name(_))), "{name:?}");
    }
    assert!(matches!(accounts.add("anna", PASSWORD, profile()), Err(AccountError::Exists(_))));
    assert!(matches!(accounts.unlock("bert", NOW), Err(AccountError::Unknown(_))));
    let held = accounts.set_password("bert", "bert is in this password", None, NOW);
    assert!(matches!(held, Err(AccountError::Unknown(_))), "there is no account whose name it could hold");
    assert_eq!(accounts.list().expect("readable").len(), 1);
}
