// LINE-JAVASCRIPT: sends a line to the instance and expects another. ../README.md says what it has to answer.

import dial from "muster:plugin/dial@0.1.0";

// Bytes of the answer that are looked at.
const MAX_ANSWER = 200;
const OUTCOMES = ["failed", "failed-now", "warning"];
const NEWLINE = 10;
const RETURN = 13;

const setting = (key, kind, byDefault, summary) => ({ key, kind, required: false, default: byDefault, summary });
const verdict = (outcome, code, message, facts = []) => ({ outcome, code, message, facts });

export const about = {
  describe() {
    return {
      name: "LINE-JAVASCRIPT",
      version: "0.1.0",
      summary: "sends a line and expects another",
      settings: [
        setting("send", { tag: "text" }, "PING", "line to send; empty: send nothing"),
        setting("expect", { tag: "text" }, "+PONG", "how the answer has to begin"),
        setting("mismatch", { tag: "choice", val: OUTCOMES }, "failed", "what another answer means"),
        setting("connect-timeout", { tag: "integer", val: [1, 60000] }, null, "ms; left out: the time of the check"),
      ],
    };
  },

  validate(settings) {
    const told = new Map(settings);
    const problems = ["send", "expect"]
      .filter((key) => !/^[ -~]*$/.test(told.get(key) ?? ""))
      .map((key) => ({ key, message: "must be one line of printable ASCII" }));
    if (told.get("expect") === "") problems.push({ key: "expect", message: "must not be empty" });
    return problems;
  },
};

export const checker = {
  check(_target, settings) {
    const told = new Map(settings);
    const otherwise = told.get("mismatch");
    if (!OUTCOMES.includes(otherwise)) throw badSetting("mismatch", "is not a word that is known here");
    const { answer, without } = ask(told.get("send") ?? "", connectTimeout(told));
    if (without) return without;
    if (answer.startsWith(told.get("expect") ?? "")) return verdict("passed", "", "", [["answer", answer]]);
    return verdict(otherwise, "line.mismatch", `answered "${answer}"`);
  },
};

// What is thrown is the error of the WIT's result.
function badSetting(key, message) {
  return { tag: "bad-settings", val: { key, message } };
}

function connectTimeout(told) {
  if (!told.has("connect-timeout")) return null;
  const time = Number(told.get("connect-timeout"));
  if (!Number.isInteger(time)) throw badSetting("connect-timeout", "must be a number");
  return time;
}

// The first line of the answer, or the verdict on the lack of one.
function ask(line, timeout) {
  let connection;
  try {
    connection = dial.connect(timeout);
  } catch (error) {
    return { without: notConnected(saidByHost(error)) };
  }
  const answer = [];
  try {
    if (line !== "") connection.write(bytes(`${line}\r\n`));
    while (answer.length < MAX_ANSWER && !answer.includes(NEWLINE)) {
      const part = connection.read(MAX_ANSWER - answer.length);
      if (part.length === 0) break;
      answer.push(...part);
    }
  } catch (error) {
    return { without: broken(saidByHost(error)) };
  } finally {
    // at once and not at the next collection: the host reuses an instance only when no connection was kept
    connection[Symbol.dispose]();
  }
  if (answer.length === 0) return { without: verdict("failed", "line.silent", "closed without an answer") };
  return { answer: firstLine(answer) };
}

// The error of an import's result, which comes wrapped; anything else that was thrown is a mistake in this file.
function saidByHost(thrown) {
  if (thrown?.payload?.tag === undefined) throw thrown;
  return thrown.payload;
}

function notConnected(error) {
  switch (error.tag) {
    case "refused":
      return verdict("failed-now", "line.refused", "connection refused");
    case "timed-out":
      return verdict("failed", "line.timed-out", "no connection in time");
    case "denied":
      return verdict("inconclusive", "line.denied", "not allowed to connect");
    default:
      return verdict("failed", "line.unreachable", "no connection");
  }
}

function broken(error) {
  if (error.tag === "denied") return verdict("inconclusive", "line.denied", "not allowed to go on");
  return verdict("failed", "line.broken", "the connection broke");
}

function bytes(text) {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

// Up to the end of the line; what is not printable ASCII becomes `?`.
function firstLine(answer) {
  const end = answer.indexOf(NEWLINE);
  let line = end < 0 ? answer : answer.slice(0, end);
  if (line.at(-1) === RETURN) line = line.slice(0, -1);
  return line.map((byte) => (byte >= 0x20 && byte <= 0x7e ? String.fromCharCode(byte) : "?")).join("");
}
