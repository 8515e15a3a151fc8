// Package export_muster_plugin_checker is LINE-GO: it sends a line to the instance and expects another.
// ../../README.md says what it has to answer. The generated code looks for the package under this name.
package export_muster_plugin_checker

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	. "wit_component/muster_plugin_checker"
	"wit_component/muster_plugin_dial"
	"wit_component/muster_plugin_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// maxAnswer is how many bytes of the answer are looked at.
const maxAnswer = 200

var outcomes = map[string]Outcome{
	"failed":     Outcome_Failed,
	"failed-now": Outcome_FailedNow,
	"warning":    Outcome_Warning,
}

type fault = muster_plugin_types.Fault
type result = wit.Result[Verdict, fault]

// Check looks at the target once.
func Check(_ Target, settings []wit.Tuple2[string, string]) result {
	told := make(map[string]string, len(settings))
	for _, setting := range settings {
		told[setting.F0] = setting.F1
	}
	otherwise, known := outcomes[told["mismatch"]]
	if !known {
		return badSetting("mismatch", "is not a word that is known here")
	}
	timeout := wit.None[uint32]()
	if text, given := told["connect-timeout"]; given {
		ms, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return badSetting("connect-timeout", "must be a number")
		}
		timeout = wit.Some(uint32(ms))
	}
	answer, without := ask(told["send"], timeout)
	switch {
	case without != nil:
		return wit.Ok[Verdict, fault](*without)
	case strings.HasPrefix(answer, told["expect"]):
		facts := []wit.Tuple2[string, string]{{F0: "answer", F1: answer}}
		return wit.Ok[Verdict, fault](Verdict{Outcome: Outcome_Passed, Facts: facts})
	default:
		return wit.Ok[Verdict, fault](*verdict(otherwise, "line.mismatch", fmt.Sprintf("answered \"%s\"", answer)))
	}
}

func badSetting(key, message string) result {
	problem := muster_plugin_types.Problem{Key: key, Message: message}
	return wit.Err[Verdict](muster_plugin_types.MakeFaultBadSettings(problem))
}

func verdict(outcome Outcome, code, message string) *Verdict {
	return &Verdict{Outcome: outcome, Code: code, Message: message}
}

// ask gives the first line of the answer, or the verdict on the lack of one.
func ask(line string, timeout wit.Option[uint32]) (string, *Verdict) {
	connected := muster_plugin_dial.Connect(timeout)
	if connected.IsErr() {
		return "", notConnected(connected.Err())
	}
	connection := connected.Ok()
	// closes it: the host reuses an instance only when no connection was kept
	defer connection.Drop()
	if line != "" {
		if written := connection.Write([]byte(line + "\r\n")); written.IsErr() {
			return "", broken(written.Err())
		}
	}
	var answer []byte
	for len(answer) < maxAnswer && !bytes.Contains(answer, []byte{'\n'}) {
		part := connection.Read(uint32(maxAnswer - len(answer)))
		if part.IsErr() {
			return "", broken(part.Err())
		}
		if len(part.Ok()) == 0 {
			break
		}
		answer = append(answer, part.Ok()...)
	}
	if len(answer) == 0 {
		return "", verdict(Outcome_Failed, "line.silent", "closed without an answer")
	}
	return firstLine(answer), nil
}

func notConnected(err muster_plugin_dial.DialError) *Verdict {
	switch err.Tag() {
	case muster_plugin_dial.DialError_Refused:
		return verdict(Outcome_FailedNow, "line.refused", "connection refused")
	case muster_plugin_dial.DialError_TimedOut:
		return verdict(Outcome_Failed, "line.timed-out", "no connection in time")
	case muster_plugin_dial.DialError_Denied:
		return verdict(Outcome_Inconclusive, "line.denied", "not allowed to connect")
	default:
		return verdict(Outcome_Failed, "line.unreachable", "no connection")
	}
}

func broken(err muster_plugin_dial.DialError) *Verdict {
	if err.Tag() == muster_plugin_dial.DialError_Denied {
		return verdict(Outcome_Inconclusive, "line.denied", "not allowed to go on")
	}
	return verdict(Outcome_Failed, "line.broken", "the connection broke")
}

// firstLine goes up to the end of the line; what is not printable ASCII becomes `?`.
func firstLine(answer []byte) string {
	line, _, _ := bytes.Cut(answer, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	text := make([]byte, 0, len(line))
	for _, letter := range line {
		if letter < ' ' || letter > '~' {
			letter = '?'
		}
		text = append(text, letter)
	}
	return string(text)
}
