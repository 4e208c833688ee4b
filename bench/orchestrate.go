package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// OrchestrateOptions is how much is orchestrated.
type OrchestrateOptions struct {
	// Nodes of the control plane, simulated Clusters, and Deployments, each with
	// UnitsEach units in clusters that the control plane chooses.
	Nodes, Clusters, Deployments, UnitsEach int
	// TimeToRunning is from a cluster's acceptance of a unit until it runs.
	TimeToRunning time.Duration
	// Limit is how long clusters may take to be healthy, and deployments to run.
	Limit time.Duration
	// Settle is for how long nothing may have been written before what follows
	// counts as quiet; Quiet is for how long it is measured.
	Settle, Quiet time.Duration
	// Plan is the load of dry runs, PlanTurns how often it is measured.
	Plan      Load
	PlanTurns int
}

// DefaultOrchestrateOptions takes some minutes.
func DefaultOrchestrateOptions() OrchestrateOptions {
	return OrchestrateOptions{
		Nodes: 1, Clusters: 1000, Deployments: 10_000, UnitsEach: 2,
		TimeToRunning: 50 * time.Millisecond, Limit: 10 * time.Minute,
		Settle: 5 * time.Second, Quiet: 30 * time.Second,
		Plan: Load{Clients: 1, Warmup: 500 * time.Millisecond, Duration: 5 * time.Second}, PlanTurns: 3,
	}
}

// SmokeOrchestrateOptions takes seconds: enough to see that everything works.
func SmokeOrchestrateOptions() OrchestrateOptions {
	o := DefaultOrchestrateOptions()
	o.Clusters, o.Deployments = 20, 100
	o.Limit, o.Settle, o.Quiet = time.Minute, time.Second, 2*time.Second
	o.Plan.Warmup, o.Plan.Duration, o.PlanTurns = 20*time.Millisecond, 200*time.Millisecond, 2
	return o
}

// Validate returns what is wrong with o.
func (o OrchestrateOptions) Validate() error {
	for _, n := range []struct {
		name        string
		value, most int
	}{
		{"nodes", o.Nodes, 9}, {"clusters", o.Clusters, 9999}, {"deployments", o.Deployments, 1_000_000},
		{"units of each deployment", o.UnitsEach, o.Clusters}, {"turns", o.PlanTurns, 1000},
	} {
		if n.value < 1 || n.value > n.most {
			return fmt.Errorf("number of %s is %d, must be 1 to %d", n.name, n.value, n.most)
		}
	}
	if o.Limit <= 0 || o.Quiet <= 0 || o.Settle < 0 || o.TimeToRunning < 0 {
		return errors.New("limit and quiet must be positive, settle and time to running not negative")
	}
	return o.Plan.Validate()
}

// units is how many there are when all deployments run.
func (o OrchestrateOptions) units() int { return o.Deployments * o.UnitsEach }

// Most that was promised: of a plan's 99th percentile in a thousand clusters, in
// microseconds as a client sees it, and of writes per second while nothing changes.
const (
	planPromise   = 10_000
	writesPromise = 0
)

// Orchestrate measures how a control plane brings many deployments to many
// clusters, what it costs to keep them there, and how long a plan takes. It fails
// when the clusters do not hold exactly what is recorded, never because something
// is slow. The report holds what was measured up to an error.
func Orchestrate(ctx context.Context, h Host, o OrchestrateOptions) (report *Report, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	dir, remove, err := h.scratch()
	if err != nil {
		return nil, err
	}
	defer closing(&err, remove)
	h.progress("starting %s", countText(o.Clusters, "simulated cluster"))
	farm, err := StartFarm(ctx, h.Executable, h.SimVerb, h.Env, dir, o.Clusters, o.TimeToRunning)
	if err != nil {
		return nil, err
	}
	defer closing(&err, farm.Close)
	local, err := h.startLocal(ctx, o.Nodes, dir)
	if err != nil {
		return nil, err
	}
	defer closing(&err, local.Close)

	b := &orchestration{host: h, options: o, farm: farm, local: local, report: NewReport(h.Version, time.Now())}
	b.run = Run{
		Name: "orchestrate, " + countText(o.Nodes, "node"), Clients: preparers, Turns: 1,
		Settings: map[string]string{
			"clusters": strconv.Itoa(o.Clusters), "deployments": strconv.Itoa(o.Deployments),
			"units_each": strconv.Itoa(o.UnitsEach), "filesystem": filesystemOf(dir),
		},
	}
	err = b.steps(ctx, b.registerClusters, b.converge, b.compare, b.keep)
	b.report.Runs = append(b.report.Runs, b.run)
	if err != nil {
		return b.report, fmt.Errorf("run %s: %w", b.run.Name, err)
	}
	return b.report, b.plan(ctx)
}

// orchestration is one call of Orchestrate.
type orchestration struct {
	host    Host
	options OrchestrateOptions
	farm    *Farm
	local   *Local
	report  *Report
	run     Run
}

func (b *orchestration) steps(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *orchestration) figure(name string, value float64, unit string, most *float64) {
	b.run.Figures = append(b.run.Figures, Figure{Name: name, Value: value, Unit: unit, Most: most})
	b.host.progress("%s", b.run.Figures[len(b.run.Figures)-1])
}

// until asks a node every so often whether something has come about, within the
// limit. ask tells how far it is.
func (b *orchestration) until(ctx context.Context, what string, every time.Duration, ask func(c *connection) (done bool, progress string, err error)) error {
	limit, cancel := context.WithTimeout(ctx, b.options.Limit)
	defer cancel()
	c := newConnection(b.local.Addrs()[0], b.host.opTimeout())
	defer c.close()
	for {
		done, progress, err := ask(c)
		if done || err != nil {
			return err
		}
		if err := pause(limit, every); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s: not within %s: %s", what, b.options.Limit, progress)
		}
	}
}

