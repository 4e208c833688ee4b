package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestReportTests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, events, totals, wantErr string
		shown, hidden                 []string
	}{
		{
			name: "ok",
			events: `make: Entering directory
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"run","Package":"p","Test":"TestA/sub"}
{"Action":"pass","Package":"p","Test":"TestA/sub","Elapsed":0.5}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1.5}
{"Action":"pass","Package":"p","Elapsed":2}
{"Action":"skip","Package":"q","Elapsed":0}
`,
			totals: "2 passed, 0 failed\n",
			shown:  []string{"make: Entering", "ok    p  2.0s", "none  q", "1.50s  p TestA"},
			hidden: []string{"chatter"},
		},
		{
			name: "err_failed",
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p","Elapsed":0.2}
`,
			totals:  "0 passed, 1 failed\n",
			shown:   []string{"--- FAIL p TestA\ngot 1, want 2", "FAIL  p  0.2s"},
			wantErr: "1 tests failed",
		},
		{
			name: "err_skipped",
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"needs a moon\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p"}
`,
			totals:  "1 passed, 1 failed\n",
			shown:   []string{"needs a moon", "skipped: p TestA"},
			wantErr: "a skipped test is a failure here",
		},
		{
			name: "err_died_inside_a_test",
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"panic: boom\n"}
{"Action":"fail","Package":"p"}
`,
			totals:  "0 passed, 1 failed\n",
			shown:   []string{"--- FAIL p TestA\npanic: boom"},
			wantErr: "1 tests failed",
		},
		{
			name: "err_died_outside_a_test",
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"goleak: found a goroutine\n"}
{"Action":"fail","Package":"p"}
`,
			totals:  "1 passed, 1 failed\n",
			shown:   []string{"--- FAIL p\ngoleak: found"},
			wantErr: "1 tests failed",
		},
		{
			name: "err_build",
			events: `{"ImportPath":"p [p.test]","Action":"build-output","Output":"a.go:1: undefined: x\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}
`,
			totals:  "0 passed, 1 failed\n",
			shown:   []string{"--- BUILD p [p.test]\na.go:1: undefined: x"},
			wantErr: "1 tests failed",
		},
		{
			name:    "err_cut_off",
			events:  `{"Action":"run","Package":"p","Test":"TestA"}`,
			totals:  "0 passed, 1 failed\n",
			wantErr: "1 tests failed",
		},
		{
			name:    "err_no_test",
			events:  "",
			totals:  "0 passed, 0 failed\n",
			wantErr: "no test ran",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, totals strings.Builder
			err := reportTests(strings.NewReader(tt.events), &out, &totals)
			if got := errorText(err); (got == "") != (tt.wantErr == "") || !strings.Contains(got, tt.wantErr) {
				t.Errorf("got error %q, want %q", got, tt.wantErr)
			}
			if totals.String() != tt.totals {
				t.Errorf("got totals %q, want %q", totals.String(), tt.totals)
			}
			for _, text := range tt.shown {
				if !strings.Contains(out.String(), text) {
					t.Errorf("the report does not show %q:\n%s", text, out.String())
				}
			}
			for _, text := range tt.hidden {
				if strings.Contains(out.String(), text) {
					t.Errorf("the report shows %q:\n%s", text, out.String())
				}
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestFuzzFunctions(t *testing.T) {
	t.Parallel()
	source := "package p\n\n// func FuzzNot(\nfunc FuzzA(f *testing.F) {\n\tfunc() { FuzzHelp() }()\n}\n\nfunc TestFuzzB(t *testing.T) {}\n\nfunc FuzzC(f *testing.F) {\n"
	if got, want := fuzzFunctions([]byte(source)), []string{"FuzzA", "FuzzC"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSmells(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, content string
		want          int
	}{
		{"ok_text", "read docs/home/page.md\nGET /api/v1/packages\n", 0},
		{"ok_module_path", "golang.org/x/sync v0.1.0\n", 0},
		{"ok_container_image", "ghcr.io/x/y:z\n", 0},
		{"ok_binary", "\x00 /" + "root/x\n", 0},
		{"err_home", "dir: /" + "home/someone/src\n", 1},
		{"err_quoted", `path := "/` + `root/go/pkg"` + "\n", 1},
		{"err_registry", "GOPROXY=https://proxy." + "golang.org\n", 1},
		{"err_conflict", strings.Repeat("<", 7) + " ours\n", 1},
		{"err_large", strings.Repeat("x", maxTrackedBytes+1), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := smellsOf("file", []byte(tt.content)); len(got) != tt.want {
				t.Errorf("got %q, want %d findings", got, tt.want)
			}
		})
	}
}

func TestUnknownCheck(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"weather"}, {"fuzz", "-each", "soon"}} {
		if err := run(args, strings.NewReader(""), &strings.Builder{}); err == nil {
			t.Errorf("run(%q) reports no error", args)
		}
	}
}

func TestConformanceTable(t *testing.T) {
	t.Parallel()
	passes := func(drivers ...conformanceDriver) conformance {
		c := conformance{}
		for _, driver := range drivers {
			for _, test := range []string{"", "/shared", "/shared/package", "/shared/package/ok", "/err_closed"} {
				c.note(driver.pkg, driver.test+test, "pass")
			}
			c.note(driver.pkg, "TestOther/shared/x", "fail")
		}
		return c
	}
	var out strings.Builder
	if err := passes(conformanceDrivers...).print(&out); err != nil {
		t.Fatalf("all pass: %v\n%s", err, &out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 || strings.Fields(lines[1])[0] != "err_closed" || strings.Fields(lines[2])[0] != "package/ok" ||
		!strings.HasPrefix(lines[3], "2 cases, 5 drivers, 0 results") {
		t.Errorf("table:\n%s", &out)
	}
	for name, c := range map[string]conformance{
		"nothing ran":          {},
		"a driver did not run": passes(conformanceDrivers[1:]...),
	} {
		if err := c.print(io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	failed := passes(conformanceDrivers...)
	failed.note("./cluster", "TestConformance/3/shared/package/ok", "fail")
	if err := failed.print(io.Discard); err == nil {
		t.Error("a case failed: no error")
	}
}
