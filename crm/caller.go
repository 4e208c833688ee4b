package crm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/VictoriaMetrics/metrics"
)

// caller is what the clients of both protocols do around a call: bound its time
// and how many are in flight, repeat reads, count.
type caller struct {
	cluster  string
	timeout  time.Duration
	attempts int
	metrics  *clientMetrics

	// Slots bound the calls in flight. The dispatcher has its own, so that
	// readers cannot hold it up, and the health probe needs none.
	leaderSlots, otherSlots chan struct{}
}

func newCaller(cfg ClusterConfig, set *metrics.Set) caller {
	return caller{
		cluster: cfg.Name, timeout: cfg.Timeout, attempts: cfg.RetryAttempts,
		metrics:     newClientMetrics(set, cfg.Name),
		leaderSlots: make(chan struct{}, cfg.MaxConcurrency),
		otherSlots:  make(chan struct{}, cfg.MaxConcurrency),
	}
}

// read makes a call up to attempts times, with a growing pause between.
func (c *caller) read(ctx context.Context, call string, from Origin, do func(context.Context) error) error {
	pause := 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := c.once(ctx, call, from, do)
		if ClassOf(err) != ClassRetryable || attempt >= c.attempts || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 2
	}
}

// once makes a call once, within the timeout and a slot. do returns *CallError.
func (c *caller) once(ctx context.Context, call string, from Origin, do func(context.Context) error) (err error) {
	begin := time.Now()
	defer func() { c.metrics.observe(call, ClassOf(err), time.Since(begin)) }()

	callCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	release, err := c.acquire(callCtx, call, from)
	if err != nil {
		return c.canceled(ctx, c.transportError(call, err))
	}
	defer release()
	return c.canceled(ctx, do(callCtx))
}

// canceled turns the failure of a call that got no answer because its caller
// gave up into what it is. ctx is the caller's, without the call's own timeout.
func (c *caller) canceled(ctx context.Context, err error) error {
	var failed *CallError
	if !errors.Is(ctx.Err(), context.Canceled) || !errors.As(err, &failed) || failed.Status != 0 || failed.Class != ClassRetryable {
		return err
	}
	return &CallError{Cluster: c.cluster, Call: failed.Call, Class: ClassCanceled, Reason: "canceled", NotSent: failed.NotSent, Err: failed.Err}
}

// errNoSlot tells that all slots stayed in use for the whole timeout.
var errNoSlot = errors.New("too many calls in flight")

func (c *caller) acquire(ctx context.Context, call string, from Origin) (release func(), err error) {
	slots := c.otherSlots
	switch {
	case call == CallHealth:
		return func() {}, nil
	case from.Term != 0:
		slots = c.leaderSlots
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, errors.Join(errNoSlot, ctx.Err())
	}
}

func (c *caller) fail(call string, class Class, reason string, err error) error {
	return &CallError{Cluster: c.cluster, Call: call, Class: class, Reason: reason, Err: err}
}

// notSent is a call that failed before anything was sent.
func (c *caller) notSent(call string, class Class, reason string, err error) error {
	return &CallError{Cluster: c.cluster, Call: call, Class: class, Reason: reason, NotSent: true, Err: err}
}

// transportError classifies a call that got no whole answer.
func (c *caller) transportError(call string, err error) error {
	reason, notSent := transportReason(err)
	return &CallError{
		Cluster: c.cluster, Call: call, Class: ClassRetryable, Reason: reason, NotSent: notSent, Err: err,
	}
}

// tooLarge is an answer that exceeds the limit. What cannot be understood counts
// as no answer: the call may have had its effect, and repeating it is safe.
func tooLarge(limit int64) string { return fmt.Sprintf("answer exceeds %d bytes", limit) }

const (
	reasonMalformed = "answer is not of the agreed form"
	reasonBadID     = "unit id cannot be addressed"
	reasonGaveBadID = "answered an id that cannot be used"
)

// maxIDBytes bounds an id that a CRM gives: it is recorded with the unit. It is
// the longest name of a Kubernetes object.
const maxIDBytes = 253

// usableID tells whether a CRM's id can be recorded and put into a path.
func usableID(id string) bool {
	unclean := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
	return id != "" && id != "." && id != ".." && len(id) <= maxIDBytes && !strings.ContainsFunc(id, unclean)
}

// Printable makes a text from a CRM fit for a record: one line, bounded.
func Printable(text string) string {
	const limit = 200
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(clean); len(runes) > limit {
		clean = string(runes[:limit]) + "..."
	}
	return strings.TrimSpace(clean)
}
