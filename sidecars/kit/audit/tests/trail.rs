//! The trail on both engines, and an attacker who can write the table but has not the key.

use ed25519_dalek::SigningKey;
use fep_audit::{
    Error, Event, Filter, Finding, Head, SCHEMA, SignedHead, Signer, append, export, head, note, page,
    verify, verify_lines,
};
use fep_database::testing::{Place, cut, run};
use fep_database::{Database, Migration, Schema};
use fep_time::Tai;
use proptest::prelude::*;
use sqlx::{Executor, Row};

const THINGS: Schema =
    Schema::new("things", &[Migration::new(1, "x", "CREATE TABLE things (id BIGINT PRIMARY KEY)")]);

fn event(number: i64) -> Event {
    Event {
        at: Tai(number * 1_000_000_007),
        person: format!("person {}", number % 3),
        account: "account".to_owned(),
        action: if number % 2 == 0 { "read" } else { "order approved" }.to_owned(),
        subject: format!("S-{number}"),
        detail: format!("{{\"text\":\"line\\n{number} ä\"}}"),
    }
}

async fn trail(place: &Place, entries: i64) -> Database {
    let database = place.open(&[SCHEMA, THINGS]).await;
    let mut writing = database.begin("filling").await.unwrap();
    for number in 1..=entries {
        append(&mut writing, event(number)).await.unwrap();
    }
    writing.commit().await.unwrap();
    database
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

async fn signed_head(database: &Database) -> SignedHead {
    let head = head(&mut database.read("the head").await.unwrap()).await.unwrap();
    head.sign(Tai(5), &key()).unwrap()
}

// REQ: FEP-KIT-221
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_is_there_exactly_when_what_it_says_is_there_wherever_the_change_is_cut() {
    async fn change(database: &Database, id: i64) -> Result<(), Error> {
        let mut writing = database.begin("changing").await?;
        let insert = sqlx::query("INSERT INTO things (id) VALUES ($1)").bind(id);
        insert
            .execute(&mut *writing)
            .await
            .map_err(|source| fep_database::Error::Sql { doing: "x", source })?;
        append(&mut writing, Event { subject: id.to_string(), ..event(id) }).await?;
        Ok(writing.commit().await?)
    }
    for place in Place::both() {
        let database = trail(&place, 3).await;
        for polls in 0.. {
            let ended = cut(polls, change(&database, polls as i64)).await;
            // Looks when nobody writes: a commit that was cut may still be under way.
            let mut looking = database.begin("looking").await.unwrap();
            let things: Vec<String> = sqlx::query("SELECT id FROM things ORDER BY id")
                .fetch_all(&mut *looking)
                .await
                .unwrap()
                .iter()
                .map(|row| row.get::<i64, _>(0).to_string())
                .collect();
            let entries = page(&mut looking, &Filter { after: 3, ..Filter::default() }).await.unwrap();
            let noted: Vec<String> = entries.into_iter().map(|entry| entry.subject).collect();
            assert_eq!(things, noted, "{} cut at {polls}", place.engine());
            drop(looking);
            assert!(verify(&database, &[], None).await.unwrap().holds());
            if ended.is_some() {
                assert!(polls > 0, "it never waited");
                break;
            }
        }
    }
}

// REQ: FEP-KIT-221
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn entries_of_many_writers_make_one_chain() {
    for place in Place::both() {
        let (one, two) = (place.open(&[SCHEMA]).await, place.open(&[SCHEMA]).await);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..30 {
            let database = if number % 2 == 0 { one.clone() } else { two.clone() };
            tasks.spawn(async move { note(&database, event(number)).await });
        }
        while let Some(noted) = tasks.join_next().await {
            noted.unwrap().expect("noted");
        }
        let report = verify(&one, &[], None).await.unwrap();
        assert!(report.holds() && report.entries == 30 && report.last == 30, "{report:?}");
    }
}

/// Attacks with SQL on a trail of 10, and what is found without any signed head.
fn attacks() -> Vec<(&'static str, Finding)> {
    vec![
        ("UPDATE kit_audit SET detail = 'nothing' WHERE number = 4", Finding::Altered { number: 4 }),
        ("UPDATE kit_audit SET person = 'bert' WHERE number = 10", Finding::Altered { number: 10 }),
        ("UPDATE kit_audit SET account = '' WHERE number = 1", Finding::Altered { number: 1 }),
        ("UPDATE kit_audit SET at = at + 1 WHERE number = 5", Finding::Altered { number: 5 }),
        ("UPDATE kit_audit SET hash = 'none' WHERE number = 5", Finding::Altered { number: 5 }),
        ("UPDATE kit_audit SET previous = hash WHERE number = 6", Finding::NotBound { number: 6 }),
        ("DELETE FROM kit_audit WHERE number = 4", Finding::Missing { from: 4, to: 4 }),
        ("DELETE FROM kit_audit WHERE number < 4", Finding::Missing { from: 1, to: 3 }),
        (
            "DELETE FROM kit_audit WHERE number = 5; UPDATE kit_audit SET number = number + 100 WHERE number > 5; \
             UPDATE kit_audit SET number = number - 101 WHERE number > 100",
            Finding::NotBound { number: 5 },
        ),
        (
            "UPDATE kit_audit SET number = 100 WHERE number = 3; UPDATE kit_audit SET number = 3 WHERE number = 4; \
          UPDATE kit_audit SET number = 4 WHERE number = 100",
            Finding::NotBound { number: 3 },
        ),
    ]
}

// REQ: FEP-KIT-222
#[tokio::test]
async fn rows_that_were_altered_removed_or_exchanged_are_found_where_it_was_done() {
    for (attack, expected) in attacks() {
        for place in Place::both() {
            let database = trail(&place, 10).await;
            assert!(verify(&database, &[], None).await.unwrap().holds());
            run(&place, attack).await;
            let report = verify(&database, &[], None).await.unwrap();
            assert_eq!(report.findings.first(), Some(&expected), "{attack}: {report:?}");
        }
    }
}

// REQ: FEP-KIT-223
#[tokio::test]
async fn an_end_that_was_cut_off_and_a_trail_written_anew_are_found_by_a_signed_head() {
    let public = key().public_key();
    for place in Place::both() {
        let database = trail(&place, 10).await;
        let signed = signed_head(&database).await;
        note(&database, event(11)).await.unwrap();
        let report = verify(&database, &[signed], Some(&public)).await.unwrap();
        assert!(report.holds(), "{report:?}");
        assert_eq!((report.last, report.signed_up_to), (11, Some(10)));

        // What came after the head is as good as the table; before it, nothing may go.
        database.pool().execute("DELETE FROM kit_audit WHERE number > 10").await.unwrap();
        assert!(verify(&database, &[signed], Some(&public)).await.unwrap().holds());
        database.pool().execute("DELETE FROM kit_audit WHERE number > 8").await.unwrap();
        assert!(verify(&database, &[], None).await.unwrap().holds(), "without a head nobody can know");
        let report = verify(&database, &[signed], Some(&public)).await.unwrap();
        assert_eq!(report.findings, [Finding::CutEnd { signed: 10, last: 8 }]);
        assert_eq!(report.signed_up_to, None);
        database.pool().execute("DELETE FROM kit_audit").await.unwrap();
        let report = verify(&database, &[signed], Some(&public)).await.unwrap();
        assert_eq!(report.findings, [Finding::CutEnd { signed: 10, last: 0 }]);

        // The attacker writes a trail of his own that holds by itself.
        let mut writing = database.begin("forging").await.unwrap();
        for number in 1..=12 {
            append(&mut writing, Event { person: "nobody".to_owned(), ..event(number) }).await.unwrap();
        }
        writing.commit().await.unwrap();
        assert!(verify(&database, &[], None).await.unwrap().holds());
        let report = verify(&database, &[signed], Some(&public)).await.unwrap();
        assert_eq!(report.findings, [Finding::HeadDiffers { number: 10 }]);

        // And signs it with a key of his own.
        let forger = SigningKey::from_bytes(&[8; 32]);
        let forged =
            head(&mut database.read("x").await.unwrap()).await.unwrap().sign(Tai(5), &forger).unwrap();
        let report = verify(&database, &[forged], Some(&public)).await.unwrap();
        assert_eq!(report.findings, [Finding::HeadNotSigned { number: 12 }]);
        let borrowed = SignedHead { public_key: public, ..forged };
        assert!(!verify(&database, &[borrowed], Some(&public)).await.unwrap().holds());
    }
}

// REQ: FEP-KIT-223
#[test]
fn a_signature_stands_for_its_number_hash_and_time_and_a_signer_that_signs_badly_is_found() {
    struct Broken;
    impl Signer for Broken {
        fn public_key(&self) -> [u8; 32] {
            key().public_key()
        }
        fn sign(&self, _: &[u8]) -> Result<[u8; 64], String> {
            Ok([0; 64])
        }
    }
    let head = Head { number: 3, hash: [1; 32] };
    let signed = head.sign(Tai(9), &key()).unwrap();
    let public = key().public_key();
    assert!(signed.is_signed_with(&public));
    let text = serde_json::to_string(&signed).unwrap();
    assert_eq!(serde_json::from_str::<SignedHead>(&text).unwrap(), signed);
    for other in [
        SignedHead { head: Head { number: 4, ..head }, ..signed },
        SignedHead { head: Head { hash: [2; 32], ..head }, ..signed },
        SignedHead { signed_at: Tai(10), ..signed },
    ] {
        assert!(!other.is_signed_with(&public), "{other:?}");
    }
    assert!(!signed.is_signed_with(&[0; 32]));
    assert!(matches!(head.sign(Tai(9), &Broken), Err(Error::Signer(_))));
}

// REQ: FEP-KIT-224
#[tokio::test]
async fn pages_and_exports_give_every_entry_once_and_an_export_is_verified_without_the_database() {
    let public = key().public_key();
    for place in Place::both() {
        let database = trail(&place, 2503).await;
        let mut reading = database.read("paging").await.unwrap();
        let mut filter = Filter::default();
        let mut numbers = Vec::new();
        loop {
            let entries = page(&mut reading, &filter).await.unwrap();
            let Some(last) = entries.last() else { break };
            filter.after = last.number;
            numbers.extend(entries.iter().map(|entry| entry.number));
        }
        assert_eq!(numbers, (1..=2503).collect::<Vec<u64>>());
        let some = Filter {
            after: 100,
            limit: 5,
            person: Some("person 1".to_owned()),
            action: Some("read".to_owned()),
            subject: None,
        };
        let found: Vec<u64> =
            page(&mut reading, &some).await.unwrap().iter().map(|entry| entry.number).collect();
        assert_eq!(found, [106, 112, 118, 124, 130]);
        let one = Filter { subject: Some("S-7".to_owned()), ..Filter::default() };
        assert_eq!(page(&mut reading, &one).await.unwrap().len(), 1);
        assert!(
            page(&mut reading, &Filter { after: u64::MAX, ..Filter::default() }).await.unwrap().is_empty()
        );
        drop(reading);

        let mut lines = Vec::new();
        let exported = export(&database, &mut lines).await.unwrap();
        let signed = exported.sign(Tai(1), &key()).unwrap();
        let report = verify_lines(&lines[..], &[signed], Some(&public)).unwrap();
        assert!(report.holds() && report.entries == 2503 && report.signed_up_to == Some(2503), "{report:?}");
        let text = String::from_utf8(lines).unwrap();
        assert!(
            text.starts_with("{\"number\":1,\"at\":1000000007,\"person\":\"person 1\""),
            "{}",
            &text[..80]
        );
        let cut: String = text.lines().take(2000).map(|line| format!("{line}\n")).collect();
        let report = verify_lines(cut.as_bytes(), &[signed], Some(&public)).unwrap();
        assert_eq!(report.findings, [Finding::CutEnd { signed: 2503, last: 2000 }]);
        let torn = &text.as_bytes()[..text.len() - 10];
        let report = verify_lines(torn, &[], None).unwrap();
        assert!(matches!(report.findings[..], [Finding::NotAnEntry { line: 2503, .. }]), "{report:?}");
    }
}

/// What somebody may do to the lines of an export.
#[derive(Debug, Clone)]
enum Attack {
    Remove(usize),
    Exchange(usize, usize),
    Double(usize, usize),
    Alter(usize, usize),
    CutEnd(usize),
}

fn attack(lines: usize) -> impl Strategy<Value = Attack> {
    prop_oneof![
        (0..lines).prop_map(Attack::Remove),
        (0..lines, 0..lines)
            .prop_filter("itself", |(one, two)| one != two)
            .prop_map(|(one, two)| Attack::Exchange(one, two)),
        (0..lines, 0..lines).prop_map(|(one, two)| Attack::Double(one, two)),
        (0..lines, any::<usize>()).prop_map(|(line, at)| Attack::Alter(line, at)),
        (0..lines).prop_map(Attack::CutEnd),
    ]
}

// REQ: FEP-KIT-222, FEP-KIT-223
#[test]
fn any_change_to_an_export_whose_head_is_signed_is_found() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (lines, signed) = runtime.block_on(async {
        let place = Place::sqlite();
        let database = trail(&place, 12).await;
        let mut octets = Vec::new();
        let exported = export(&database, &mut octets).await.unwrap();
        let text = String::from_utf8(octets).unwrap();
        (text.lines().map(str::to_owned).collect::<Vec<_>>(), exported.sign(Tai(1), &key()).unwrap())
    });
    let public = key().public_key();
    let mut config = ProptestConfig::with_cases(120);
    config.failure_persistence = None;
    proptest!(config, |(attack in attack(12))| {
        let mut changed = lines.clone();
        match attack {
            Attack::Remove(line) => { changed.remove(line); }
            Attack::Exchange(one, two) => changed.swap(one, two),
            Attack::Double(one, two) => { let line = changed[one].clone(); changed.insert(two, line); }
            Attack::Alter(line, at) => {
                let mut octets = changed[line].clone().into_bytes();
                let at = at % octets.len();
                octets[at] = if octets[at] == b'1' { b'2' } else { b'1' };
                changed[line] = String::from_utf8_lossy(&octets).into_owned();
            }
            Attack::CutEnd(left) => changed.truncate(left),
        }
        prop_assume!(changed != lines);
        let report = verify_lines(changed.join("\n").as_bytes(), &[signed], Some(&public)).unwrap();
        prop_assert!(!report.holds());
    });
}
