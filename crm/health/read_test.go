package health

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func deleteCluster(name string) storage.Command {
	return storage.DeleteCluster{Name: name, Force: true}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 2, func(w *world) {
		m := w.monitor
		w.sync()
		{ // on a node that does not lead
			got, err := m.Refresh(w.Context(), nth(0))
			if err != nil || got.Status != model.ClusterHealthy || !got.LastSeen.Equal(time.Now()) || *got.NodeCount != 3 {
				t.Errorf("got %+v, %v, want Healthy, seen now", got, err)
			}
			w.crm(nth(0)).become(refuses)
			got, err = m.Refresh(w.Context(), nth(0))
			if err != nil || got.Status != model.ClusterUnhealthy || got.Reason != ReasonProbeFailed || got.Message != "cannot connect" {
				t.Errorf("a CRM that does not answer: got %+v, %v, want Unhealthy, why, and no error", got, err)
			}
			if w.store.count() != 0 {
				t.Errorf("records: got %d, want none", w.store.count())
			}
		}
		{ // errors
			var refusal *model.Error
			if _, err := m.Refresh(w.Context(), "mars"); !errors.As(err, &refusal) || refusal.Code != model.CodeNotFound {
				t.Errorf("unknown cluster: got %v, want not_found", err)
			}
			w.crm(nth(1)).become(hangs)
			ctx, cancel := context.WithTimeout(w.Context(), time.Second)
			defer cancel()
			if _, err := m.Refresh(ctx, nth(1)); !errors.As(err, &refusal) || refusal.Code != model.CodeUnavailable {
				t.Errorf("the request ends first: got %v, want unavailable", err)
			}
			w.put("nobody", nil)
			w.sync()
			if got, err := m.Refresh(w.Context(), "nobody"); err != nil || got.Status != model.ClusterUnknown || got.Reason != ReasonNoClient {
				t.Errorf("no client: got %+v, %v, want Unknown, NoClient", got, err)
			}
			w.must(deleteCluster("nobody"))
		}
		w.crm(nth(0)).become(well)
		w.crm(nth(1)).become(well)
		defer w.lead()()
		pass(time.Minute)
		{ // on the leader it counts, but impatience does not
			w.crm(nth(0)).become(refuses)
			for range 20 {
				got, err := m.Refresh(w.Context(), nth(0))
				if err != nil || got.Status != model.ClusterUnhealthy {
					t.Errorf("got %+v, %v, want what this probe found", got, err)
				}
			}
			pass(time.Second)
			w.want(nth(0), healthy)
			w.crm(nth(0)).become(func(context.Context) (model.ClusterHealth, error) { return empty.report, nil })
			if _, err := m.Refresh(w.Context(), nth(0)); err != nil {
				t.Error(err)
			}
			pass(time.Second)
			w.want(nth(0), "Unhealthy/NoReadyNodes/closed")
		}
	})
}

func TestView(t *testing.T) {
	t.Parallel()
	inWorld(t, nil, 2, func(w *world) {
		w.crm(nth(1)).become(refuses)
		stop := w.lead()
		pass(10 * time.Minute)
		alive, _ := w.inventory.Cluster(nth(0))
		dead, _ := w.inventory.Cluster(nth(1))
		since := func(h model.ClusterHealth) time.Duration { return time.Since(h.LastSeen) }
		if got := since(alive.Health); got < 9*time.Minute {
			t.Errorf("as recorded: last seen %s ago, want when the status last changed", got)
		}
		if got := since(w.monitor.View(nth(0), alive.Health, 0)); got > 11*time.Second {
			t.Errorf("on the leader: last seen %s ago, want the last probe", got)
		}
		if got := w.monitor.View(nth(1), dead.Health, 0).LastSeen; !got.IsZero() {
			t.Errorf("never seen: got %v", got)
		}
		stop()
		if got, want := since(w.monitor.View(nth(0), alive.Health, 3*time.Second)), 13*time.Second; got != want {
			t.Errorf("elsewhere: last seen %s ago, want %s: the last contact, and an interval", got, want)
		}
		if got := w.monitor.View(nth(0), alive.Health, -1).LastSeen; !got.Equal(alive.Health.LastSeen) {
			t.Errorf("without contact to a leader: got %v, want what is recorded", got)
		}
		if got := w.monitor.View(nth(0), alive.Health, time.Hour).LastSeen; !got.Equal(alive.Health.LastSeen) {
			t.Errorf("contact before the record: got %v, want what is recorded", got)
		}
		if got := w.monitor.View(nth(1), dead.Health, 0).LastSeen; !got.IsZero() {
			t.Errorf("a lost cluster elsewhere: got %v, want never", got)
		}
	})
}

func TestConfigValidates(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for name, change := range map[string]func(c *Config){
		"interval":          func(c *Config) { c.Interval = 0 },
		"timeout":           func(c *Config) { c.Timeout = -1 },
		"open timeout":      func(c *Config) { c.OpenTimeout = 0 },
		"retry timeout":     func(c *Config) { c.RetryTimeout = 0 },
		"max open interval": func(c *Config) { c.MaxOpenInterval = 0 },
		"failure threshold": func(c *Config) { c.FailureThreshold = 0 },
		"workers":           func(c *Config) { c.Workers = 0 },
		"slow after":        func(c *Config) { c.SlowAfter = -1 },
		"record delay":      func(c *Config) { c.RecordDelay = -1 },
		"store timeout":     func(c *Config) { c.StoreTimeout = 0 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil {
			t.Errorf("%s: got no error", name)
		}
		if _, err := NewMonitor(cfg, Deps{}); err == nil {
			t.Errorf("%s: got a monitor", name)
		}
	}
	if _, err := NewMonitor(DefaultConfig(), Deps{}); err == nil {
		t.Error("without its parts: got a monitor")
	}
}
