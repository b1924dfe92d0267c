//! Numbered migrations, forward only.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;
use crate::error::open_error;

/// The schema version that this release writes.
pub const SCHEMA_VERSION: u32 = 12;

/// Checks that the database is ours and not newer than we are.
pub(crate) fn check(connection: &Connection, file: &Path) -> Result<(), OpenError> {
    let failed = |error| open_error(file.to_owned(), error);
    let program: u32 = number(connection, "application_id").map_err(failed)?;
    let found: u32 = number(connection, "user_version").map_err(failed)?;
    if program != APPLICATION_ID {
        return Err(OpenError::Foreign { file: file.to_owned() });
    }
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { file: file.to_owned(), found, known: SCHEMA_VERSION });
    }
    Ok(())
}

/// Marks an empty database as ours.
pub(crate) fn mark(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)
}

/// Brings the schema up to date, each step in a transaction of its own.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let found: u32 = number(connection, "user_version")?;
    for (version, sql) in MIGRATIONS.iter().filter(|(version, _)| *version > found) {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", version)?;
        step.commit()?;
        if found > 0 {
            tracing::info!(event = "migrated", version, "schema migrated");
        }
    }
    Ok(())
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// "Sten", so that `file` and SQLite itself can tell whose database it is.
const APPLICATION_ID: u32 = 0x5374_656E;

const MIGRATIONS: [(u32, &str); SCHEMA_VERSION as usize] = [
    (1, include_str!("migrations/0001_accounts.sql")),
    (2, include_str!("migrations/0002_rosters.sql")),
    (3, include_str!("migrations/0003_offline.sql")),
    (4, include_str!("migrations/0004_documents.sql")),
    (5, include_str!("migrations/0005_data.sql")),
    (6, include_str!("migrations/0006_sessions.sql")),
    (7, include_str!("migrations/0007_archive.sql")),
    (8, include_str!("migrations/0008_pubsub.sql")),
    (9, include_str!("migrations/0009_session_clients.sql")),
    (10, include_str!("migrations/0010_session_copies.sql")),
    (11, include_str!("migrations/0011_given.sql")),
    (12, include_str!("migrations/0012_underway.sql")),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(connection: &Connection) -> Vec<String> {
        let mut query =
            connection.prepare("SELECT sql FROM sqlite_schema WHERE sql > '' ORDER BY 1").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn at_version(last: u32) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        mark(&connection).unwrap();
        for (version, sql) in MIGRATIONS.iter().take(last as usize) {
            connection.execute_batch(sql).unwrap();
            connection.pragma_update(None, "user_version", version).unwrap();
        }
        connection
    }

    #[test]
    fn every_version_leads_to_the_same_schema() {
        let mut new = Connection::open_in_memory().unwrap();
        migrate(&mut new).unwrap();
        for version in 1..=SCHEMA_VERSION {
            let mut old = at_version(version);
            migrate(&mut old).unwrap();
            assert_eq!(schema(&old), schema(&new), "from version {version}");
            check(&old, Path::new("stentor.db")).unwrap();
        }
    }

    #[test]
    fn a_failing_step_leaves_the_version_before_it() {
        let mut connection = at_version(2);
        connection.execute_batch("CREATE TABLE offline_damaged (id INTEGER)").unwrap();
        migrate(&mut connection).unwrap_err();
        assert_eq!(number(&connection, "user_version").unwrap(), 2);
        assert!(!schema(&connection).iter().any(|sql| sql.contains("received_ms")));
    }

    #[test]
    fn refuses_a_newer_schema_and_a_foreign_file() {
        let newer = at_version(SCHEMA_VERSION);
        newer.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        let refused = check(&newer, Path::new("stentor.db")).unwrap_err();
        assert!(matches!(refused, OpenError::Newer { found: 13, known: 12, .. }), "{refused}");
        let foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
        let refused = check(&foreign, Path::new("stentor.db")).unwrap_err();
        assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
    }
}
