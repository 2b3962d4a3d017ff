//! The first administrator, added on this machine by who owns the state directory: nobody can log in before, or any more.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fep_audit::Event;
use fep_database::Database;
use fep_identity::accounts::AccountError;
use fep_identity::{Identity, NumericDate};
use fep_password::Entry;
use fep_time::tai_now;
use serde_json::json;

use crate::config::Config;

/// Adds an account with the role administrator, unless a local account can administer. It works beside the running service.
pub(crate) async fn add_administrator(config: &Config, name: &str) -> Result<(), String> {
    let state = &config.places.state;
    hold_to_owner(state)?;
    let identity = Identity::open(state, config.identity.clone(), NumericDate::now());
    let identity = identity.map_err(|error| error.to_string())?;
    let accounts = identity.accounts();
    if let Some(known) = accounts.administrator(NumericDate::now()).map_err(|error| error.to_string())? {
        return Err(AccountError::HasAdministrator(known).to_string());
    }
    if accounts.exists(name).map_err(|error| error.to_string())? {
        let error = AccountError::Exists(name.to_owned());
        return Err(format!(
            "{error}: add one of another name, who can then set a password for {name} and enable it"
        ));
    }
    let password = fep_password::read(Entry::New).map_err(|error| error.to_string())?;
    let database = Database::open(&config.places.database, &[fep_audit::SCHEMA]).await;
    let database = database.map_err(|error| error.to_string())?;
    let uid = rustix::process::geteuid().as_raw();
    let event = |action: &str, detail: serde_json::Value| Event {
        at: tai_now(),
        person: "service:fep-identity".to_owned(),
        account: format!("uid {uid}"),
        action: action.to_owned(),
        subject: name.chars().take(64).collect(),
        detail: detail.to_string(),
    };
    // Before the deed, like everything that gives something.
    let text = |error: fep_audit::Error| error.to_string();
    fep_audit::note(&database, event("first administrator added", json!({}))).await.map_err(text)?;
    if let Err(error) = identity.add_first_administrator(name, &password, NumericDate::now()) {
        let reason = error.to_string();
        let event = event("first administrator not added", json!({"reason": reason}));
        fep_audit::note(&database, event).await.map_err(text)?;
        return Err(reason);
    }
    println!("{name} is an administrator: `fepctl login --account {name}`");
    database.close().await;
    Ok(())
}

/// Files that another user makes in the directory could not be read by the service.
fn hold_to_owner(state: &Path) -> Result<(), String> {
    let uid = rustix::process::geteuid().as_raw();
    match std::fs::metadata(state) {
        Ok(metadata) if metadata.uid() != uid => Err(format!(
            "{} belongs to the user {}, and this is {uid}: run it as that user (`sudo -u '#{}' fep-identity …`)",
            state.display(),
            metadata.uid(),
            metadata.uid()
        )),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", state.display()))
        }
        _ => Ok(()),
    }
}
