//! One process works on a database of a service: a second one on the same would take in, keep and sign beside the first.

use sqlx::{Connection, PgConnection};

use crate::address::Address;
use crate::{Error, Options};

/// The first half of the lock of PostgreSQL that a process holds while it runs: "fep1" in ASCII.
const LOCK_KIND: i32 = 0x6665_7031;

/// The right to be the one process of its name on a database, for as long as this lives. SQLite: a lock file beside the
/// database, which ends with the process. PostgreSQL: a lock of a connection, which ends with the connection; a server that
/// restarts forgets it.
#[derive(Debug)]
pub struct Alone {
    _held: Holding,
}

#[derive(Debug)]
#[expect(dead_code, reason = "what is held lives as long as it")]
enum Holding {
    File(fep_file::Held),
    Connection(PgConnection),
}

impl Alone {
    /// Takes the right for `program`. Other programs, and commands that do not ask for it (a backup, a first administrator),
    /// use the database as before.
    ///
    /// # Errors
    /// [`Error::Held`] or [`fep_file::FileError::Held`] when another process has it; options that cannot be, and a database
    /// that cannot be reached.
    pub async fn take(options: &Options, program: &str) -> Result<Alone, Error> {
        let address = Address::of(options)?;
        let held = match &address.file {
            Some(file) => {
                let mut path = file.as_os_str().to_owned();
                path.push(".lock");
                Holding::File(fep_file::hold(std::path::Path::new(&path), program)?)
            }
            None => Holding::Connection(connection(&address, program).await?),
        };
        Ok(Alone { _held: held })
    }
}

async fn connection(address: &Address, program: &str) -> Result<PgConnection, Error> {
    const DOING: &str = "looking whether another process works on it";
    let options = address.postgres()?.application_name(program);
    let mut connection = PgConnection::connect_with(&options).await.map_err(Error::sql(DOING))?;
    let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, hashtext($2))")
        .bind(LOCK_KIND)
        .bind(program)
        .fetch_one(&mut connection)
        .await
        .map_err(Error::sql(DOING))?;
    if taken {
        return Ok(connection);
    }
    let holder: Option<String> = sqlx::query_scalar(
        "SELECT application_name || ', server process ' || activity.pid || coalesce(', from ' || client_addr, '') \
         FROM pg_locks JOIN pg_stat_activity activity USING (pid) \
         WHERE locktype = 'advisory' AND classid::bigint = $1 AND granted AND objsubid = 2 \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1",
    )
    .bind(i64::from(LOCK_KIND))
    .fetch_optional(&mut connection)
    .await
    .map_err(Error::sql(DOING))?;
    // Its answer is what matters; a server that does not hear the good-bye ends the connection by itself.
    let _ = connection.close().await;
    Err(Error::Held {
        place: address.shown.clone(),
        holder: holder.unwrap_or_else(|| "another process".to_owned()),
    })
}
