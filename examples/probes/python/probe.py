"""LINE-PYTHON: sends a line to the instance and expects another. ../README.md says what it has to answer."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.checker import Outcome, Verdict
from wit_world.imports import dial
from wit_world.imports.types import (
    Descriptor, Fault_BadSettings, Kind_Choice, Kind_Integer, Kind_Text, Problem, Setting,
)

# Bytes of the answer that are looked at.
MAX_ANSWER = 200

OUTCOMES = {"failed": Outcome.FAILED, "failed-now": Outcome.FAILED_NOW, "warning": Outcome.WARNING}


class About(exports.About):
    def describe(self):
        return Descriptor("LINE-PYTHON", "0.1.0", "sends a line and expects another", [
            Setting("send", Kind_Text(), False, "PING", "line to send; empty: send nothing"),
            Setting("expect", Kind_Text(), False, "+PONG", "how the answer has to begin"),
            Setting("mismatch", Kind_Choice(list(OUTCOMES)), False, "failed", "what another answer means"),
            Setting("connect-timeout", Kind_Integer((1, 60_000)), False, None,
                    "ms; left out: the time of the check"),
        ])

    def validate(self, settings):
        told = dict(settings)
        problems = [
            Problem(key, "must be one line of printable ASCII")
            for key in ("send", "expect")
            if not all(" " <= letter <= "~" for letter in told.get(key, ""))
        ]
        if told.get("expect") == "":
            problems.append(Problem("expect", "must not be empty"))
        return problems


class Checker(exports.Checker):
    def check(self, target, settings):
        told = dict(settings)
        otherwise = OUTCOMES.get(told.get("mismatch", ""))
        if otherwise is None:
            raise bad_setting("mismatch", "is not a word that is known here")
        answer = ask(told.get("send", ""), connect_timeout(told))
        if isinstance(answer, Verdict):
            return answer
        if answer.startswith(told.get("expect", "")):
            return Verdict(Outcome.PASSED, "", "", [("answer", answer)])
        return Verdict(otherwise, "line.mismatch", f'answered "{answer}"', [])


def bad_setting(key, message):
    """What is raised is the error of the WIT's result; any other exception would be a trap."""
    return Err(Fault_BadSettings(Problem(key, message)))


def connect_timeout(told):
    if "connect-timeout" not in told:
        return None
    try:
        return int(told["connect-timeout"])
    except ValueError:
        raise bad_setting("connect-timeout", "must be a number") from None


def ask(line, timeout):
    """The first line of the answer, or the verdict that the lack of one is."""
    try:
        connection = dial.connect(timeout)
    except Err as error:
        return not_connected(error.value)
    answer = b""
    # leaving the block closes the connection: the host reuses an instance only when none was kept
    with connection:
        try:
            if line:
                connection.write(f"{line}\r\n".encode())
            while len(answer) < MAX_ANSWER and b"\n" not in answer:
                part = connection.read(MAX_ANSWER - len(answer))
                if not part:
                    break
                answer += part
        except Err as error:
            return broken(error.value)
    if not answer:
        return Verdict(Outcome.FAILED, "line.silent", "closed without an answer", [])
    return first_line(answer)


def not_connected(error):
    match error:
        case dial.DialError_Refused():
            return Verdict(Outcome.FAILED_NOW, "line.refused", "connection refused", [])
        case dial.DialError_TimedOut():
            return Verdict(Outcome.FAILED, "line.timed-out", "no connection in time", [])
        case dial.DialError_Denied():
            return Verdict(Outcome.INCONCLUSIVE, "line.denied", "not allowed to connect", [])
        case _:
            return Verdict(Outcome.FAILED, "line.unreachable", "no connection", [])


def broken(error):
    if isinstance(error, dial.DialError_Denied):
        return Verdict(Outcome.INCONCLUSIVE, "line.denied", "not allowed to go on", [])
    return Verdict(Outcome.FAILED, "line.broken", "the connection broke", [])


def first_line(data):
    """Up to the end of the line; what is not printable ASCII becomes `?`."""
    line = data.split(b"\n", 1)[0].removesuffix(b"\r")
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E else "?" for byte in line)
