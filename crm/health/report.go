package health

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/oprc/oprc-pm/model"
)

// Bounds of what is taken over from a CRM: it ends up in the replicated log.
const (
	maxName    = 253
	maxVersion = 100
	maxMessage = 500
)

// sanitise drops from a CRM's report what cannot be, and cuts what is too long.
func sanitise(report model.ClusterHealth, name string) model.ClusterHealth {
	clean := model.ClusterHealth{
		ClusterName: printable(report.ClusterName, maxName), Status: status(report.Status),
		NodeCount: report.NodeCount, ReadyNodes: report.ReadyNodes,
		Availability: share(report.Availability), Message: printable(report.Message, maxMessage),
	}
	if clean.ClusterName == "" {
		clean.ClusterName = name
	}
	if report.CRMVersion != nil {
		version := printable(*report.CRMVersion, maxVersion)
		clean.CRMVersion = &version
	}
	if load := report.Load; load != nil {
		clean.Load = &model.ClusterLoad{Units: load.Units, Capacity: load.Capacity, CPU: share(load.CPU), Memory: share(load.Memory)}
	}
	return clean
}

// status maps a CRM's word to one of ours; what is not known is Unknown.
func status(word string) string {
	for _, known := range []string{model.ClusterHealthy, model.ClusterDegraded, model.ClusterUnhealthy} {
		if strings.EqualFold(word, known) {
			return known
		}
	}
	return model.ClusterUnknown
}

// share returns a number from 0 to 1, or nil.
func share(value *float64) *float64 {
	if value == nil || math.IsNaN(*value) || *value < 0 || *value > 1 {
		return nil
	}
	return value
}

// printable cuts a text and drops what does not print.
func printable(text string, most int) string {
	if len(text) > most {
		text = text[:most]
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// assess is the verdict that one answered probe speaks for.
func assess(cfg Config, report model.ClusterHealth, took time.Duration) verdict {
	explain := func(otherwise string) string {
		if report.Message != "" {
			return report.Message
		}
		return otherwise
	}
	switch {
	case report.ReadyNodes != nil && *report.ReadyNodes == 0:
		return verdict{model.ClusterUnhealthy, ReasonNoReadyNodes, explain("no node is ready")}
	case report.Status == model.ClusterUnhealthy:
		return verdict{model.ClusterUnhealthy, ReasonReportedUnhealthy, explain("the CRM reports it unhealthy")}
	case report.Status == model.ClusterDegraded:
		return verdict{model.ClusterDegraded, ReasonReportedDegraded, explain("the CRM reports it degraded")}
	case report.Status != model.ClusterHealthy:
		return verdict{model.ClusterUnknown, ReasonReportedUnknown, explain("the CRM does not say how it is")}
	case cfg.SlowAfter > 0 && took > cfg.SlowAfter:
		return verdict{model.ClusterDegraded, ReasonSlow, fmt.Sprintf("answers take longer than %s", cfg.SlowAfter)}
	}
	return verdict{status: model.ClusterHealthy}
}

// takeFigures takes over what a report says besides the status. Figures stay when
// contact is lost: they tell how large the cluster was, and how many clusters a
// deployment needs must not depend on which of them is down.
func (s *state) takeFigures(report model.ClusterHealth) {
	s.health.ClusterName, s.health.CRMVersion = report.ClusterName, report.CRMVersion
	s.health.NodeCount, s.health.ReadyNodes = report.NodeCount, report.ReadyNodes
	s.health.Availability, s.health.Load = report.Availability, report.Load
}

// By how much a figure must differ from what is recorded to be recorded anew. It
// is a distance, not a rounding: a figure that swings around the edge of two
// rounded ones would be written at every probe.
const (
	availabilityStep = 0.001
	loadStep         = 0.1
)

// significant tells whether now differs from what is recorded in something that
// is worth a write. Times, messages and the number of units that the CRM counts
// are not: they are written along with what is.
func significant(recorded, now model.ClusterHealth) bool {
	return recorded.Status != now.Status || recorded.Reason != now.Reason || recorded.Circuit != now.Circuit ||
		recorded.ClusterName != now.ClusterName || differ(recorded.CRMVersion, now.CRMVersion) ||
		differ(recorded.NodeCount, now.NodeCount) || differ(recorded.ReadyNodes, now.ReadyNodes) ||
		apart(recorded.Availability, now.Availability, availabilityStep) ||
		loadDiffers(recorded.Load, now.Load)
}

func loadDiffers(recorded, now *model.ClusterLoad) bool {
	if recorded == nil || now == nil {
		return recorded != now
	}
	return differ(recorded.Capacity, now.Capacity) ||
		(recorded.Units == nil) != (now.Units == nil) ||
		apart(recorded.CPU, now.CPU, loadStep) || apart(recorded.Memory, now.Memory, loadStep)
}

func differ[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a != b
	}
	return *a != *b
}

func apart(a, b *float64, step float64) bool {
	if a == nil || b == nil {
		return a != b
	}
	// A hair less than the step, for steps that binary fractions cannot hold.
	return math.Abs(*a-*b) >= step*(1-1e-6)
}

// severity orders statuses, the best first.
var severity = map[string]int{
	"": 0, model.ClusterHealthy: 1, model.ClusterDegraded: 2, model.ClusterUnknown: 3, model.ClusterUnhealthy: 4,
}

func worse(a, b string) string {
	if severity[a] >= severity[b] {
		return a
	}
	return b
}
