package cluster_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// operation is a put (value not "") or a get of one package.
type operation struct {
	key, value string
}

// registers models every package as a register of its own.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		for _, op := range history {
			key := op.Input.(operation).key
			byKey[key] = append(byKey[key], op)
		}
		var out [][]porcupine.Operation
		for _, ops := range byKey {
			out = append(out, ops)
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if in := input.(operation); in.value != "" {
			return true, in.value
		}
		return output.(string) == state.(string), state
	},
	DescribeOperation: func(input, output any) string {
		if in := input.(operation); in.value != "" {
			return fmt.Sprintf("put %s=%s", in.key, in.value)
		}
		return fmt.Sprintf("get %s -> %q", input.(operation).key, output)
	},
}

// history records what clients did, on one monotonic clock.
type history struct {
	start time.Time
	mu    sync.Mutex // guards ops
	ops   []porcupine.Operation
}

func (h *history) now() int64 { return int64(time.Since(h.start)) }

func (h *history) add(op porcupine.Operation) {
	h.mu.Lock()
	h.ops = append(h.ops, op)
	h.mu.Unlock()
}

// check fails the test unless a linear order explains the history. That the
// checker ran out of time is a failure too.
func (h *history) check(t *testing.T) {
	t.Helper()
	result, info := porcupine.CheckOperationsVerbose(registers, h.ops, time.Minute)
	if result == porcupine.Ok {
		t.Logf("%d operations are linearizable", len(h.ops))
		return
	}
	path := filepath.Join(os.TempDir(), t.Name()+".html")
	if err := porcupine.VisualizePath(registers, info, path); err != nil {
		t.Logf("visualize: %v", err)
	}
	t.Errorf("checker says %s for %d operations, see %s", result, len(h.ops), path)
}

// client runs random operations at one node at a time until stop closes. pick
// gives a node that is up; consistency is that of its reads.
func (h *history) client(id int, pick func() *cluster.Node, consistency storage.Consistency, stop <-chan struct{}, count *atomic.Int64) {
	next := id // a client of unknown outcome goes on as another one
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		in := operation{key: fmt.Sprintf("k%d", rand.IntN(4))}
		node := pick()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if rand.IntN(2) == 0 {
			in.value = fmt.Sprintf("c%d-%d", id, i)
			call := h.now()
			_, err := node.Apply(ctx, storage.Request{Command: testcluster.Put(in.key, in.value)})
			op := porcupine.Operation{ClientId: next, Input: in, Call: call, Output: "", Return: h.now()}
			switch model.CodeOf(err) {
			case "":
				h.add(op)
			case model.CodeUnavailable: // says that nothing was proposed
			default:
				op.Return = math.MaxInt64
				h.add(op)
				next += 1000
			}
		} else {
			call := h.now()
			value, err := testcluster.Get(ctx, node, in.key, storage.ReadOptions{Consistency: consistency})
			if err == nil {
				h.add(porcupine.Operation{ClientId: next, Input: in, Call: call, Output: value, Return: h.now()})
			}
		}
		cancel()
		count.Add(1)
	}
}

// I2: operations through all nodes are linearizable, while the leader crashes,
// comes back, is cut off, and hands over.
func TestLinearizability(t *testing.T) {
	c := testcluster.New(t, 3)
	h := &history{start: time.Now()}
	var mu sync.RWMutex // guards the set of nodes against the test's own changes
	pick := func() *cluster.Node {
		mu.RLock()
		defer mu.RUnlock()
		up := c.Up()
		return c.Node(up[rand.IntN(len(up))])
	}
	var wg sync.WaitGroup
	var count atomic.Int64
	stop := make(chan struct{})
	for id := range 9 {
		wg.Go(func() { h.client(id, pick, storage.Linearizable, stop, &count) })
	}
	progress := func(n int64) {
		from := count.Load()
		testcluster.Wait(t, "operations", func() error {
			if done := count.Load() - from; done < n {
				return fmt.Errorf("%d of %d", done, n)
			}
			return nil
		})
	}
	progress(150)
	leader := c.Leader(t)
	mu.Lock()
	crash := c.Take(leader)
	mu.Unlock()
	crash()
	progress(150)
	mu.Lock()
	c.Restart(leader)
	mu.Unlock()
	progress(150)
	c.Partition(c.Leader(t))
	progress(60) // a third of them wait in vain at the node that is cut off
	c.Heal()
	progress(150)
	if err := c.Node(c.Leader(t)).TransferLeadership(ctxFor(t, 10*time.Second), ""); err != nil {
		t.Logf("transfer: %v", err)
	}
	progress(150)
	close(stop)
	wg.Wait()
	c.WaitReady()
	h.check(t)
}

// The checker itself must find what it is for: with stale reads, at nodes cut off
// from the leader, the same history is not linearizable.
func TestLinearizabilityCheckerFindsStaleReads(t *testing.T) {
	c := testcluster.New(t, 3)
	leader := c.Leader(t)
	behind := others(c, leader)[0]
	ahead := others(c, leader)[1]
	h := &history{start: time.Now()}
	put := func(value string) {
		call := h.now()
		mustPut(t, c.Node(ahead), "k", value)
		h.add(porcupine.Operation{Input: operation{"k", value}, Call: call, Output: "", Return: h.now()})
	}
	put("1")
	c.Partition(behind)
	put("2")
	call := h.now()
	value, err := testcluster.Get(ctxFor(t, 5*time.Second), c.Node(behind), "k", storage.ReadOptions{Consistency: storage.Stale})
	if err != nil {
		t.Fatal(err)
	}
	h.add(porcupine.Operation{ClientId: 1, Input: operation{"k", ""}, Call: call, Output: value, Return: h.now()})
	if got, want := porcupine.CheckOperationsTimeout(registers, h.ops, time.Minute), porcupine.Illegal; got != want {
		t.Errorf("checker says %s of a stale read (%q), want %s", got, value, want)
	}
}
