package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// fakeFuture is a log entry in the hands of a fakeRaft.
type fakeFuture struct {
	done     chan struct{}
	err      error
	response any
}

func (f *fakeFuture) Error() error  { <-f.done; return f.err }
func (f *fakeFuture) Response() any { return f.response }
func (f *fakeFuture) Index() uint64 { return 0 }
func (f *fakeFuture) end(r any, err error) {
	f.response, f.err = r, err
	close(f.done)
}

// fakeRaft takes entries and lets the test decide them. (The real one is used in
// every test of package cluster_test; here the failures are what matters.)
type fakeRaft struct{ entries chan *fakeFuture }

func (r *fakeRaft) Apply([]byte, time.Duration) raft.ApplyFuture {
	f := &fakeFuture{done: make(chan struct{})}
	r.entries <- f
	return f
}

func encoded(t *testing.T, c storage.Command, id string) []byte {
	t.Helper()
	b, err := fsm.EncodeProposal(storage.Proposal{Request: storage.Request{Command: c, ID: id}, At: time.Unix(1, 0).UTC()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pkg(name string) storage.Command {
	return storage.PutPackage{Name: name, Document: []byte(`"name":"` + name + `"`)}
}

func newTestProposer(t *testing.T, change func(*Config)) (*proposer, *fakeRaft) {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	r := &fakeRaft{entries: make(chan *fakeFuture, 1024)}
	p := newProposer(r, cfg, newNodeMetrics(metrics.NewSet()), slog.New(slog.DiscardHandler))
	return p, r
}

func TestPackRules(t *testing.T) {
	t.Parallel()
	cascade := storage.DeletePackage{Name: "z", Cascade: true}
	deployment := storage.PutDeployment{Key: "d", Package: "p", Class: "c", Document: []byte(`"key":"d"`)}
	big := storage.PutPackage{Name: "big", Document: []byte(strings.Repeat("x", 700))}
	big2 := storage.PutPackage{Name: "big2", Document: []byte(strings.Repeat("x", 700))}
	tests := []struct {
		name     string
		commands []storage.Command
		want     []int // sizes of the packs
	}{
		{"all together", []storage.Command{pkg("a"), pkg("b"), pkg("c")}, []int{3}},
		{"same document apart", []storage.Command{pkg("a"), pkg("b"), pkg("a"), pkg("c")}, []int{2, 2}},
		{"deployment and its units", []storage.Command{
			deployment, storage.RecordUnitStatus{Deployment: "d", Generation: 1},
			storage.DeleteDeployment{Key: "d"}, storage.UpdateRuntimeState{Key: "d", Document: []byte(`"key":"d"`)},
		}, []int{1, 1, 2}},
		{"units of two deployments", []storage.Command{
			storage.RecordUnitStatus{Deployment: "d", Generation: 1}, storage.RecordUnitStatus{Deployment: "e", Generation: 1},
		}, []int{2}},
		{"same name of another kind", []storage.Command{pkg("d"), deployment}, []int{2}},
		{"cascade alone", []storage.Command{pkg("a"), cascade, pkg("b")}, []int{1, 1, 1}},
		{"barrier alone", []storage.Command{storage.Barrier{}, pkg("b"), storage.Barrier{}}, []int{1, 1, 1}},
		{"count cap", []storage.Command{pkg("a"), pkg("b"), pkg("c"), pkg("d"), pkg("e")}, []int{4, 1}},
		{"byte cap", []storage.Command{big, big2, pkg("c")}, []int{1, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, _ := newTestProposer(t, func(c *Config) { c.MaxEntryCommands, c.MaxEntryBytes = 4, 1024 })
			var order []int
			for i, c := range tt.commands {
				pr, err := newProposal(encoded(t, c, fmt.Sprint(i)), 1024, func(storage.Result, error) { order = append(order, i) })
				if err != nil {
					t.Fatal(err)
				}
				if err := p.propose(context.Background(), pr, true); err != nil {
					t.Fatal(err)
				}
			}
			var sizes []int
			for next := <-p.queue; next != nil; {
				var pack []*proposal
				pack, next = p.pack(next)
				sizes = append(sizes, len(pack))
				for _, pr := range pack {
					pr.done(storage.Result{}, nil)
				}
				if next == nil && len(p.queue) > 0 {
					next = <-p.queue
				}
			}
			if !slices.Equal(sizes, tt.want) {
				t.Errorf("packs = %v, want %v", sizes, tt.want)
			}
			if !slices.IsSorted(order) || len(order) != len(tt.commands) {
				t.Errorf("order = %v", order)
			}
		})
	}
}

func TestProposerClassifiesFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		err      error
		response any
		proposed bool
		ok       bool
	}{
		{name: "committed", response: []storage.Result{{Index: 9}}, ok: true},
		{name: "not leader", err: raft.ErrNotLeader},
		{name: "transfer", err: raft.ErrLeadershipTransferInProgress},
		{name: "enqueue timeout", err: raft.ErrEnqueueTimeout},
		{name: "leadership lost", err: raft.ErrLeadershipLost, proposed: true},
		{name: "shutdown", err: raft.ErrRaftShutdown, proposed: true},
		{name: "disk", err: errors.New("no space left"), proposed: true},
		{name: "fault", response: errors.New("fault"), proposed: true},
		{name: "wrong number of results", response: []storage.Result{}, proposed: true},
		{name: "no response", proposed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, r := newTestProposer(t, nil)
			p.start()
			done := make(chan outcome, 1)
			pr, err := newProposal(encoded(t, pkg("a"), "1"), 1<<20, func(res storage.Result, err error) { done <- outcome{res, err} })
			if err != nil {
				t.Fatal(err)
			}
			if err := p.propose(context.Background(), pr, true); err != nil {
				t.Fatal(err)
			}
			(<-r.entries).end(tt.response, tt.err)
			o := <-done
			if (o.err == nil) != tt.ok {
				t.Fatalf("error = %v, want none: %v", o.err, tt.ok)
			}
			var attempt *attemptError
			if o.err != nil && (!errors.As(o.err, &attempt) || attempt.proposed != tt.proposed) {
				t.Errorf("error = %#v, want proposed = %v", o.err, tt.proposed)
			}
			if err := p.stop(context.Background()); err != nil {
				t.Error(err)
			}
			if got := p.waiting(); got != 0 {
				t.Errorf("%d proposals are waiting after all ended", got)
			}
		})
	}
}

