package etcd_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
	"github.com/oprc/oprc-pm/storage/storagetest"
)

// TestEtcdRestarts takes the only member away and brings it back.
func TestEtcdRestarts(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	nodes := openThree(t, config(servers, "/restart"))
	put(t, nodes[0], "p", "1")
	servers.Stop(0)
	_, err := nodes[1].Apply(within(t, 300*time.Millisecond), storage.Request{Command: storagetest.PutRegister("p", "2")})
	if code := model.CodeOf(err); code != model.CodeUnknownOutcome && code != model.CodeUnavailable {
		t.Errorf("a write without etcd: got %v", err)
	}
	_, err = storagetest.GetRegister(within(t, 300*time.Millisecond), nodes[1], "p", storage.ReadOptions{})
	wantCode(t, err, model.CodeUnavailable)
	if got, err := storagetest.GetRegister(t.Context(), nodes[1], "p", storage.ReadOptions{Consistency: storage.Stale}); got != "1" || err != nil {
		t.Errorf("stale read without etcd: %q, %v", got, err)
	}
	servers.Restart(0)
	for i, node := range nodes {
		put(t, node, "p", fmt.Sprint("after", i))
	}
	wantValue(t, nodes[0], "p", "after2")
	sameState(t, nodes...)
}

// TestAnswerIsLost cuts the connection between the commit and its answer: the node
// finds out, and the command is applied once.
func TestAnswerIsLost(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := config(servers, "/lost-answer")
	other := open(t, cfg, "other")
	leads(t, other)
	node, proxy := behind(t, servers, cfg, "node")
	for round := range 3 {
		base := other.Status().AppliedIndex
		proxy.HoldAnswers()
		type answer struct {
			result storage.Result
			err    error
		}
		answers := make(chan answer, 1)
		name := fmt.Sprint("p", round)
		request := storage.Request{ID: name, Command: storage.PutPackage{Name: name, Mode: storage.Create, Document: storagetest.PutRegister(name, "1").Document}}
		go func() {
			result, err := node.Apply(within(t, patience), request)
			answers <- answer{result, err}
		}()
		eventually(t, "the command is committed", func() bool { return other.Status().AppliedIndex > base })
		proxy.Cut()
		proxy.Heal()
		got := <-answers
		if got.err != nil || got.result.Outcome != storage.Created || got.result.Duplicate || got.result.Index != base+1 {
			t.Errorf("got %+v, %v, want that it was created at index %d", got.result, got.err, base+1)
		}
		// The client's own repetition is told apart, and costs no entry.
		again, err := other.Apply(within(t, patience), request)
		if err != nil || !again.Duplicate || again.Index != base+1 || other.Status().AppliedIndex != base+1 {
			t.Errorf("repeated: got %+v, %v at index %d", again, err, other.Status().AppliedIndex)
		}
	}
	sameState(t, node, other)
}

// TestCompactionWhileCutOff makes a node miss changes that etcd does not keep.
func TestCompactionWhileCutOff(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := config(servers, "/compaction")
	other := open(t, cfg, "other")
	leads(t, other)
	node, proxy := behind(t, servers, cfg, "node")
	put(t, other, "p", "1")
	wantValue(t, node, "p", "1")
	missing := watch(t, node)
	proxy.Cut()
	var last storage.Result
	for i := range 10 {
		last = put(t, other, "p", fmt.Sprint("while cut off ", i))
	}
	client := servers.Client()
	resp, err := client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	proxy.Heal()
	wantValue(t, node, "p", "while cut off 9")
	_, _, err = missing.Next(within(t, patience))
	var compacted *storage.CompactedError
	if !errors.As(err, &compacted) || compacted.Oldest != last.Index {
		t.Errorf("the watcher got %v, want that it missed what came before index %d", err, last.Index)
	}
	put(t, node, "p", "by the node itself")
	wantValue(t, other, "p", "by the node itself")
	sameState(t, node, other)
}

