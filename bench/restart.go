package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// RestartOptions is what a node holds that is restarted and joined.
type RestartOptions struct {
	// Packages of Bytes each are stored.
	Packages, Bytes int
	// Turns is how often the node is restarted in each way.
	Turns int
	// JoinLimit is after how long a new node has failed to become a voter.
	JoinLimit time.Duration
}

// DefaultRestartOptions is what the promises are about. It takes some minutes.
func DefaultRestartOptions() RestartOptions {
	return RestartOptions{Packages: 100_000, Bytes: 2048, Turns: 3, JoinLimit: 2 * time.Minute}
}

// SmokeRestartOptions takes half a minute: enough to see that everything works.
func SmokeRestartOptions() RestartOptions {
	o := DefaultRestartOptions()
	o.Packages, o.Turns = 500, 1
	return o
}

// Validate returns what is wrong with o.
func (o RestartOptions) Validate() error {
	switch {
	case o.Packages < 1 || o.Packages > 10_000_000:
		return fmt.Errorf("number of packages is %d, must be 1 to 10000000", o.Packages)
	case o.Turns < 1 || o.Turns > 1000:
		return fmt.Errorf("number of turns is %d, must be 1 to 1000", o.Turns)
	case o.JoinLimit <= 0:
		return errors.New("the limit of joining must be positive")
	}
	_, err := newTemplate("p", o.Bytes)
	return err
}

// Most that was promised of a node with 100,000 packages of 2 KiB, in seconds.
const (
	restartPromise = 2
	joinPromise    = 30
)

// Restart measures how long a node with many packages takes to serve again after
// it was stopped, and after it was killed, and how long a new node takes to become
// a voter beside it. It fails when an acknowledged package is missing or the nodes
// differ, never because something is slow. The report holds what was measured up to
// an error.
func Restart(ctx context.Context, h Host, o RestartOptions) (report *Report, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	dir, remove, err := h.scratch()
	if err != nil {
		return nil, err
	}
	defer closing(&err, remove)
	seed, err := freeAddr()
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	b := &restarting{host: h, options: o, seed: seed, dir: dir, prefix: newPrefix()}
	defer closing(&err, func() error { return b.stop() })
	b.run = Run{
		Name: "restart and join", Clients: preparers, Turns: o.Turns,
		Settings: map[string]string{"packages": strconv.Itoa(o.Packages), "bytes": strconv.Itoa(o.Bytes), "filesystem": filesystemOf(dir)},
	}
	report = NewReport(h.Version, time.Now())
	for _, step := range []func(context.Context) error{b.fill, b.restarts, b.join, b.compare} {
		if err = step(ctx); err != nil {
			err = fmt.Errorf("run %s: %w", b.run.Name, err)
			break
		}
	}
	if len(b.run.Figures) > 0 {
		report.Runs = append(report.Runs, b.run)
	}
	return report, err
}

// restarting is one call of Restart.
type restarting struct {
	host    Host
	options RestartOptions
	seed    string
	dir     string
	prefix  string
	run     Run
	// node holds the packages; joiner is nil until it joins.
	node, joiner *child
}

func (b *restarting) stop() error {
	var errs []error
	for _, c := range []*child{b.joiner, b.node} {
		if c != nil {
			errs = append(errs, c.stop())
		}
	}
	return errors.Join(errs...)
}

func (b *restarting) figure(name string, value float64, unit string, most *float64) {
	b.run.Figures = append(b.run.Figures, Figure{Name: name, Value: value, Unit: unit, Most: most})
	b.host.progress("%s", b.run.Figures[len(b.run.Figures)-1])
}

// start starts node number i (from 1); args are added to its own.
func (b *restarting) start(ctx context.Context, i int, args ...string) (*child, error) {
	return startNode(ctx, LocalConfig{
		Executable: b.host.Executable, Env: b.host.Env, Nodes: 1, Dir: b.dir,
		Args:          append(append([]string{}, b.host.ServerArgs...), args...),
		CPUProfileDir: b.host.CPUProfileDir, ProfileVerb: b.host.ProfileVerb,
	}, i, b.seed)
}

func (b *restarting) path(i int) string { return fmt.Sprintf("%s/%s-%07d", packagesPath, b.prefix, i) }

// fill starts the node and stores the packages.
func (b *restarting) fill(ctx context.Context) (err error) {
	if b.node, err = b.start(ctx, 1); err != nil {
		return err
	}
	if err := b.awaitReady(ctx, b.node); err != nil {
		return err
	}
	b.host.progress("storing %s", countText(b.options.Packages, "package"))
	began := time.Now()
	err = forEach(ctx, []string{b.node.ready.HTTPAddr}, b.host.opTimeout(), b.options.Packages, func(c *connection, i int) error {
		document, err := newTemplate(fmt.Sprintf("%s-%07d", b.prefix, i), b.options.Bytes)
		if err != nil {
			return err
		}
		_, err = c.call(ctx, fasthttp.MethodPut, b.path(i), document.body)
		return err
	})
	if err != nil {
		return fmt.Errorf("store packages: %w", err)
	}
	b.figure("packages stored", float64(b.options.Packages)/time.Since(began).Seconds(), "/s", nil)
	return nil
}

