package health

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// tuned is a configuration with round numbers.
func tuned() Config {
	cfg := DefaultConfig()
	cfg.Interval, cfg.Timeout, cfg.SlowAfter = 10*time.Second, 5*time.Second, 3*time.Second
	cfg.FailureThreshold = 5
	cfg.OpenTimeout, cfg.RetryTimeout, cfg.MaxOpenInterval = 20*time.Second, 160*time.Second, 100*time.Second
	return cfg
}

func pointer[T any](value T) *T { return &value }

// report is what a cluster of three nodes says; change makes it another.
func report(change func(h *model.ClusterHealth)) model.ClusterHealth {
	h := model.ClusterHealth{
		ClusterName: "a", Status: model.ClusterHealthy, CRMVersion: pointer("1"),
		NodeCount: pointer(uint32(3)), ReadyNodes: pointer(uint32(3)), Availability: pointer(0.99),
	}
	if change != nil {
		change(&h)
	}
	return h
}

// Observations.
var (
	good     = observation{report: report(nil)}
	degraded = observation{report: report(func(h *model.ClusterHealth) { h.Status = model.ClusterDegraded })}
	sick     = observation{report: report(func(h *model.ClusterHealth) { h.Status = model.ClusterUnhealthy })}
	empty    = observation{report: report(func(h *model.ClusterHealth) { h.ReadyNodes = pointer(uint32(0)) })}
	vague    = observation{report: report(func(h *model.ClusterHealth) { h.Status = model.ClusterUnknown })}
	slow     = observation{report: report(nil), took: 4 * time.Second}
	miss     = observation{outcome: missed, reason: ReasonProbeFailed, message: "no answer in time"}
	closed   = observation{outcome: refused, reason: ReasonProbeFailed, message: "cannot connect"}
	unset    = observation{outcome: unusable, reason: ReasonNotConfigured, message: "not here"}
	callOK   = observation{call: true}
	callLost = observation{call: true, outcome: missed, reason: ReasonCallsFailed, message: "answered 503"}
	callShut = observation{call: true, outcome: refused, reason: ReasonCallsFailed, message: "cannot connect"}
)

// unprobed is the health of a cluster of which nothing is recorded.
func unprobed() model.ClusterHealth {
	return model.ClusterHealth{ClusterName: "a", Status: model.ClusterUnknown, Reason: inventory.ReasonNotProbed}
}

// step is an observation and what it must lead to. Steps are an interval apart,
// unless after says otherwise.
type step struct {
	o     observation
	want  string // status/reason/circuit
	event string
	after time.Duration
}

// play takes the steps from a state on, recording everything at once, and returns
// where they led to.
func play(t *testing.T, cfg Config, s state, steps []step) state {
	t.Helper()
	now := noon
	for _, at := range []time.Time{s.openedAt, s.closedAt, s.health.LastSeen, s.changes[flapChanges-1].at} {
		if at.After(now) {
			now = at // time goes on where it was left
		}
	}
	for n, step := range steps {
		if step.after == 0 {
			step.after = cfg.Interval
		}
		now = now.Add(step.after)
		before := s
		next, changed, events := advance(cfg, s, step.o, now, now)
		if got := shown(next); got != step.want {
			t.Errorf("step %d: got %s, want %s", n+1, got, step.want)
		}
		var event string
		for _, e := range events {
			event += e.Reason
			if e.Kind != model.EventAboutCluster || e.Name != "a" || !e.At.Equal(now) {
				t.Errorf("step %d: event %+v is not about cluster a, now", n+1, e)
			}
		}
		if event != step.event {
			t.Errorf("step %d: got event %q, want %q", n+1, event, step.event)
		}
		if want := shown(before) != shown(next); want && !changed {
			t.Errorf("step %d: went from %s to %s and is not to be recorded", n+1, shown(before), shown(next))
		}
		if changed {
			next.recorded = next.health
		}
		s = next
	}
	return s
}

func shown(s state) string {
	return fmt.Sprintf("%s/%s/%s", s.health.Status, s.health.Reason, s.health.Circuit)
}

// times repeats a step.
func times(n int, s step) []step {
	var steps []step
	for range n {
		steps = append(steps, s)
	}
	return steps
}

