package storagetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// OperationsVariable of the environment says how many operations the long form of
// a test of linearizability checks.
const OperationsVariable = "OPRC_LINEARIZABILITY_OPERATIONS"

// Operations is how many operations to check according to the variable, which makes
// the test a long one.
func Operations(t testing.TB, text string) (n int64, long bool) {
	t.Helper()
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%q is no number of operations", OperationsVariable, text)
	}
	return n, true
}

// operation is a put (value not "") or a get of one register.
type operation struct {
	key, value string
}

// registers models every register on its own.
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

// operationTimeout is how long a client waits for one operation.
const operationTimeout = time.Second

// operationsPerRegister is after how many operations clients go on to other
// registers: the time for a check grows faster than a register's history.
const operationsPerRegister = 2000

// Linearizability records what clients did, on one monotonic clock, and checks that
// one order explains it.
type Linearizability struct {
	start time.Time
	// done counts operations that were recorded, or certainly did nothing.
	done atomic.Int64
	mu   sync.Mutex // guards ops
	ops  []porcupine.Operation
}

// NewLinearizability begins an empty history.
func NewLinearizability() *Linearizability { return &Linearizability{start: time.Now()} }

// Done is how many operations are over.
func (l *Linearizability) Done() int64 { return l.done.Load() }

// Recorded is how many operations will be checked.
func (l *Linearizability) Recorded() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.ops))
}

func (l *Linearizability) now() int64 { return int64(time.Since(l.start)) }

func (l *Linearizability) add(op porcupine.Operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, op)
}

// Put records a put through s as that of a client, and says whether its outcome is
// known. If it is not, nobody may act as that client any more.
func (l *Linearizability) Put(ctx context.Context, s storage.Store, client int, key, value string) (known bool) {
	op := porcupine.Operation{ClientId: client, Input: operation{key, value}, Output: "", Call: l.now()}
	_, err := s.Apply(ctx, storage.Request{Command: PutRegister(key, value)})
	op.Return = l.now()
	switch model.CodeOf(err) {
	case "":
		l.add(op)
	case model.CodeUnavailable: // says that nothing was proposed
	default:
		op.Return = math.MaxInt64
		l.add(op)
		return false
	}
	return true
}

// Get records a get through s as that of a client, unless it failed.
func (l *Linearizability) Get(ctx context.Context, s storage.Store, client int, key string, consistency storage.Consistency) error {
	call := l.now()
	value, err := GetRegister(ctx, s, key, storage.ReadOptions{Consistency: consistency})
	if err == nil {
		l.add(porcupine.Operation{ClientId: client, Input: operation{key, ""}, Call: call, Output: value, Return: l.now()})
	}
	return err
}

// Client runs random operations as client id, below 1000, at one store at a time until
// stop closes. pick gives a store that is up.
func (l *Linearizability) Client(id int, pick func() storage.Store, stop <-chan struct{}) {
	next := id // a client of unknown outcome goes on as another one
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		key := fmt.Sprintf("k%d-%d", l.done.Load()/(4*operationsPerRegister), rand.IntN(4))
		ctx, cancel := context.WithTimeout(context.Background(), operationTimeout)
		if rand.IntN(2) == 0 {
			if !l.Put(ctx, pick(), next, key, fmt.Sprintf("c%d-%d", id, i)) {
				next += 1000
			}
		} else {
			// What cannot be read says nothing.
			_ = l.Get(ctx, pick(), next, key, storage.Linearizable)
		}
		cancel()
		l.done.Add(1)
	}
}

// Check fails the test unless a linear order explains the history. That the
// checker ran out of time is a failure too.
func (l *Linearizability) Check(t testing.TB, limit time.Duration) {
	t.Helper()
	result, info := porcupine.CheckOperationsVerbose(registers, l.ops, limit)
	if result == porcupine.Ok {
		t.Logf("%d operations are linearizable", len(l.ops))
		return
	}
	path := filepath.Join(os.TempDir(), filepath.Base(t.Name())+".html")
	if err := porcupine.VisualizePath(registers, info, path); err != nil {
		t.Logf("visualize: %v", err)
	}
	t.Errorf("checker says %s for %d operations, see %s", result, len(l.ops), path)
}

// Faulty says that no order explains the history.
func (l *Linearizability) Faulty(limit time.Duration) bool {
	return porcupine.CheckOperationsTimeout(registers, l.ops, limit) == porcupine.Illegal
}
