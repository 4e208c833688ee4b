package main

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHumanDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 125 * time.Second: "2m5s",
		10*time.Minute + 59*time.Second: "10m", 119 * time.Minute: "119m", 2 * time.Hour: "2h", 200 * time.Minute: "3h20m",
		47 * time.Hour: "47h", 50 * time.Hour: "2d", 729 * 24 * time.Hour: "729d", 730 * 24 * time.Hour: "2y",
	} {
		if got := humanDuration(d); got != want {
			t.Errorf("humanDuration(%v): got %q, want %q", d, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	table{header: []string{"A", "LONG", "C"}, rows: [][]string{{"ü", cell("a\x1b[31m\nb"), cell("")}, {cell(""), "1", "2"}}}.write(&got)
	equal(t, got.String(), "A   LONG       C\nü   a [31m b   -\n-   1          2\n")
}

func TestShorten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "äöü": "äöü", "äöüß": "äö…"} {
		if got := shorten(text, 3); got != want {
			t.Errorf("shorten(%q): got %q, want %q", text, got, want)
		}
	}
}

func TestUnifiedDiff(t *testing.T) {
	t.Parallel()
	numbers := func(from, to int, change map[int]string) string {
		var text strings.Builder
		for i := from; i <= to; i++ {
			line, changed := change[i]
			if !changed {
				line = strconv.Itoa(i)
			}
			text.WriteString(line + "\n")
		}
		return text.String()
	}
	for name, test := range map[string]struct{ before, after, want string }{
		"equal":   {"a\n", "a\n", ""},
		"created": {"", "a\nb\n", "--- x\n+++ y\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		"removed": {"a\n", "", "--- x\n+++ y\n@@ -1,1 +0,0 @@\n-a\n"},
		"context": {numbers(1, 9, nil), numbers(1, 9, map[int]string{5: "five"}),
			"--- x\n+++ y\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"},
		"two hunks": {numbers(1, 20, nil), numbers(1, 20, map[int]string{2: "two", 19: "nineteen"}),
			"--- x\n+++ y\n@@ -1,5 +1,5 @@\n 1\n-2\n+two\n 3\n 4\n 5\n@@ -16,5 +16,5 @@\n 16\n 17\n 18\n-19\n+nineteen\n 20\n"},
		"joined hunks": {numbers(1, 9, nil), numbers(1, 9, map[int]string{2: "two", 8: "eight"}),
			"--- x\n+++ y\n@@ -1,9 +1,9 @@\n 1\n-2\n+two\n 3\n 4\n 5\n 6\n 7\n-8\n+eight\n 9\n"},
	} {
		if got := unifiedDiff("x", "y", test.before, test.after); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, test.want)
		}
	}
}

// Whatever the texts, the edits lead from one to the other.
func TestLineEditsLeadFromOneToTheOther(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() []string {
		text := make([]string, rng.IntN(12))
		for i := range text {
			text[i] = string(rune('a' + rng.IntN(4)))
		}
		return text
	}
	for range 5000 {
		a, b := random(), random()
		var before, after []string
		for _, e := range lineEdits(a, b) {
			if e.op != '+' {
				before = append(before, e.line)
			}
			if e.op != '-' {
				after = append(after, e.line)
			}
		}
		if got, want := strings.Join(before, ""), strings.Join(a, ""); got != want {
			t.Fatalf("%v to %v: kept and removed lines are %q", a, b, got)
		}
		if got, want := strings.Join(after, ""), strings.Join(b, ""); got != want {
			t.Fatalf("%v to %v: kept and added lines are %q", a, b, got)
		}
	}
}

func TestRedraw(t *testing.T) {
	t.Parallel()
	var screen strings.Builder
	first := table{header: []string{"A"}, rows: [][]string{{"1"}, {"2"}}}
	drawn := redraw(&screen, first, 0)
	equal(t, screen.String(), "\x1b[?7lA\n1\n2\n\x1b[?7h")
	screen.Reset()
	drawn = redraw(&screen, table{header: []string{"A"}, rows: [][]string{{"3"}}}, drawn)
	equal(t, screen.String(), "\x1b[3A\x1b[J\x1b[?7lA\n3\n\x1b[?7h")
	if drawn != 2 {
		t.Errorf("lines drawn: got %d, want 2", drawn)
	}
}
