package model

import "testing"

func TestCounted(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0 units", 1: "1 unit", 2: "2 units"} {
		if got := Counted(n, "unit"); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
