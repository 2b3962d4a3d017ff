//! Scrubs and backups, and what the rules of keeping would delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fep_catalogue::{Due, SegmentFilter, Store, StoreConfig};
use fep_kit::Problem;
use fep_kit::access::{Caller, Role};
use serde::Deserialize;

use super::{Body, catalogue_problem};
use crate::jobs::Job;
use crate::service::{Service, now_tai_ns};

/// Scrubs and backups, those that are over included (the last 32).
#[utoipa::path(get, path = "/v1/jobs", tag = "keeping", responses((status = 200, description = "jobs")))]
pub(crate) async fn jobs(State(service): State<Arc<Service>>) -> Json<Vec<Job>> {
    Json(service.jobs.list())
}

/// One job, with its progress and report.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "keeping", params(("id" = u64, Path)),
    responses((status = 200, description = "the job"), (status = 404, description = "no such job")))]
pub(crate) async fn job(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<Job>, Problem> {
    let found = id.parse().ok().and_then(|id| service.jobs.get(id));
    found.map(Json).ok_or_else(|| Problem::not_found(format!("there is no job {id}")))
}

/// Nothing is needed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewScrub {
    /// Only segments of this ring.
    ring: Option<String>,
}

/// Reads every segment, copy and index file again, compares all hashes, repairs from good copies, and puts what cannot be
/// repaired into quarantine: `{}` or `{"ring": "npp.frames"}`. Needs the role operate.
#[utoipa::path(post, path = "/v1/scrub", tag = "keeping",
    responses((status = 200, description = "the job"), (status = 409, description = "a scrub is running")))]
pub(crate) async fn scrub(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(new): Body<NewScrub>,
) -> Result<Json<Job>, Problem> {
    caller.may(Role::Operate)?;
    let filter = SegmentFilter { ring: new.ring, ..SegmentFilter::default() };
    let segments = count(&service, &filter).await?;
    let keeper = service.keeper.clone();
    let started = service.jobs.start("scrub", caller.name(), segments, |progress| async move {
        keeper.scrub(&filter, now_tai_ns(), |report| progress.segment(report)).await
    });
    started.map(Json).ok_or_else(|| Problem::conflict("a scrub is running").hint("GET /v1/jobs shows it"))
}

/// Where to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBackup {
    place: Option<String>,
}

/// Copies catalogue, segments and indexes to a place that the configuration allows: `{"place": "file:///backup/fep"}`, or
/// `{}` for the first one. What is there already is not copied again. Needs the role operate.
#[utoipa::path(post, path = "/v1/backup", tag = "keeping",
    responses((status = 200, description = "the job"), (status = 409, description = "a backup is running")))]
pub(crate) async fn backup(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(new): Body<NewBackup>,
) -> Result<Json<Job>, Problem> {
    caller.may(Role::Operate)?;
    let places = &service.config.retention.backups;
    let allowed = if places.is_empty() { "none is configured".to_owned() } else { places.join(", ") };
    let place = match &new.place {
        Some(place) => places.iter().find(|allowed| *allowed == place),
        None => places.first(),
    };
    let place = place.ok_or_else(|| {
        Problem::bad_parameter("place", "this service does not make backups there", allowed)
            .hint("retention.backups in the configuration lists the places")
    })?;
    if let Some(directory) = place.strip_prefix("file://") {
        crate::process::make_directory(directory)
            .map_err(|error| Problem::conflict(format!("{place} cannot be made: {error}")).at("place"))?;
    }
    let config = StoreConfig { url: place.clone(), ..service.config.store.clone() };
    let target = Store::open(&config).map_err(catalogue_problem("opening the backup"))?;
    let segments = count(&service, &SegmentFilter::default()).await?;
    let keeper = service.keeper.clone();
    let started = service.jobs.start("backup", caller.name(), segments, |progress| async move {
        keeper.backup(&target, now_tai_ns(), |report| progress.segment(report)).await
    });
    started.map(Json).ok_or_else(|| Problem::conflict("a backup is running").hint("GET /v1/jobs shows it"))
}

/// Segments that their class does not keep any longer, and the holds that keep them nevertheless. Nothing is deleted by
/// rule: these are what a person may ask to delete, and another approve.
#[utoipa::path(get, path = "/v1/retention", tag = "keeping", responses((status = 200, description = "segments")))]
pub(crate) async fn retention(State(service): State<Arc<Service>>) -> Result<Json<Vec<Due>>, Problem> {
    let due = service.keeper.due_for_deletion(&service.config.retention.rules, now_tai_ns()).await;
    due.map(Json).map_err(catalogue_problem("applying the rules of keeping"))
}

async fn count(service: &Service, filter: &SegmentFilter) -> Result<u64, Problem> {
    service.archive.catalogue.count_segments(filter).await.map_err(catalogue_problem("counting segments"))
}
