// Command oprc-pm is the Package Manager of an Object-as-a-Service platform: a
// node of its replicated control plane (server, dev), the command line for its
// API (apply, get, describe, diff, delete, cluster) and a simulated cluster
// (crm-sim).
//
// This package is the composition root. It reads flags, environment and file
// into a configuration, hands each part of the program what it needs, and starts
// and stops the parts in order. It holds no rule about packages, deployments,
// replication or clusters: those are in model, fsm, cluster and crm. Each verb
// is one file.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(mainWithSignals()) }

// mainWithSignals ends the program's context on the first signal and gives the
// second its usual effect back, so that it ends the process at once.
func mainWithSignals() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())
}
