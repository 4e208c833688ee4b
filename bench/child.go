package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	// startTimeout is how long a child may take to listen, and a cluster to
	// become ready.
	startTimeout = 30 * time.Second
	// stopTimeout is how long a child may take to end before it is killed.
	stopTimeout = 20 * time.Second
	// pollInterval is how often a file or an address is looked at.
	pollInterval = 5 * time.Millisecond
)

// ready is what a server writes when it listens. Addresses are HOST:PORT.
type ready struct {
	HTTPAddr    string `json:"http_addr"`
	ClusterAddr string `json:"cluster_addr,omitempty"`
	GossipAddr  string `json:"gossip_addr,omitempty"`
	PID         int    `json:"pid"`
}

// writeReadyFile writes r in one step, so that a reader never sees half of it.
func writeReadyFile(path string, r ready) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	part := path + ".part"
	if err := os.WriteFile(part, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
}

// childConfig says what to start.
type childConfig struct {
	name       string
	executable string
	args       []string
	// env is the whole environment.
	env       []string
	readyFile string
	// logFile takes what the child prints.
	logFile string
}

// child is a process of this harness. It ends with it.
type child struct {
	cfg   childConfig
	cmd   *exec.Cmd
	ready ready
	// done is closed when the process has ended; err says how.
	done chan struct{}
	err  error

	stopOnce sync.Once
	stopErr  error
}

// startChild starts a process and waits until it has written its ready file.
func startChild(ctx context.Context, cfg childConfig) (*child, error) {
	if err := os.Remove(cfg.readyFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("start %s: %w", cfg.name, err)
	}
	log, err := os.OpenFile(cfg.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.name, err)
	}
	defer func() { _ = log.Close() }() // The child has its own descriptor.
	// Not CommandContext: when ctx ends the child is stopped, not killed.
	cmd := exec.Command(cfg.executable, cfg.args...)
	cmd.Env = cfg.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.name, err)
	}
	c := &child{cfg: cfg, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = cmd.Wait()
	}()
	if err := c.awaitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", cfg.name, err), c.stop())
	}
	return c, nil
}

func (c *child) awaitReady(ctx context.Context) error {
	return c.poll(ctx, "listen", func() (bool, error) {
		data, err := os.ReadFile(c.cfg.readyFile)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if err := json.Unmarshal(data, &c.ready); err != nil || c.ready.HTTPAddr == "" {
			return false, fmt.Errorf("ready file holds %q", data)
		}
		return true, nil
	})
}

// poll waits until condition holds, the child ends, or the time is up.
func (c *child) poll(ctx context.Context, what string, condition func() (bool, error)) error {
	limit, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if ok, err := condition(); ok || err != nil {
			return err
		}
		select {
		case <-c.done:
			return fmt.Errorf("ended before it could %s: %w%s", what, exitError(c.err), c.logTail())
		default:
		}
		if err := pause(limit, pollInterval); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("did not %s within %s%s", what, startTimeout, c.logTail())
		}
	}
}

// exitError is err, or what stands for a clean exit where none was wanted.
func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// stop ends the child: politely, then not. It fails when the child did not end
// well. It may be called more than once.
func (c *child) stop() error {
	c.stopOnce.Do(func() {
		// An error means that the process has ended already.
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		timer := time.NewTimer(stopTimeout)
		defer timer.Stop()
		select {
		case <-c.done:
		case <-timer.C:
			_ = c.cmd.Process.Kill()
			<-c.done
			c.stopErr = fmt.Errorf("stop %s: did not end within %s and was killed%s", c.cfg.name, stopTimeout, c.logTail())
			return
		}
		if c.err != nil {
			c.stopErr = fmt.Errorf("stop %s: %w%s", c.cfg.name, c.err, c.logTail())
		}
	})
	return c.stopErr
}

func (c *child) process() Process { return Process{Name: c.cfg.name, PID: c.cmd.Process.Pid} }

// logTail is the end of what the child printed, for an error text.
func (c *child) logTail() string {
	const most = 2 << 10
	data, err := os.ReadFile(c.cfg.logFile)
	if data = bytes.TrimSpace(data); err != nil || len(data) == 0 {
		return ""
	}
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return fmt.Sprintf("; the end of %s:\n%s", filepath.Base(c.cfg.logFile), data)
}
