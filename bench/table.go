package bench

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "oprc-pm %s, %s\n", r.Version, r.Machine)
	for i := range r.Runs {
		fmt.Fprintln(out)
		r.Runs[i].writeTable(out)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// String describes the machine in a line.
func (m Machine) String() string {
	parts := []string{fmt.Sprintf("%d × %s", m.CPUs, orUnknown(m.CPUModel)), m.OS + "/" + m.Arch}
	if m.MemoryBytes > 0 {
		parts = append(parts, fmt.Sprintf("%.1f GiB", float64(m.MemoryBytes)/(1<<30)))
	}
	if m.Kernel != "" {
		parts = append(parts, "kernel "+m.Kernel)
	}
	return strings.Join(append(parts, m.Go), ", ")
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown processor"
	}
	return text
}

func (r *Run) writeTable(out io.Writer) {
	fmt.Fprintf(out, "%s: %d turns of %s%s\n", r.Name, r.Turns, seconds(r.TurnSeconds), settingsText(r.Settings))
	columns := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(columns, "\tops/s\tmin\tmax\tp50\tp90\tp99\tp99.9\tmax\terrors\tserver CPU/op\tclient CPU/op\tresident\t")
	for i := range r.Subjects {
		s := &r.Subjects[i]
		fmt.Fprintf(columns, "%s\t%.0f\t%.0f\t%.0f\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t\n", s.Name,
			s.OpsPerSecond.Median, s.OpsPerSecond.Min, s.OpsPerSecond.Max,
			microText(s.Latency.P50), microText(s.Latency.P90), microText(s.Latency.P99), microText(s.Latency.P999), microText(s.Latency.Max),
			s.errorCount(), microText(s.ServerCPUMicros), microText(s.ClientCPUMicros), memoryText(s.residentBytes()))
	}
	_ = columns.Flush() // It writes to out, whose Flush tells of errors.
	for _, ratio := range r.Ratios {
		fmt.Fprintf(out, "  %s\n", ratio)
	}
	for _, figure := range r.Figures {
		fmt.Fprintf(out, "  %s\n", figure)
	}
}

// String is the figure in a line, with what was promised.
func (f Figure) String() string {
	value := strconv.FormatFloat(f.Value, 'g', 4, 64)
	if f.Value >= 1000 {
		value = strconv.FormatFloat(f.Value, 'f', 0, 64)
	}
	text := fmt.Sprintf("%s: %s %s", f.Name, value, f.Unit)
	switch {
	case f.Most == nil:
	case f.Value <= *f.Most:
		text += fmt.Sprintf(", at most %g: met", *f.Most)
	default:
		text += fmt.Sprintf(", at most %g: MISSED", *f.Most)
	}
	return text
}

// settingsText lists the settings of a run in the order of their names.
func settingsText(settings map[string]string) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if value := settings[name]; value != "" {
			fmt.Fprintf(&text, ", %s %s", strings.ReplaceAll(name, "_", " "), value)
		}
	}
	return text.String()
}

// String is the ratio in a line, with its target when it has one.
func (r Ratio) String() string {
	text := fmt.Sprintf("%s is %.2f × %s (%.2f–%.2f)", r.Subject, r.Median, r.Baseline, r.Min, r.Max)
	if r.ServerCPU > 0 {
		text += fmt.Sprintf(", at %.2f × its server CPU/op", r.ServerCPU)
	}
	switch {
	case r.Target == 0:
	case r.Median >= r.Target:
		text += fmt.Sprintf(", target %.2f: met", r.Target)
	default:
		text += fmt.Sprintf(", target %.2f: MISSED", r.Target)
	}
	return text
}

func (s *SubjectReport) errorCount() uint64 {
	var n uint64
	for _, t := range s.Turns {
		n += t.Errors + t.WrongAnswers
	}
	return n
}

// residentBytes is the memory of the largest process at the end of the last turn.
func (s *SubjectReport) residentBytes() uint64 {
	var most uint64
	if len(s.Turns) > 0 {
		for _, p := range s.Turns[len(s.Turns)-1].Processes {
			most = max(most, p.ResidentBytes)
		}
	}
	return most
}

// microText is a time given in microseconds, with three digits.
func microText(us float64) string {
	switch {
	case us == 0:
		return "-"
	case us < 10:
		return fmt.Sprintf("%.2f µs", us)
	case us < 100:
		return fmt.Sprintf("%.1f µs", us)
	case us < 1e3:
		return fmt.Sprintf("%.0f µs", us)
	case us < 1e4:
		return fmt.Sprintf("%.2f ms", us/1e3)
	case us < 1e5:
		return fmt.Sprintf("%.1f ms", us/1e3)
	case us < 1e6:
		return fmt.Sprintf("%.0f ms", us/1e3)
	}
	return fmt.Sprintf("%.2f s", us/1e6)
}

func memoryText(bytes uint64) string {
	if bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}