func (b *restarting) awaitReady(ctx context.Context, c *child) error {
	return c.poll(ctx, "become ready", func() (bool, error) { return isReady(ctx, c.ready.HTTPAddr), nil })
}

// restarts stops and starts the node in turns: in good order, and by killing it.
func (b *restarting) restarts(ctx context.Context) error {
	ways := []struct {
		name string
		end  func(*child) error
		// took are the seconds of each turn until the API listened, and until the
		// last package was read.
		listens, serves []float64
		stops           []float64
	}{
		{name: "a stop", end: (*child).stop},
		{name: "a kill", end: (*child).kill},
	}
	for range b.options.Turns {
		for i := range ways {
			way := &ways[i]
			began := time.Now()
			if err := way.end(b.node); err != nil {
				return err
			}
			way.stops = append(way.stops, time.Since(began).Seconds())
			listens, serves, err := b.restart(ctx)
			if err != nil {
				return fmt.Errorf("restart after %s: %w", way.name, err)
			}
			way.listens, way.serves = append(way.listens, listens), append(way.serves, serves)
		}
	}
	promise := float64(restartPromise)
	b.figure("stop, median", spreadOf(ways[0].stops).Median, "s", nil)
	for _, way := range ways {
		spread := spreadOf(way.serves)
		b.figure("listens after "+way.name+", median", spreadOf(way.listens).Median, "s", nil)
		b.figure("serves after "+way.name+", median", spread.Median, "s", nil)
		b.figure("serves after "+way.name+", slowest", spread.Max, "s", &promise)
	}
	return nil
}

// restart starts the node, which has ended, and returns the seconds until its API
// listened and until it answered a linearizable read.
func (b *restarting) restart(ctx context.Context) (listens, serves float64, err error) {
	began := time.Now()
	if b.node, err = b.start(ctx, 1); err != nil {
		return 0, 0, err
	}
	listens = time.Since(began).Seconds()
	if err := b.awaitReady(ctx, b.node); err != nil {
		return 0, 0, err
	}
	c := newConnection(b.node.ready.HTTPAddr, b.host.opTimeout())
	defer c.close()
	if _, err := c.call(ctx, fasthttp.MethodGet, b.path(b.options.Packages-1), nil); err != nil {
		return 0, 0, err
	}
	return listens, time.Since(began).Seconds(), nil
}

// join starts a new node and waits until it is a voter.
func (b *restarting) join(ctx context.Context) (err error) {
	began := time.Now()
	if b.joiner, err = b.start(ctx, 2, "--join", b.seed); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, b.options.JoinLimit)
	defer cancel()
	c := newConnection(b.node.ready.HTTPAddr, b.host.opTimeout())
	defer c.close()
	ready := 0.0
	for {
		var state struct {
			Voters int `json:"voters"`
		}
		if err := c.getJSON(ctx, "/api/v1/cluster/health", &state); err != nil {
			return err
		}
		if ready == 0 && isReady(ctx, b.joiner.ready.HTTPAddr) {
			ready = time.Since(began).Seconds()
		}
		if state.Voters == 2 && ready > 0 {
			break
		}
		if err := pause(limit, 10*time.Millisecond); err != nil {
			return fmt.Errorf("the new node is no voter after %s%s", b.options.JoinLimit, b.joiner.logTail())
		}
	}
	promise := float64(joinPromise)
	b.figure("a new node has caught up after", ready, "s", nil)
	b.figure("a new node is a voter after", time.Since(began).Seconds(), "s", &promise)
	return nil
}

// compare reads packages of both nodes, and fails when one is missing or the
// digests differ.
func (b *restarting) compare(ctx context.Context) error {
	addrs := []string{b.node.ready.HTTPAddr, b.joiner.ready.HTTPAddr}
	err := forEach(ctx, addrs, b.host.opTimeout(), min(b.options.Packages, 2000), func(c *connection, i int) error {
		_, err := c.call(ctx, fasthttp.MethodGet, b.path(i*b.options.Packages/min(b.options.Packages, 2000)), nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("read packages: %w", err)
	}
	c := newConnection(addrs[0], b.host.opTimeout())
	defer c.close()
	for {
		var members []struct {
			Name, Digest string
			DigestIndex  uint64 `json:"digest_index"`
		}
		if err := c.getJSON(ctx, "/api/v1/members", &members); err != nil {
			return err
		}
		if len(members) == 2 && members[0].DigestIndex == members[1].DigestIndex {
			if members[0].Digest == "" || members[0].Digest != members[1].Digest {
				return wrongf("compare digests", "%+v", members)
			}
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// kill ends the child at once and waits until it is gone.
func (c *child) kill() error {
	c.stopOnce.Do(func() {
		_ = c.cmd.Process.Kill() // It may have ended already.
		<-c.done
	})
	return nil
}
