// Package plan decides where a deployment runs and what each cluster is asked
// for. It is pure: no I/O, no clock, no randomness, no goroutines. The same input
// gives the same plan on every node, so what a dry run shows is what the
// dispatcher then does.
package plan
