package etcd_test

import (
	"errors"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// content is all of a node's keys in etcd that are its state.
func content(t *testing.T, client *clientv3.Client, s *etcd.Store) map[string]string {
	t.Helper()
	resp, err := client.Get(t.Context(), s.Key(""), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	pairs := map[string]string{}
	for _, kv := range resp.Kvs {
		if kv.Lease == 0 {
			pairs[string(kv.Key)] = string(kv.Value)
		}
	}
	return pairs
}

// replace makes etcd hold just these pairs of a node, in one step.
func replace(t *testing.T, client *clientv3.Client, s *etcd.Store, pairs map[string]string) {
	t.Helper()
	var ops []clientv3.Op
	for key := range content(t, client, s) {
		if _, stays := pairs[key]; !stays {
			ops = append(ops, clientv3.OpDelete(key))
		}
	}
	for key, value := range pairs {
		ops = append(ops, clientv3.OpPut(key, value))
	}
	if _, err := client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
}

// wantLost waits until a node says that its state is gone, and checks what it still
// does.
func wantLost(t *testing.T, s *etcd.Store, reason, stale string) {
	t.Helper()
	eventually(t, "the node says: "+reason, func() bool { return strings.Contains(s.Status().Reason, reason) })
	_, err := s.Apply(within(t, patience), storage.Request{Command: storagetest.PutRegister("p", "lost")})
	wantCode(t, err, model.CodeUnavailable)
	if got, err := storagetest.GetRegister(t.Context(), s, "p", storage.ReadOptions{Consistency: storage.Stale}); got != stale || err != nil {
		t.Errorf("stale read: %q, %v, want %q", got, err, stale)
	}
	eventually(t, "the node leads no more", func() bool { return s.Status().Role != storage.RoleLeader })
}

// TestStateIsRemovedAndRestored takes the keys away and brings them back.
func TestStateIsRemovedAndRestored(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	cfg := config(servers, "/removed")
	nodes := openThree(t, cfg)
	lead(t, nodes[0])
	w := watch(t, nodes[1])
	put(t, nodes[0], "p", "1")
	saved := content(t, client, nodes[0])
	replace(t, client, nodes[0], nil)
	for _, node := range nodes {
		wantLost(t, node, "removed from etcd", "1")
	}
	replace(t, client, nodes[0], saved)
	for _, node := range nodes {
		eventually(t, "the node is ready again", func() bool { return node.Status().Ready })
		wantValue(t, node, "p", "1")
	}
	eventually(t, "somebody leads", func() bool { return nodes[0].Status().LeaderID != "" })
	index := put(t, nodes[2], "p", "2").Index
	for at := uint64(0); at < index; {
		var err error
		_, at, err = w.Next(within(t, patience))
		var compacted *storage.CompactedError
		if errors.As(err, &compacted) {
			// Others wrote before this node had its state back.
			if w, err = nodes[1].Watch(t.Context(), storage.WatchOptions{Since: compacted.Oldest}); err == nil {
				t.Cleanup(w.Close)
			}
		}
		if err != nil {
			t.Fatalf("watcher: %v", err)
		}
	}
	sameState(t, nodes...)
}

// TestStateOfAnotherClusterIsNotTaken lets a new node found a state where the old one
// was removed.
func TestStateOfAnotherClusterIsNotTaken(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	cfg := config(servers, "/other")
	old := open(t, cfg, "old")
	leads(t, old)
	put(t, old, "p", "1")
	if _, err := client.Delete(t.Context(), old.Key(""), clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	wantLost(t, old, "removed from etcd", "1")
	fresh := open(t, cfg, "fresh")
	leads(t, fresh)
	put(t, fresh, "q", "2")
	wantLost(t, old, "another cluster", "1")
	wantValue(t, fresh, "q", "2")
	wantValue(t, fresh, "p", "")
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	restarted := open(t, cfg, "restarted")
	wantValue(t, restarted, "q", "2")
	sameState(t, fresh, restarted)
}

// TestOlderStateIsRestored puts a backup back under running nodes: they stop rather than
// let indexes run backwards, and take it when they are started anew.
func TestOlderStateIsRestored(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	cfg := config(servers, "/older")
	node := open(t, cfg, "node")
	leads(t, node)
	put(t, node, "p", "1")
	saved := content(t, client, node)
	put(t, node, "p", "2")
	put(t, node, "p", "3")
	replace(t, client, node, saved)
	select {
	case <-node.Done():
	case <-within(t, patience).Done():
		t.Fatal("the node goes on")
	}
	if err := node.Err(); err == nil || !strings.Contains(err.Error(), "started anew") {
		t.Errorf("fault: %v", err)
	}
	wantLost(t, node, "older state", "3")
	if err := node.Close(); err != nil {
		t.Error(err)
	}
	again := open(t, cfg, "again")
	wantValue(t, again, "p", "1")
	put(t, again, "p", "4")
	sameState(t, again)
}

// TestEtcdIsReplaced runs nodes against an etcd that was made anew from an export: all
// its revisions are far below those that they followed.
func TestEtcdIsReplaced(t *testing.T) {
	t.Parallel()
	first, second := testetcd.Start(t, 1), testetcd.Start(t, 1)
	cfg := config(first, "/replaced")
	node, proxy := behind(t, first, cfg, "node")
	leads(t, node)
	for range 30 {
		put(t, node, "p", "1")
		put(t, node, "p", "2")
	}
	term := node.Status().Term
	replace(t, second.Client(), node, content(t, first.Client(), node))
	proxy.Cut()
	proxy.Redirect(second.Endpoints()[0])
	proxy.Heal()
	wantValue(t, node, "p", "2")
	put(t, node, "p", "3")
	other := open(t, config(second, "/replaced"), "other")
	wantValue(t, other, "p", "3")
	eventually(t, "a new term", func() bool { return other.Status().Term > term })
	sameState(t, node, other)
}
