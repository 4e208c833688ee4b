package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// patience is how long a test waits for what should take no time.
const patience = 30 * time.Second

func config(c *testetcd.Cluster, prefix string) etcd.Config {
	cfg := etcd.DefaultConfig()
	cfg.Endpoints, cfg.Prefix = c.Endpoints(), prefix
	cfg.SessionTTL = 2 * time.Second
	cfg.RequestTimeout = 10 * time.Second
	return cfg
}

// open opens a node, which closes when the test ends.
func open(t testing.TB, cfg etcd.Config, name string) *etcd.Store {
	t.Helper()
	s, err := tryOpen(t, cfg, name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryOpen(t testing.TB, cfg etcd.Config, name string) (*etcd.Store, error) {
	t.Helper()
	cfg.Node = etcd.Node{Name: name, HTTPAddr: name + ":8080"}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := etcd.Open(ctx, cfg, etcd.Deps{
		Machine: fsm.NewMachine(),
		Logger:  slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", name),
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
	return s, nil
}

// openThree opens three nodes.
func openThree(t testing.TB, cfg etcd.Config) []*etcd.Store {
	t.Helper()
	var nodes []*etcd.Store
	for i := range 3 {
		nodes = append(nodes, open(t, cfg, fmt.Sprintf("n%d", i+1)))
	}
	return nodes
}

// behind opens a node that reaches the first member of etcd through a proxy only.
func behind(t testing.TB, c *testetcd.Cluster, cfg etcd.Config, name string) (*etcd.Store, *testetcd.Proxy) {
	t.Helper()
	proxy := testetcd.NewProxy(t, c.Endpoints()[0])
	cfg.Endpoints = []string{proxy.Addr()}
	return open(t, cfg, name), proxy
}

// lead makes s stand for leadership with a run that does nothing, until the test
// ends, and waits until somebody leads.
func lead(t testing.TB, s *etcd.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Lead(ctx, func(ctx context.Context, _ uint64) { <-ctx.Done() })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, storage.ErrClosed) {
			t.Errorf("lead: %v", err)
		}
	})
	eventually(t, "a leader is known", func() bool { return s.Status().LeaderID != "" })
}

// leads waits until a node leads.
func leads(t testing.TB, s *etcd.Store) {
	t.Helper()
	eventually(t, s.Status().NodeName+" leads", func() bool { return s.Status().Role == storage.RoleLeader })
}

// someLeads waits until one of the nodes leads, and returns it.
func someLeads(t testing.TB, nodes ...*etcd.Store) (leader *etcd.Store) {
	t.Helper()
	eventually(t, "a node leads", func() bool {
		for _, node := range nodes {
			if node.Status().Role == storage.RoleLeader {
				leader = node
			}
		}
		return leader != nil
	})
	return leader
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// within is a context for one step.
func within(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// apply applies a command that must be accepted.
func apply(t testing.TB, s storage.Store, c storage.Command) storage.Result {
	t.Helper()
	result, err := s.Apply(within(t, patience), storage.Request{Command: c})
	if err != nil {
		t.Fatalf("apply %T: %v", c, err)
	}
	return result
}

// put stores a value in a register.
func put(t testing.TB, s storage.Store, name, value string) storage.Result {
	t.Helper()
	return apply(t, s, storagetest.PutRegister(name, value))
}

// wantValue checks what a linearizable read of a register gives.
func wantValue(t testing.TB, s storage.Store, name, want string) {
	t.Helper()
	got, err := storagetest.GetRegister(within(t, patience), s, name, storage.ReadOptions{})
	if err != nil || got != want {
		t.Errorf("read %s: got %q, %v, want %q", name, got, err, want)
	}
}

// wantCode checks the code of an error.
func wantCode(t testing.TB, err error, want model.Code) {
	t.Helper()
	if got := model.CodeOf(err); got != want {
		t.Errorf("got code %q of error %v, want %q", got, err, want)
	}
}

// sameState checks that nodes hold the same at the same index, and that the digest is
// that of what they hold.
func sameState(t testing.TB, nodes ...*etcd.Store) {
	t.Helper()
	for _, node := range nodes {
		if node.Status().Reason == "closed" {
			return
		}
	}
	first := nodes[0]
	for _, node := range nodes[1:] {
		eventually(t, "all nodes are at one index", func() bool { return node.Status().AppliedIndex == first.Status().AppliedIndex })
		if got, want := node.Status().Digest, first.Status().Digest; got != want {
			t.Errorf("digest at index %d: %s and %s", first.Status().AppliedIndex, got, want)
		}
	}
	_, err := first.View(within(t, patience), storage.ReadOptions{Consistency: storage.Stale}, func(r storage.Reader) error {
		digest, err := storage.ComputeDigest(r)
		if got := first.Status().Digest; err == nil && got != digest.String() {
			t.Errorf("digest: the status says %s, the content is %s", got, digest)
		}
		return err
	})
	if err != nil {
		t.Errorf("view: %v", err)
	}
}
