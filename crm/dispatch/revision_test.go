package dispatch

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// TestWhatFailedIsNamed: what was given up is a revision, and people are told
// whether it was their deployment or its package that made it.
func TestWhatFailedIsNamed(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change  func(w *world, first model.Deployment)
		changed string
		name    string
	}{
		"the deployment": {
			change:  func(w *world, first model.Deployment) { w.put(cartOf("img:bad", first.TargetEnvs...)) },
			changed: model.RevisionDeployment, name: "revision 2 (the deployment changed)",
		},
		"the package": {
			change:  func(w *world, _ model.Deployment) { w.putPackage(shop("img:bad")) },
			changed: model.RevisionPackage, name: "revision 2 (package shop changed)",
		},
		"the package, after the deployment was touched": {
			change: func(w *world, first model.Deployment) {
				first.Rollout = &model.Rollout{Strategy: model.RolloutWaves}
				w.put(first)
				w.pass(time.Minute)
				w.putPackage(shop("img:bad"))
			},
			changed: model.RevisionPackage, name: "revision 2 (package shop changed)",
		},
		"both, while nobody led": {
			change: func(w *world, first model.Deployment) {
				w.putPackage(shop("img:bad"))
				first.EnvTemplates = map[string]string{"a": "edge"}
				w.put(first)
			},
			changed: model.RevisionBoth, name: "revision 2 (the deployment and package shop changed)",
		},
	}
	for _, partial := range []bool{true, false} {
		for name, c := range cases {
			t.Run(strings.Join([]string{name, map[bool]string{true: "given up", false: "failed"}[partial]}, ", "), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, w *world) {
					stop := w.lead(1)
					first := cart("a", "b")
					w.put(first)
					w.pass(time.Minute)
					w.sims["b"].SetFaults(refusesBad)
					if c.changed == model.RevisionBoth {
						stop()
					}
					c.change(w, first)
					if c.changed == model.RevisionBoth {
						w.lead(2)
					}
					w.pass(time.Minute)
					w.expectNamed(partial, c.name)
					revisions := w.revisions()
					if len(revisions) < 2 || revisions[0].Changed != "" || revisions[1].Changed != c.changed {
						t.Errorf("revisions: got %+v, want the second to come of %s", revisions, c.changed)
					}
				}, withConfig(func(cfg *Config) { cfg.RollbackOnPartial = partial }))
			})
		}
	}
}

// expectNamed asserts what people are told of a rollout that failed: with its
// name.
func (w *world) expectNamed(givenUp bool, name string) {
	w.t.Helper()
	reason, want := "RolloutFailed", name+": refused by b: "
	if givenUp {
		reason, want = "RolledBack", name+" was given up: refused by b: "
	}
	events := w.eventList("cart")
	for _, told := range []struct{ reason, prefix string }{{reason, want}, {"RolloutStarted", name + " is rolled out to 2 clusters"}} {
		at := slices.IndexFunc(events, func(e model.Event) bool { return e.Reason == told.reason })
		if at < 0 || !strings.HasPrefix(events[at].Message, told.prefix) {
			w.t.Errorf("events: got %+v, want one of %s that begins %q", events, told.reason, told.prefix)
		}
	}
}

func TestFirstRevisionThatIsGivenUpIsNamed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		w.sims["b"].SetFaults(refusesBad)
		w.lead(1)
		w.put(cartOf("img:bad", "a", "b"))
		w.pass(time.Minute)
		d := w.deployment()
		for _, text := range []string{d.RolloutStatus.Message, condition(t, d, ConditionProgressing).Message, condition(t, d, ConditionReady).Message, d.Status.LastError} {
			if !strings.HasPrefix(text, "revision 1 was given up") {
				t.Errorf("got %q, want the revision named", text)
			}
		}
	}, withConfig(func(cfg *Config) { cfg.RollbackOnPartial = true }))
}

// TestCauseOfARevision: only a rollback returns; what looks like an earlier revision
// for another reason says that it is the same.
func TestCauseOfARevision(t *testing.T) {
	t.Parallel()
	returned := func(d model.Deployment, to uint64) model.Deployment {
		d.MarkReturn(to)
		return d
	}
	cases := map[string]struct {
		first, second, third func(w *world)
		cause                string
	}{
		"a person applies the first document again": {
			third: func(w *world) { w.put(cartOf("img:1", "a")) }, cause: "same as revision 1",
		},
		"a rollback is asked for": {
			third: func(w *world) { w.put(returned(cartOf("img:1", "a"), 1)) }, cause: "return to revision 1",
		},
		"a rollback to what never was": {
			third: func(w *world) { w.put(returned(cartOf("img:3", "a"), 1)) },
		},
		"the package is as it was": {
			first:  func(w *world) { w.put(returned(cart("a"), 1)) },
			second: func(w *world) { w.putPackage(shop("img:2")) },
			third:  func(w *world) { w.putPackage(shop("img:1")) }, cause: "same as revision 1",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, w *world) {
				if c.first == nil {
					c.first = func(w *world) { w.put(cartOf("img:1", "a")) }
					c.second = func(w *world) { w.put(cartOf("img:2", "a")) }
				}
				w.lead(1)
				for _, step := range []func(*world){c.first, c.second, c.third} {
					step(w)
					w.pass(time.Minute)
				}
				revisions := w.revisions()
				if len(revisions) != 3 || revisions[2].Cause != c.cause || revisions[2].IsReturn() != strings.HasPrefix(c.cause, "return") {
					t.Errorf("got %+v, want a third with cause %q", revisions, c.cause)
				}
				if r := revisions[2].Deployment.Rollout; r != nil {
					t.Errorf("rollout of the recorded wish: got %+v, want none", r)
				}
			})
		})
	}
}
