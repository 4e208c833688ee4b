package bench

import (
	"testing"

	"github.com/oprc/oprc-pm/internal/testproc"
)

func TestRestartRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*RestartOptions){
		"no_packages": func(o *RestartOptions) { o.Packages = 0 },
		"no_bytes":    func(o *RestartOptions) { o.Bytes = 0 },
		"no_turns":    func(o *RestartOptions) { o.Turns = 0 },
		"no_limit":    func(o *RestartOptions) { o.JoinLimit = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := SmokeRestartOptions()
			change(&o)
			if report, err := Restart(t.Context(), Host{Dir: t.TempDir()}, o); err == nil || report != nil {
				t.Errorf("got report %v and error %v", report, err)
			}
		})
	}
	if err := DefaultRestartOptions().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

// TestRestartSmoke is the promises at a scale at which nothing but a defect can
// break them.
func TestRestartSmoke(t *testing.T) {
	t.Parallel()
	h := Host{
		Version: "1.2.3", Executable: testproc.Binary(t), Dir: t.TempDir(),
		Env: []string{"PATH=/usr/bin:/bin"}, Progress: t.Logf,
		ServerArgs: []string{"--config", writeFile(t, "config.yaml", "cluster:\n  autopilot:\n    server_stabilization_time: 1s\n")},
	}
	report, err := Restart(t.Context(), h, SmokeRestartOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Runs) != 1 {
		t.Fatalf("got %d runs, want 1", len(report.Runs))
	}
	figures := map[string]float64{}
	for _, f := range report.Runs[0].Figures {
		figures[f.Name] = f.Value
	}
	for _, name := range []string{"serves after a stop, slowest", "serves after a kill, slowest", "a new node has caught up after", "a new node is a voter after"} {
		if figures[name] <= 0 || figures[name] > joinPromise {
			t.Errorf("%s: %g s, want more than 0 and at most %d", name, figures[name], joinPromise)
		}
	}
}
