//! `muster raft recover`.

use super::super::{Failure, exit, print_line};
use super::Place;
use muster_raft::offline::{self, Recovered};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Recover {
    #[command(flatten)]
    place: Place,
    /// Do it. Without this it is only told what would be done
    #[arg(long)]
    yes: bool,
}

const WARNING: &str = "\
This makes the node the only member of a new Raft group, with the data that it has. Do it only when a majority of the
members is gone for ever, and on one node only: the one whose last log entry is of the highest term, and of several the
one with the highest entry (compare with `muster raft doctor`).

  lost     writes that the others had acknowledged and this node had not received
  kept     writes that this node had received, also those that nobody acknowledged
  after    start this node; start every other one with an empty data directory, so that it is let in and gets everything.
           A former member that comes back with its old data is a stranger, and is not let in

A copy of the file is made beside it first. To go on, say the same again with --yes.";

pub(super) fn run(recover: &Recover) -> Result<u8, Failure> {
    let held = recover.place.hold()?;
    if !recover.yes {
        return Err(Failure::new(exit::USAGE, format!("nothing was done\n\n{WARNING}")));
    }
    let done = offline::recover(&held.file).map_err(|error| Failure::new(exit::FAILED, error))?;
    print_line(&as_text(&done));
    Ok(exit::OK)
}

fn as_text(done: &Recovered) -> String {
    let Recovered { backup, node, members, group, last, unconfirmed } = done;
    let others: Vec<String> = members
        .iter()
        .filter(|member| member.id != *node)
        .map(|member| format!("{} ({})", member.address, member.id))
        .collect();
    let kept = match unconfirmed {
        0 => String::new(),
        some => format!(
            "\n{some} of them were not known to be acknowledged; they are in force from now on, as nobody is left who \
             could tell"
        ),
    };
    format!(
        "node {node} is the only member of the new group {group}\nit has all log entries up to {last}{kept}\nno longer \
         members: {}\nas it was before: {}\nNow start this node, and every other one with an empty data directory.",
        others.join(", "),
        backup.display()
    )
}
