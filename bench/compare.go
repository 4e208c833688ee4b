package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// Comparison is what two reports have in common.
type Comparison struct {
	Rows []ComparisonRow `json:"rows"`
	// OnlyA and OnlyB are what only one of them measured.
	OnlyA []string `json:"only_a,omitempty"`
	OnlyB []string `json:"only_b,omitempty"`
	// SameMachine is false when the machines differ: then the ratios say little.
	SameMachine bool `json:"same_machine"`
}

// ComparisonRow is one subject of one run in both reports. Ratios are B over A:
// above 1 is more. A ratio is 0 when A has no figure.
type ComparisonRow struct {
	Run     string `json:"run"`
	Subject string `json:"subject"`
	// OpsA and OpsB are operations per second.
	OpsA Spread `json:"ops_per_second_a"`
	OpsB Spread `json:"ops_per_second_b"`
	// Ops is of the medians. Clear says that the turns of A and B do not overlap.
	Ops       float64 `json:"ops_ratio"`
	Clear     bool    `json:"clear"`
	P50       float64 `json:"p50_ratio"`
	P99       float64 `json:"p99_ratio"`
	ServerCPU float64 `json:"server_cpu_per_op_ratio"`
}

// Compare puts two reports side by side. It fails when they have nothing in
// common.
func Compare(a, b *Report) (*Comparison, error) {
	c := &Comparison{SameMachine: a.Machine == b.Machine}
	ofB := make(map[string]SubjectReport)
	for _, run := range b.Runs {
		for _, s := range run.Subjects {
			ofB[run.Name+"\x00"+s.Name] = s
		}
	}
	for _, run := range a.Runs {
		for _, s := range run.Subjects {
			other, ok := ofB[run.Name+"\x00"+s.Name]
			if !ok {
				c.OnlyA = append(c.OnlyA, run.Name+": "+s.Name)
				continue
			}
			delete(ofB, run.Name+"\x00"+s.Name)
			c.Rows = append(c.Rows, compareSubjects(run.Name, s, other))
		}
	}
	for _, run := range b.Runs {
		for _, s := range run.Subjects {
			if _, ok := ofB[run.Name+"\x00"+s.Name]; ok {
				c.OnlyB = append(c.OnlyB, run.Name+": "+s.Name)
			}
		}
	}
	if len(c.Rows) == 0 {
		return nil, errors.New("compare reports: they have no measurement in common")
	}
	return c, nil
}

func compareSubjects(run string, a, b SubjectReport) ComparisonRow {
	return ComparisonRow{
		Run: run, Subject: a.Name,
		OpsA: a.OpsPerSecond, OpsB: b.OpsPerSecond,
		Ops:       over(b.OpsPerSecond.Median, a.OpsPerSecond.Median),
		Clear:     a.OpsPerSecond.Max < b.OpsPerSecond.Min || b.OpsPerSecond.Max < a.OpsPerSecond.Min,
		P50:       over(b.Latency.P50, a.Latency.P50),
		P99:       over(b.Latency.P99, a.Latency.P99),
		ServerCPU: over(b.ServerCPUMicros, a.ServerCPUMicros),
	}
}

func over(b, a float64) float64 {
	if a == 0 {
		return 0
	}
	return b / a
}

// WriteTable writes the comparison for people.
func (c *Comparison) WriteTable(w io.Writer) error {
	out := bufio.NewWriter(w)
	if !c.SameMachine {
		fmt.Fprintln(out, "The reports are of different machines: the ratios say little.")
	}
	columns := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(columns, "\tops/s A\tops/s B\tB/A\t\tp50 B/A\tp99 B/A\tserver CPU/op B/A\t")
	for _, row := range c.Rows {
		verdict := "within the noise"
		if row.Clear {
			verdict = "clear"
		}
		fmt.Fprintf(columns, "%s: %s\t%.0f (%.0f–%.0f)\t%.0f (%.0f–%.0f)\t%.2f\t%s\t%s\t%s\t%s\t\n", row.Run, row.Subject,
			row.OpsA.Median, row.OpsA.Min, row.OpsA.Max, row.OpsB.Median, row.OpsB.Min, row.OpsB.Max,
			row.Ops, verdict, ratioText(row.P50), ratioText(row.P99), ratioText(row.ServerCPU))
	}
	_ = columns.Flush() // It writes to out, whose Flush tells of errors.
	for _, name := range c.OnlyA {
		fmt.Fprintf(out, "only in A: %s\n", name)
	}
	for _, name := range c.OnlyB {
		fmt.Fprintf(out, "only in B: %s\n", name)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

func ratioText(r float64) string {
	if r == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", r)
}

// WriteJSON writes the comparison for programs.
func (c *Comparison) WriteJSON(w io.Writer) error {
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return fmt.Errorf("encode comparison: %w", err)
	}
	if _, err := w.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}
