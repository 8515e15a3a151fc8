//! Durable, replicated rows: openraft over redb.
