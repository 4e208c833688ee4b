package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// SuiteOptions scales the suite; what it measures is fixed, so that reports can
// be compared.
type SuiteOptions struct {
	Clients       int
	Warmup        time.Duration
	Turn          time.Duration
	ReadTurns     int
	WriteTurns    int
	Documents     int
	DocumentBytes int
}

// DefaultSuiteOptions takes about two minutes.
func DefaultSuiteOptions() SuiteOptions {
	return SuiteOptions{
		Clients: 64, Warmup: 500 * time.Millisecond, Turn: 2 * time.Second, ReadTurns: 5, WriteTurns: 3,
		Documents: 1000, DocumentBytes: 2 << 10,
	}
}

// SmokeSuiteOptions takes seconds: enough to see that everything works, too
// little for the figures to mean anything.
func SmokeSuiteOptions() SuiteOptions {
	return SuiteOptions{
		Clients: 8, Warmup: 20 * time.Millisecond, Turn: 100 * time.Millisecond, ReadTurns: 2, WriteTurns: 2,
		Documents: 40, DocumentBytes: 2 << 10,
	}
}

// plainTarget is what the project promises: a read of one document on a single
// node serves at least this share of what the plain server serves.
const plainTarget = 0.5

// Suite measures reads and writes on one node and on three. It fails when a
// workload does not work, never because one is slow. The report holds what was
// measured up to an error.
func Suite(ctx context.Context, h Host, o SuiteOptions) (report *Report, err error) {
	dir, remove, err := h.scratch()
	if err != nil {
		return nil, err
	}
	defer closing(&err, remove)
	s := &suite{host: h, options: o, dir: dir, report: NewReport(h.Version, time.Now())}
	for _, nodes := range []int{1, 3} {
		if err := s.cluster(ctx, nodes); err != nil {
			return s.report, fmt.Errorf("%s: %w", countText(nodes, "node"), err)
		}
	}
	return s.report, nil
}

type suite struct {
	host    Host
	options SuiteOptions
	dir     string
	report  *Report

	// Of the cluster that is measured:
	nodes int
	local *Local
	docs  *Documents
}

// cluster measures a cluster from its start to its end.
func (s *suite) cluster(ctx context.Context, nodes int) (err error) {
	s.nodes = nodes
	dir := filepath.Join(s.dir, strconv.Itoa(nodes))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if s.local, err = s.host.startLocal(ctx, nodes, dir); err != nil {
		return err
	}
	defer closing(&err, s.local.Close)
	s.docs, err = NewDocuments(s.local.Addrs(), newPrefix(), s.options.Documents, s.options.DocumentBytes, s.host.opTimeout())
	if err != nil {
		return err
	}
	if err := s.docs.Store(ctx); err != nil {
		return err
	}
	steps := []func(context.Context) error{s.putAlone, s.putMany}
	if nodes == 1 {
		steps = append([]func(context.Context) error{s.getPlain}, steps...)
	} else {
		steps = append([]func(context.Context) error{s.getVias}, steps...)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// run measures subjects and adds them to the report.
func (s *suite) run(ctx context.Context, p Plan) error {
	p.Progress = s.host.turnProgress(p.Name, p.Turns)
	p.Settings = map[string]string{
		"nodes":          strconv.Itoa(s.nodes),
		"documents":      strconv.Itoa(s.options.Documents),
		"document_bytes": strconv.Itoa(s.options.DocumentBytes),
		"filesystem":     filesystemOf(s.dir),
	}
	run, err := p.Run(ctx)
	if len(run.Subjects) > 0 {
		s.report.Runs = append(s.report.Runs, run)
	}
	return err
}

func (s *suite) load(clients int) Load {
	return Load{Clients: clients, Warmup: s.options.Warmup, Duration: s.options.Turn}
}

// name is that of a run of this cluster.
func (s *suite) name(workload string, clients int) string {
	return workload + ", " + countText(s.nodes, "node") + ", " + countText(clients, "client")
}

func (s *suite) subject(w *Workload, name string, addrs []string) *Subject {
	return w.Subject(name, addrs, s.host.opTimeout(), s.local.Processes())
}

// getPlain measures reads beside the same bytes from memory.
func (s *suite) getPlain(ctx context.Context) (err error) {
	strong, err := NewGet(s.docs, "linearizable")
	if err != nil {
		return err
	}
	stale, err := NewGet(s.docs, "stale")
	if err != nil {
		return err
	}
	var plain *Plain
	if plain, err = StartPlain(ctx, s.host.Executable, s.host.PlainVerb, s.host.Env, s.dir, strong); err != nil {
		return err
	}
	defer closing(&err, plain.Close)
	addrs := s.local.Addrs()
	return s.run(ctx, Plan{
		Name: s.name("get", s.options.Clients), Load: s.load(s.options.Clients), Turns: s.options.ReadTurns,
		Subjects: []*Subject{
			s.subject(strong, "linearizable", addrs),
			s.subject(stale, "stale", addrs),
			strong.Subject(PlainName, plain.Addrs(), s.host.opTimeout(), plain.Processes()),
		},
		Baseline: PlainName,
		Targets:  map[string]float64{"linearizable": plainTarget},
	})
}

// getVias measures reads that a follower answers beside those of the leader and
// of all nodes.
func (s *suite) getVias(ctx context.Context) error {
	w, err := NewGet(s.docs, "linearizable")
	if err != nil {
		return err
	}
	subjects, err := s.vias(ctx, w, Vias[1], Vias[2], Vias[0])
	if err != nil {
		return err
	}
	return s.run(ctx, Plan{
		Name: s.name("get", s.options.Clients), Load: s.load(s.options.Clients), Turns: s.options.WriteTurns,
		Subjects: subjects, Baseline: subjects[0].Name,
	})
}

// putAlone measures the latency of a write, putMany how many there can be.
func (s *suite) putAlone(ctx context.Context) error { return s.put(ctx, 1, Vias[1]) }

func (s *suite) putMany(ctx context.Context) error {
	if s.nodes == 1 {
		return s.put(ctx, s.options.Clients, Vias[1])
	}
	return s.put(ctx, s.options.Clients, Vias[1], Vias[2])
}

func (s *suite) put(ctx context.Context, clients int, vias ...string) error {
	w, err := NewPut(s.docs, clients)
	if err != nil {
		return err
	}
	subjects, err := s.vias(ctx, w, vias...)
	if err != nil {
		return err
	}
	plan := Plan{
		Name: s.name("put", clients), Load: s.load(clients), Turns: s.options.WriteTurns,
		Subjects: subjects,
	}
	if len(subjects) > 1 {
		plan.Baseline = subjects[0].Name
	}
	return s.run(ctx, plan)
}

// vias makes a subject of w for each way into the cluster.
func (s *suite) vias(ctx context.Context, w *Workload, vias ...string) ([]*Subject, error) {
	subjects := make([]*Subject, len(vias))
	for i, via := range vias {
		addrs, err := Route(ctx, s.local.Addrs(), via, s.host.opTimeout())
		if err != nil {
			return nil, err
		}
		subjects[i] = s.subject(w, "via "+via, addrs)
	}
	return subjects, nil
}
