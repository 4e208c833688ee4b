package wait_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
)

func TestForWaitsAsLongAsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{-time.Second, 0, time.Millisecond, time.Hour} {
			began := time.Now()
			if !wait.For(t.Context(), d) {
				t.Errorf("For(%s) says that its context ended", d)
			}
			if got, want := time.Since(began), max(d, 0); got != want {
				t.Errorf("For(%s) took %s, want %s", d, got, want)
			}
		}
	})
}

func TestForEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(time.Minute, cancel)
		for _, d := range []time.Duration{time.Hour, time.Hour, 0} {
			if wait.For(ctx, d) {
				t.Errorf("For(%s) says that it waited, but its context ended", d)
			}
		}
		if got := time.Since(began); got != time.Minute {
			t.Errorf("waited %s after the context ended, want none", got-time.Minute)
		}
	})
}

func TestJitterStaysWithinItsShare(t *testing.T) {
	t.Parallel()
	const d = time.Hour
	for _, share := range []float64{0, 0.1, 0.3, 1} {
		lowest, highest := time.Duration(float64(d)*(1-share)), time.Duration(float64(d)*(1+share))
		seen := map[time.Duration]bool{}
		for range 1_000 {
			got := wait.Jitter(d, share)
			if got < lowest || got > highest {
				t.Fatalf("Jitter(%s, %v) = %s, want it within %s and %s", d, share, got, lowest, highest)
			}
			seen[got] = true
		}
		if spread := len(seen) > 1; spread != (share > 0) {
			t.Errorf("Jitter(%s, %v) gave %d different values of 1000", d, share, len(seen))
		}
	}
}
