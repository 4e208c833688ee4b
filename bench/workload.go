package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Consistencies are the values of ?consistency=, strongest first.
var Consistencies = []string{"linearizable", "lease", "stale"}

// consistencyQuery is what is appended to a path. The default is sent as clients
// send it: not at all.
func consistencyQuery(consistency string) (string, error) {
	switch {
	case consistency == "" || consistency == Consistencies[0]:
		return "", nil
	case slices.Contains(Consistencies, consistency):
		return "?consistency=" + consistency, nil
	}
	return "", fmt.Errorf("consistency %q is not one of %s", consistency, strings.Join(Consistencies, ", "))
}

// operation is what one client of an HTTP workload repeats.
type operation interface {
	// next makes the request.
	next(req *fasthttp.Request)
	// check judges the answer.
	check(resp *fasthttp.Response) error
}

// Workload is a mix of HTTP operations over a set of documents.
type Workload struct {
	// Name and Consistency are for the report.
	Name        string
	Consistency string

	open   func(client int) operation
	verify func(ctx context.Context) error
	// answers are all that can be asked and what is answered; nil when that
	// changes, as it does with writes.
	answers func() []answer
}

// Subject makes the workload a subject: its clients are spread over addrs.
func (w *Workload) Subject(name string, addrs []string, timeout time.Duration, processes []Process) *Subject {
	labels := map[string]string{"workload": w.Name}
	if w.Consistency != "" {
		labels["consistency"] = w.Consistency
	}
	return &Subject{
		Name:   name,
		Labels: labels,
		Open: func(i int) Session {
			return &httpSession{connection: newConnection(addrs[i%len(addrs)], timeout), op: w.open(i)}
		},
		Verify:    w.verify,
		Processes: processes,
	}
}

// httpSession is a client of an HTTP workload.
type httpSession struct {
	*connection
	op operation
}

func (s *httpSession) Do(ctx context.Context, began time.Time) error {
	s.op.next(&s.req)
	s.req.Header.SetHost(s.addr)
	if err := s.roundTrip(ctx, began); err != nil {
		return err
	}
	return s.op.check(&s.resp)
}

func (s *httpSession) Close() { s.close() }

// newRand gives each client its own numbers, the same in every turn.
func newRand(client int) *rand.Rand { return rand.New(rand.NewPCG(uint64(client), 0x6f707263)) }
