package etcd_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
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
