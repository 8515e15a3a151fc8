use super::file::ListFile;
use super::*;
use crate::naming::PublishedService;
use muster_core::naming::ServiceSnapshot;
use std::io::Write as _;

fn service(name: &str, revision: u64, ports: &[u16]) -> Arc<PublishedService> {
    kind(name, revision, ports, true)
}

fn kind(name: &str, revision: u64, ports: &[u16], ephemeral: bool) -> Arc<PublishedService> {
    let instances = ports.iter().map(|port| Arc::new(Instance::new("10.0.0.5", *port))).collect();
    let key = ServiceKey::new("", "", name);
    Arc::new(PublishedService::new(Arc::new(ServiceSnapshot {
        key,
        ephemeral,
        revision,
        metadata: None,
        instances,
    })))
}

fn read(path: &Path) -> Vec<(String, Vec<u16>)> {
    let read = file::read(path).unwrap().unwrap();
    assert_eq!(read.damaged, 0);
    sorted(read.lists)
}

fn sorted(lists: Vec<(ServiceKey, Vec<Instance>)>) -> Vec<(String, Vec<u16>)> {
    let ports = |instances: Vec<Instance>| instances.iter().map(|i| i.port).collect();
    let mut lists: Vec<_> =
        lists.into_iter().map(|(key, instances)| (key.name().to_owned(), ports(instances))).collect();
    lists.sort();
    lists
}

fn owned(name: &str, ports: &[u16]) -> (String, Vec<u16>) {
    (name.to_owned(), ports.to_vec())
}

#[test]
fn the_newest_list_of_each_service_is_read_and_empty_and_persistent_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists");
    let mut file = ListFile::new(path.clone());
    file.write(&[service("a", 1, &[80]), service("b", 2, &[]), kind("c", 3, &[1], false)]).unwrap();
    assert_eq!(read(&path), [owned("a", &[80])]);
    let (first, size) = (service("a", 4, &[80, 81]), || std::fs::metadata(&path).unwrap().len());
    file.write(&[first.clone(), service("b", 5, &[82])]).unwrap();
    assert_eq!(read(&path), [owned("a", &[80, 81]), owned("b", &[82])]);
    let before = size();
    file.write(&[first.clone(), service("b", 5, &[82])]).unwrap();
    assert_eq!(size(), before, "what is there already is not written again");
    file.write(&[first]).unwrap();
    assert_eq!(read(&path), [owned("a", &[80, 81])]);
    // another run makes it anew
    ListFile::new(path.clone()).write(&[service("a", 1, &[90])]).unwrap();
    assert_eq!(read(&path), [owned("a", &[90])]);
}

#[test]
fn a_list_reads_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists");
    let metadata = std::collections::BTreeMap::from([("zone".to_owned(), "a\nb".to_owned())]);
    let instance = Instance {
        cluster: "C".into(),
        weight: 2.5,
        healthy: false,
        enabled: false,
        metadata: Arc::new(metadata),
        id: Some("x".into()),
        ..Instance::new("::1", 0)
    };
    let snapshot = ServiceSnapshot {
        key: ServiceKey::new("n", "g", "s"),
        ephemeral: true,
        revision: 1,
        metadata: None,
        instances: vec![Arc::new(instance.clone())],
    };
    ListFile::new(path.clone()).write(&[Arc::new(PublishedService::new(Arc::new(snapshot)))]).unwrap();
    let read = file::read(&path).unwrap().unwrap();
    assert_eq!(read.lists, [(ServiceKey::new("n", "g", "s"), vec![instance])]);
}

#[test]
fn a_file_that_is_mostly_outdated_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists");
    let mut file = ListFile::new(path.clone());
    let ports: Vec<u16> = (0..2_000).collect();
    let mut largest = 0;
    for revision in 1..30 {
        file.write(&[service("a", revision, &ports), service("b", 1, &[1])]).unwrap();
        largest = largest.max(std::fs::metadata(&path).unwrap().len());
    }
    let one = std::fs::metadata(&path).unwrap().len();
    assert!(largest < 3 << 20, "{largest}, at the end {one}");
    assert_eq!(read(&path), [owned("a", &ports), owned("b", &[1])]);
}

#[test]
fn a_line_that_was_cut_off_costs_that_list_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists");
    ListFile::new(path.clone()).write(&[service("a", 1, &[80])]).unwrap();
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    file.write_all(br#"{"service":{"namespace":"public","group":"DEFAULT_GROUP","name":"b"},"inst"#).unwrap();
    let read = file::read(&path).unwrap().unwrap();
    assert_eq!((read.lists.len(), read.damaged), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_read_or_is_too_old_is_as_if_it_were_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists");
    let now = Clock::system().now();
    assert!(load(path.clone(), now).await.is_empty());
    for junk in [&b""[..], b"\0\0\0\0", b"{}\n{}\n", &[0xff; 5_000]] {
        std::fs::write(&path, junk).unwrap();
        assert!(file::read(&path).is_err());
        assert!(load(path.clone(), now).await.is_empty());
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(load(path.clone(), now).await.is_empty());
    std::fs::remove_dir(&path).unwrap();
    let mut file = ListFile::new(path.clone());
    file.write(&[service("a", 1, &[80])]).unwrap();
    assert_eq!(sorted(load(path.clone(), now).await), [owned("a", &[80])]);
    assert!(load(path.clone(), now + OLDEST + Millis::from_secs(60)).await.is_empty());
    // a node that runs without any change is not old
    file.sign(now + OLDEST).unwrap();
    assert_eq!(load(path, now + OLDEST + Millis::from_secs(60)).await.len(), 1);
}

#[tokio::test]
async fn the_end_writes_what_was_published_just_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists");
    let published = Arc::new(Published::default());
    let tasks = Tasks::new();
    start(&tasks, path.clone(), published.clone(), Clock::system());
    published.publish(service("a", 1, &[80]).snapshot.clone());
    tasks.drain(Instant::now() + Duration::from_secs(20)).await.unwrap();
    assert_eq!(read(&path), [owned("a", &[80])]);
}
