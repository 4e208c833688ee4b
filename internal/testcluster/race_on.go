//go:build race

package testcluster

// slowness stretches the election timers: with the race detector, five nodes on
// a busy machine need longer to exchange a vote.
const slowness = 2
