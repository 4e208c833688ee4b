package testproc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// writer creates packages and rewrites one of its own, one write at a time, each
// with a request id of its own and sent again, to any node, until it is
// acknowledged. It knows exactly what must be there afterwards.
type writer struct {
	cluster *Cluster
	id      int
	random  *rand.Rand

	// created are the acknowledged creates; rewrites counts the acknowledged
	// writes of the package that is rewritten.
	created  []string
	rewrites int
	// sent counts requests, retried those that had to be sent again and repeats
	// the acknowledged writes that were sent once more on purpose.
	sent, retried, repeats int
	// last is the write acknowledged before the newest.
	last   *write
	faults []string
}

// write is one request with its answer.
type write struct {
	method, path, key, body string
	status                  int
	index                   string
}

func newWriter(c *Cluster, id int) *writer {
	return &writer{cluster: c, id: id, random: rand.New(rand.NewPCG(uint64(id), 42))}
}

func packageBody(name, version string) string {
	return fmt.Sprintf(`{"name":%q,"version":%q,"classes":[{"key":"A","function_bindings":[{"name":"f","function_key":"A.f","access_modifier":"PUBLIC"}]}],"functions":[{"key":"A.f"}]}`, name, version)
}

func (w *writer) rewritten() string { return fmt.Sprintf("rewritten-%d", w.id) }

// run writes until ctx ends; the write under way is finished.
func (w *writer) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		if n%2 == 0 {
			name := fmt.Sprintf("created-%d-%d", w.id, n)
			if w.commit(ctx, &write{method: http.MethodPost, path: "/api/v1/packages", body: packageBody(name, "1")}, http.StatusCreated) {
				w.created = append(w.created, name)
			}
		} else if w.commit(ctx, &write{method: http.MethodPut, path: "/api/v1/packages/" + w.rewritten(), body: packageBody(w.rewritten(), strconv.Itoa(w.rewrites+1))}, 0) {
			w.rewrites++
		}
		if n%10 == 9 {
			w.repeat(ctx)
		}
	}
}

// commit sends a write until it is acknowledged. A writer whose time is up still
// finishes: only then is it known what must be there.
func (w *writer) commit(ctx context.Context, request *write, wantStatus int) bool {
	request.key = fmt.Sprintf("w%d-%d", w.id, w.sent)
	status, index := w.send(ctx, request)
	if wantStatus == 0 && (status == http.StatusOK || status == http.StatusCreated) {
		wantStatus = status
	}
	if status != wantStatus {
		w.faults = append(w.faults, fmt.Sprintf("%s %s: status %d, want %d", request.method, request.path, status, wantStatus))
		return false
	}
	request.status, request.index = status, index
	w.last = request
	return true
}

// repeat sends an acknowledged write once more, with its request id: it must
// answer what it answered, and change nothing.
func (w *writer) repeat(ctx context.Context) {
	before := w.last
	// Another write in between: repeating before would undo it.
	between := &write{method: http.MethodPut, path: "/api/v1/packages/" + w.rewritten(), body: packageBody(w.rewritten(), strconv.Itoa(w.rewrites+1))}
	if before == nil || !w.commit(ctx, between, 0) {
		return
	}
	w.rewrites++
	w.repeats++
	status, index := w.send(ctx, before)
	if status != before.status || index != before.index {
		w.faults = append(w.faults, fmt.Sprintf("%s %s sent again with %s: status %d at index %s, was %d at index %s",
			before.method, before.path, before.key, status, index, before.status, before.index))
	}
}

// send sends a request to random nodes until one gives a definite answer.
func (w *writer) send(ctx context.Context, request *write) (status int, index string) {
	header := http.Header{"Idempotency-Key": {request.key}, "Content-Type": {"application/json"}}
	// Time for a last write after the end of the run.
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 90*time.Second)
	defer cancel()
	for attempt := 0; limit.Err() == nil; attempt++ {
		w.sent++
		if attempt > 0 {
			w.retried++
		}
		node := w.cluster.Nodes[w.random.IntN(len(w.cluster.Nodes))]
		try, cancelTry := context.WithTimeout(limit, 12*time.Second)
		response, _, err := w.cluster.Do(try, node, request.method, request.path, header, request.body)
		cancelTry()
		if err == nil && response.StatusCode < http.StatusInternalServerError {
			return response.StatusCode, response.Header.Get("X-Oprc-Index")
		}
		if err != nil {
			// The node is down: do not hammer it.
			pause := time.NewTimer(time.Duration(5+w.random.IntN(20)) * time.Millisecond)
			select {
			case <-pause.C:
			case <-limit.Done():
				pause.Stop()
			}
		}
	}
	return 0, ""
}

// check compares what a node holds with what must be there.
func (w *writer) check(t *testing.T, packages map[string]storedPackage) {
	t.Helper()
	for _, name := range w.created {
		switch got, found := packages[name]; {
		case !found:
			t.Errorf("package %s was acknowledged and is gone", name)
		case got.Generation != 1 || got.Version != "1":
			t.Errorf("package %s is at generation %d, version %s, want 1 and 1", name, got.Generation, got.Version)
		}
	}
	got := packages[w.rewritten()]
	if got.Generation != w.rewrites || got.Version != strconv.Itoa(w.rewrites) {
		t.Errorf("package %s is at generation %d, version %s after %d acknowledged writes", w.rewritten(), got.Generation, got.Version, w.rewrites)
	}
	for _, fault := range w.faults {
		t.Error(fault)
	}
}

type storedPackage struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Generation int    `json:"generation"`
}