func TestProposalIsChecked(t *testing.T) {
	t.Parallel()
	_, err := newProposal(make([]byte, 2000), 1000, nil)
	if got, want := model.CodeOf(err), model.CodeTooLarge; got != want {
		t.Errorf("code = %q, want %q", got, want)
	}
	_, err = newProposal([]byte("garbage"), 1000, nil)
	var remote *remoteError
	if !errors.As(err, &remote) || remote.code != remoteInvalid {
		t.Errorf("error = %v, want invalid: what cannot be decoded must not reach a log", err)
	}
}

// The queue is bounded in number and in bytes: who may not wait is told so at
// once, who may waits until its context ends, and nothing was proposed.
func TestProposerBackpressure(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"number": func(c *Config) { c.WriteQueue = 1 },
		"bytes":  func(c *Config) { c.WriteQueueBytes = 60 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := newTestProposer(t, change) // not started: nothing leaves the queue
			var ended []error
			propose := func(wait bool) error {
				ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
				defer cancel()
				pr, err := newProposal(encoded(t, pkg("a"), "1"), 1<<20, func(_ storage.Result, err error) { ended = append(ended, err) })
				if err != nil {
					t.Fatal(err)
				}
				return p.propose(ctx, pr, wait)
			}
			if err := propose(false); err != nil {
				t.Fatal(err)
			}
			for _, wait := range []bool{false, true} {
				err := propose(wait)
				var attempt *attemptError
				if !errors.Is(err, errBusy) || !errors.As(err, &attempt) || attempt.proposed {
					t.Errorf("wait %v: error = %v, want busy and nothing proposed", wait, err)
				}
			}
			p.start()
			// Stopping fails what waits or lets it through, and loses nothing.
			go func() {
				for f := range p.raft.(*fakeRaft).entries {
					f.end([]storage.Result{{}}, nil)
				}
			}()
			if err := p.stop(context.Background()); err != nil {
				t.Fatal(err)
			}
			close(p.raft.(*fakeRaft).entries)
			if len(ended) != 1 {
				t.Errorf("%d of 1 proposals ended", len(ended))
			}
		})
	}
}

// Many writers at once, stopped in the middle: every proposal ends exactly once.
func TestProposerStopUnderLoad(t *testing.T) {
	t.Parallel()
	p, r := newTestProposer(t, func(c *Config) { c.WriteQueue = 8 })
	p.start()
	raftDone := make(chan struct{})
	busy := make(chan struct{})
	go func() {
		defer close(raftDone)
		n := 0
		for f := range r.entries {
			f.end(nil, raft.ErrLeadershipLost)
			if n++; n == 50 {
				close(busy)
			}
		}
	}()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				done := make(chan error, 2)
				pr, err := newProposal(encoded(t, pkg(fmt.Sprintf("p%d", w)), fmt.Sprint(i)), 1<<20, func(_ storage.Result, err error) { done <- err })
				if err != nil {
					t.Error(err)
					return
				}
				if err := p.propose(context.Background(), pr, true); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Errorf("refused with %v, want %v", err, ErrClosed)
					}
					return
				}
				if err := <-done; errors.Is(err, ErrClosed) {
					return
				}
			}
		})
	}
	<-busy
	if err := p.stop(context.Background()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	close(r.entries)
	<-raftDone
	if got := p.waiting(); got != 0 {
		t.Errorf("%d proposals are waiting after the stop", got)
	}
}
