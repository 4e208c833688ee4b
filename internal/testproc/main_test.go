package testproc

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests wait for processes more than they compute: more of them at once
	// than there are cores, unless it was said how many.
	if !given("test.parallel") {
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	RemoveBinary()
	os.Exit(code)
}

// given tells whether a flag is on the command line.
func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