// TestCompactionOfNothingMissed lets a compaction pass over a node that has missed
// nothing: its watchers go on.
func TestCompactionOfNothingMissed(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cfg := config(servers, "/compaction2")
	node, proxy := behind(t, servers, cfg, "node")
	put(t, node, "p", "1")
	w := watch(t, node)
	proxy.Cut()
	client := servers.Client()
	for range 5 {
		if _, err := client.Put(t.Context(), "/somebody/else", "x"); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	proxy.Heal()
	index := put(t, node, "p", "2").Index
	events, _, err := w.Next(within(t, patience))
	if err != nil || len(events) != 1 || events[0].Index != index {
		t.Errorf("the watcher got %v, %v, want the change of index %d", events, err, index)
	}
}

// watch opens a stream from now on.
func watch(t *testing.T, s storage.Store) storage.Watcher {
	t.Helper()
	w, err := s.Watch(t.Context(), storage.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// TestNoSpace fills etcd up. The write that takes the last space is carried out by etcd
// and refused in one; the ones after it are only refused.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1, func(cfg *embed.Config) { cfg.QuotaBackendBytes = 4 << 20 })
	nodes := openThree(t, config(servers, "/space"))
	big := strings.Repeat("x", 100<<10)
	refused := 0
	for i := 0; refused < 3; i++ {
		name := fmt.Sprint("p", i)
		result, err := nodes[i%3].Apply(within(t, patience), storage.Request{Command: storagetest.PutRegister(name, big)})
		switch model.CodeOf(err) {
		case "":
			if refused > 0 {
				t.Errorf("a write was accepted after one was refused")
			}
			if result.Duplicate {
				t.Errorf("the first answer says that it is a repetition")
			}
		case model.CodeUnavailable:
			refused++
			if !strings.Contains(err.Error(), "space") {
				t.Errorf("error %q does not say why", err)
			}
			// It says that nothing was written.
			wantValue(t, nodes[0], name, "")
		default:
			t.Fatalf("write %d: %v", i, err)
		}
		if i > 200 {
			t.Fatal("etcd did not fill up")
		}
	}
	// Reads go on, and an operator finds the way back.
	wantValue(t, nodes[1], "p0", big)
	client := servers.Client()
	resp, err := client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{})
	if err != nil || len(resp.Alarms) != 1 {
		t.Fatalf("disarm: %v, %v", resp, err)
	}
	sameState(t, nodes...)
}

// TestCarriedOutAndRefused gets the answer that etcd gives of the transaction which takes
// the last space: it is carried out and refused.
func TestCarriedOutAndRefused(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	node := open(t, config(servers, "/carried"), "node")
	leads(t, node)
	refusals := 0
	node.OnAnswer(func(err error) error {
		if refusals++; refusals == 1 && err == nil {
			return rpctypes.ErrNoSpace
		}
		return err
	})
	result, err := node.Apply(within(t, patience), storage.Request{Command: storagetest.PutRegister("p", "1")})
	if err != nil || result.Duplicate || result.Outcome != storage.Created {
		t.Errorf("got %+v, %v, want that it was created", result, err)
	}
	wantValue(t, node, "p", "1")
	sameState(t, node)
}

// TestLimitsBelowConfigured runs on an etcd that takes less than the nodes were told.
func TestLimitsBelowConfigured(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1, func(cfg *embed.Config) { cfg.MaxTxnOps, cfg.MaxRequestBytes = 16, 200<<10 })
	cfg := config(servers, "/limits")
	node := open(t, cfg, "node")
	for name, size := range map[string]int{"a little too large": 300 << 10, "far too large": 1 << 20} {
		_, err := node.Apply(within(t, patience), storage.Request{Command: storagetest.PutRegister("p", strings.Repeat("x", size))})
		wantCode(t, err, model.CodeTooLarge)
		if err == nil || !strings.Contains(err.Error(), "storage.etcd.max_request_bytes") {
			t.Errorf("%s: error %v does not name the setting", name, err)
		}
	}
	// Many at once are split until they fit.
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() { put(t, node, fmt.Sprint("q", i), strings.Repeat("y", 20<<10)) })
	}
	all.Wait()
	deployMany(t, node, 20)
	_, err := node.Apply(within(t, patience), storage.Request{Command: storage.DeletePackage{Name: "app", Cascade: true}})
	wantCode(t, err, model.CodeTooLarge)
	wantValue(t, node, "q63", strings.Repeat("y", 20<<10))
	// One that is staged does get in: its parts are small enough, and settling it
	// adapts to what etcd takes.
	deployMany(t, node, 200)
	apply(t, node, storage.DeletePackage{Name: "app", Cascade: true})
	put(t, node, "p", "after")
	if node.Staged() {
		t.Error("the entry is still staged")
	}
	sameState(t, node, open(t, cfg, "fresh"))
}

