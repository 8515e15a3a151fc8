//! Everything that knows wasmtime: loading, granting, calling and limiting plugins.
