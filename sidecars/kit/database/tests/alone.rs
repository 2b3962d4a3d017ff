//! One process of a name on one database, on both engines.

use fep_database::Alone;
use fep_database::testing::Place;

// REQ: FEP-KIT-186
#[tokio::test]
async fn a_second_process_of_a_name_is_refused_by_the_name_of_the_first_until_that_one_ends() {
    for place in Place::both() {
        let engine = place.engine();
        let first = Alone::take(&place.options(), "fep-first").await.expect("nobody has it");
        let refused = Alone::take(&place.options(), "fep-first").await.expect_err("it is held").to_string();
        assert!(refused.contains("held by fep-first"), "{engine}: {refused}");
        drop(first);
        // A server hears a little later that a connection has ended.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while let Err(refused) = Alone::take(&place.options(), "fep-first").await {
            assert!(std::time::Instant::now() < until, "{engine}: {refused}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}
