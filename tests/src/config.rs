//! The settings file of a test node, built as text.

use std::collections::BTreeMap;
use std::path::Path;

/// Settings of a node, by table and key; values are TOML text.
#[derive(Clone, Debug, Default)]
pub struct Config {
    tables: BTreeMap<String, BTreeMap<String, String>>,
    environment: BTreeMap<String, String>,
    more: String,
}

impl Config {
    /// Nacos's defaults: only the addresses are the test's own.
    pub fn new() -> Self {
        Self::default().text("http", "bind", "127.0.0.1:0").text("http", "context-path", "/nacos").text(
            "node",
            "address",
            "127.0.0.1",
        )
    }

    /// Sets a key to TOML text.
    #[must_use]
    pub fn set(mut self, table: &str, key: &str, value: &str) -> Self {
        self.tables.entry(table.into()).or_default().insert(key.into(), value.into());
        self
    }

    /// Sets a key to a string (or a duration, which is written as one).
    #[must_use]
    pub fn text(self, table: &str, key: &str, value: &str) -> Self {
        self.set(table, key, &serde_json::Value::from(value).to_string())
    }

    /// A port instead of "any". Beside a port that the system chose, the one for gRPC may be taken, and while a node
    /// restarts somebody else may be given either.
    #[must_use]
    pub fn with_port(self, port: impl FnOnce() -> u16) -> Self {
        let any = "\"127.0.0.1:0\"";
        if self.tables.get("http").and_then(|http| http.get("bind")).is_none_or(|bind| bind != any) {
            return self;
        }
        self.text("http", "bind", &format!("127.0.0.1:{}", port()))
    }

    /// Adds TOML text after all tables, for arrays of tables such as `[[filter]]`.
    #[must_use]
    pub fn more(mut self, text: &str) -> Self {
        self.more.push_str(text);
        self
    }

    /// Sets a variable of the node's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// The node's environment; it logs warnings unless told otherwise.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([("MUSTER_LOG".to_owned(), "warn".to_owned())]);
        all.extend(self.environment.clone());
        all
    }

    /// The file, for a node that keeps its data in `data`. Compiled plugins are shared between the
    /// nodes of all tests in `cache`: compiling them anew for each would take most of the time.
    pub fn render(&self, data: &Path, cache: &Path) -> String {
        let mut all = self.clone().text("node", "data-dir", &data.to_string_lossy());
        if !all.tables.get("plugins").is_some_and(|table| table.contains_key("cache-dir")) {
            all = all.text("plugins", "cache-dir", &cache.to_string_lossy());
        }
        let mut file = String::new();
        for (table, keys) in &all.tables {
            file.push_str(&format!("[{table}]\n"));
            for (key, value) in keys {
                file.push_str(&format!("{key} = {value}\n"));
            }
            file.push('\n');
        }
        file.push_str(&self.more);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_as_tables() {
        let file =
            Config::new().set("naming", "param-check", "false").render(Path::new("/d"), Path::new("/c"));
        assert!(file.contains("[http]\nbind = \"127.0.0.1:0\"\n"), "{file}");
        assert!(file.contains("[naming]\nparam-check = false\n"), "{file}");
        assert!(file.contains("data-dir = \"/d\"\n"), "{file}");
    }

    #[test]
    fn any_port_becomes_one_that_stays() {
        let render = |config: Config| config.render(Path::new("/d"), Path::new("/c"));
        let any = Config::new().with_port(|| 12_345);
        assert!(render(any.clone()).contains("bind = \"127.0.0.1:12345\"\n"));
        assert!(render(any.with_port(|| 1)).contains("bind = \"127.0.0.1:12345\"\n"));
    }
}
