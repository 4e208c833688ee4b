// Package bench is the load harness: it puts a load on a running control plane,
// or on one that it starts itself, and tells how fast the answers came, whether
// they were right, and what they cost.
//
// It sees only what a client sees, HTTP and the files of /proc, so that its
// figures are those of any client and hold for any version. It never imports
// what runs inside a node.
//
// Absolute figures say more about the machine than about the program. What the
// package is built for is the ratio: several subjects measured in turns
// (A B A B …) in one run, and compared turn by turn. The subject "plain" is the
// limit of HTTP on the machine: a server that answers the same bytes with the
// same headers from memory.
//
// A load that did nothing, or got a wrong answer, is a failure and not a figure.
//
// Goroutines: a turn runs one per client and waits for all; a Process has one
// that waits for the child. Nothing else outlives the call that started it.
package bench
