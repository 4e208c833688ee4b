package dispatch

import (
	"slices"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

func TestRolloutEvents(t *testing.T) {
	t.Parallel()
	status := func(revision uint64, phase model.RolloutPhase) *model.RolloutStatus {
		return &model.RolloutStatus{Generation: revision, Revision: revision, Phase: phase}
	}
	const (
		progressing, paused, failed, rolledBack, complete = model.RolloutProgressing, model.RolloutPaused, model.RolloutFailed, model.RolloutRolledBack, model.RolloutComplete
	)
	cases := map[string]struct {
		before, now *model.RolloutStatus
		want        []string
	}{
		"first generation":                 {nil, status(1, progressing), nil},
		"first generation runs":            {status(1, progressing), status(1, complete), nil},
		"first generation fails":           {status(1, progressing), status(1, failed), []string{"RolloutFailed"}},
		"first generation runs at last":    {status(1, failed), status(1, complete), []string{"RolloutComplete"}},
		"next revision":                    {status(1, complete), status(2, progressing), []string{"RolloutStarted"}},
		"next revision, paused":            {status(1, complete), status(2, paused), []string{"RolloutStarted", "RolloutPaused"}},
		"next revision while another runs": {status(1, progressing), status(2, progressing), []string{"RolloutStarted"}},
		"still on its way":                 {status(2, progressing), status(2, progressing), nil},
		"runs":                             {status(2, progressing), status(2, complete), []string{"RolloutComplete"}},
		"is paused":                        {status(2, progressing), status(2, paused), []string{"RolloutPaused"}},
		"goes on":                          {status(2, paused), status(2, progressing), []string{"RolloutResumed"}},
		"is given up":                      {status(2, progressing), status(2, rolledBack), []string{"RolledBack"}},
		"returns":                          {status(2, rolledBack), status(3, complete), []string{"RolloutStarted", "RolloutComplete"}},
		"without a plan":                   {status(2, complete), nil, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := question{now: later}
			q.s.deployment.Key, q.s.deployment.RolloutStatus = "cart", c.before
			var got []string
			for _, event := range q.rolloutEvents(c.now, "revision 2") {
				got = append(got, event.Reason)
				if event.Kind != model.EventAboutDeployment || event.Name != "cart" || !event.At.Equal(later) || event.Message == "" && event.Reason != "RolledBack" && event.Reason != "RolloutPaused" {
					t.Errorf("got %+v, want it about cart, now, with a message", event)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