func join(lists ...[]step) []step {
	var all []step
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// Common beginnings.
const (
	healthy = "Healthy//closed"
	lost    = "Unhealthy/ProbeFailed/open"
)

var (
	begin = []step{{o: good, want: healthy, event: EventConnected}}
	die   = []step{
		{o: miss, want: healthy},
		{o: miss, want: "Degraded/ProbeFailed/closed", event: EventDegraded},
		{o: miss, want: "Degraded/ProbeFailed/closed"},
		{o: miss, want: "Degraded/ProbeFailed/closed"},
		{o: miss, want: lost, event: EventUnhealthy},
	}
)

func TestAdvance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"first contact: one good probe is enough", begin},
		{"first contact: a cluster that says it is sick is believed", []step{{o: sick, want: "Unhealthy/ReportedUnhealthy/closed", event: EventUnhealthy}}},
		{"first contact: silence is Unknown until the threshold", []step{
			{o: miss, want: "Unknown/ProbeFailed/closed"},
			{o: miss, want: "Unknown/ProbeFailed/closed"},
			{o: miss, want: "Unknown/ProbeFailed/closed"},
			{o: miss, want: "Unknown/ProbeFailed/closed"},
			{o: miss, want: lost, event: EventUnhealthy},
		}},
		{"first contact after some silence", []step{
			{o: miss, want: "Unknown/ProbeFailed/closed"},
			{o: good, want: healthy, event: EventConnected},
		}},
		{"one miss changes nothing", join(begin, []step{{o: miss, want: healthy}, {o: good, want: healthy}, {o: miss, want: healthy}, {o: good, want: healthy}})},
		{"hung, 5xx or garbage: degraded from the second miss, unhealthy at the threshold", join(begin, die)},
		{"refused counts double: unhealthy at the third", join(begin, []step{
			{o: closed, want: healthy},
			{o: closed, want: "Degraded/ProbeFailed/closed", event: EventDegraded},
			{o: closed, want: lost, event: EventUnhealthy},
		})},
		{"degraded by misses: recovery takes two good probes", join(begin, die[:2], []step{
			{o: good, want: "Degraded/ProbeFailed/closed"},
			{o: good, want: healthy, event: EventRecovered},
		})},
		{"a miss between good probes starts their count anew", join(begin, die[:2], []step{
			{o: good, want: "Degraded/ProbeFailed/closed"},
			{o: miss, want: "Degraded/ProbeFailed/closed"},
			{o: good, want: "Degraded/ProbeFailed/closed"},
			{o: good, want: healthy, event: EventRecovered},
		})},
		{"recovery: half-open after one good probe, closed after two", join(begin, die, []step{
			{o: good, want: "Unhealthy/ProbeFailed/half_open"},
			{o: good, want: healthy, event: EventRecovered},
		})},
		{"half-open: a failed probe opens again", join(begin, die, []step{
			{o: good, want: "Unhealthy/ProbeFailed/half_open"},
			{o: miss, want: lost},
			{o: good, want: "Unhealthy/ProbeFailed/half_open"},
			{o: good, want: healthy, event: EventRecovered},
		})},
		{"recovery into what the cluster then says", join(begin, die, []step{
			{o: good, want: "Unhealthy/ProbeFailed/half_open"},
			{o: degraded, want: "Degraded/ReportedDegraded/closed", event: EventDegraded},
		})},
		{"slow: degraded after two slow answers, well after two quick ones", join(begin, []step{
			{o: slow, want: healthy},
			{o: slow, want: "Degraded/Slow/closed", event: EventDegraded},
			{o: good, want: "Degraded/Slow/closed"},
			{o: good, want: healthy, event: EventRecovered},
		})},
		{"degraded by report: taken after two equal ones", join(begin, []step{
			{o: degraded, want: healthy},
			{o: degraded, want: "Degraded/ReportedDegraded/closed", event: EventDegraded},
		})},
		{"reports that differ are not equal", join(begin, []step{
			{o: degraded, want: healthy}, {o: sick, want: healthy}, {o: degraded, want: healthy},
			{o: degraded, want: "Degraded/ReportedDegraded/closed", event: EventDegraded},
		})},
		{"a report in between starts the count anew", join(begin, []step{{o: degraded, want: healthy}, {o: good, want: healthy}, {o: degraded, want: healthy}, {o: good, want: healthy}})},
		{"unhealthy by report: calls go on", join(begin, []step{
			{o: sick, want: healthy},
			{o: sick, want: "Unhealthy/ReportedUnhealthy/closed", event: EventUnhealthy},
		})},
		{"unhealthy by report, then silent", join(begin, []step{
			{o: sick, want: healthy},
			{o: sick, want: "Unhealthy/ReportedUnhealthy/closed", event: EventUnhealthy},
		}, times(4, step{o: miss, want: "Unhealthy/ReportedUnhealthy/closed"}), []step{{o: miss, want: lost}})},
		{"another reason for the same status is no event", join(begin, []step{
			{o: slow, want: healthy},
			{o: slow, want: "Degraded/Slow/closed", event: EventDegraded},
			{o: degraded, want: "Degraded/Slow/closed"},
			{o: degraded, want: "Degraded/ReportedDegraded/closed"},
		})},
		{"ready_nodes 0: at once, and two probes to recover", join(begin, []step{
			{o: empty, want: "Unhealthy/NoReadyNodes/closed", event: EventUnhealthy},
			{o: good, want: "Unhealthy/NoReadyNodes/closed"},
			{o: good, want: healthy, event: EventRecovered},
		})},
		{"a cluster that does not say how it is becomes Unknown", join(begin, []step{
			{o: vague, want: healthy},
			{o: vague, want: "Unknown/ReportedUnknown/closed", event: EventUnknown},
			{o: good, want: "Unknown/ReportedUnknown/closed"},
			{o: good, want: healthy, event: EventRecovered},
		})},
		{"not configured here: nothing is counted, no circuit", join(begin, []step{
			{o: unset, want: "Unknown/NotConfigured/", event: EventUnknown},
			{o: unset, want: "Unknown/NotConfigured/"},
			{o: good, want: healthy, event: EventRecovered},
		})},
		{"calls fail while probes are answered: the circuit opens, the cluster is degraded", join(begin, times(4, step{o: callLost, want: healthy, after: time.Second}), []step{
			{o: callLost, want: "Degraded/CallsFailed/open", event: EventDegraded, after: time.Second},
			{o: good, want: "Degraded/CallsFailed/half_open"},
			{o: good, want: healthy, event: EventRecovered},
		})},
		{"calls that are refused count double", join(begin, times(2, step{o: callShut, want: healthy, after: time.Second}), []step{
			{o: callShut, want: "Degraded/CallsFailed/open", event: EventDegraded, after: time.Second},
			{o: closed, want: lost, event: EventUnhealthy},
		})},
		{"a call that is answered ends the row of failed ones", join(begin, times(4, step{o: callLost, want: healthy, after: time.Second}),
			[]step{{o: callOK, want: healthy, after: time.Second}}, times(4, step{o: callLost, want: healthy, after: time.Second}))},
		{"calls that failed long ago are not in a row with new ones", join(begin, times(4, step{o: callLost, want: healthy, after: time.Second}),
			[]step{{o: callLost, want: healthy, after: time.Minute}})},
		{"failed calls and a failed probe together", join(begin, times(4, step{o: callLost, want: healthy, after: time.Second}),
			[]step{{o: miss, want: lost, event: EventUnhealthy, after: time.Second}})},
		{"calls are answered while probes are not: degraded, but not cut off", join(begin, die[:4], []step{
			{o: callOK, want: "Degraded/ProbeFailed/closed", after: time.Second},
			{o: miss, want: "Degraded/ProbeFailed/closed"},
			{o: callOK, want: "Degraded/ProbeFailed/closed", after: time.Second},
			{o: miss, want: "Degraded/ProbeFailed/closed"},
		})},
		{"a late answer to a call does not close the circuit", join(begin, die, []step{{o: callOK, want: lost, after: time.Second}, {o: miss, want: lost}})},
		{"flapping: the worse status is held until it was stable", join(begin, []step{
			{o: empty, want: "Unhealthy/NoReadyNodes/closed", event: EventUnhealthy},
			{o: good, want: "Unhealthy/NoReadyNodes/closed"},
			{o: good, want: healthy, event: EventRecovered},
			{o: empty, want: "Unhealthy/NoReadyNodes/closed", event: EventUnhealthy},
			{o: good, want: "Unhealthy/NoReadyNodes/closed"},
			{o: good, want: "Unhealthy/Flapping/closed"},
			{o: good, want: "Unhealthy/Flapping/closed"},
			{o: empty, want: "Unhealthy/Flapping/closed"},
			{o: good, want: "Unhealthy/Flapping/closed"},
			{o: good, want: "Unhealthy/Flapping/closed"},
		}, times(14, step{o: good, want: "Unhealthy/Flapping/closed"}), []step{
			{o: good, want: healthy, event: EventRecovered},
			{o: empty, want: "Unhealthy/NoReadyNodes/closed", event: EventUnhealthy},
		})},
		{"a cluster that is lost by way of Degraded has turned once, not twice", join(begin, die, []step{
			{o: good, want: "Unhealthy/ProbeFailed/half_open"}, {o: good, want: healthy, event: EventRecovered},
		}, die, []step{
			{o: good, want: "Unhealthy/ProbeFailed/half_open"},
			{o: good, want: "Unhealthy/Flapping/closed"},
		})},
		{"changes that are far apart are not flapping", join(begin,
			[]step{{o: empty, want: "Unhealthy/NoReadyNodes/closed", event: EventUnhealthy, after: time.Minute},
				{o: good, want: "Unhealthy/NoReadyNodes/closed"}, {o: good, want: healthy, event: EventRecovered}},
			[]step{{o: empty, want: "Unhealthy/NoReadyNodes/closed", event: EventUnhealthy, after: 6 * time.Minute},
				{o: good, want: "Unhealthy/NoReadyNodes/closed"}, {o: good, want: healthy, event: EventRecovered}})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			play(t, tuned(), seed(tuned(), "a", unprobed(), noon), test.steps)
		})
	}
}

