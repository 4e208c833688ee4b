package dispatch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oprc/oprc-pm/model"
)

// placed reads places such as "a b<a c<b@b": b replaces a, c replaces b and stands
// in for b.
func placed(text string) []model.PlacedCluster {
	var places []model.PlacedCluster
	for _, field := range strings.Fields(text) {
		field, standsFor, _ := strings.Cut(field, "@")
		name, replaces, _ := strings.Cut(field, "<")
		places = append(places, model.PlacedCluster{Cluster: name, Replaces: replaces, For: standsFor})
	}
	return places
}

func TestSettlePlaces(t *testing.T) {
	t.Parallel()
	running := func(clusters ...string) []model.UnitStatus {
		var units []model.UnitStatus
		for _, cluster := range clusters {
			units = append(units, rec(cluster, "u-"+cluster, model.UnitRunning))
		}
		return units
	}
	cases := map[string]struct {
		before, planned string
		units           []model.UnitStatus
		want, moves     string
	}{
		"first placement":     {planned: "a b", want: "a b"},
		"nothing new":         {before: "a b", planned: "a b", units: running("a", "b"), want: "a b"},
		"moved":               {before: "a b", planned: "c<a b", units: running("a", "b"), want: "c<a b", moves: "a>c"},
		"still moving":        {before: "c<a b", planned: "c<a b", units: running("a", "b"), want: "c<a b"},
		"the old one is gone": {before: "c<a b", planned: "c<a b", units: running("b", "c"), want: "c b"},
		"the old one is on its way out": {before: "c<a", planned: "c<a",
			units: []model.UnitStatus{rec("a", "u", model.UnitDeleting)}, want: "c"},
		"moved before anything ran": {before: "a", planned: "c<a", want: "c", moves: "a>c"},
		"moved on before the stand-in ran: the first one stays": {before: "c<a", planned: "d<c", units: running("a"),
			want: "d<a", moves: "c>d"},
		"moved on when the stand-in was accepted, but the first one runs": {before: "c<a", planned: "d<c",
			units: append(running("a"), rec("c", "u", model.UnitDeploying)), want: "d<a", moves: "c>d"},
		"moved on when the stand-in ran": {before: "c<a", planned: "d<c", units: running("a", "c"), want: "d<c", moves: "c>d"},
		"goes back":                      {before: "c@a", planned: "a<c", units: running("c"), want: "a<c", moves: "c>a back"},
		"goes back before it was gone":   {before: "c<a@a", planned: "a<c", units: running("a", "c"), want: "a<c", moves: "c>a back"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			places, moves := settlePlaces(placed(c.before), placed(c.planned), c.units)
			var got, gotMoves []string
			for _, p := range places {
				text := p.Cluster
				if p.Replaces != "" {
					text += "<" + p.Replaces
				}
				got = append(got, text)
			}
			for _, m := range moves {
				back := ""
				if m.back {
					back = " back"
				}
				gotMoves = append(gotMoves, fmt.Sprintf("%s>%s%s", m.from, m.to, back))
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("places: got %q, want %q", got, c.want)
			}
			if got := strings.Join(gotMoves, ", "); got != c.moves {
				t.Errorf("moves: got %q, want %q", got, c.moves)
			}
			again, more := settlePlaces(places, places, c.units)
			if len(more) != 0 || fmt.Sprint(again) != fmt.Sprint(places) {
				t.Errorf("a second look: got %v and moves %v, want no change", again, more)
			}
		})
	}
}
