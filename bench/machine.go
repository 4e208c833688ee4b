package bench

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is what the figures were measured on.
type Machine struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	CPUs        int    `json:"cpus"`
	CPUModel    string `json:"cpu_model,omitempty"`
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
	Kernel      string `json:"kernel,omitempty"`
	Go          string `json:"go"`
}

// thisMachine describes the host as far as /proc tells.
func thisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}
	m.CPUModel = procValue("/proc/cpuinfo", "model name")
	if kilobytes, err := strconv.ParseUint(strings.TrimSuffix(procValue("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.MemoryBytes = kilobytes << 10
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	return m
}

// procValue returns the first value of a "name: value" file, or "".
func procValue(path, name string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		key, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// filesystemOf names the type of file system that holds dir (an absolute path),
// or "" where /proc does not tell. Durable writes cost nothing on tmpfs, and a
// reader of the figures must know.
func filesystemOf(dir string) string {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	return filesystemIn(string(data), dir)
}

func filesystemIn(mounts, dir string) string {
	best, kind := "", ""
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 3 || len(fields[1]) < len(best) {
			continue
		}
		at := fields[1]
		if at == "/" || dir == at || strings.HasPrefix(dir, at+"/") {
			best, kind = at, fields[2]
		}
	}
	return kind
}

// selfCPU is the processor time of this process, to 10 ms; 0 elsewhere than on
// Linux.
func selfCPU() time.Duration {
	cpu, err := readCPU(os.Getpid())
	if err != nil {
		return 0
	}
	return cpu
}
