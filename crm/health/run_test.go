package health

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/model"
)

func TestSteadyStateWritesNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 30, func(w *world) {
		w.crm(nth(0)).become(hangs)
		w.crm(nth(1)).become(refuses)
		w.crm(nth(2)).become(func(ctx context.Context) (model.ClusterHealth, error) { return degraded.report, nil })
		wobble := 0.0
		w.crm(nth(3)).become(func(ctx context.Context) (model.ClusterHealth, error) {
			wobble = 0.02 - wobble
			return report(func(h *model.ClusterHealth) {
				h.Load = &model.ClusterLoad{CPU: pointer(0.24 + wobble), Units: pointer(uint32(time.Now().Second()))}
			}), nil
		})
		defer w.lead()()
		pass(5 * time.Minute)
		w.want(nth(0), lost)
		w.want(nth(1), lost)
		w.want(nth(2), "Degraded/ReportedDegraded/closed")
		w.want(nth(29), healthy)
		before := w.store.count()
		probes := len(w.crm(nth(29)).probes())
		pass(time.Hour)
		if got := w.store.count(); got != before {
			t.Errorf("records in an hour without changes: got %d, want none", got-before)
		}
		if got := len(w.crm(nth(29)).probes()) - probes; got < 300 {
			t.Errorf("probes in an hour: got %d, want about 360", got)
		}
	})
}

func TestManyFirstContactsAreRecordedTogether(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 600, func(w *world) {
		defer w.lead()()
		pass(2 * time.Second)
		for n := range 600 {
			w.want(nth(n), healthy)
		}
		if got := w.store.count(); got > 8 {
			t.Errorf("records: got %d, want few", got)
		}
		if got, want := w.events(nth(7)), EventConnected; got != want {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

func TestProbesAreSpreadAndOnTime(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 20, func(w *world) {
		defer w.lead()()
		pass(10 * time.Minute)
		phases := map[time.Duration]bool{}
		for n := range 20 {
			begun := w.crm(nth(n)).probes()
			for k := 2; k < len(begun); k++ { // the first two are apart as they come
				if gap := begun[k].Sub(begun[k-1]); gap < 9*time.Second || gap > 11*time.Second {
					t.Errorf("%s: got %s between two probes, want 10s give or take 1s", nth(n), gap)
				}
			}
			phases[begun[len(begun)-1].Sub(epoch).Truncate(time.Second)%(10*time.Second)] = true
		}
		if len(phases) < 4 {
			t.Errorf("last probes fell into %d different seconds of ten, want them spread", len(phases))
		}
	})
}

func TestHungClustersDelayNoOther(t *testing.T) {
	t.Parallel()
	const all, hung = 60, 40
	inWorld(t, func(cfg *Config, _ *Deps) { cfg.Workers = 16 }, all, func(w *world) {
		for n := range hung {
			w.crm(nth(n)).become(hangs)
		}
		defer w.lead()()
		pass(time.Minute)
		start := time.Now()
		pass(10 * time.Minute)
		for n := hung; n < all; n++ {
			w.want(nth(n), healthy)
			last := start
			for _, at := range w.crm(nth(n)).probes() {
				if at.After(start) && at.Sub(last) > 12*time.Second {
					t.Errorf("%s waited %s for a probe, want at most 12s", nth(n), at.Sub(last))
				}
				last = at
			}
		}
		for n := range hung {
			w.want(nth(n), lost)
		}
	})
}

func TestRefusedIsVisibleWithinTenSeconds(t *testing.T) {
	t.Parallel()
	inWorld(t, func(cfg *Config, _ *Deps) { cfg.Interval, cfg.Timeout = 2*time.Second, time.Second }, 2, func(w *world) {
		defer w.lead()()
		pass(time.Minute)
		w.crm(nth(0)).become(refuses)
		pass(9 * time.Second)
		w.want(nth(0), lost)
		w.want(nth(1), healthy)
		if got, want := w.events(nth(0)), "ClusterConnected ClusterDegraded ClusterUnhealthy"; got != want {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

func TestOpenCircuitIsLeftAloneAndTriedAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 1, func(w *world) {
		w.crm(nth(0)).become(fails)
		defer w.lead()()
		pass(time.Minute)
		w.want(nth(0), lost)
		pass(9 * time.Minute)
		begun := w.crm(nth(0)).probes()
		var gaps []time.Duration
		for k := 5; k < len(begun); k++ {
			gaps = append(gaps, begun[k].Sub(begun[k-1]))
		}
		for k, seconds := range []int{20, 40, 80, 100, 100} {
			want := time.Duration(seconds) * time.Second
			if got := gaps[k]; got < want*9/10 || got > want*11/10 {
				t.Errorf("gap %d: got %s, want %s give or take a tenth", k, got, want)
			}
		}
		w.crm(nth(0)).become(well)
		pass(2 * time.Minute)
		w.want(nth(0), healthy)
		if got := w.admitted; !slices.Equal(got, []string{nth(0)}) {
			t.Errorf("told of readmission: got %v, want once", got)
		}
	})
}

func TestClustersComeAndGo(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 2, func(w *world) {
		defer w.lead()()
		pass(time.Minute)
		w.crm("new")
		w.put("new", nil)
		pass(time.Second)
		w.want("new", healthy)

		name := `oprc_crm_cluster_status{cluster="c000"}`
		if !slices.Contains(w.metrics.ListMetricNames(), name) {
			t.Errorf("metrics: got %v, want %s", w.metrics.ListMetricNames(), name)
		}
		w.must(deleteCluster(nth(0)))
		pass(time.Minute)
		before := len(w.crm(nth(0)).probes())
		pass(time.Minute)
		if got := len(w.crm(nth(0)).probes()); got != before {
			t.Errorf("probes of a cluster that is gone: got %d", got-before)
		}
		if slices.Contains(w.metrics.ListMetricNames(), name) {
			t.Errorf("metrics of a cluster that is gone: got %v", w.metrics.ListMetricNames())
		}
		if !w.monitor.Allow(nth(0)) {
			t.Error("a cluster that is gone: got calls refused")
		}

		w.put(nth(0), nil)
		pass(time.Second)
		w.want(nth(0), healthy)
		if got, want := w.events(nth(0)), "ClusterConnected ClusterConnected"; got != want {
			t.Errorf("events of a cluster that came again: got %q, want %q", got, want)
		}
	})
}

func TestClusterThatIsReplacedStartsAnew(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 1, func(w *world) {
		w.crm(nth(0)).become(refuses)
		defer w.lead()()
		pass(time.Minute)
		w.want(nth(0), lost)
		w.crm(nth(0)).become(well)
		w.must(deleteCluster(nth(0)))
		w.put(nth(0), nil)
		pass(time.Second)
		w.want(nth(0), healthy)
	})
}

func TestChangedAddressIsProbedAtOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, func(cfg *Config, _ *Deps) { cfg.Interval = time.Hour; cfg.FailureThreshold = 1 }, 1, func(w *world) {
		w.crm(nth(0)).become(refuses)
		defer w.lead()()
		pass(time.Minute)
		w.want(nth(0), lost)
		before := len(w.crm(nth(0)).probes())
		w.put(nth(0), func(c *model.Cluster) { c.Cordoned = true })
		pass(time.Second)
		if got := len(w.crm(nth(0)).probes()); got != before {
			t.Errorf("probes after a cordon: got %d more, want none", got-before)
		}
		w.put(nth(0), func(c *model.Cluster) { c.BaseURL = "http://elsewhere.example" })
		pass(time.Second)
		if got := len(w.crm(nth(0)).probes()); got != before+1 {
			t.Errorf("probes after another address: got %d more, want one", got-before)
		}
	})
}