func TestThresholds(t *testing.T) {
	t.Parallel()
	cfg := tuned()
	cfg.FailureThreshold = 2
	play(t, cfg, seed(cfg, "a", unprobed(), noon), join(begin, []step{
		{o: closed, want: healthy}, // double, but still only one
		{o: closed, want: lost, event: EventUnhealthy},
	}))
	cfg.FailureThreshold = 1
	play(t, cfg, seed(cfg, "a", unprobed(), noon), join(begin, []step{{o: miss, want: lost, event: EventUnhealthy}}))
}

func TestRetryTimeoutGrowth(t *testing.T) {
	t.Parallel()
	cfg := tuned()
	for tries, want := range []time.Duration{20 * time.Second, 40 * time.Second, 80 * time.Second, 100 * time.Second, 100 * time.Second} {
		if got := openDelay(cfg, tries); got != want {
			t.Errorf("after %d tries: got %s, want %s", tries, got, want)
		}
	}
	cfg.MaxOpenInterval = time.Hour
	if got, want := openDelay(cfg, 50), cfg.RetryTimeout; got != want {
		t.Errorf("without the bound for probes: got %s, want %s", got, want)
	}
	short := cfg
	short.RetryTimeout = time.Second
	if got, want := openDelay(short, 3), cfg.OpenTimeout; got != want {
		t.Errorf("a retry timeout below the open timeout: got %s, want %s", got, want)
	}
	s := play(t, cfg, seed(cfg, "a", unprobed(), noon), join(begin, die, times(2, step{o: miss, want: lost})))
	if got, want := s.tries, 2; got != want {
		t.Errorf("tries while open: got %d, want %d", got, want)
	}
	back := []step{{o: good, want: "Unhealthy/ProbeFailed/half_open"}, {o: good, want: healthy, event: EventRecovered}}
	relapse := play(t, cfg, s, join(back, times(6, step{o: good, want: healthy}), die))
	if got, want := relapse.tries, 3; got != want {
		t.Errorf("tries after a relapse: got %d, want %d: it goes on", got, want)
	}
	calm := play(t, cfg, s, join(back, times(20, step{o: good, want: healthy}), die))
	if got, want := calm.tries, 0; got != want {
		t.Errorf("tries after a long time of health: got %d, want %d", got, want)
	}
}

