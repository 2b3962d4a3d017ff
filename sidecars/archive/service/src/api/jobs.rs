//! Scrubs and backups, and what the rules of keeping would delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fep_catalogue::Due;
use fep_kit::Problem;
use fep_kit::access::{Caller, Role};
use serde::{Deserialize, Serialize};

use super::{Body, catalogue_problem};
use crate::jobs::{self, BackupArguments, Job, ScrubArguments};
use crate::service::{Service, now_tai_ns};

/// Scrubs and backups, the oldest first, those that are over included.
#[utoipa::path(get, path = "/v1/jobs", tag = "keeping", responses((status = 200, description = "jobs")))]
pub(crate) async fn jobs(State(service): State<Arc<Service>>) -> Result<Json<Vec<Job>>, Problem> {
    let jobs = service.archive.catalogue.jobs().await.map_err(catalogue_problem("listing jobs"))?;
    Ok(Json(jobs.into_iter().map(Job::from).collect()))
}

/// One job, with its progress and report.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "keeping", params(("id" = u64, Path)),
    responses((status = 200, description = "the job"), (status = 404, description = "no such job")))]
pub(crate) async fn job(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<Job>, Problem> {
    shown(service.archive.catalogue.job(&id).await, "looking for a job")
}

/// Cancels a job: one that waits is over, one that runs ends before its next segment. Needs the role operate.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "keeping", params(("id" = u64, Path)),
    responses((status = 200, description = "the job"), (status = 409, description = "it is over")))]
pub(crate) async fn cancel(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
) -> Result<Json<Job>, Problem> {
    caller.may(Role::Operate)?;
    shown(service.archive.catalogue.cancel_job(&id, now_tai_ns()).await, "cancelling a job")
}

/// Reads every segment, copy and index file again, compares all hashes, repairs from good copies, and puts what cannot be
/// repaired into quarantine: `{}` or `{"ring": "npp.frames"}`. Needs the role operate.
#[utoipa::path(post, path = "/v1/scrub", tag = "keeping",
    responses((status = 200, description = "the job"), (status = 409, description = "a scrub is running")))]
pub(crate) async fn scrub(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(new): Body<ScrubArguments>,
) -> Result<Json<Job>, Problem> {
    caller.may(Role::Operate)?;
    ask(&service, jobs::SCRUB, &new, caller.name()).await
}

/// Where to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBackup {
    place: Option<String>,
}

/// Copies catalogue, segments, indexes and configuration to a place that the configuration allows: `{"place":
/// "file:///backup/fep"}`, or `{}` for the first one. What is there already is not copied again. Needs the role operate.
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
    let place = place.cloned().ok_or_else(|| {
        Problem::bad_parameter("place", "this service does not make backups there", allowed)
            .hint("retention.backups in the configuration lists the places")
    })?;
    if let Some(directory) = place.strip_prefix("file://") {
        crate::process::make_directory(directory)
            .map_err(|error| Problem::conflict(format!("{place} cannot be made: {error}")).at("place"))?;
    }
    ask(&service, jobs::BACKUP, &BackupArguments { place }, caller.name()).await
}

async fn ask(
    service: &Service,
    kind: &str,
    arguments: &impl Serialize,
    person: &str,
) -> Result<Json<Job>, Problem> {
    let arguments =
        serde_json::to_string(arguments).map_err(|error| Problem::fault("asking for work", &error))?;
    let added = service.archive.catalogue.add_job(kind, &arguments, person, now_tai_ns()).await;
    shown(added, "asking for work")
}

fn shown(job: Result<fep_jobs::Job, fep_catalogue::Error>, doing: &str) -> Result<Json<Job>, Problem> {
    job.map(|job| Json(job.into())).map_err(catalogue_problem(doing))
}

/// Segments that their class does not keep any longer, and the holds that keep them nevertheless. Nothing is deleted by
/// rule: these are what a person may ask to delete, and another approve.
#[utoipa::path(get, path = "/v1/retention", tag = "keeping", responses((status = 200, description = "segments")))]
pub(crate) async fn retention(State(service): State<Arc<Service>>) -> Result<Json<Vec<Due>>, Problem> {
    let due = service.keeper.due_for_deletion(&service.config.retention.rules, now_tai_ns()).await;
    due.map(Json).map_err(catalogue_problem("applying the rules of keeping"))
}
