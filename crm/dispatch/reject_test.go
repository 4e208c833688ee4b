package dispatch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// strictStore rejects commands that begin a unit in a cluster, as a store does in
// which that cluster was deleted a moment ago.
type strictStore struct {
	Store

	mu      sync.Mutex
	cluster string
	code    model.Code
	refused []time.Time
}

func (s *strictStore) Apply(ctx context.Context, req storage.Request) (storage.Result, error) {
	command, records := req.Command.(storage.RecordUnitStatus)
	s.mu.Lock()
	begins := records && slices.ContainsFunc(command.Put, func(u model.UnitStatus) bool {
		return u.Cluster == s.cluster && u.Phase == model.UnitPending
	})
	if begins {
		s.refused = append(s.refused, time.Now())
	}
	code := s.code
	s.mu.Unlock()
	if begins {
		return storage.Result{}, model.Errorf(code, "cluster %q does not exist", command.Deployment)
	}
	return s.Store.Apply(ctx, req)
}

func (s *strictStore) reject(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster = cluster
}

// TestRejectedIntentIsPlannedAgain: it is neither given up nor tried without end.
func TestRejectedIntentIsPlannedAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []model.Code{model.CodeConflict, model.CodeNotFound, model.CodeFailedPrecondition, model.CodeInvalid, model.CodeGone} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, w *world) {
				store := &strictStore{code: code, cluster: "a"}
				w.through = func(s Store) Store { store.Store = s; return store }
				w.lead(1)
				d, one := cart(), uint32(1)
				d.Placement = &model.Placement{Clusters: &one, Weights: map[string]uint32{"a": 1000}}
				w.put(d)
				w.pass(time.Hour)
				store.mu.Lock()
				tries := len(store.refused)
				store.mu.Unlock()
				if tries < 10 || tries > 60 {
					t.Errorf("got %d tries in an hour, want several and not many", tries)
				}
				if s, _ := w.situation("cart"); len(s.units) != 0 || w.calls("a", "deploy") != 0 {
					t.Errorf("got units %v and %d calls, want none: nothing was recorded", brief(s.units), w.calls("a", "deploy"))
				}
				// The inventory hears of what the store knows already.
				w.apply(storage.DeleteCluster{Name: "a"})
				w.pass(10 * time.Second)
				if got := w.placedOn(); !slices.Equal(got, []string{"b"}) || w.deployment().Condition != model.DeploymentRunning {
					t.Errorf("got it %s in %v, want it to run in b", w.deployment().Condition, got)
				}
			})
		})
	}
}

// TestRejectionDropsThePlan: a plan that was kept because units were on their way
// is not carried out again and again.
func TestRejectionDropsThePlan(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		store := &strictStore{code: model.CodeConflict}
		w.through = func(s Store) Store { store.Store = s; return store }
		w.comesUpAfter(time.Hour)
		w.lead(1)
		w.put(cartOf("img:slow", "a", "b"))
		w.pass(time.Minute)
		r := w.leader().running()
		plan := func() *keptPlan {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.deployments["cart"].plan
		}
		if plan() == nil {
			t.Fatal("the plan is not kept while units are on their way")
		}
		kept := plan()
		if _, err := w.sims["a"].Lose(w.onlyUnitIn("a")); err != nil {
			t.Fatal(err)
		}
		store.reject("a")
		w.pass(20 * time.Second)
		if plan() == kept {
			t.Error("got the same plan after a rejection, want it made anew")
		}
		store.reject("")
		w.pass(2 * time.Minute)
		if got := len(w.unitsIn("a")); got != 1 {
			t.Errorf("cluster a: got %d units, want the lost one back", got)
		}
	})
}