func TestLeaderChangeKeepsWhatIsRecorded(t *testing.T) {
	t.Parallel()
	cfg := tuned()
	first := seed(cfg, "a", unprobed(), noon)
	for _, test := range []struct {
		name  string
		until []step
		then  []step
	}{
		{"a lost cluster stays lost", join(begin, die), []step{{o: miss, want: lost}}},
		{"a lost cluster needs two good probes", join(begin, die), []step{
			{o: good, want: "Unhealthy/ProbeFailed/half_open"}, {o: good, want: healthy, event: EventRecovered}}},
		{"a half-open circuit is tried again", join(begin, die, []step{{o: good, want: "Unhealthy/ProbeFailed/half_open"}}), []step{
			{o: good, want: "Unhealthy/ProbeFailed/half_open"}, {o: good, want: healthy, event: EventRecovered}}},
		{"failures are counted on", join(begin, die[:3]), []step{
			{o: miss, want: "Degraded/ProbeFailed/closed"}, {o: miss, want: "Degraded/ProbeFailed/closed"}, {o: miss, want: lost, event: EventUnhealthy}}},
		{"a healthy cluster is no first contact", begin, []step{{o: degraded, want: healthy}, {o: degraded, want: "Degraded/ReportedDegraded/closed", event: EventDegraded}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := play(t, cfg, first, test.until)
			successor := seed(cfg, "a", before.recorded, noon.Add(time.Hour))
			if successor.health.Since == nil || !successor.health.Since.Equal(*before.health.Since) {
				t.Errorf("since: got %v, want %v", successor.health.Since, before.health.Since)
			}
			if got, want := successor.allowed(), before.allowed(); got != want {
				t.Errorf("calls allowed: got %t, want %t", got, want)
			}
			after := play(t, cfg, successor, test.then)
			if last := test.then[len(test.then)-1]; last.event == "" && !after.health.Since.Equal(*before.health.Since) {
				t.Errorf("since without a change: got %v, want %v", after.health.Since, before.health.Since)
			}
		})
	}
	t.Run("flapping goes on until it was stable", func(t *testing.T) {
		t.Parallel()
		recorded := report(func(h *model.ClusterHealth) {
			h.Status, h.Reason, h.Circuit, h.LastSeen, h.Since = model.ClusterUnhealthy, ReasonFlapping, model.CircuitClosed, noon, pointer(noon)
		})
		play(t, cfg, seed(cfg, "a", recorded, noon), join(times(14, step{o: good, want: "Unhealthy/Flapping/closed"}),
			[]step{{o: good, want: "Unhealthy/Flapping/closed"}, {o: good, want: "Unhealthy/Flapping/closed"}, {o: good, want: healthy, event: EventRecovered}}))
	})
}