// TestMemberIsKilledUnderLoad kills etcd's leader again and again while three nodes
// write.
func TestMemberIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 3)
	nodes := openThree(t, config(servers, "/killed"))
	const writers = 6
	var mu sync.Mutex
	acknowledged := map[string]string{}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			name := fmt.Sprint("w", w)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				value := fmt.Sprint(i)
				writeOnce(t, nodes[w%3], name, value)
				mu.Lock()
				acknowledged[name] = value
				mu.Unlock()
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		before := nodes[0].Status().AppliedIndex
		eventually(t, "writes go on "+what, func() bool { return nodes[0].Status().AppliedIndex > before+30 })
	}
	for range 2 {
		progress("before")
		leader := -1
		eventually(t, "etcd has a leader", func() bool { leader = servers.Leader(); return leader >= 0 })
		servers.Kill(leader)
		progress("without " + fmt.Sprint(leader))
		servers.Restart(leader)
	}
	close(stop)
	all.Wait()
	for _, node := range nodes {
		for name, value := range acknowledged {
			wantValue(t, node, name, value)
		}
	}
	sameState(t, nodes...)
	sameState(t, open(t, config(servers, "/killed"), "fresh"), nodes[0])
}

// writeOnce writes a value with one request id until the outcome is known, and checks
// that it was applied once: the writer is the only one of this name, so the version
// before is its own.
func writeOnce(t *testing.T, s *etcd.Store, name, value string) {
	request := storage.Request{ID: name + "-" + value, Command: storagetest.PutRegister(name, value)}
	ctx := within(t, 2*patience)
	for {
		result, err := s.Apply(ctx, request)
		switch model.CodeOf(err) {
		case "":
			if want := storage.Updated; result.Outcome != want && value != "0" {
				t.Errorf("%s=%s: outcome %d, want %d", name, value, result.Outcome, want)
			}
			if result.Generation != 0 && fmt.Sprint(result.Generation-1) != value {
				t.Errorf("%s=%s is generation %d: something was applied twice, or lost", name, value, result.Generation)
			}
			return
		case model.CodeUnavailable, model.CodeUnknownOutcome:
			if ctx.Err() == nil {
				continue
			}
		default:
		}
		t.Errorf("write %s=%s: %v", name, value, err)
		return
	}
}

// deployMany stores the package app with n deployments.
func deployMany(t *testing.T, s storage.Store, n int) {
	t.Helper()
	p := model.Package{Name: "app", Classes: []model.Class{{Key: "C"}}}
	p.SetDefaults()
	cmd, err := storage.NewPutPackage(p, storage.Upsert, 0)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, cmd)
	var all sync.WaitGroup
	limit := make(chan struct{}, 64)
	for i := range n {
		limit <- struct{}{}
		all.Go(func() {
			defer func() { <-limit }()
			d := model.Deployment{Key: fmt.Sprintf("d%04d", i), PackageName: "app", ClassKey: "C"}
			d.SetDefaults()
			cmd, err := storage.NewPutDeployment(d, storage.Upsert, 0)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Apply(within(t, patience), storage.Request{Command: cmd}); err != nil {
				t.Errorf("deploy %s: %v", d.Key, err)
			}
		})
	}
	all.Wait()
}
