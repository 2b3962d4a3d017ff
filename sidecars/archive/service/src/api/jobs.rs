//! Scrubs and backups, and what the rules of keeping would delete.

use std::sync::Arc;

use fep_catalogue::Due;
use fep_identity::Role;
use fep_kit::Problem;
use fep_route::{Call, Declared, Json, List, MaybeJson, Route};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::params::ID;
use super::{WATCHERS, catalogue_problem, reach};
use crate::jobs::{self, BackupArguments, Job, ScrubArguments};
use crate::service::{Service, now_tai_ns};

pub(super) fn routes(service: &Arc<Service>) -> Vec<Declared> {
    // Scrubs and backups go over everything, and their reports name segments of every spacecraft.
    let everything = reach::everything(&service.config);
    let get = |path, text| Route::get(path, text).roles(WATCHERS).reaches(everything);
    let post = |path, text| Route::post(path, text).role(Role::Operator).reaches(everything);
    vec![
        get("/v1/jobs", "Scrubs and backups, the oldest first, those that are over included.").to(service, list),
        get("/v1/jobs/{id}", "One job, with its progress and report.")
            .path_parameter("id", ID, "Its name.")
            .to(service, job),
        post("/v1/jobs/{id}/cancel", "Cancels a job: one that waits is over, one that runs ends before its next segment.")
            .path_parameter("id", ID, "Its name.")
            .to(service, cancel),
        post("/v1/scrub", "Reads every segment, copy and index file again, compares all hashes, repairs from good copies, and puts what cannot be repaired into quarantine.")
            .to(service, scrub),
        post("/v1/backup", "Copies catalogue, segments, indexes and configuration to a place that the configuration allows. What is there already is not copied again.")
            .to(service, backup),
        get("/v1/retention", "Segments that their class does not keep any longer, and the holds that keep them nevertheless. Nothing is deleted by rule.")
            .to(service, retention),
    ]
}

fn id<B>(call: &Call<B>) -> &str {
    call.values.get("id").unwrap_or_default()
}

async fn list(service: Arc<Service>, _: Call<()>) -> Result<List<Job>, Problem> {
    let jobs = service.archive.catalogue.jobs().await.map_err(catalogue_problem("listing jobs"))?;
    Ok(List(jobs.into_iter().map(Job::from).collect()))
}

async fn job(service: Arc<Service>, call: Call<()>) -> Result<Json<Job>, Problem> {
    shown(service.archive.catalogue.job(id(&call)).await, "looking for a job")
}

/// Nothing is said.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn cancel(service: Arc<Service>, call: Call<MaybeJson<Nothing>>) -> Result<Json<Job>, Problem> {
    service.note(&call, "job cancel asked", id(&call), json!({})).await?;
    shown(service.archive.catalogue.cancel_job(id(&call), now_tai_ns()).await, "cancelling a job")
}

async fn scrub(service: Arc<Service>, call: Call<Json<ScrubArguments>>) -> Result<Json<Job>, Problem> {
    ask(&service, jobs::SCRUB, &call.body.0, &call).await
}

/// Where to: `{"place": "file:///backup/fep"}`, or `{}` for the first place of the configuration.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBackup {
    place: Option<String>,
}

async fn backup(service: Arc<Service>, call: Call<Json<NewBackup>>) -> Result<Json<Job>, Problem> {
    let places = &service.config.retention.backups;
    let allowed = if places.is_empty() { "none is configured".to_owned() } else { places.join(", ") };
    let place = match &call.body.0.place {
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
    ask(&service, jobs::BACKUP, &BackupArguments { place }, &call).await
}

async fn ask<B>(
    service: &Service,
    kind: &str,
    arguments: &impl Serialize,
    call: &Call<B>,
) -> Result<Json<Job>, Problem> {
    let arguments =
        serde_json::to_value(arguments).map_err(|error| Problem::fault("asking for work", &error))?;
    let action = if kind == jobs::BACKUP { "backup asked" } else { "scrub asked" };
    service.note(call, action, kind, arguments.clone()).await?;
    let arguments = arguments.to_string();
    let person = &call.caller()?.person.id.0;
    let added = service.archive.catalogue.add_job(kind, &arguments, person, now_tai_ns()).await;
    shown(added, "asking for work")
}

fn shown(job: Result<fep_jobs::Job, fep_catalogue::Error>, doing: &str) -> Result<Json<Job>, Problem> {
    job.map(|job| Json(job.into())).map_err(catalogue_problem(doing))
}

async fn retention(service: Arc<Service>, _: Call<()>) -> Result<List<Due>, Problem> {
    let due = service.keeper.due_for_deletion(&service.config.retention.rules, now_tai_ns()).await;
    due.map(List).map_err(catalogue_problem("applying the rules of keeping"))
}
