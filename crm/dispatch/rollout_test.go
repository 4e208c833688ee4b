package dispatch

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// placesFrom reads places such as "a:fresh b:stale c:moving d:empty e:refused".
// One that ends in "!" serves, besides fresh and stale ones, which do unless they
// end in "?"; one that ends in "~" cannot be reached. Fresh ones run since before.
func placesFrom(text string) []place {
	var places []place
	for _, field := range strings.Fields(text) {
		name, word, _ := strings.Cut(field, ":")
		state := strings.TrimRight(word, "!?~")
		p := place{cluster: name, reachable: !strings.Contains(word, "~")}
		p.state = map[string]placeState{
			"empty": placeEmpty, "stale": placeStale, "moving": placeMoving, "refused": placeMoving, "fresh": placeFresh,
		}[state]
		p.serves = (state == "fresh" || state == "stale" || strings.Contains(word, "!")) && !strings.Contains(word, "?")
		if state == "refused" {
			p.refused, p.unit.LastError = true, "deploy: no"
		}
		p.unit.LastTransitionTime = before
		places = append(places, p)
	}
	return places
}

func share(text model.Share) *model.Share        { return &text }
func length(text model.Duration) *model.Duration { return &text }

func TestRollout(t *testing.T) {
	t.Parallel()
	const (
		progressing, paused, failed, rolledBack, complete = model.RolloutProgressing, model.RolloutPaused, model.RolloutFailed, model.RolloutRolledBack, model.RolloutComplete
	)
	waves := model.Rollout{Strategy: model.RolloutWaves}
	with := func(change func(*model.Rollout)) model.Rollout {
		spec := waves
		change(&spec)
		return spec
	}
	toPause := with(func(s *model.Rollout) { s.Paused = true })
	inTwos := with(func(s *model.Rollout) { s.Wave = share("2") })
	inHalves := with(func(s *model.Rollout) { s.Wave = share("50%") })
	soaking := with(func(s *model.Rollout) { s.Soak = length("5m") })
	twoDown := with(func(s *model.Rollout) { s.MaxUnavailable = share("2") })
	returning := with(func(s *model.Rollout) { s.OnFailure = model.OnFailureRollback })
	goingOn := with(func(s *model.Rollout) { s.OnFailure = model.OnFailureContinue })
	const limit = 10 * time.Minute
	cases := map[string]struct {
		spec    model.Rollout
		was     model.RolloutPhase // "": the generation is new
		elapsed time.Duration      // since was
		places  string
		unknown []string
		partial bool
		refuge  refuge

		phase   model.RolloutPhase
		start   string
		again   time.Duration
		message string
		asks    bool
	}{
		"first generation begins everywhere": {spec: waves, places: "a:empty b:empty", phase: progressing, start: "a b"},
		"parallel begins everywhere":         {places: "a:stale b:stale c:empty", phase: progressing, start: "a b c"},
		"waves are of one": {spec: waves, places: "a:stale b:stale c:stale", phase: progressing, start: "a",
			message: "waiting for a"},
		"waves are of two":                 {spec: inTwos, places: "a:fresh b:stale c:stale d:stale", phase: progressing, start: "b c"},
		"waves are half":                   {spec: inHalves, places: "a:stale b:stale c:stale", phase: progressing, start: "a b"},
		"a setting of waves asks for them": {spec: model.Rollout{Wave: share("1")}, places: "a:stale b:stale", phase: progressing, start: "a"},
		"parallel in spite of a setting of waves": {spec: model.Rollout{Strategy: model.RolloutParallel, Wave: share("1")},
			places: "a:stale b:stale", phase: progressing, start: "a b"},
		"the next wave waits for the last": {spec: waves, was: progressing, places: "a:moving! b:stale", phase: progressing,
			again: limit, message: "waiting for a"},
		"the next wave begins when the last runs": {spec: waves, was: progressing, places: "a:fresh b:stale c:stale", phase: progressing, start: "b"},
		"the next wave waits for the last to soak": {spec: soaking, was: progressing, elapsed: time.Minute, places: "a:fresh b:stale",
			phase: progressing, again: 4 * time.Minute, message: "soaks for 5m"},
		"the next wave begins when the last has soaked": {spec: soaking, was: progressing, elapsed: 5 * time.Minute, places: "a:fresh b:stale",
			phase: progressing, start: "b"},
		"nothing has to soak before the first wave": {spec: soaking, places: "a:stale b:stale", phase: progressing, start: "a"},
		"a place that serves is left alone while too many do not": {spec: waves, was: progressing, places: "a:stale b:stale c:fresh?",
			phase: progressing, message: "held: 1 of 3"},
		"as many as max_unavailable may be down": {spec: twoDown, was: progressing, places: "a:stale b:stale c:fresh?", phase: progressing, start: "a"},
		"a place that does not serve has nothing to lose": {spec: waves, was: progressing, places: "a:stale b:stale? c:fresh",
			phase: progressing, start: "b"},
		"places that cannot be reached come last": {spec: waves, places: "a:stale~ b:stale c:stale", phase: progressing, start: "b"},
		"places that are added wait for their wave": {spec: waves, places: "a:stale b:empty c:stale", phase: progressing,
			start: "b"},

		"complete":                        {spec: waves, was: progressing, places: "a:fresh b:fresh", phase: complete},
		"complete at once":                {spec: waves, places: "a:fresh b:fresh", phase: complete},
		"complete although paused":        {spec: toPause, was: progressing, places: "a:fresh b:fresh", phase: complete},
		"a unit lost later comes back":    {spec: waves, was: complete, elapsed: time.Hour, places: "a:fresh b:moving c:empty", phase: complete, start: "a b c"},
		"a place that moves, when paused": {spec: toPause, was: complete, elapsed: time.Hour, places: "a:fresh b:empty", phase: complete, start: "a b"},
		"places that change later, in waves": {spec: waves, was: complete, elapsed: time.Hour, places: "a:stale b:stale",
			phase: progressing, start: "a"},
		"an unknown target is not complete": {places: "a:fresh", unknown: []string{"z"}, phase: progressing, again: limit, start: "a",
			message: "not registered: z"},

		"paused":                           {spec: toPause, was: progressing, elapsed: time.Hour, places: "a:moving! b:stale", phase: paused, message: "0 of 2"},
		"paused before it began":           {spec: toPause, places: "a:stale b:stale", phase: paused},
		"paused creation":                  {spec: toPause, places: "a:empty", phase: paused},
		"resumed, the deadline is anew":    {spec: waves, was: paused, elapsed: time.Hour, places: "a:moving! b:stale", phase: progressing, again: limit},
		"resumed, the next wave may begin": {spec: waves, was: paused, elapsed: time.Hour, places: "a:fresh b:stale", phase: progressing, start: "b"},

		"late":    {spec: waves, was: progressing, elapsed: limit, places: "a:moving! b:stale", phase: failed, message: "not running within 10m in a"},
		"refused": {spec: waves, was: progressing, places: "a:refused! b:stale", phase: failed, message: "refused by a: deploy: no"},
		"its own deadline": {spec: with(func(s *model.Rollout) { s.ProgressDeadline = length("30s") }), was: progressing, elapsed: 30 * time.Second,
			places: "a:moving! b:stale", phase: failed, message: "within 30s"},
		"failed, parallel: the others go on": {was: failed, places: "a:refused b:empty", phase: failed, start: "a b"},
		"failed, waves: no other one begins": {spec: waves, was: failed, places: "a:fresh b:stale", phase: failed},
		"failed, then everything runs":       {spec: waves, was: failed, elapsed: time.Hour, places: "a:fresh b:fresh", phase: complete},
		"an unknown target fails in the end": {was: progressing, elapsed: limit, places: "a:fresh", unknown: []string{"z"}, phase: failed, start: "a",
			message: "in z"},

		"continue: the next wave begins":  {spec: goingOn, was: progressing, elapsed: limit, places: "a:moving! b:refused! c:stale", phase: progressing, start: "c"},
		"continue: others are waited for": {spec: goingOn, was: progressing, places: "a:moving! b:refused! c:stale", phase: progressing, again: limit},
		"continue: in the end it failed":  {spec: goingOn, was: progressing, places: "a:fresh b:refused!", phase: failed, start: "a b"},
		"continue: soaking is not the end": {spec: with(func(s *model.Rollout) { s.OnFailure, s.Soak = model.OnFailureContinue, length("5m") }), was: progressing,
			elapsed: time.Minute, places: "a:fresh b:refused! c:stale", phase: progressing, again: 4 * time.Minute},

		"return: is there anything to return to?": {spec: returning, was: progressing, places: "a:refused! b:stale", phase: progressing, asks: true},
		"return":                                                 {spec: returning, was: progressing, places: "a:refused! b:stale", refuge: refugeElsewhere, phase: rolledBack, message: "refused by a"},
		"return: nothing ever ran, so all goes":                  {spec: returning, was: progressing, places: "a:refused b:fresh", refuge: refugeNone, phase: rolledBack},
		"return: what failed is the last good one":               {spec: returning, was: progressing, places: "a:refused! b:stale", refuge: refugeHere, phase: failed},
		"return: a failure that was told before stays a failure": {spec: returning, was: failed, places: "a:refused! b:stale", refuge: refugeElsewhere, phase: failed},
		"partial":       {partial: true, was: progressing, places: "a:fresh b:refused", refuge: refugeNone, phase: rolledBack},
		"partial: late": {partial: true, was: progressing, elapsed: limit, places: "a:fresh b:moving", refuge: refugeElsewhere, phase: rolledBack},
		"partial: not yet late": {partial: true, was: progressing, elapsed: limit - time.Second, places: "a:fresh b:moving", refuge: refugeElsewhere,
			phase: progressing, start: "a b", again: time.Second},
		"partial: lost after it ran everywhere": {partial: true, was: complete, elapsed: time.Hour, places: "a:fresh b:refused", phase: complete, start: "a b"},
		"given up stays given up":               {spec: waves, was: rolledBack, elapsed: time.Hour, places: "a:empty b:empty", phase: rolledBack},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rollout{
				spec: c.spec, generation: 3, revision: 2, places: placesFrom(c.places), unknown: c.unknown,
				partial: c.partial, deadline: limit, refuge: c.refuge, stood: c.elapsed, now: before.Add(c.elapsed),
			}
			for i := range r.places {
				r.places[i].ran = c.elapsed
			}
			if c.was != "" {
				r.before = &model.RolloutStatus{Phase: c.was, Generation: 3, Revision: 2, Since: before, Message: "told before", Total: uint32(len(r.places))}
			}
			p := r.advance()
			if p.asksRefuge != c.asks {
				t.Fatalf("asks for the refuge: got %v, want %v", p.asksRefuge, c.asks)
			}
			if c.asks {
				return
			}
			if got := strings.Join(slices.Sorted(maps.Keys(p.start)), " "); got != c.start {
				t.Errorf("start: got %q, want %q", got, c.start)
			}
			if c.phase == progressing && c.again == 0 && len(p.started(r.places)) > 0 {
				c.again = limit // until what begins now is late
			}
			if p.status.Phase != c.phase || p.again != c.again || !strings.Contains(p.status.Message, c.message) {
				t.Errorf("got %s, again in %s, %q; want %s, %s, %q", p.status.Phase, p.again, p.status.Message, c.phase, c.again, c.message)
			}
			if c.was == rolledBack {
				return
			}
			begins := len(p.started(r.places)) > 0
			if moved := !p.status.Since.Equal(before); c.was == c.phase && moved && !begins && c.phase != progressing {
				t.Errorf("since: got %v, want it kept: nothing changed", p.status.Since)
			}
			if !p.status.Since.Equal(before) {
				r.stood = 0
			}
			r.before = &p.status
			if again := r.advance(); !begins && !sameRollout(&p.status, &again.status) {
				t.Errorf("a second look differs: got %+v, want %+v", again.status, p.status)
			}
		})
	}
}

