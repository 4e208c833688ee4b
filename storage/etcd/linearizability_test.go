package etcd_test

import (
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// killEvery is the pause between two kills of etcd's leader in the long form.
const killEvery = 5 * time.Second

// TestLinearizability runs operations through three nodes over three members of etcd,
// whose leader is killed again and again (I2).
func TestLinearizability(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 3)
	nodes := openThree(t, config(servers, "/linearizability"))
	history := storagetest.NewLinearizability()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for id := range 9 {
		clients.Go(func() {
			history.Client(id, func() storage.Store { return nodes[rand.IntN(len(nodes))] }, stop)
		})
	}
	progress := func(n int64) {
		t.Helper()
		from := history.Recorded()
		eventually(t, "operations", func() bool { return history.Recorded() >= from+n })
	}
	kill := func() {
		t.Helper()
		leader := -1
		eventually(t, "etcd has a leader", func() bool { leader = servers.Leader(); return leader >= 0 })
		servers.Kill(leader)
		progress(300)
		servers.Restart(leader)
	}
	if operations, long := storagetest.Operations(t, os.Getenv(storagetest.OperationsVariable)); long {
		for history.Recorded() < operations {
			<-time.After(killEvery)
			kill()
		}
	} else {
		for range 2 {
			progress(300)
			kill()
		}
	}
	progress(300)
	close(stop)
	clients.Wait()
	history.Check(t, 5*time.Minute)
	sameState(t, nodes...)
}

// TestLinearizabilityFindsStaleReads proves the test above: a node whose reads are
// answered from its copy, without asking etcd, is found out.
func TestLinearizabilityFindsStaleReads(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := config(servers, "/stale")
	ahead := open(t, cfg, "ahead")
	behind, proxy := behind(t, servers, cfg, "behind")
	proxy.Slow(20 * time.Millisecond)
	history := storagetest.NewLinearizability()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	stores := []storage.Store{ahead, etcd.StaleReads{Store: behind}}
	for id := range 6 {
		clients.Go(func() { history.Client(id, func() storage.Store { return stores[id%2] }, stop) })
	}
	eventually(t, "operations", func() bool { return history.Recorded() > 3000 })
	close(stop)
	clients.Wait()
	if !history.Faulty(time.Minute) {
		t.Error("stale reads were not found")
	}
}
