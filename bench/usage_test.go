package bench

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	got, err := parseStat([]byte("42 (a ) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 123 77 0 0 20 0 9 0 100 1000 50"))
	if want := 2 * time.Second; err != nil || got != want {
		t.Errorf("got %v and error %v, want %v", got, err, want)
	}
	for _, text := range []string{"", "42 (a) S 1", "42 (a) S 1 42 42 0 -1 4194304 100 0 0 0 x 77 0 0"} {
		if _, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	resident, anonymous, err := parseStatus([]byte("Name:\ta\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\nRssAnon:\t  150 kB\nRssFile:\t 50 kB\n"))
	if err != nil || resident != 200<<10 || anonymous != 150<<10 {
		t.Errorf("got %d, %d and error %v, want 200 and 150 KiB", resident, anonymous, err)
	}
	for _, text := range []string{"", "Name:\ta\nVmRSS:\t200 kB\n", "Name:\ta\nVmRSS:\t200 MB\nRssAnon:\t1 kB\n", "Name:\ta\nVmRSS:\tx kB\nRssAnon:\t1 kB\n"} {
		if _, _, err := parseStatus([]byte(text)); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

// TestSampleUsage measures this process itself.
func TestSampleUsage(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		if got := sampleUsage([]Process{{Name: "self", PID: os.Getpid()}}); got.processes[0].known {
			t.Error("usage is known without /proc")
		}
		return
	}
	self := []Process{{Name: "self", PID: os.Getpid()}, {Name: "nobody", PID: 1 << 30}}
	before := sampleUsage(self)
	deadline := time.Now().Add(30 * time.Second)
	for {
		usages := sampleUsage(self).since(before)
		if len(usages) != 1 || usages[0].Name != "self" {
			t.Fatalf("got %+v, want that of self only", usages)
		}
		if usages[0].CPUSeconds > 0 && usages[0].ResidentBytes > 1<<20 && usages[0].AnonymousBytes > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %+v after working for long", usages[0])
		}
	}
}

func TestThisMachine(t *testing.T) {
	t.Parallel()
	m := thisMachine()
	if m.CPUs < 1 || m.Go == "" || m.String() == "" {
		t.Errorf("got %+v", m)
	}
}

func TestFilesystem(t *testing.T) {
	t.Parallel()
	const mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/disk xfs rw 0 0\nbroken\n"
	for dir, want := range map[string]string{"/": "ext4", "/srv/x": "ext4", "/tmp": "tmpfs", "/tmpx": "ext4", "/tmp/a": "tmpfs", "/tmp/disk/a": "xfs"} {
		if got := filesystemIn(mounts, dir); got != want {
			t.Errorf("%s: got %s, want %s", dir, got, want)
		}
	}
	if runtime.GOOS == "linux" && filesystemOf("/") == "" {
		t.Error("the root has no file system")
	}
}
