package health

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// TestNextLeaderAsksSoon: what it tells before is marked as stale, and is not for
// long.
func TestNextLeaderAsksSoon(t *testing.T) {
	t.Parallel()
	const clusters = 200
	inWorld(t, nil, clusters, func(w *world) {
		stop := w.lead()
		pass(time.Minute)
		stop()
		pass(3 * time.Hour)
		records := w.store.count()
		begin := time.Now()
		defer w.lead()()
		for w.monitor.running.Load() == nil {
			pass(time.Microsecond)
		}
		stale := 0
		for n := range clusters {
			view, _ := w.inventory.Cluster(nth(n))
			if h := w.monitor.View(nth(n), view.Health, 0); h.Stale {
				stale++
				if !h.LastSeen.Equal(view.Health.LastSeen) {
					t.Errorf("%s, not asked yet: got last seen %v, want what is recorded, %v", nth(n), h.LastSeen, view.Health.LastSeen)
				}
			} else if h.LastSeen.Before(begin) {
				t.Errorf("%s: got last seen %v and not stale, want one or the other", nth(n), h.LastSeen)
			}
		}
		if stale < clusters/2 {
			t.Errorf("at the beginning: got %d of %d stale, want most", stale, clusters)
		}
		pass(time.Second)
		for n := range clusters {
			view, _ := w.inventory.Cluster(nth(n))
			if h := w.monitor.View(nth(n), view.Health, 0); h.Stale || h.LastSeen.Before(begin) {
				t.Errorf("%s after a second: got stale %t, last seen %v, want it asked", nth(n), h.Stale, h.LastSeen)
			}
		}
		pass(time.Hour)
		if got := w.store.count(); got != records {
			t.Errorf("records of the next leader: got %d, want none", got-records)
		}
		// They are begun together, and do not stay so.
		perSecond := map[int64]int{}
		for n := range clusters {
			begun := w.crm(nth(n)).probes()
			perSecond[begun[len(begun)-1].Unix()%10]++
		}
		for second, count := range perSecond {
			if count > clusters/4 {
				t.Errorf("got %d of %d probes in second %d of ten, want them spread", count, clusters, second)
			}
		}
	})
}

// TestClusterWithoutAStatusHasASince: since when nothing can be said of it.
func TestClusterWithoutAStatusHasASince(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world){
		"NoClient": func(w *world) {
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.crms, nth(0))
		},
		"ProbeFailed": func(w *world) { w.crm(nth(0)).become(hangs) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, 1, func(w *world) {
				change(w)
				defer w.lead()()
				pass(20 * time.Second)
				view, _ := w.inventory.Cluster(nth(0))
				if view.Health.Status != model.ClusterUnknown || view.Health.Reason != name {
					t.Fatalf("got %+v, want it Unknown for %s", view.Health, name)
				}
				if since := view.Health.Since; since == nil || since.Before(epoch) || since.After(time.Now()) {
					t.Errorf("since: got %v, want when it was first asked", since)
				}
			})
		})
	}
}

// TestFirstContactIsNoRecovery: also when a call was answered before the first
// probe.
func TestFirstContactIsNoRecovery(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		first  func(ctx context.Context) (model.ClusterHealth, error)
		called bool
		then   func(ctx context.Context) (model.ClusterHealth, error)
		want   []string
	}{
		{name: "well", first: well, want: []string{"ClusterConnected Healthy, first contact"}},
		{name: "called before", first: well, called: true, want: []string{"ClusterConnected Healthy, first contact"}},
		{
			name:  "does not say at first",
			first: func(context.Context) (model.ClusterHealth, error) { return vague.report, nil }, then: well,
			want: []string{"ClusterConnected Healthy, first contact"},
		},
		{
			name:  "not well",
			first: func(context.Context) (model.ClusterHealth, error) { return degraded.report, nil }, then: well,
			want: []string{
				"ClusterDegraded Degraded, first contact: ReportedDegraded: the CRM reports it degraded",
				"ClusterRecovered Healthy, was Degraded",
			},
		},
		{
			name: "never there", first: refuses, then: well,
			want: []string{"ClusterUnhealthy Unhealthy, was never reached: ProbeFailed: cannot connect", "ClusterConnected Healthy, first contact"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, nil, 1, func(w *world) {
				w.crm(nth(0)).become(test.first)
				defer w.lead()()
				if test.called {
					for w.monitor.running.Load() == nil {
						pass(time.Microsecond)
					}
					w.monitor.Report(nth(0), nil)
				}
				pass(time.Minute)
				if test.then != nil {
					w.crm(nth(0)).become(test.then)
					pass(3 * time.Minute)
				}
				if got, want := strings.Join(w.told(nth(0)), "\n"), strings.Join(test.want, "\n"); got != want {
					t.Errorf("events: got\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
}

// told are the events about a cluster, as "reason message".
func (w *world) told(name string) []string {
	w.Helper()
	var list []string
	_, err := w.store.View(w.Context(), storage.ReadOptions{}, func(r storage.Reader) error {
		return storage.ScanPrefix(r, []byte(storage.StoredEventPrefix), func(_, value []byte) (bool, error) {
			e, err := model.ParseEvent(value)
			if err == nil && e.Name == name {
				list = append(list, e.Reason+" "+e.Message)
			}
			return true, err
		})
	})
	if err != nil {
		w.Fatal(err)
	}
	return list
}
