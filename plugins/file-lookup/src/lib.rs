//! `file`: the members are in a file of the node's configuration folder, Nacos's `cluster.conf`.

use muster_sdk::member_lookup::*;
use muster_sdk::nacos;

/// Reads the file again and again; a change counts at the next look.
pub struct File;

impl MemberLookup for File {
    fn describe() -> Descriptor {
        Descriptor::new(
            "file",
            env!("CARGO_PKG_VERSION"),
            "members from a file in Nacos's cluster.conf format",
        )
        .setting(
            Setting::text("file", "name of the file; another than the default must be granted too")
                .default("cluster.conf"),
        )
        .setting(
            Setting::integer("interval", 1_000, 3_600_000, "milliseconds between two looks at the file")
                .default("1000"),
        )
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let empty = settings.get("file").is_some_and(|name| name.trim().is_empty());
        empty.then(|| Problem::new("file", "must name a file")).into_iter().collect()
    }

    fn find(
        _: &ThisNode,
        settings: &Settings,
        cookie: Option<&[u8]>,
        sources: &impl Sources,
    ) -> Result<Answer, Fault> {
        let name = settings.get("file").unwrap_or("cluster.conf");
        let next = settings.millis("interval")?.unwrap_or(Duration::from_secs(1));
        let content = sources.read(name).map_err(|error| unreadable(name, error))?;
        if cookie == Some(content.stamp.as_bytes()) {
            return Ok(Answer::same(next));
        }
        let text = String::from_utf8_lossy(&content.bytes);
        let members = nacos::members(&text).map_err(|bad| Fault::internal(format!("{name}: {bad}")))?;
        if members.is_empty() && cookie.is_some() {
            // An editor may have emptied it a moment ago. Nacos ignores such a list too
            // (`ServerMemberManager.memberChange`).
            log::warn("the member file names nobody; the last list stays");
            return Ok(Answer::same(next));
        }
        Ok(Answer::members(members, content.stamp, next))
    }
}

fn unreadable(name: &str, error: FileError) -> Fault {
    let reason = match error {
        FileError::Missing => "there is no such file",
        FileError::Denied => "the node does not grant it",
        FileError::TooLarge => "larger than 1 MiB",
        FileError::Unreadable => "cannot be read",
    };
    Fault::internal(format!("{name}: {reason}"))
}

muster_sdk::export_member_lookup!(File);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::FakeSources;

    fn find(cookie: Option<&str>, sources: &FakeSources) -> Result<Answer, Fault> {
        let node = ThisNode { address: "10.0.0.1".to_owned(), port: 8848, standalone: false };
        let settings = Settings::with_defaults(&File::describe(), &[]);
        File::find(&node, &settings, cookie.map(str::as_bytes), sources)
    }

    fn conf(text: &str, stamp: &str) -> FakeSources {
        FakeSources::new().file("cluster.conf", text, stamp)
    }

    #[test]
    fn n304_n305_the_file_is_the_list_and_a_missing_port_is_left_to_the_node() {
        let answer = find(None, &conf("# members\n10.0.0.1\n10.0.0.2:8850, c.example\n", "s1")).unwrap();
        let members = vec![
            Member::new("10.0.0.1", None),
            Member::new("10.0.0.2", Some(8850)),
            Member::new("c.example", None),
        ];
        assert_eq!(answer, Answer::members(members, "s1", Duration::from_secs(1)));
    }

    #[test]
    fn n306_an_edit_is_seen_at_the_next_look_and_nothing_before() {
        assert_eq!(find(Some("s1"), &conf("10.0.0.1", "s1")), Ok(Answer::Unchanged(1000)));
        let edited = find(Some("s1"), &conf("10.0.0.1\n10.0.0.3", "s2")).unwrap();
        assert!(matches!(edited, Answer::Changed(m) if m.members.len() == 2 && m.cookie == b"s2"));
    }

    #[test]
    fn what_cannot_be_read_is_a_fault_so_the_last_list_stays() {
        let gone = find(Some("s1"), &FakeSources::new()).unwrap_err();
        assert_eq!(gone, Fault::Internal("cluster.conf: there is no such file".to_owned()));
        let denied = FakeSources::new().broken_file("cluster.conf", FileError::Denied);
        assert!(matches!(find(None, &denied), Err(Fault::Internal(text)) if text.contains("grant")));
        let half = find(Some("s1"), &conf("10.0.0.1\n10.0.0.2:88x", "s2")).unwrap_err();
        assert!(matches!(half, Fault::Internal(text) if text.contains("line 2")));
    }

    #[test]
    fn an_emptied_file_keeps_the_last_list_but_may_be_the_first() {
        assert_eq!(find(Some("s1"), &conf("\n# nothing\n", "s2")), Ok(Answer::Unchanged(1000)));
        assert!(matches!(find(None, &conf("", "s2")), Ok(Answer::Changed(m)) if m.members.is_empty()));
    }
}