// TestRolloutDeadlineCountsFromProgress: a rollout that gets on is not late,
// however long it takes in all.
func TestRolloutDeadlineCountsFromProgress(t *testing.T) {
	t.Parallel()
	r := rollout{
		spec: model.Rollout{Strategy: model.RolloutWaves}, generation: 3, revision: 2,
		deadline: 10 * time.Minute, now: before,
	}
	look := func(places string, wait time.Duration) progress {
		r.now = r.now.Add(wait)
		r.places = placesFrom(places)
		if r.before != nil {
			r.stood = r.now.Sub(r.before.Since)
		}
		p := r.advance()
		r.before = &p.status
		return p
	}
	look("a:stale b:stale c:stale", 0)
	for _, places := range []string{"a:moving! b:stale c:stale", "a:fresh b:stale c:stale", "a:fresh b:moving! c:stale", "a:fresh b:fresh c:stale"} {
		if p := look(places, 9*time.Minute); p.status.Phase != model.RolloutProgressing {
			t.Fatalf("%s: got %s, want Progressing", places, p.status.Phase)
		}
	}
	look("a:fresh b:fresh c:moving!", 0)
	if p := look("a:fresh b:fresh c:moving!", 10*time.Minute); p.status.Phase != model.RolloutFailed {
		t.Errorf("got %s, want Failed: nothing got on for as long as the deadline", p.status.Phase)
	}
}

