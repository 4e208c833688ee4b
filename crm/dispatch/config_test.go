package dispatch

import (
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/crm/plan"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("defaults: got %v, want none", err)
	}
	for want, change := range map[string]func(*Config){
		"workers must be positive":               func(c *Config) { c.Workers = 0 },
		"resync interval must be positive":       func(c *Config) { c.ResyncInterval = 0 },
		"replan interval must be positive":       func(c *Config) { c.ReplanInterval = -1 },
		"settled poll interval must be positive": func(c *Config) { c.SettledPollInterval = 0 },
		"poll max must not be below poll min":    func(c *Config) { c.PollMax = c.PollMin - 1 },
		"backoffs must not shrink":               func(c *Config) { c.BackoffLong = c.BackoffMax - 1 },
		"progress deadline must be positive":     func(c *Config) { c.ProgressDeadline = 0 },
		"uncertain period must not be negative":  func(c *Config) { c.UncertainPeriod = -1 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := New(cfg, Deps{}); err == nil {
			t.Errorf("%s: New accepts it", want)
		}
	}
	if _, err := New(DefaultConfig(), Deps{Policy: plan.DefaultPolicy()}); err == nil || !strings.Contains(err.Error(), "needs a store") {
		t.Errorf("nothing to work with: got %v, want it named", err)
	}
}

func TestDelaysGrow(t *testing.T) {
	t.Parallel()
	r := (&Dispatcher{cfg: DefaultConfig()}).newRun(1)
	within := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want*6/10 || got > want*14/10 {
			t.Errorf("%s: got %s, want about %s", what, got, want)
		}
	}
	for failures, want := range map[int]time.Duration{
		1: 200 * time.Millisecond, 2: 400 * time.Millisecond, 5: 3200 * time.Millisecond, 8: 25600 * time.Millisecond, 10: 30 * time.Second,
		11: time.Minute, 12: 2 * time.Minute, 14: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		within("failure", r.growing(failures), want)
	}
	for polls, want := range map[int]time.Duration{
		1: 100 * time.Millisecond, 5: 1600 * time.Millisecond, 10: 3 * time.Second, 30: 3 * time.Second, 31: 6 * time.Second, 40: 30 * time.Second,
	} {
		within("poll", r.pollWait(polls), want)
	}
}