// registerClusters makes the clusters known and waits until all are healthy.
func (b *orchestration) registerClusters(ctx context.Context) error {
	began := time.Now()
	err := forEach(ctx, b.local.Addrs(), b.host.opTimeout(), b.options.Clusters, func(c *connection, i int) error {
		name, baseURL := b.farm.cluster(i)
		_, err := c.call(ctx, fasthttp.MethodPost, clustersPath, fmt.Appendf(nil,
			`{"name":%q,"base_url":%q,"protocol":"http","labels":{"zone":"z%d","region":"r%d"}}`, name, baseURL, i%10, i%3))
		return err
	})
	if err != nil {
		return fmt.Errorf("register clusters: %w", err)
	}
	b.figure("register clusters", float64(b.options.Clusters)/time.Since(began).Seconds(), "clusters/s", nil)
	err = b.until(ctx, "all clusters healthy", 250*time.Millisecond, func(c *connection) (bool, string, error) {
		var clusters []struct {
			Health struct {
				Status string `json:"status"`
			} `json:"health"`
		}
		if err := c.getJSON(ctx, clustersPath, &clusters); err != nil {
			return false, "", err
		}
		healthy := 0
		for _, cluster := range clusters {
			if cluster.Health.Status == "Healthy" {
				healthy++
			}
		}
		return healthy == b.options.Clusters, fmt.Sprintf("%d of %d", healthy, b.options.Clusters), nil
	})
	if err != nil {
		return err
	}
	b.figure("all clusters healthy after", time.Since(began).Seconds(), "s", nil)
	return nil
}

const (
	clustersPath    = "/api/v1/clusters"
	deploymentsPath = "/api/v1/deployments"
)

const orchestratePackage = `{"name":"bench-orchestrate","version":"1","classes":[{"key":"Cart",` +
	`"function_bindings":[{"name":"add","function_key":"Cart.add","access_modifier":"PUBLIC"}]}],` +
	`"functions":[{"key":"Cart.add","provision_config":{"container_image":"registry.example/cart:1"}}]}`

// deployment is the document of deployment number i.
func (b *orchestration) deployment(dst []byte, key string) []byte {
	return fmt.Appendf(dst, `{"key":%q,"package_name":"bench-orchestrate","class_key":"Cart","placement":{"clusters":%d}}`, key, b.options.UnitsEach)
}

// converge creates the deployments and waits until all run.
func (b *orchestration) converge(ctx context.Context) error {
	c := newConnection(b.local.Addrs()[0], b.host.opTimeout())
	defer c.close()
	if _, err := c.call(ctx, fasthttp.MethodPut, packagesPath+"/bench-orchestrate", []byte(orchestratePackage)); err != nil {
		return fmt.Errorf("store package: %w", err)
	}
	before, began := sampleUsage(b.local.Processes()), time.Now()
	err := forEach(ctx, b.local.Addrs(), b.host.opTimeout(), b.options.Deployments, func(c *connection, i int) error {
		_, err := c.call(ctx, fasthttp.MethodPost, deploymentsPath, b.deployment(nil, deploymentName(i)))
		return err
	})
	if err != nil {
		return fmt.Errorf("create deployments: %w", err)
	}
	b.figure("deployments accepted", float64(b.options.Deployments)/time.Since(began).Seconds(), "/s", nil)
	if err := b.until(ctx, "all deployments RUNNING", 250*time.Millisecond, b.allRunning(ctx)); err != nil {
		return err
	}
	took := time.Since(began)
	usage := sampleUsage(b.local.Processes())
	b.addTurn(Turn{
		Operations: uint64(b.options.Deployments), Seconds: took.Seconds(), OpsPerSecond: float64(b.options.Deployments) / took.Seconds(),
		Processes: usage.since(before), ClientCPUSeconds: (usage.self - before.self).Seconds(),
	})
	b.figure("initial convergence", float64(b.options.units())/took.Seconds(), "units/s", nil)
	return nil
}

func deploymentName(i int) string { return fmt.Sprintf("bench-%06d", i) }

// allRunning asks cheaply: the last of as many as there should be exists when all
// do.
func (b *orchestration) allRunning(ctx context.Context) func(c *connection) (bool, string, error) {
	path := fmt.Sprintf("%s?condition=RUNNING&limit=1&offset=%d", deploymentsPath, b.options.Deployments-1)
	return func(c *connection) (bool, string, error) {
		var last []struct {
			Key string `json:"key"`
		}
		if err := c.getJSON(ctx, path, &last); err != nil {
			return false, "", err
		}
		calls, err := b.farm.calls(ctx, b.host.opTimeout())
		return len(last) == 1, fmt.Sprintf("%d deploy calls for %d units", calls["deploy"], b.options.units()), err
	}
}

// addTurn reports the deployments as a subject of one turn. There is no latency:
// what is measured is the whole.
func (b *orchestration) addTurn(t Turn) {
	subject := SubjectReport{Name: "deployments until RUNNING", Turns: []Turn{t}, Histogram: new(Histogram)}
	subject.summarize()
	if n := float64(t.Operations); n > 0 {
		for _, p := range t.Processes {
			subject.ServerCPUMicros += p.CPUSeconds / n * 1e6
		}
		subject.ClientCPUMicros = t.ClientCPUSeconds / n * 1e6
	}
	b.run.TurnSeconds = t.Seconds
	b.run.Subjects = append(b.run.Subjects, subject)
}
