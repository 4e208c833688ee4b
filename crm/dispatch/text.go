package dispatch

import (
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
)

func unknownMessage(unknown []string) string { return "not registered: " + model.NameList(unknown) }

func awaitingText(unprobed []string) string {
	return "waiting for the first look at " + model.NameList(unprobed)
}

// span words a duration without the parts that are zero: 10m, not 10m0s.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// withReasons adds to a text why units do not run, as far as that is known.
func withReasons(text string, places []place) string {
	if why := reasons(places); why != "" {
		return text + ": " + why
	}
	return text
}

func namesOf(places []place) []string {
	names := make([]string, len(places))
	for i, p := range places {
		names[i] = p.cluster
	}
	return names
}
