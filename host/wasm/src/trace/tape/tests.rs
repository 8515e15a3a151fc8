use super::super::words::Never;
use super::*;

type Number = Result<u32, Never>;

fn recorded() -> Vec<Step> {
    let tape = Tape::record([], 7);
    for number in 0..3_u32 {
        let Turn::Live(pending) = tape.turn::<Number>("host.remaining-ms", |_| json!({"n": number})).unwrap()
        else {
            panic!("the host answers while it is recorded");
        };
        tape.done(&pending, &Number::Ok(number * 10), Duration::from_micros(5));
    }
    tape.finish(true).0
}

fn ask(tape: &Tape, call: &'static str, number: u32) -> Result<u32, String> {
    match tape.turn::<Number>(call, |_| json!({"n": number})) {
        Ok(Turn::Played(Ok(number))) => Ok(number),
        Ok(_) => Err("live".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_replay_gets_the_recorded_answers_in_order() {
    let tape = Tape::replay(recorded(), false, 7);
    assert_eq!((0..3).map(|n| ask(&tape, "host.remaining-ms", n).unwrap()).collect::<Vec<_>>(), [0, 10, 20]);
    assert_eq!(tape.finish(true).1, None);
}

#[test]
fn a_replay_that_asks_otherwise_names_the_step() {
    let tape = Tape::replay(recorded(), false, 7);
    ask(&tape, "host.remaining-ms", 0).unwrap();
    assert!(ask(&tape, "dial.connect", 1).is_err());
    assert!(ask(&tape, "host.remaining-ms", 1).is_err(), "once off the script, always off");
    let diverged = tape.finish(true).1.unwrap();
    assert_eq!((diverged.step, diverged.found.as_str()), (2, "dial.connect {\"n\":1}"));
    assert_eq!(diverged.expected, "host.remaining-ms {\"n\":1}");
}

#[test]
fn a_replay_that_asks_less_or_more_names_the_step() {
    let tape = Tape::replay(recorded(), false, 7);
    ask(&tape, "host.remaining-ms", 0).unwrap();
    let diverged = tape.finish(true).1.unwrap();
    assert_eq!((diverged.step, diverged.found.as_str()), (2, "end"));
    let tape = Tape::replay(recorded(), false, 7);
    (0..3).for_each(|n| assert!(ask(&tape, "host.remaining-ms", n).is_ok()));
    assert!(ask(&tape, "host.remaining-ms", 3).is_err());
    assert_eq!(tape.finish(true).1.unwrap().expected, "the end");
}

#[test]
fn a_call_that_never_returned_does_not_return_again() {
    let mut steps = recorded();
    steps[1].output = None;
    let tape = Tape::replay(steps, false, 7);
    ask(&tape, "host.remaining-ms", 0).unwrap();
    let held = tape.turn::<Number>("host.remaining-ms", |_| json!({"n": 1}));
    assert!(held.is_err_and(|error| error.is::<HeldUp>()));
}

#[test]
fn a_script_leaves_out_clocks_and_random_bytes_and_nothing_else() {
    let tape = Tape::script(recorded(), false, 7);
    ask(&tape, "host.remaining-ms", 0).unwrap();
    assert!(ask(&tape, "wasi.random", 8).is_err(), "who asks has zeros ready");
    assert_eq!(ask(&tape, "wasi.monotonic-clock", 0), Ok(1_000_000_000));
    assert_eq!(ask(&tape, "host.remaining-ms", 1), Ok(10));
    assert_eq!(tape.finish(false).1, None);
    assert_eq!(tape.finish(true).1.unwrap().expected, "host.remaining-ms {\"n\":2}");
    assert!(ask(&tape, "dial.connect", 2).is_err());
}

#[test]
fn improvising_answers_whatever_is_asked() {
    let tape = Tape::improvise(recorded(), false, 7);
    assert_eq!(ask(&tape, "host.remaining-ms", 99), Ok(0));
    assert!(
        tape.turn::<Result<u32, crate::bindings::since_v0_1_1::dial::DialError>>("dial.connect", |_| {
            Value::Null
        })
        .is_ok()
    );
    assert_eq!((0..3).map(|n| ask(&tape, "host.remaining-ms", n).unwrap()).collect::<Vec<_>>(), [10, 20, 1]);
    assert_eq!(tape.finish(true).1, None);
}

#[test]
fn nothing_of_a_secret_gets_onto_the_tape() {
    let tape = Tape::record(["hunter2".to_owned()], 7);
    let sent = |sent: &Sent<'_>| json!({"bytes": sent.bytes(b"PASS hunter2")});
    let Turn::Live(pending) = tape.turn::<Result<Bytes, Never>>("dial.write", sent).unwrap() else {
        panic!()
    };
    tape.done(&pending, &Ok::<_, Never>(Bytes(b"\0you said hunter2".to_vec())), Duration::ZERO);
    let text = serde_json::to_string(&tape.finish(true).0).unwrap();
    let bytes = Bytes::read(&tape.finish(true).0[0].output.clone().unwrap()["ok"]).unwrap();
    assert_eq!(bytes.0, b"\0you said *******");
    assert!(text.contains("withheld") && !text.contains("hunter2"), "{text}");
}
