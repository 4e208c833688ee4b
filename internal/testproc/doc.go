// Package testproc runs the shipped program as processes, for tests that need
// what only processes have: signals, exit codes, a kernel that survives them. It
// drives them over HTTP only.
//
// A failed test keeps the data directories and logs of its nodes and says
// where they are.
package testproc