func TestClientThatComesLater(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 0, func(w *world) {
		defer w.lead()()
		w.put("late", nil)
		pass(300 * time.Millisecond)
		w.want("late", "Unknown/NotProbed/")
		w.crm("late")
		pass(5 * time.Second)
		w.want("late", healthy)
		w.put("never", nil)
		pass(30 * time.Second)
		w.want("never", "Unknown/NoClient/")
		if !w.monitor.Allow("never") {
			t.Error("a cluster without client: got calls refused, want them to fail on their own")
		}
	})
}

func TestClusterThatThisNodeDoesNotConfigure(t *testing.T) {
	t.Parallel()
	configured := func(c model.Cluster) bool { return c.Name != nth(0) }
	inWorld(t, func(_ *Config, deps *Deps) { deps.Configured = configured }, 2, func(w *world) {
		defer w.lead()()
		pass(time.Minute)
		w.want(nth(0), "Unknown/NotConfigured/")
		w.want(nth(1), healthy)
		if got := w.crm(nth(0)).probes(); len(got) != 0 {
			t.Errorf("probes: got %d, want none", len(got))
		}
	})
}

func TestGate(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 2, func(w *world) {
		m := w.monitor
		noAnswer := &crm.CallError{Class: crm.ClassRetryable, Reason: "no answer in time"}
		for range 20 {
			m.Report(nth(0), noAnswer)
		}
		if !m.Allow(nth(0)) {
			t.Error("on a node that does not lead: got calls refused")
		}
		stop := w.lead()
		pass(time.Minute)
		answers := []error{
			nil,
			&crm.CallError{Class: crm.ClassTerminal, Status: 422},
			&crm.CallError{Class: crm.ClassFenced, Status: 409},
			&crm.CallError{Class: crm.ClassNotFound, Status: 404},
			&crm.CallError{Class: crm.ClassNotSupported, Status: 501},
			&crm.CallError{Class: crm.ClassRetryable, Status: 429},
		}
		for _, answer := range answers {
			for range 4 {
				m.Report(nth(0), noAnswer)
			}
			m.Report(nth(0), answer)
			if !m.Allow(nth(0)) {
				t.Fatalf("after %v among failed calls: got calls refused", answer)
			}
		}
		for _, nothing := range []error{
			&crm.CallError{Class: crm.ClassCanceled}, errors.New("not of a client"), context.Canceled,
			&crm.CallError{Class: crm.ClassRetryable, NotSent: true, Reason: "too many calls in flight"},
			&crm.CallError{Class: crm.ClassTerminal, NotSent: true},
			&crm.CallError{Class: crm.ClassRetryable, Status: 500},
		} {
			for range 20 {
				m.Report(nth(0), nothing)
			}
			if !m.Allow(nth(0)) {
				t.Fatalf("after %v, which says nothing about the cluster: got calls refused", nothing)
			}
		}
		for range 5 {
			m.Report(nth(0), noAnswer)
		}
		if m.Allow(nth(0)) || !m.Allow(nth(1)) {
			t.Error("after failed calls to one: got it allowed, or the other refused")
		}
		pass(time.Second)
		w.want(nth(0), "Degraded/CallsFailed/open")
		pass(18 * time.Second)
		if m.Allow(nth(0)) {
			t.Error("within the open timeout: got calls allowed")
		}
		pass(20 * time.Second)
		if !m.Allow(nth(0)) {
			t.Error("after two good probes: got calls refused")
		}
		w.want(nth(0), healthy)
		if !slices.Equal(w.admitted, []string{nth(0)}) {
			t.Errorf("told of readmission: got %v, want once", w.admitted)
		}
		for range 5 {
			m.Report(nth(0), noAnswer)
		}
		stop()
		if !m.Allow(nth(0)) {
			t.Error("after the run: got calls refused")
		}
		if names := w.metrics.ListMetricNames(); slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "cluster=") }) {
			t.Errorf("metrics after the run: got %v, want none by cluster", names)
		}
	})
}

