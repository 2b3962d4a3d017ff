//! The generated test: every route, called as every role × scope × session, answers exactly those it declares.

#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;

use fep_archive::api;
use fep_archive::config::Config;
use fep_archive::replays::Replays;
use fep_archive::retrieval::Archive;
use fep_archive::service::Service;
use fep_catalogue::{Ingest, Keeper, Store, StoreConfig};
use fep_identity::{Cost, Identity, IdentityConfig, NumericDate};
use fep_kit::Document;
use fep_kit::health::Health;
use fep_kit::metrics::Metrics;
use fep_route::Matrix;
use support::{MS, Recorder, START, catalogue_at, ingest_config, layouts, tm_frame};

/// The service over an archive with one segment, and who gives tickets for it.
async fn service(root: &Path, serve_red: bool) -> (fep_route::Service, Identity) {
    let segments = root.join("segments");
    let frames: Vec<_> = (0..20).map(|count| tm_frame(1, 0, count, START + count as i64 * MS)).collect();
    Recorder::new(&segments, "one.frames").frames(&frames);
    let cheap = IdentityConfig { password: Cost { memory_kib: 8, passes: 1 }, ..IdentityConfig::default() };
    let identity = Identity::open_unchecked(&root.join("identity"), cheap, NumericDate::now()).unwrap();
    let text = format!(
        "[archive]\nsegments = {segments:?}\n[store]\nurl = \"file://{0}/store\"\n[http]\nserve_red = {serve_red}\n\
         [identity]\nkeys = {1:?}\n[retention]\nremoval_key = \"\"\n",
        root.display(),
        identity.public_file(),
    );
    let config = Config::read(&Document::from_text("archive.toml", text).unwrap()).unwrap();
    std::fs::create_dir_all(root.join("store")).unwrap();
    let store = Store::open(&StoreConfig::new(&format!("file://{}/store", root.display()))).unwrap();
    let catalogue = catalogue_at(root).await;
    let catalogue = if serve_red { catalogue } else { catalogue.black_only() };
    let mut ingest = Ingest::open(ingest_config(&segments), catalogue.clone(), store.clone()).await.unwrap();
    ingest.step().await.unwrap();
    let indexes = Keeper::new(&segments, catalogue.clone(), store.clone(), layouts()).indexes();
    let archive =
        Archive { segments, catalogue, store, tail: ingest.tail(), indexes, fleet: Default::default() };
    let authenticator = Arc::new(config.identity.authenticator().unwrap());
    let (health, metrics) = (Health::new("fep-archive test"), Metrics::new("fep_archive"));
    let service = Service::new(config, archive, authenticator, health, metrics, Replays::default()).unwrap();
    (api::routes(&Arc::new(service)).unwrap(), identity)
}

// REQ: FEP-ARC-177
#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_exactly_those_it_declares_with_red_data_and_without() {
    for serve_red in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (service, identity) = service(directory.path(), serve_red).await;
        assert!(service.declarations().count() > 35);
        let ticket =
            |roles, scopes| identity.ticket_for_test(roles, scopes, NumericDate::now()).expect("a ticket");
        let matrix = Matrix::of(&service, ticket).await;
        assert!(matrix.wrong.is_empty(), "{:#?}", &matrix.wrong[..matrix.wrong.len().min(20)]);
        assert!(matrix.calls > 10_000 && matrix.let_in > 1_000, "{} {}", matrix.calls, matrix.let_in);
    }
}
