package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestFlappingForADay: a cluster of which every other probe fails by chance is
// seldom news.
func TestFlappingForADay(t *testing.T) {
	t.Parallel()
	for seedOf := range uint64(5) {
		cfg, rng := DefaultConfig(), rand.New(rand.NewPCG(seedOf, 1))
		s, now := seed(cfg, "a", unprobed(), noon), noon
		told, held, probes := 0, 0, 0
		for ; now.Before(noon.Add(24 * time.Hour)); now = now.Add(delay(cfg, &s)) {
			o := good
			if rng.IntN(2) == 0 {
				o = closed
			}
			before := s.health.Status
			var changed bool
			s, changed, _ = advance(cfg, s, o, now, now)
			if changed {
				s.recorded = s.health
			}
			if probes++; s.health.Status != before {
				told++
			}
			if s.health.Reason == ReasonFlapping {
				held++
			}
		}
		if most := probes / 10; told > most {
			t.Errorf("got %d changes of status in %d probes, want at most %d", told, probes, most)
		}
		if held < probes/2 {
			t.Errorf("got it held for %d of %d probes, want for most", held, probes)
		}
	}
}
