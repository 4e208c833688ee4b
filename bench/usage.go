package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Process is a process on this host whose use of the machine is measured.
type Process struct {
	Name string
	PID  int
}

// ProcessUsage is what a process used in one turn.
type ProcessUsage struct {
	Name string `json:"name"`
	// CPUSeconds is user and system time, to 10 ms.
	CPUSeconds float64 `json:"cpu_seconds"`
	// Memory at the end of the turn, in bytes: all that is resident, and what
	// of it is the process' own (without mapped files).
	ResidentBytes  uint64 `json:"resident_bytes"`
	AnonymousBytes uint64 `json:"anonymous_bytes"`
}

// usageSample is what had been used at one moment.
type usageSample struct {
	processes []processSample
	// self is the processor time of this process.
	self time.Duration
}

type processSample struct {
	name  string
	pid   int
	cpu   time.Duration
	rss   uint64
	anon  uint64
	known bool
}

// sampleUsage reads the usage of the processes and of this one. A process whose
// usage cannot be read (elsewhere than on Linux, or gone) is left out.
func sampleUsage(processes []Process) usageSample {
	sample := usageSample{self: selfCPU()}
	for _, p := range processes {
		s := processSample{name: p.Name, pid: p.PID}
		var cpuErr, memErr error
		s.cpu, cpuErr = readCPU(p.PID)
		s.rss, s.anon, memErr = readMemory(p.PID)
		s.known = cpuErr == nil && memErr == nil
		sample.processes = append(sample.processes, s)
	}
	return sample
}

// since returns the usage between two samples of the same processes.
func (s usageSample) since(before usageSample) []ProcessUsage {
	var usages []ProcessUsage
	for i, now := range s.processes {
		if i >= len(before.processes) || !now.known || !before.processes[i].known {
			continue
		}
		usages = append(usages, ProcessUsage{
			Name:           now.name,
			CPUSeconds:     (now.cpu - before.processes[i].cpu).Seconds(),
			ResidentBytes:  now.rss,
			AnonymousBytes: now.anon,
		})
	}
	return usages
}

// clockTick is the unit of the times in /proc/PID/stat, the same on every
// architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// readCPU returns the processor time of a process.
func readCPU(pid int) (time.Duration, error) {
	data, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return parseStat(data)
}

// parseStat reads utime and stime, the 14th and 15th field. The second is the
// name of the program in parentheses, and may hold anything.
func parseStat(data []byte) (time.Duration, error) {
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return 0, errors.New("read processor time: too few fields")
	}
	var ticks uint64
	for _, field := range fields[utime : stime+1] {
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// readMemory returns what of a process is resident, and what of that is
// anonymous, in bytes.
func readMemory(pid int) (resident, anonymous uint64, err error) {
	data, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return 0, 0, fmt.Errorf("read memory: %w", err)
	}
	return parseStatus(data)
}

func parseStatus(data []byte) (resident, anonymous uint64, err error) {
	resident, err = statusBytes(data, "VmRSS:")
	if err != nil {
		return 0, 0, err
	}
	anonymous, err = statusBytes(data, "RssAnon:")
	return resident, anonymous, err
}

func statusBytes(data []byte, name string) (uint64, error) {
	_, rest, found := bytes.Cut(data, []byte("\n"+name))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	fields := bytes.Fields(line)
	if !found || len(fields) != 2 || string(fields[1]) != "kB" {
		return 0, fmt.Errorf("read memory: no %s", name)
	}
	n, err := strconv.ParseUint(string(fields[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	return n << 10, nil
}

func procFile(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}
