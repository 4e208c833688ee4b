package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// Farm is simulated clusters, all in one process of its own.
type Farm struct {
	child    *child
	clusters int
}

// farmName begins the names of the clusters.
const farmName = "sim"

// FarmUnit is a unit that one of the clusters holds.
type FarmUnit struct {
	Cluster    string `json:"cluster"`
	ID         string `json:"id"`
	Deployment string `json:"deployment"`
}

// StartFarm starts clusters in which a unit runs timeToRunning after it was
// accepted. args are the verb of the executable that makes it simulated
// clusters; dir is for its files.
func StartFarm(ctx context.Context, executable string, args, env []string, dir string, clusters int, timeToRunning time.Duration) (*Farm, error) {
	readyFile := filepath.Join(dir, "farm-ready.json")
	args = append(args[:len(args):len(args)],
		"--name", farmName, "--count", strconv.Itoa(clusters), "--listen", "127.0.0.1:0",
		"--time-to-running", timeToRunning.String(), "--log-level", "warn", "--ready-file", readyFile)
	c, err := startChild(ctx, childConfig{
		name: "clusters", executable: executable, args: args, env: env, readyFile: readyFile, logFile: filepath.Join(dir, "farm.log"),
	})
	if err != nil {
		return nil, err
	}
	return &Farm{child: c, clusters: clusters}, nil
}

// Name is that of cluster number i (from 0), and where its CRM answers.
func (f *Farm) cluster(i int) (name, baseURL string) {
	name = fmt.Sprintf("%s-%04d", farmName, i+1)
	return name, "http://" + f.child.ready.HTTPAddr + "/c/" + name
}

// units are those of all clusters.
func (f *Farm) units(ctx context.Context, timeout time.Duration) (units []FarmUnit, err error) {
	return units, f.get(ctx, timeout, "/farm/units", &units)
}

// calls is how many calls there have been of each name.
func (f *Farm) calls(ctx context.Context, timeout time.Duration) (counts map[string]uint64, err error) {
	return counts, f.get(ctx, timeout, "/farm/counts", &counts)
}

func (f *Farm) get(ctx context.Context, timeout time.Duration, path string, into any) error {
	c := newConnection(f.child.ready.HTTPAddr, timeout)
	defer c.close()
	return c.getJSON(ctx, path, into)
}

// Close stops the clusters. It may be called more than once.
func (f *Farm) Close() error { return f.child.stop() }

// getJSON reads a document while nothing is measured.
func (c *connection) getJSON(ctx context.Context, path string, into any) error {
	body, err := c.call(ctx, fasthttp.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return wrongf("GET "+path, "%v", err)
	}
	return nil
}
