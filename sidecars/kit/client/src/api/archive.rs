//! The archive.

use serde_json::Value;

use crate::call::{Call, Octets, Query, segment};
use crate::model::archive::{
    Approving, Channel, Deletion, Due, Gap, Hold, HoldRelease, Job, Manifest, NewDeletion, NewGapState,
    NewHold, Note, Replay, Segment, Shares, SqlAnswer, SqlQuery, Status,
};

/// The service at a glance.
#[must_use]
pub fn status() -> Call<Status> {
    Call::get("/v1/status")
}

/// Segments: parameters of `GET /v1/segments`.
#[must_use]
pub fn segments(query: &Query) -> Call<Vec<Segment>> {
    Call::get(format!("/v1/segments{query}"))
}

/// Channels that were ever received.
#[must_use]
pub fn channels() -> Call<Vec<Channel>> {
    Call::get("/v1/channels")
}

/// Frames or packets; `query` is a retrieval of `fep-archive-query`.
#[must_use]
pub fn retrieve(unit: &str, query: &str) -> Call<Octets> {
    Call::get(format!("/v1/{unit}?{query}"))
}

/// What the answer to a retrieval holds.
#[must_use]
pub fn manifest(unit: &str, query: &str) -> Call<Manifest> {
    Call::get(format!("/v1/{unit}/manifest?{query}"))
}

/// SQL, answered as JSON.
#[must_use]
pub fn sql(query: &SqlQuery) -> Call<SqlAnswer> {
    Call::post("/v1/sql").json(query)
}

/// Gaps: parameters of `GET /v1/gaps`.
#[must_use]
pub fn gaps(query: &Query) -> Call<Vec<Gap>> {
    Call::get(format!("/v1/gaps{query}"))
}

/// One gap, with what was done about it.
#[must_use]
pub fn gap(id: &str) -> Call<Gap> {
    Call::get(format!("/v1/gaps/{}", segment(id)))
}

/// Says what is done about a gap.
#[must_use]
pub fn set_gap(id: &str, new: &NewGapState) -> Call<Gap> {
    Call::post(format!("/v1/gaps/{}/state", segment(id))).json(new)
}

/// How much came: parameters of `GET /v1/completeness`.
#[must_use]
pub fn completeness(query: &Query) -> Call<Shares> {
    Call::get(format!("/v1/completeness{query}"))
}

/// Holds, lifted ones included.
#[must_use]
pub fn holds() -> Call<Vec<Hold>> {
    Call::get("/v1/holds")
}

/// Puts a hold.
#[must_use]
pub fn hold(new: &NewHold) -> Call<Hold> {
    Call::post("/v1/holds").json(new)
}

/// Asks for the lifting of a hold.
#[must_use]
pub fn release(hold: &str, note: &str) -> Call<HoldRelease> {
    Call::post(format!("/v1/holds/{}/release", segment(hold))).json(&Note { note: note.to_owned() })
}

/// Orders to lift holds.
#[must_use]
pub fn releases() -> Call<Vec<HoldRelease>> {
    Call::get("/v1/releases")
}

/// Approves the lifting of a hold, by the hash of what was looked at.
#[must_use]
pub fn approve_release(id: &str, content_sha256: &str) -> Call<HoldRelease> {
    act("releases", id, "approve").json(&Approving { content_sha256: content_sha256.to_owned() })
}

/// Refuses the lifting of a hold; who asked withdraws it.
#[must_use]
pub fn refuse_release(id: &str, note: &str) -> Call<HoldRelease> {
    act("releases", id, "refuse").json(&Note { note: note.to_owned() })
}

/// Deletions, those that are over included.
#[must_use]
pub fn deletions() -> Call<Vec<Deletion>> {
    Call::get("/v1/deletions")
}

/// Asks for a deletion.
#[must_use]
pub fn request_deletion(new: &NewDeletion) -> Call<Deletion> {
    Call::post("/v1/deletions").json(new)
}

/// Approves a deletion, by the hash of what was looked at.
#[must_use]
pub fn approve_deletion(id: &str, content_sha256: &str) -> Call<Deletion> {
    act("deletions", id, "approve").json(&Approving { content_sha256: content_sha256.to_owned() })
}

/// Refuses a deletion.
#[must_use]
pub fn refuse_deletion(id: &str, note: &str) -> Call<Deletion> {
    act("deletions", id, "refuse").json(&Note { note: note.to_owned() })
}

/// Withdraws a deletion that one asked for.
#[must_use]
pub fn withdraw_deletion(id: &str, note: &str) -> Call<Deletion> {
    act("deletions", id, "withdraw").json(&Note { note: note.to_owned() })
}

fn act<T>(kind: &str, id: &str, act: &str) -> Call<T> {
    Call::post(format!("/v1/{kind}/{}/{act}", segment(id)))
}

/// Segments that the rules of keeping do not keep any longer.
#[must_use]
pub fn retention() -> Call<Vec<Due>> {
    Call::get("/v1/retention")
}

/// Reads every segment again.
#[must_use]
pub fn scrub() -> Call<Job> {
    Call::post("/v1/scrub").json(&serde_json::json!({}))
}

/// Copies the archive to one of its places; the first one where none is named.
#[must_use]
pub fn backup(place: Option<&str>) -> Call<Job> {
    let body = place.map_or_else(|| serde_json::json!({}), |place| serde_json::json!({"place": place}));
    Call::post("/v1/backup").json(&body)
}

/// One job, by its number or name.
#[must_use]
pub fn job(id: &Value) -> Call<Job> {
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    Call::get(format!("/v1/jobs/{}", segment(&id)))
}

/// Jobs, those that are over included.
#[must_use]
pub fn jobs() -> Call<Vec<Job>> {
    Call::get("/v1/jobs")
}

/// Replays, the last ones that are over included.
#[must_use]
pub fn replays() -> Call<Vec<Replay>> {
    Call::get("/v1/replays")
}

/// Starts a replay: the body of `POST /v1/replays`.
#[must_use]
pub fn start_replay(new: &Value) -> Call<Replay> {
    Call::post("/v1/replays").json(new)
}

/// Commands a replay: the body of `POST /v1/replays/{name}/orders`.
#[must_use]
pub fn command_replay(name: &str, order: &Value) -> Call<Replay> {
    Call::post(format!("/v1/replays/{}/orders", segment(name))).json(order)
}
