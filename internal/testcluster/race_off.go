//go:build !race

package testcluster

// slowness stretches the election timers.
const slowness = 1
