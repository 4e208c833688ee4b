package bench

import (
	"context"
	"errors"
	"fmt"
)

// Plan is a run: subjects, measured in turns.
type Plan struct {
	// Name tells the run apart in a report, and is how compare finds its like.
	Name string
	Load Load
	// Turns is how often each subject is measured: A B A B … for two.
	Turns    int
	Subjects []*Subject
	// Baseline is the subject that the others are compared with; empty: none.
	Baseline string
	// Targets are the least that a subject's ratio shall be. They are shown, not
	// enforced: how fast a machine is says nothing about a change.
	Targets map[string]float64
	// Settings are shown in the report.
	Settings map[string]string
	// AllowedErrors is how many operations of a turn may fail. Wrong answers
	// are never allowed.
	AllowedErrors uint64
	// Progress, when not nil, is told of every turn.
	Progress func(subject string, turn int, t Turn)
}

// Run measures. When a turn did nothing, failed, or got wrong answers, it
// returns what it has together with the error.
func (p Plan) Run(ctx context.Context) (Run, error) {
	run := Run{
		Name: p.Name, Settings: p.Settings, Clients: p.Load.Clients, Turns: p.Turns,
		WarmupSeconds: p.Load.Warmup.Seconds(), TurnSeconds: p.Load.Duration.Seconds(),
	}
	if err := p.validate(); err != nil {
		return run, fmt.Errorf("run %s: %w", p.Name, err)
	}
	recorders := make([]*recorder, len(p.Subjects))
	for i, s := range p.Subjects {
		recorders[i] = &recorder{subject: s}
	}
	err := p.runTurns(ctx, recorders)
	for _, r := range recorders {
		run.Subjects = append(run.Subjects, r.report())
	}
	run.addRatios(p.Baseline, p.Targets)
	if err != nil {
		return run, fmt.Errorf("run %s: %w", p.Name, err)
	}
	return run, nil
}

func (p Plan) validate() error {
	if p.Turns < 1 {
		return fmt.Errorf("number of turns is %d, must be at least 1", p.Turns)
	}
	if len(p.Subjects) == 0 {
		return errors.New("nothing to measure")
	}
	names := make(map[string]bool, len(p.Subjects))
	for _, s := range p.Subjects {
		if names[s.Name] {
			return fmt.Errorf("two subjects are named %s", s.Name)
		}
		names[s.Name] = true
	}
	if p.Baseline != "" && !names[p.Baseline] {
		return fmt.Errorf("baseline %s is not among the subjects", p.Baseline)
	}
	return p.Load.Validate()
}

func (p Plan) runTurns(ctx context.Context, recorders []*recorder) error {
	for turn := range p.Turns {
		for _, r := range recorders {
			t, err := r.measure(ctx, p.Load)
			if err != nil {
				return fmt.Errorf("measure %s: %w", r.subject.Name, err)
			}
			if p.Progress != nil {
				p.Progress(r.subject.Name, turn+1, t)
			}
			if err := t.check(p.AllowedErrors); err != nil {
				return fmt.Errorf("%s, turn %d: %w", r.subject.Name, turn+1, err)
			}
		}
	}
	for _, r := range recorders {
		if r.subject.Verify == nil {
			continue
		}
		if err := r.subject.Verify(ctx); err != nil {
			return fmt.Errorf("verify %s: %w", r.subject.Name, err)
		}
	}
	return nil
}

// recorder collects the turns of one subject.
type recorder struct {
	subject *Subject
	turns   []Turn
	all     Histogram
}

func (r *recorder) measure(ctx context.Context, l Load) (Turn, error) {
	var before, after usageSample
	result, err := runTurn(ctx, r.subject, l,
		func() { before = sampleUsage(r.subject.Processes) },
		func() { after = sampleUsage(r.subject.Processes) })
	if err != nil {
		return Turn{}, err
	}
	r.all.Merge(&result.latency)
	t := Turn{
		Operations:       result.latency.Count(),
		Errors:           result.tally.errors,
		WrongAnswers:     result.tally.wrong,
		ErrorSamples:     result.tally.samples,
		Seconds:          result.elapsed.Seconds(),
		Latency:          result.latency.Latency(),
		Processes:        after.since(before),
		ClientCPUSeconds: (after.self - before.self).Seconds(),
	}
	if result.elapsed > 0 {
		t.OpsPerSecond = float64(t.Operations) / t.Seconds
	}
	r.turns = append(r.turns, t)
	return t, nil
}

func (r *recorder) report() SubjectReport {
	report := SubjectReport{Name: r.subject.Name, Labels: r.subject.Labels, Turns: r.turns, Histogram: &r.all}
	report.summarize()
	return report
}

// check is the guard: a load that did not work must not pass for a fast one.
func (t Turn) check(allowedErrors uint64) error {
	switch {
	case t.WrongAnswers > 0:
		return fmt.Errorf("%d wrong answers: %s", t.WrongAnswers, t.sampleText())
	case t.Errors > allowedErrors:
		return fmt.Errorf("%d errors, %d allowed: %s", t.Errors, allowedErrors, t.sampleText())
	case t.Operations == 0:
		return errors.New("no operation was completed")
	}
	return nil
}

func (t Turn) sampleText() string {
	if len(t.ErrorSamples) == 0 {
		return "no details"
	}
	return t.ErrorSamples[0]
}
