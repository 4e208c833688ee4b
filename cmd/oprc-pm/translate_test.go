package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/internal/config"
)

// What the reference file calls the default is what the HTTP interface runs with.
func TestHTTPDefaults(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(httpapi.DefaultConfig(), httpConfig(config.DefaultConfig())); diff != "" {
		t.Errorf("defaults differ (-httpapi +config):\n%s", diff)
	}
	c := config.DefaultConfig()
	c.Packages.DeleteCascade = true
	c.Server.MaxInFlight = 2
	got := httpConfig(c)
	if !got.DeleteCascade {
		t.Error("packages.delete_cascade does not reach the API")
	}
	if err := got.Validate(); err != nil {
		t.Errorf("with the least max_in_flight: %v", err)
	}
}