func TestLeaderChange(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 3, func(w *world) {
		w.crm(nth(0)).become(refuses)
		stop := w.lead()
		pass(5 * time.Minute)
		stop()
		before, _ := w.inventory.Cluster(nth(0))
		records := w.store.count()
		pass(time.Hour)
		stop = w.lead()
		if w.monitor.Allow(nth(0)) {
			// The run begins in its own goroutine.
			pass(time.Millisecond)
		}
		if w.monitor.Allow(nth(0)) || !w.monitor.Allow(nth(1)) {
			t.Error("calls under the next leader: got the lost cluster allowed, or the other refused")
		}
		pass(10 * time.Minute)
		if got := w.store.count(); got != records {
			t.Errorf("records of the next leader: got %d, want none", got-records)
		}
		after, _ := w.inventory.Cluster(nth(0))
		if !after.Health.Since.Equal(*before.Health.Since) {
			t.Errorf("since: got %v, want %v", after.Health.Since, before.Health.Since)
		}
		stop()
		stop() // ending what has ended is harmless
	})
}

func TestRecordsSurviveAStoreThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		code model.Code
		late bool
	}{
		{"nothing was written", model.CodeUnavailable, false},
		{"the outcome is unknown, and it was written", model.CodeUnknownOutcome, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, 3, func(w *world) {
				w.store.setRefusal(func() error { return model.Errorf(test.code, "not now") }, test.late)
				defer w.lead()()
				pass(30 * time.Second)
				w.store.setRefusal(nil, false)
				pass(30 * time.Second)
				for n := range 3 {
					w.want(nth(n), healthy)
					if got, want := w.events(nth(n)), EventConnected; got != want {
						t.Errorf("events: got %q, want %q, once", got, want)
					}
				}
				w.store.mu.Lock()
				defer w.store.mu.Unlock()
				if ids := slices.Compact(slices.Clone(w.store.ids)); len(w.store.ids) < 3 || len(ids) > 2 {
					t.Errorf("got %d tries under %d ids, want every try of a command under the same", len(w.store.ids), len(ids))
				}
			})
		})
	}
}

func TestDeposedLeaderStopsRecording(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 2, func(w *world) {
		w.store.setRefusal(func() error { return model.Errorf(model.CodeConflict, "the leader was deposed") }, false)
		defer w.lead()()
		pass(10 * time.Minute)
		if got := w.store.count(); got != 1 {
			t.Errorf("records: got %d tries, want one", got)
		}
		w.want(nth(0), "Unknown/NotProbed/")
	})
}
