package etcd_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// large is how many deployments a cascade removes, more than a transaction can.
const large = 1000

// wantCascaded checks that a node shows the package of deployMany and all its
// deployments removed.
func wantCascaded(t *testing.T, s storage.Store) {
	t.Helper()
	_, err := s.View(within(t, patience), storage.ReadOptions{}, func(r storage.Reader) error {
		for _, prefix := range []string{storage.PackagePrefix + "app", storage.DeploymentPrefix, "index/package/"} {
			err := storage.ScanPrefix(r, []byte(prefix), func(key, _ []byte) (bool, error) {
				t.Errorf("%q is still there", key)
				return false, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// wantParts checks how many parts of staged entries etcd holds.
func wantParts(t *testing.T, client *clientv3.Client, s *etcd.Store, some bool) {
	t.Helper()
	resp, err := client.Get(t.Context(), s.Key("staged/"), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || (resp.Count > 0) != some {
		t.Errorf("parts in etcd: %v, %v, want some: %v", resp, err, some)
	}
}

// smallTransactions makes entries staged that would otherwise not be.
func smallTransactions(cfg etcd.Config) etcd.Config {
	cfg.MaxBytes = 64 << 10
	return cfg
}

// TestLargeEntry commits a cascade and shows it on every node, also on one that opens
// before it is settled and on one that has to help.
func TestLargeEntry(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	cfg := smallTransactions(config(servers, "/large"))
	node := open(t, cfg, "node")
	leads(t, node)
	other := open(t, cfg, "other")
	deployMany(t, node, large)
	sameState(t, node, other)
	w := watch(t, other)
	index := apply(t, node, storage.DeletePackage{Name: "app", Cascade: true}).Index
	for _, n := range []*etcd.Store{node, other} {
		wantCascaded(t, n)
		if !n.Staged() {
			t.Error("the entry was not staged")
		}
	}
	events := 0
	for events <= large {
		batch, _, err := w.Next(within(t, patience))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range batch {
			if e.Index != index || e.Type != storage.EventDelete {
				t.Fatalf("event %+v, want deletions of index %d", e, index)
			}
		}
		events += len(batch)
	}
	if events != large+1 {
		t.Errorf("the watcher got %d events, want %d", events, large+1)
	}
	fresh := open(t, cfg, "fresh")
	wantCascaded(t, fresh)
	sameState(t, node, other, fresh)
	wantParts(t, client, node, true)
	// The node that committed it is gone; another one helps.
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, other, "p", "1")
	wantValue(t, fresh, "p", "1")
	wantParts(t, client, other, false)
	sameState(t, other, fresh, open(t, cfg, "last"))
}

// TestCrashWhileSettling loses a node after each step of settling a large entry.
func TestCrashWhileSettling(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	for _, steps := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			t.Parallel()
			cfg := smallTransactions(config(servers, fmt.Sprint("/settling/", steps)))
			node := open(t, cfg, "node")
			deployMany(t, node, 300)
			apply(t, node, storage.DeletePackage{Name: "app", Cascade: true})
			reached := make(chan struct{})
			var once sync.Once
			done := 0
			node.OnSettling(func() {
				if done++; done == steps {
					once.Do(func() { close(reached) })
					<-t.Context().Done()
				}
			})
			go func() { _, _ = node.Apply(t.Context(), storage.Request{Command: storagetest.PutRegister("p", "lost")}) }()
			<-reached
			fresh := open(t, cfg, "fresh")
			wantCascaded(t, fresh)
			put(t, fresh, "p", "1")
			put(t, fresh, "q", "2")
			sameState(t, fresh, node)
			sameState(t, open(t, cfg, "last"), fresh)
		})
	}
}

// TestLargeEntriesGetThrough stages entries while other nodes write without a pause,
// and leaves no parts behind.
func TestLargeEntriesGetThrough(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := smallTransactions(config(servers, "/through"))
	nodes := openThree(t, cfg)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i, node := range nodes[1:] {
		for c := range 4 {
			all.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
						put(t, node, fmt.Sprintf("w%d-%d", i, c), fmt.Sprint(n))
					}
				}
			})
		}
	}
	for round := range 3 {
		put(t, nodes[0], "p", fmt.Sprint(round, strings.Repeat("x", 40<<10)))
		deployMany(t, nodes[0], 150)
		apply(t, nodes[0], storage.DeletePackage{Name: "app", Cascade: true})
	}
	close(stop)
	all.Wait()
	put(t, nodes[0], "p", "end")
	sameState(t, nodes...)
	wantParts(t, servers.Client(), nodes[0], false)
	// What is in etcd is what the copies show.
	sameState(t, open(t, cfg, "fresh"), nodes[0])
}

// TestPartsWithoutEntryAreSwept removes what a node left that died before it
// committed, and not what is needed.
func TestPartsWithoutEntryAreSwept(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	cfg := smallTransactions(config(servers, "/sweep"))
	node := open(t, cfg, "node")
	leads(t, node)
	deployMany(t, node, 200)
	apply(t, node, storage.DeletePackage{Name: "app", Cascade: true})
	if _, err := client.Put(t.Context(), node.Key("staged/DEAD/000000"), "x"); err != nil {
		t.Fatal(err)
	}
	other := open(t, cfg, "other")
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	leads(t, other)
	eventually(t, "the parts are removed", func() bool {
		resp, err := client.Get(t.Context(), other.Key("staged/DEAD/"), clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && resp.Count == 0
	})
	wantCascaded(t, other)
	sameState(t, other, open(t, cfg, "fresh"))
}
