package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// reportSchema is the version of the JSON below. A reader refuses a newer one.
const reportSchema = 1

// Report is what a call of the harness gave, as it is written to a file.
type Report struct {
	Schema  int       `json:"schema"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Machine Machine   `json:"machine"`
	Runs    []Run     `json:"runs"`
}

// NewReport begins a report of the program version given.
func NewReport(version string, now time.Time) *Report {
	return &Report{Schema: reportSchema, Version: version, Started: now.UTC().Truncate(time.Second), Machine: thisMachine()}
}

// Run is one plan, measured.
type Run struct {
	Name          string            `json:"name"`
	Settings      map[string]string `json:"settings,omitempty"`
	Clients       int               `json:"clients"`
	Turns         int               `json:"turns"`
	WarmupSeconds float64           `json:"warmup_seconds"`
	TurnSeconds   float64           `json:"turn_seconds"`
	Subjects      []SubjectReport   `json:"subjects"`
	// Ratios are of operations per second, each subject over the baseline.
	Ratios []Ratio `json:"ratios,omitempty"`
	// Figures are what is no operation per second.
	Figures []Figure `json:"figures,omitempty"`
}

// Figure is something measured once.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Most is what it shall not exceed; nil: there is no such promise.
	Most *float64 `json:"most,omitempty"`
}

// SubjectReport is one subject of a run.
type SubjectReport struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Turns  []Turn            `json:"turns"`
	// OpsPerSecond is over the turns, the latency over all their operations.
	OpsPerSecond Spread     `json:"ops_per_second"`
	Latency      Latency    `json:"latency"`
	Histogram    *Histogram `json:"histogram"`
	// ServerCPUMicros is what all measured processes together spent on one
	// operation, ClientCPUMicros what the load generator did.
	ServerCPUMicros float64 `json:"server_cpu_us_per_op"`
	ClientCPUMicros float64 `json:"client_cpu_us_per_op"`
}

// Turn is one subject, measured once.
type Turn struct {
	// Operations are those that began in the measured time and were answered
	// rightly; Seconds is the time to the last of them.
	Operations   uint64  `json:"operations"`
	Seconds      float64 `json:"seconds"`
	OpsPerSecond float64 `json:"ops_per_second"`
	// Errors and WrongAnswers count the warm-up too.
	Errors           uint64         `json:"errors"`
	WrongAnswers     uint64         `json:"wrong_answers"`
	ErrorSamples     []string       `json:"error_samples,omitempty"`
	Latency          Latency        `json:"latency"`
	Processes        []ProcessUsage `json:"processes,omitempty"`
	ClientCPUSeconds float64        `json:"client_cpu_seconds"`
}

func (s *SubjectReport) summarize() {
	rates := make([]float64, len(s.Turns))
	var server, client float64
	for i, t := range s.Turns {
		rates[i] = t.OpsPerSecond
		client += t.ClientCPUSeconds
		for _, p := range t.Processes {
			server += p.CPUSeconds
		}
	}
	s.OpsPerSecond = spreadOf(rates)
	s.Latency = s.Histogram.Latency()
	if n := float64(s.Histogram.Count()); n > 0 {
		s.ServerCPUMicros = server / n * 1e6
		s.ClientCPUMicros = client / n * 1e6
	}
}

func (r *Run) addRatios(baseline string, targets map[string]float64) {
	for _, base := range r.Subjects {
		if base.Name != baseline || baseline == "" {
			continue
		}
		for _, s := range r.Subjects {
			if s.Name != baseline {
				ratio := ratioOf(s, base)
				ratio.Target = targets[s.Name]
				r.Ratios = append(r.Ratios, ratio)
			}
		}
	}
}

// WriteJSON writes the report, indented.
func (r *Report) WriteJSON(w io.Writer) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if _, err := w.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// WriteFile writes the report to path, and makes its folder.
func (r *Report) WriteFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := r.WriteJSON(file); err != nil {
		_ = file.Close() // The first error is the one to tell.
		return err
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// ReadReport reads what WriteFile wrote.
func ReadReport(path string) (*Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read report %s: %w", path, err)
	}
	if r.Schema != reportSchema {
		return nil, fmt.Errorf("read report %s: its schema is %d, this program reads %d", path, r.Schema, reportSchema)
	}
	return &r, nil
}
