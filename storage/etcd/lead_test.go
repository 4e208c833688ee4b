package etcd_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// TestDeposedLeaderIsFenced stops a leader for longer than its lease, as a suspended
// machine would be. What it still tries as a leader is rejected once its successor has
// begun, however late it comes.
func TestDeposedLeaderIsFenced(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := config(servers, "/fence")
	old, proxy := behind(t, servers, cfg, "old")
	leads(t, old)
	terms := make(chan uint64, 8)
	ended := make(chan struct{}, 8)
	ctx := within(t, patience)
	var all sync.WaitGroup
	all.Go(func() {
		_ = old.Lead(ctx, func(ctx context.Context, term uint64) {
			terms <- term
			<-ctx.Done()
			ended <- struct{}{}
		})
	})
	term := <-terms
	next := open(t, cfg, "next")
	proxy.Freeze()
	leads(t, next)
	after := next.Status().Term
	if after <= term {
		t.Errorf("term %d follows %d", after, term)
	}
	// The old leader does not know yet, and its command waits in a connection.
	rejected := make(chan error, 1)
	go func() {
		_, err := old.Apply(within(t, patience), storage.Request{Command: storagetest.PutRegister("p", "deposed"), LeaderTerm: term})
		rejected <- err
	}()
	if result, err := next.Apply(within(t, patience), storage.Request{Command: storagetest.PutRegister("p", "leader"), LeaderTerm: after}); err != nil {
		t.Errorf("the new leader got %+v, %v", result, err)
	}
	<-ended
	proxy.Heal()
	wantCode(t, <-rejected, model.CodeConflict)
	wantValue(t, old, "p", "leader")
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
}

// TestTermsAreNeverShared lets nodes lead in turn over an etcd whose revisions are far
// below the last term, as after a restore into another etcd.
func TestTermsAreNeverShared(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := config(servers, "/terms")
	nodes := openThree(t, cfg)
	var mu sync.Mutex
	seen := map[uint64]string{}
	var running atomic.Int32
	ctx := within(t, patience)
	var all sync.WaitGroup
	for _, node := range nodes {
		all.Go(func() {
			_ = node.Lead(ctx, func(ctx context.Context, term uint64) {
				if running.Add(1) > 1 {
					t.Error("two runs at once, though leadership was handed over in good order")
				}
				mu.Lock()
				if other, taken := seen[term]; taken {
					t.Errorf("term %d is that of %s and of %s", term, other, node.Status().NodeName)
				}
				seen[term] = node.Status().NodeName
				mu.Unlock()
				<-ctx.Done()
				running.Add(-1)
			})
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
	for round := 1; round <= 6; round++ {
		eventually(t, fmt.Sprint("run ", round), func() bool { return count() >= round })
		leader := someLeads(t, nodes...)
		eventually(t, "leadership is handed over", func() bool { return leader.Resign(ctx) == nil })
	}
	for _, node := range nodes {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
}

// TestRunEndsBeforeTheNextBegins holds a run back while its node closes: no other node
// leads meanwhile.
func TestRunEndsBeforeTheNextBegins(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := config(servers, "/overlap")
	first := open(t, cfg, "first")
	leads(t, first)
	other := open(t, cfg, "other")
	began, end := make(chan struct{}), make(chan struct{})
	var ended atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		_ = first.Lead(t.Context(), func(ctx context.Context, _ uint64) {
			close(began)
			<-ctx.Done()
			<-end
			ended.Store(true)
		})
	})
	<-began
	all.Go(func() {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	})
	overlapped := make(chan bool, 1)
	all.Go(func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_ = other.Lead(ctx, func(context.Context, uint64) {
			overlapped <- !ended.Load()
			cancel()
		})
	})
	select {
	case <-overlapped:
		t.Error("the next run began")
	case <-time.After(300 * time.Millisecond):
	}
	close(end)
	if <-overlapped {
		t.Error("the next run began before the last one had ended")
	}
	all.Wait()
}

// TestCandidacyIsRemoved takes the leader's key away.
func TestCandidacyIsRemoved(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	node := open(t, config(servers, "/removed"), "node")
	leads(t, node)
	term := node.Status().Term
	for _, key := range []string{"election/", "nodes/"} {
		if _, err := client.Delete(t.Context(), node.Key(key), clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the node leads again", func() bool {
		st := node.Status()
		return st.Role == storage.RoleLeader && st.Term > term
	})
}

// TestRestoreFencesTheRun restores a backup through another node than the leader: what
// the run of before still sends is rejected, and the next one has another term.
func TestRestoreFencesTheRun(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := config(servers, "/restore-fence")
	leader := open(t, cfg, "leader")
	leads(t, leader)
	terms := make(chan uint64, 8)
	ctx := within(t, patience)
	var all sync.WaitGroup
	all.Go(func() {
		_ = leader.Lead(ctx, func(ctx context.Context, term uint64) {
			terms <- term
			<-ctx.Done()
		})
	})
	term := <-terms
	other := open(t, cfg, "other")
	put(t, other, "p", "saved")
	var file bytes.Buffer
	if _, err := backup.Save(ctx, other, &file, backup.SaveOptions{Node: "other", Driver: "etcd", Dir: t.TempDir(), At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	put(t, other, "p", "later")
	if _, _, err := backup.Restore(ctx, other, bytes.NewReader(file.Bytes()), backup.RestoreOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	_, err := leader.Apply(ctx, storage.Request{Command: storagetest.PutRegister("p", "by the run of before"), LeaderTerm: term})
	wantCode(t, err, model.CodeConflict)
	if next := <-terms; next <= term {
		t.Errorf("term %d follows %d", next, term)
	}
	wantValue(t, leader, "p", "saved")
	sameState(t, leader, other, open(t, cfg, "fresh"))
	if err := leader.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
}
