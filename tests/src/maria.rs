//! MariaDB servers.
