// Package wait holds the two things that every loop with a clock needs: a pause
// that a context ends, and a spread of pauses so that many loops do not act at
// the same moment.
//
// It starts no goroutine and holds no lock.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d, and reports whether it could: false tells that ctx ended
// before. Without a time to wait, zero or less, it only looks at ctx.
func For(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Jitter spreads d evenly over plus and minus a share of it; the share is between
// 0, which leaves d as it is, and 1.
func Jitter(d time.Duration, share float64) time.Duration {
	return d + time.Duration((2*rand.Float64()-1)*share*float64(d))
}
