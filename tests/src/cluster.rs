//! Several nodes of one cluster on loopback, joined by connections that a test can cut.

use crate::config::Config;
use crate::node::Node;
use crate::ports::free_port;
use crate::proxy::Proxy;
use std::path::PathBuf;
use tempfile::TempDir;

const SECRET: &str = "the members of this test";

/// A cluster. Node `i` reaches node `j` through a proxy of its own.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Option<Node>>,
    ports: Vec<u16>,
    killed: Vec<bool>,
    configs: Vec<Config>,
    /// of all nodes, as each one reaches them
    addresses: Vec<Vec<String>>,
    proxies: Vec<(usize, usize, Proxy)>,
    lists: TempDir,
}

impl Cluster {
    /// Starts `count` nodes, one after the other.
    ///
    /// # Panics
    /// When one does not start.
    #[track_caller]
    pub fn start(count: usize) -> Self {
        Self::prepare(count, true).started(count)
    }

    /// Starts the first `count` of `most` nodes, one after the other.
    ///
    /// # Panics
    /// When one does not start.
    #[track_caller]
    pub fn start_of(count: usize, most: usize) -> Self {
        Self::prepare(most, true).started(count)
    }

    /// The same with more settings, for every node.
    ///
    /// # Panics
    /// When one does not start.
    #[track_caller]
    pub fn start_with(count: usize, more: impl Fn(Config) -> Config) -> Self {
        let mut cluster = Self::prepare(count, true);
        cluster.configs = cluster.configs.into_iter().map(more).collect();
        cluster.started(count)
    }

    /// The same without the proxies: nothing can be cut, and nothing is between the nodes.
    ///
    /// # Panics
    /// When one does not start.
    #[track_caller]
    pub fn direct(count: usize) -> Self {
        Self::prepare(count, false).started(count)
    }

    /// Starts the first of `count` nodes, whose list has only itself. The others come by [`Cluster::grow`].
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn first_of(count: usize) -> Self {
        let mut cluster = Self::prepare(count, true);
        cluster.configs[0] = cluster.configs[0].clone().set("cluster", "expect", "1");
        cluster.started(1)
    }

    #[track_caller]
    fn started(mut self, count: usize) -> Self {
        self.grow(count);
        self
    }

    /// Puts the first `count` nodes into every list, and starts those that do not run.
    ///
    /// # Panics
    /// When one does not start.
    #[track_caller]
    pub fn grow(&mut self, count: usize) {
        self.put_lists(&(0..count).collect::<Vec<_>>());
        self.start_first(count);
    }

    /// Starts `fresh` and puts it into every list in the place of `gone`, which does not run any more.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn replace(&mut self, gone: usize, fresh: usize) {
        let all: Vec<usize> = self.running().filter(|node| *node != gone).chain([fresh]).collect();
        self.put_lists(&all);
        self.nodes[fresh] = Some(Node::with(self.configs[fresh].clone()));
    }

    /// The main ports of all nodes, also of those that do not run.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    #[track_caller]
    fn start_first(&mut self, count: usize) {
        for node in 0..count {
            if self.nodes[node].is_none() {
                self.nodes[node] = Some(Node::with(self.configs[node].clone()));
            }
        }
    }

    /// Writes the lists of these nodes, as wholes: each has all of them.
    fn put_lists(&self, all: &[usize]) {
        for &node in all {
            let new = self.lists.path().join("new");
            let list: Vec<&str> = all.iter().map(|other| self.addresses[node][*other].as_str()).collect();
            std::fs::write(&new, list.join("\n")).expect("the list is written");
            std::fs::rename(new, self.list(node)).expect("the list is put in place");
        }
    }

    fn list(&self, node: usize) -> PathBuf {
        self.lists.path().join(format!("{node}.conf"))
    }

    fn prepare(count: usize, cuttable: bool) -> Self {
        let lists = TempDir::with_prefix("muster-members-").expect("a temporary folder");
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let mut cluster = Self {
            nodes: (0..count).map(|_| None).collect(),
            ports: ports.clone(),
            killed: vec![false; count],
            configs: Vec::new(),
            addresses: Vec::new(),
            proxies: Vec::new(),
            lists,
        };
        for from in 0..count {
            let mut addresses = Vec::new();
            for (to, port) in ports.iter().enumerate() {
                if to == from || !cuttable {
                    addresses.push(format!("127.0.0.1:{port}"));
                    continue;
                }
                let proxy = Proxy::before_member(*port);
                addresses.push(format!("127.0.0.1:{}", proxy.port()));
                cluster.proxies.push((from, to, proxy));
            }
            let config = Config::new()
                .text("http", "bind", &format!("127.0.0.1:{}", ports[from]))
                .text("lookup", "type", "file")
                .text("lookup.settings", "file", &cluster.list(from).to_string_lossy())
                .text("cluster", "secret", SECRET);
            cluster.configs.push(config);
            cluster.addresses.push(addresses);
        }
        cluster
    }

    /// A running node.
    ///
    /// # Panics
    /// When it was killed.
    pub fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().expect("it runs")
    }

    /// All running nodes.
    pub fn all(&self) -> impl Iterator<Item = &Node> {
        self.running().map(|index| self.node(index))
    }

    /// Which nodes run.
    pub fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].is_some() && !self.killed[*index])
    }

    /// `SIGKILL`. Its data are kept for [`Cluster::revive`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].as_mut().expect("it runs").kill();
        self.killed[index] = true;
    }

    /// Stops a node in order. Its data are kept for [`Cluster::revive`].
    ///
    /// # Panics
    /// When it does not run, or does not leave with 0.
    #[track_caller]
    pub fn stop(&mut self, index: usize) {
        self.nodes[index].as_mut().expect("it runs").stop();
        self.killed[index] = true;
    }

    /// Starts a killed node again, over its data.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn revive(&mut self, index: usize) {
        self.nodes[index].as_mut().expect("it was started").start_again();
        self.killed[index] = false;
    }

    /// Starts all killed nodes again, one after the other.
    ///
    /// # Panics
    /// When one does not start.
    #[track_caller]
    pub fn revive_all(&mut self) {
        for index in 0..self.nodes.len() {
            if self.killed[index] {
                self.revive(index);
            }
        }
    }

    /// Cuts all connections between `index` and the others.
    pub fn isolate(&self, index: usize) {
        self.of(index).for_each(|proxy| {
            proxy.cut();
        });
    }

    /// Lets them connect again.
    pub fn heal(&self, index: usize) {
        self.of(index).for_each(Proxy::mend);
    }

    fn of(&self, index: usize) -> impl Iterator<Item = &Proxy> {
        let touches = move |(from, to, _): &&(usize, usize, Proxy)| *from == index || *to == index;
        self.proxies.iter().filter(touches).map(|(_, _, proxy)| proxy)
    }
}