func TestPlacesNow(t *testing.T) {
	t.Parallel()
	refused := neverAccepted(rec("e", "u5", model.UnitDown))
	refused.LastError = "deploy: no"
	w := wish{plan: planOf("a", "u1", "b", "u2", "c", "u3", "d", "u4", "e", "u5", "f", "u6")}
	units := []model.UnitStatus{
		rec("a", "u1", model.UnitRunning),
		rec("b", "old", model.UnitRunning), rec("b", "u2", model.UnitDeploying),
		rec("c", "old", model.UnitDown),
		rec("d", "old", model.UnitPending),
		refused,
		rec("f", "old", model.UnitDeleting),
		rec("x", "old", model.UnitRunning),
	}
	want := "a fresh true, b moving true, c stale false, d empty false, e moving false, f empty false"
	var got []string
	for _, p := range placesNow(w, units, yes) {
		state := map[placeState]string{placeEmpty: "empty", placeStale: "stale", placeMoving: "moving", placeFresh: "fresh"}[p.state]
		serves := " false"
		if p.serves {
			serves = " true"
		}
		got = append(got, p.cluster+" "+state+serves)
		if why, _ := p.why(); p.refused != (p.cluster == "e") || p.refused && why != "deploy: no" {
			t.Errorf("%s: got refused %v, %q", p.cluster, p.refused, why)
		}
	}
	if got := strings.Join(got, ", "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
