package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reportOf makes a report of one run with subjects of the rates given.
func reportOf(rates map[string][]float64) *Report {
	r := NewReport("1.2.3", time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	run := Run{Name: "get, 1 node, 64 clients", Clients: 64, Turns: 2, WarmupSeconds: 0.5, TurnSeconds: 2, Settings: map[string]string{"documents": "10"}}
	for _, name := range []string{"linearizable", "plain", "stale"} {
		if rates[name] == nil {
			continue
		}
		s := SubjectReport{Name: name, Labels: map[string]string{"nodes": "1"}, Histogram: new(Histogram)}
		for _, rate := range rates[name] {
			s.Histogram.Record(time.Duration(64e9 / rate))
			s.Turns = append(s.Turns, Turn{
				Operations: uint64(2 * rate), Seconds: 2, OpsPerSecond: rate, ErrorSamples: []string{"x"}, Errors: 1,
				Processes:        []ProcessUsage{{Name: "n1", CPUSeconds: 1e-6, ResidentBytes: 30 << 20, AnonymousBytes: 20 << 20}},
				ClientCPUSeconds: 2e-6,
			})
		}
		s.summarize()
		run.Subjects = append(run.Subjects, s)
	}
	run.addRatios("plain", map[string]float64{"linearizable": 0.5})
	r.Runs = append(r.Runs, run)
	return r
}

func TestReportRoundTrip(t *testing.T) {
	t.Parallel()
	want := reportOf(map[string][]float64{"linearizable": {30000, 40000}, "plain": {50000, 60000}})
	path := filepath.Join(t.TempDir(), "results", "latest.json")
	if err := want.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadReport(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Histogram{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestReadReportRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := ReadReport(filepath.Join(dir, "absent.json")); err == nil {
		t.Error("absent: got no error")
	}
	for name, text := range map[string]string{"not_json": "ops/s", "newer": `{"schema":2}`, "older": `{}`} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadReport(path); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestReportSummary(t *testing.T) {
	t.Parallel()
	r := reportOf(map[string][]float64{"linearizable": {30000, 45000}, "plain": {60000, 60000}})
	s := r.Runs[0].Subjects[0]
	if got, want := s.OpsPerSecond, (Spread{30000, 37500, 45000}); got != want {
		t.Errorf("operations: got %v, want %v", got, want)
	}
	if s.ServerCPUMicros != 1 || s.ClientCPUMicros != 2 {
		t.Errorf("processor time: got %v and %v, want 1 and 2", s.ServerCPUMicros, s.ClientCPUMicros)
	}
	want := []Ratio{{Subject: "linearizable", Baseline: "plain", Spread: Spread{0.5, 0.625, 0.75}, Target: 0.5, ServerCPU: 1}}
	if diff := cmp.Diff(want, r.Runs[0].Ratios); diff != "" {
		t.Errorf("ratios: -want +got\n%s", diff)
	}
}

func TestReportTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := reportOf(map[string][]float64{"linearizable": {30000, 45000}, "plain": {90000, 90000}})
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"oprc-pm 1.2.3, ", "get, 1 node, 64 clients: 2 turns of 2s, documents 10\n", "30 MiB", "1.43 ms",
		"linearizable is 0.42 × plain (0.33–0.50), at 1.00 × its server CPU/op, target 0.50: MISSED\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwithout %q", out.String(), want)
		}
	}
}

func TestRatioText(t *testing.T) {
	t.Parallel()
	r := Ratio{Subject: "a", Baseline: "b", Spread: Spread{1, 2, 3}}
	if got, want := r.String(), "a is 2.00 × b (1.00–3.00)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Target = 2
	if got, want := r.String(), "a is 2.00 × b (1.00–3.00), target 2.00: met"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMicroText(t *testing.T) {
	t.Parallel()
	for us, want := range map[float64]string{
		0: "-", 1.234: "1.23 µs", 12.34: "12.3 µs", 123.4: "123 µs", 1234: "1.23 ms", 12345: "12.3 ms", 123456: "123 ms", 1234567: "1.23 s",
	} {
		if got := microText(us); got != want {
			t.Errorf("%v: got %q, want %q", us, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	a := reportOf(map[string][]float64{"linearizable": {30000, 40000}, "plain": {50000, 60000}, "stale": {1, 2}})
	b := reportOf(map[string][]float64{"linearizable": {60000, 80000}, "plain": {55000, 56000}})
	got, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 2 || !got.SameMachine {
		t.Fatalf("got %+v", got)
	}
	row := got.Rows[0]
	if row.Subject != "linearizable" || row.Ops != 2 || !row.Clear || row.P50 >= 1 || row.ServerCPU != 1 {
		t.Errorf("got %+v, want a clear 2", row)
	}
	if got.Rows[1].Clear {
		t.Errorf("got %+v, want within the noise", got.Rows[1])
	}
	if diff := cmp.Diff([]string{"get, 1 node, 64 clients: stale"}, got.OnlyA); diff != "" {
		t.Errorf("only in A: -want +got\n%s", diff)
	}
	reverse, err := Compare(b, a)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got.OnlyA, reverse.OnlyB); diff != "" {
		t.Errorf("only in B: -want +got\n%s", diff)
	}
	var out bytes.Buffer
	if err := got.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.00", "clear", "within the noise", "only in A: get, 1 node, 64 clients: stale"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwithout %q", out.String(), want)
		}
	}
}

func TestCompareRefuses(t *testing.T) {
	t.Parallel()
	a := reportOf(map[string][]float64{"linearizable": {1, 2}})
	b := reportOf(map[string][]float64{"stale": {1, 2}})
	if _, err := Compare(a, b); err == nil {
		t.Error("nothing in common: got no error")
	}
}
