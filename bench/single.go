package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Options is one run as the command line describes it.
type Options struct {
	// Servers are URLs of a control plane; or Local is the number of nodes of one
	// to start.
	Servers []string
	Local   int
	// Workload is one of Workloads. Get, list and mixed are measured once for
	// each of Consistencies, in turns.
	Workload      string
	Consistencies []string
	// Via is one of Vias.
	Via  string
	Load Load
	// Turns is how often each subject is measured.
	Turns int
	// Documents of DocumentBytes are stored; a list reads pages of Page; mixed
	// writes in WritePercent of its operations.
	Documents     int
	DocumentBytes int
	Page          int
	WritePercent  int
	// VsPlain adds the plain server as the baseline.
	VsPlain       bool
	AllowedErrors uint64
	// Keep leaves the documents where they are.
	Keep bool
}

// Workloads are the values of Options.Workload.
var Workloads = []string{"get", "put", "list", "mixed"}

// DefaultOptions measures reads.
func DefaultOptions() Options {
	return Options{
		Workload:      Workloads[0],
		Consistencies: []string{Consistencies[0]},
		Via:           Vias[0],
		Load:          Load{Clients: 64, Warmup: 500 * time.Millisecond, Duration: 5 * time.Second},
		Turns:         3,
		Documents:     1000,
		DocumentBytes: 2 << 10,
		Page:          100,
		WritePercent:  10,
	}
}

// Measure does what o says. The report is not nil when something was measured,
// also together with an error.
func Measure(ctx context.Context, h Host, o Options) (report *Report, err error) {
	if (len(o.Servers) == 0) == (o.Local == 0) {
		return nil, errors.New("say either which servers to load or how many to start")
	}
	dir, remove, err := h.scratch()
	if err != nil {
		return nil, err
	}
	defer closing(&err, remove)
	addrs, processes, stop, err := h.target(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	defer closing(&err, stop)
	docs, err := NewDocuments(addrs, newPrefix(), o.Documents, o.DocumentBytes, h.opTimeout())
	if err != nil {
		return nil, err
	}
	h.progress("storing %d documents of %d bytes", o.Documents, o.DocumentBytes)
	if !o.Keep && o.Local == 0 {
		defer closing(&err, func() error { return docs.Remove(context.WithoutCancel(ctx)) })
	}
	if err := docs.Store(ctx); err != nil {
		return nil, err
	}
	report = NewReport(h.Version, time.Now())
	run, err := h.measure(ctx, o, dir, docs, addrs, processes)
	if len(run.Subjects) > 0 {
		report.Runs = append(report.Runs, run)
	}
	return report, err
}

// target is the control plane to load: there, or started.
func (h *Host) target(ctx context.Context, o Options, dir string) (addrs []string, processes []Process, stop func() error, err error) {
	if o.Local == 0 {
		addrs, err = ParseServers(o.Servers)
		return addrs, nil, func() error { return nil }, err
	}
	local, err := h.startLocal(ctx, o.Local, dir)
	if err != nil {
		return nil, nil, nil, err
	}
	return local.Addrs(), local.Processes(), local.Close, nil
}

func (h *Host) startLocal(ctx context.Context, nodes int, dir string) (*Local, error) {
	h.progress("starting %s", countText(nodes, "node"))
	return StartLocal(ctx, LocalConfig{
		Executable: h.Executable, Env: h.Env, Nodes: nodes, Dir: dir, Args: h.ServerArgs,
		CPUProfileDir: h.CPUProfileDir, ProfileVerb: h.ProfileVerb,
	})
}

func (h *Host) opTimeout() time.Duration {
	if h.OpTimeout > 0 {
		return h.OpTimeout
	}
	return DefaultOpTimeout
}

// measure runs the workload of o over documents that are stored.
func (h *Host) measure(ctx context.Context, o Options, dir string, docs *Documents, addrs []string, processes []Process) (run Run, err error) {
	workloads, err := o.workloads(ctx, docs)
	if err != nil {
		return run, err
	}
	via, err := Route(ctx, addrs, o.Via, h.opTimeout())
	if err != nil {
		return run, err
	}
	plan := Plan{Name: o.name(), Load: o.Load, Turns: o.Turns, Settings: o.settings(), AllowedErrors: o.AllowedErrors}
	if o.Local > 0 {
		plan.Settings["filesystem"] = filesystemOf(dir)
	}
	plan.Progress = h.turnProgress(plan.Name, plan.Turns)
	for _, w := range workloads {
		plan.Subjects = append(plan.Subjects, w.Subject(w.subjectName(), via, h.opTimeout(), processes))
	}
	if o.VsPlain {
		var plain *Plain
		if plain, err = StartPlain(ctx, h.Executable, h.PlainVerb, h.Env, dir, workloads...); err != nil {
			return run, err
		}
		defer closing(&err, plain.Close)
		plan.Subjects = append(plan.Subjects, workloads[0].Subject(PlainName, plain.Addrs(), h.opTimeout(), plain.Processes()))
		plan.Baseline = PlainName
	}
	return plan.Run(ctx)
}

// subjectName tells the workloads of one run apart.
func (w *Workload) subjectName() string {
	if w.Consistency == "" {
		return w.Name
	}
	return w.Name + " " + w.Consistency
}

// workloads are those that o measures in turns.
func (o Options) workloads(ctx context.Context, docs *Documents) ([]*Workload, error) {
	if o.Workload == "put" {
		w, err := NewPut(docs, o.Load.Clients)
		return []*Workload{w}, err
	}
	var workloads []*Workload
	for _, consistency := range o.Consistencies {
		var w *Workload
		var err error
		switch o.Workload {
		case "get":
			w, err = NewGet(docs, consistency)
		case "list":
			w, err = NewList(ctx, docs, o.Page, consistency)
		case "mixed":
			w, err = NewMixed(docs, o.Load.Clients, consistency, o.WritePercent)
		default:
			err = fmt.Errorf("workload %q is not one of %s", o.Workload, strings.Join(Workloads, ", "))
		}
		if err != nil {
			return nil, err
		}
		workloads = append(workloads, w)
	}
	return workloads, nil
}

// name is the same for runs that may be compared.
func (o Options) name() string {
	name := o.Workload
	if o.Local > 0 {
		name += ", " + countText(o.Local, "node")
	}
	if o.Via != "" && o.Via != Vias[0] {
		name += ", via " + o.Via
	}
	return name + ", " + countText(o.Load.Clients, "client")
}

// countText is "1 node" or "3 nodes".
func countText(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func (o Options) settings() map[string]string {
	settings := map[string]string{
		"documents":      strconv.Itoa(o.Documents),
		"document_bytes": strconv.Itoa(o.DocumentBytes),
	}
	switch o.Workload {
	case "list":
		settings["page"] = strconv.Itoa(o.Page)
	case "mixed":
		settings["write_percent"] = strconv.Itoa(o.WritePercent)
	}
	return settings
}
