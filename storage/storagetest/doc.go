// Package storagetest holds the suites that every storage driver passes: RunTx
// for what commands run on, RunStore for what the rest of the program sees. A
// driver plugs in with one line of its own test.
//
// The suites know the contract only. They never wait for a fixed time, so a
// store of several real nodes runs them as well as one in memory. Goroutines
// that a test starts end before the test does.
package storagetest