func TestSinceIsWhenTheStatusChanged(t *testing.T) {
	t.Parallel()
	cfg := tuned()
	s := play(t, cfg, seed(cfg, "a", unprobed(), noon), join(begin, die, times(3, step{o: miss, want: lost})))
	if want := noon.Add(6 * cfg.Interval); !s.health.Since.Equal(want) {
		t.Errorf("since: got %v, want %v", s.health.Since, want)
	}
	if want := noon.Add(cfg.Interval); !s.health.LastSeen.Equal(want) {
		t.Errorf("last seen: got %v, want %v, when it last answered", s.health.LastSeen, want)
	}
	if s.health.NodeCount == nil || *s.health.Availability != 0.99 {
		t.Errorf("figures of a lost cluster: got %+v, want the last known", s.health)
	}
}

func TestSignificant(t *testing.T) {
	t.Parallel()
	recorded := report(func(h *model.ClusterHealth) {
		h.Load = &model.ClusterLoad{Units: pointer(uint32(3)), Capacity: pointer(uint32(9)), CPU: pointer(0.25), Memory: pointer(0.5)}
	})
	for _, test := range []struct {
		name   string
		change func(h *model.ClusterHealth)
		want   bool
	}{
		{"nothing", func(*model.ClusterHealth) {}, false},
		{"last seen", func(h *model.ClusterHealth) { h.LastSeen = noon }, false},
		{"message", func(h *model.ClusterHealth) { h.Message = "other" }, false},
		{"units that the CRM counts", func(h *model.ClusterHealth) { h.Load.Units = pointer(uint32(4)) }, false},
		{"availability by less than 0.001", func(h *model.ClusterHealth) { h.Availability = pointer(0.9906) }, false},
		{"availability by 0.001", func(h *model.ClusterHealth) { h.Availability = pointer(0.991) }, true},
		{"no availability any more", func(h *model.ClusterHealth) { h.Availability = nil }, true},
		{"load around the edge of a tenth", func(h *model.ClusterHealth) { h.Load.CPU = pointer(0.24) }, false},
		{"load by 0.1", func(h *model.ClusterHealth) { h.Load.CPU = pointer(0.35) }, true},
		{"memory by 0.1", func(h *model.ClusterHealth) { h.Load.Memory = pointer(0.4) }, true},
		{"capacity", func(h *model.ClusterHealth) { h.Load.Capacity = pointer(uint32(10)) }, true},
		{"no load any more", func(h *model.ClusterHealth) { h.Load = nil }, true},
		{"nodes", func(h *model.ClusterHealth) { h.NodeCount = pointer(uint32(4)) }, true},
		{"ready nodes", func(h *model.ClusterHealth) { h.ReadyNodes = pointer(uint32(2)) }, true},
		{"version", func(h *model.ClusterHealth) { h.CRMVersion = pointer("2") }, true},
		{"the cluster's own name", func(h *model.ClusterHealth) { h.ClusterName = "other" }, true},
		{"status", func(h *model.ClusterHealth) { h.Status = model.ClusterDegraded }, true},
		{"reason", func(h *model.ClusterHealth) { h.Reason = ReasonSlow }, true},
		{"circuit", func(h *model.ClusterHealth) { h.Circuit = model.CircuitOpen }, true},
	} {
		now := recorded
		load := *recorded.Load
		now.Load = &load
		test.change(&now)
		if got := significant(recorded, now); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}

func TestSmallStepsAddUp(t *testing.T) {
	t.Parallel()
	cfg := tuned()
	s := play(t, cfg, seed(cfg, "a", unprobed(), noon), begin)
	for n := 1; n <= 3; n++ {
		o := observation{report: report(func(h *model.ClusterHealth) { h.Availability = pointer(0.99 + 0.0004*float64(n)) })}
		next, changed, _ := advance(cfg, s, o, noon.Add(time.Hour), noon.Add(time.Hour))
		if want := n == 3; changed != want {
			t.Errorf("step %d: recorded %t, want %t", n, changed, want)
		}
		s = next
	}
}

func TestAdvanceLeavesItsArgumentAlone(t *testing.T) {
	t.Parallel()
	cfg := tuned()
	s := play(t, cfg, seed(cfg, "a", unprobed(), noon), join(begin, die[:3]))
	before := s
	for _, o := range []observation{good, degraded, empty, miss, closed, unset, callOK, callLost} {
		one, changedOne, eventsOne := advance(cfg, s, o, noon.Add(time.Hour), noon.Add(time.Hour))
		two, changedTwo, eventsTwo := advance(cfg, s, o, noon.Add(time.Hour), noon.Add(time.Hour))
		if diff := cmp.Diff(one.health, two.health); diff != "" || changedOne != changedTwo || cmp.Diff(eventsOne, eventsTwo) != "" {
			t.Errorf("the same arguments gave other results:\n%s", diff)
		}
	}
	if diff := cmp.Diff(before.health, s.health); diff != "" || before.changes != s.changes || before.probes != s.probes {
		t.Errorf("the state was changed:\n%s", diff)
	}
}

func TestSanitise(t *testing.T) {
	t.Parallel()
	long := make([]byte, 1<<20)
	for i := range long {
		long[i] = 'x'
	}
	wild := model.ClusterHealth{
		ClusterName: string(long), Status: "hEALTHY", CRMVersion: pointer("1\x00\n\xff2" + string(long)), Message: string(long),
		Availability: pointer(17.0), Load: &model.ClusterLoad{CPU: pointer(-1.0), Memory: pointer(0.5)},
		Reason: "Forged", Circuit: "open", Since: pointer(noon), LastSeen: noon,
	}
	got := sanitise(wild, "a")
	if len(got.ClusterName) > maxName || len(*got.CRMVersion) > maxVersion || len(got.Message) > maxMessage || (*got.CRMVersion)[:2] != "12" {
		t.Errorf("texts: got %d, %q, %d bytes, want them cut and printable", len(got.ClusterName), *got.CRMVersion, len(got.Message))
	}
	if got.Status != model.ClusterHealthy || got.Availability != nil || got.Load.CPU != nil || *got.Load.Memory != 0.5 {
		t.Errorf("got %+v, want Healthy, no impossible figures", got)
	}
	if got.Reason != "" || got.Circuit != "" || got.Since != nil || !got.LastSeen.IsZero() {
		t.Errorf("got %+v, want nothing that is ours to say", got)
	}
	if got := sanitise(model.ClusterHealth{Status: "Splendid"}, "a"); got.Status != model.ClusterUnknown || got.ClusterName != "a" {
		t.Errorf("got %+v, want Unknown, named a", got)
	}
}
