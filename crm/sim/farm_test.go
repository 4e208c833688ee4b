package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func serveFarm(t *testing.T, f *Farm) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", Loopback)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return listener.Addr().String()
}

// TestFarm: clusters on one port that know nothing of each other.
func TestFarm(t *testing.T) {
	t.Parallel()
	f := NewFarm(Config{Capacity: 5})
	f.Add("a", "b")
	if last := f.Add("b"); last != f.Add("b") {
		t.Error("adding a cluster again: got another one")
	}
	addr := serveFarm(t, f)
	c := client(t)
	for _, cluster := range []string{"a", "b"} {
		response, err := c.Post(BaseURL(addr, cluster)+"/api/v1/deployments", "application/json", strings.NewReader(unitJSON("u-"+cluster, "cart")))
		if err != nil || response.StatusCode != 200 {
			t.Fatalf("deploy in %s: got %v, %v", cluster, response, err)
		}
		_ = response.Body.Close()
	}
	setFaults(t, c, BaseURL(addr, "a"), `{"status":500}`)
	for path, want := range map[string]int{
		"/c/a/api/v1/health": 500, "/c/b/api/v1/health": 200, "/c/none/api/v1/health": 404, "/c/a": 404, "/else": 404,
		"/c/a/sim/units": 200, "/farm/clusters": 200,
	} {
		if got, err := get(t, "http://"+addr+path); got != want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", path, got, err, want)
		}
	}
	want := []FarmUnit{{Cluster: "a", ID: "u-a", Deployment: "cart"}, {Cluster: "b", ID: "u-b", Deployment: "cart"}}
	if diff := cmp.Diff(want, f.Units()); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]uint64{"deploy": 2, "health": 2}, f.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	f.SetFaults(Faults{Refuse: true})
	if _, err := get(t, BaseURL(addr, "b")+"/api/v1/health"); err == nil {
		t.Error("a cluster that refuses: got an answer, want the connection cut")
	}
	setFarmFaults(t, addr, `{}`)
	if got, err := get(t, BaseURL(addr, "b")+"/api/v1/health"); got != 200 || err != nil {
		t.Errorf("afterwards: got %d, %v, want 200", got, err)
	}
}

func setFarmFaults(t *testing.T, addr, faults string) {
	t.Helper()
	f := NewFarm(Config{})
	if status, raw := callFarm(t, f, "PUT", "/farm/faults", `{"error_rate":3}`); status != 400 {
		t.Errorf("invalid faults: got %d %s, want 400", status, raw)
	}
	response, err := client(t).Do(newRequest(t, "PUT", "http://"+addr+"/farm/faults", strings.NewReader(faults)))
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("set faults: got %v, %v", response, err)
	}
	_ = response.Body.Close()
}

func newRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func callFarm(t *testing.T, f *Farm, method, path, body string) (int, []byte) {
	t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w.Code, w.Body.Bytes()
}

// TestFarmIsCheap: thousands of clusters with units cost neither goroutines nor
// much memory.
func TestFarmIsCheap(t *testing.T) {
	const clusters = 3000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	f := NewFarm(Config{})
	for i := range clusters {
		s := f.Add(fmt.Sprintf("c-%d", i))
		if status, raw := callRaw(t, s, "POST", "/api/v1/deployments", unitJSON("u1", "cart")); status != 200 {
			t.Fatalf("deploy: got %d %s", status, raw)
		}
	}
	if got := runtime.NumGoroutine() - goroutines; got > 0 {
		t.Errorf("got %d goroutines more, want none", got)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / clusters; got > 16<<10 {
		t.Errorf("got %d bytes for each cluster, want at most 16 KiB", got)
	}
	if got := len(f.Units()); got != clusters {
		t.Errorf("got %d units, want %d", got, clusters)
	}
	_, raw := callFarm(t, f, "GET", "/farm/counts", "")
	var counts map[string]int
	if err := json.Unmarshal(raw, &counts); err != nil || counts["deploy"] != clusters {
		t.Errorf("counts: got %s, %v, want %d deploys", raw, err, clusters)
	}
}
