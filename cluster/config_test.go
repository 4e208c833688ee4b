package cluster

import (
	"strings"
	"testing"
	"time"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	valid := func() Config {
		c := DefaultConfig()
		c.NodeName, c.DataDir = "n", "d"
		return c
	}
	if err := valid().Validate(); err != nil {
		t.Fatalf("defaults: %v", err)
	}
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"no name":       {func(c *Config) { c.NodeName = "" }, "node name"},
		"no directory":  {func(c *Config) { c.DataDir = "" }, "data directory"},
		"log store":     {func(c *Config) { c.LogStore = "x" }, "log store"},
		"expect":        {func(c *Config) { c.BootstrapExpect = 0 }, "bootstrap expect"},
		"address":       {func(c *Config) { c.ClusterAddr = "host" }, "cluster address"},
		"gossip":        {func(c *Config) { c.GossipAddr = "" }, "gossip address"},
		"advertise":     {func(c *Config) { c.AdvertiseHost = "a@b" }, "advertise host"},
		"seed":          {func(c *Config) { c.Join = []string{" "} }, "seeds"},
		"entry":         {func(c *Config) { c.MaxEntryBytes = 1 }, "max entry bytes"},
		"queue":         {func(c *Config) { c.WriteQueueBytes = 1 }, "write queue"},
		"lease too big": {func(c *Config) { c.LeaderLeaseTimeout = time.Hour }, "raft timers"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := valid()
			tt.change(&c)
			err := c.Validate()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one about %q", err, tt.want)
			}
		})
	}
}
