// Package export_muster_plugin_about is what LINE-GO says about itself. The generated code looks for it under this name.
package export_muster_plugin_about

import (
	. "wit_component/muster_plugin_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Describe names the probe and its settings.
func Describe() Descriptor {
	setting := func(key string, kind Kind, byDefault wit.Option[string], summary string) Setting {
		return Setting{Key: key, Kind: kind, Default: byDefault, Summary: summary}
	}
	words := MakeKindChoice([]string{"failed", "failed-now", "warning"})
	times := MakeKindInteger(wit.Tuple2[int32, int32]{F0: 1, F1: 60_000})
	return Descriptor{
		Name:    "LINE-GO",
		Version: "0.1.0",
		Summary: "sends a line and expects another",
		Settings: []Setting{
			setting("send", MakeKindText(), wit.Some("PING"), "line to send; empty: send nothing"),
			setting("expect", MakeKindText(), wit.Some("+PONG"), "how the answer has to begin"),
			setting("mismatch", words, wit.Some("failed"), "what another answer means"),
			setting("connect-timeout", times, wit.None[string](), "ms; left out: the time of the check"),
		},
	}
}

// Validate says what is wrong with settings that each fit their description.
func Validate(settings []wit.Tuple2[string, string]) []Problem {
	var problems []Problem
	for _, setting := range settings {
		key, value := setting.F0, setting.F1
		if (key == "send" || key == "expect") && !printable(value) {
			problems = append(problems, Problem{Key: key, Message: "must be one line of printable ASCII"})
		}
		if key == "expect" && value == "" {
			problems = append(problems, Problem{Key: key, Message: "must not be empty"})
		}
	}
	return problems
}

func printable(text string) bool {
	for _, letter := range []byte(text) {
		if letter < ' ' || letter > '~' {
			return false
		}
	}
	return true
}
