package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Config describes a simulated cluster. The zero value of every field but Name
// is usable.
type Config struct {
	// Name of the cluster, as it calls itself.
	Name string
	// Version of the CRM; default "sim".
	Version string
	// Nodes of the cluster, all ready; default 3.
	Nodes int
	// Availability that health reports; default 0.99.
	Availability float64
	// Latency is added to every call, ErrorRate is the share of calls, 0 to 1,
	// that are answered 503. Both can be changed at run time, see Faults.
	Latency   time.Duration
	ErrorRate float64
	// Seed of the error rate's random source.
	Seed uint64
	// Capacity is the number of units that fit; 0 means any.
	Capacity int
	// TimeToRunning is the time from acceptance until a unit runs.
	TimeToRunning time.Duration
	// StateDir keeps the units across restarts; empty: they die with the
	// process.
	StateDir string
	// JournalSize is the number of calls remembered; default 10000.
	JournalSize int
	// Logger may be nil.
	Logger *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Validate returns all problems, joined.
func (c Config) Validate() error {
	var errs []error
	if c.Name == "" {
		errs = append(errs, errors.New("name must not be empty"))
	}
	if c.Nodes < 0 || c.Capacity < 0 || c.JournalSize < 0 {
		errs = append(errs, errors.New("nodes, capacity and journal size must not be negative"))
	}
	if c.Latency < 0 || c.TimeToRunning < 0 {
		errs = append(errs, errors.New("latency and time to running must not be negative"))
	}
	if !(c.ErrorRate >= 0 && c.ErrorRate <= 1) {
		errs = append(errs, errors.New("error rate must be between 0 and 1"))
	}
	if !(c.Availability >= 0 && c.Availability <= 1) {
		errs = append(errs, errors.New("availability must be between 0 and 1"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Version == "" {
		c.Version = "sim"
	}
	if c.Nodes == 0 {
		c.Nodes = 3
	}
	if c.Availability == 0 {
		c.Availability = 0.99
	}
	if c.JournalSize == 0 {
		c.JournalSize = 10000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Sim is a simulated CRM and the http.Handler of its API. All methods may be
// called from many goroutines.
type Sim struct {
	cfg     Config
	handler http.Handler
	faults  faultBox
	journal *journal

	openOnce sync.Once
	openErr  error

	// commitMu serialises changes of units and term, including their way to
	// disk. It is taken before mu.
	commitMu sync.Mutex
	store    stateDir

	// mu guards units, term, rng.
	mu    sync.Mutex
	units map[string]Unit
	term  uint64
	rng   *rand.Rand
}

// Unit is a unit that the simulated cluster runs.
type Unit struct {
	Unit       model.DeploymentUnit `json:"unit"`
	AcceptedAt time.Time            `json:"accepted_at"`
}

// New makes a simulated CRM. It does no I/O: the state directory is read by the
// first request or by Run.
func New(cfg Config) *Sim {
	cfg = cfg.withDefaults()
	s := &Sim{
		cfg:     cfg,
		journal: newJournal(cfg.JournalSize),
		store:   stateDir{dir: cfg.StateDir},
		units:   map[string]Unit{},
		rng:     rand.New(rand.NewPCG(cfg.Seed, 0x6f707263)),
	}
	s.faults.set(Faults{Latency: Duration(cfg.Latency), ErrorRate: cfg.ErrorRate})
	s.handler = s.routes()
	return s
}

// open loads the state directory, once.
func (s *Sim) open() error {
	s.openOnce.Do(func() {
		if s.openErr = s.cfg.Validate(); s.openErr != nil {
			return
		}
		units, term, err := s.store.load()
		if err != nil {
			s.openErr = fmt.Errorf("load state of simulated cluster %s: %w", s.cfg.Name, err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.units, s.term = units, term
	})
	return s.openErr
}

// Run serves the API on l until ctx ends, and returns nil then. It closes l and
// waits for its connections; calls that still hang are cut off.
func (s *Sim) Run(ctx context.Context, l net.Listener) error {
	if err := s.open(); err != nil {
		return errors.Join(err, l.Close())
	}
	base, cancelCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelCalls()
	server := &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	s.cfg.Logger.Info("simulated crm serves", "cluster", s.cfg.Name, "addr", l.Addr().String())

	select {
	case err := <-served:
		return fmt.Errorf("serve simulated cluster %s: %w", s.cfg.Name, err)
	case <-ctx.Done():
	}
	cancelCalls() // what hangs on purpose must not hold up the end
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close() // out of patience; its error is the listener's, closed already
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve simulated cluster %s: %w", s.cfg.Name, err)
	}
	return nil
}

// Units returns the units by id, sorted.
func (s *Sim) Units() []Unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	units := make([]Unit, 0, len(s.units))
	for _, id := range slices.Sorted(maps.Keys(s.units)) {
		units = append(units, s.units[id])
	}
	return units
}

// Term returns the highest term seen.
func (s *Sim) Term() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term
}

// Lose drops a unit behind the control plane's back, as a cluster that was
// rebuilt would. It tells whether the unit was there.
func (s *Sim) Lose(id string) (bool, error) {
	if err := s.open(); err != nil {
		return false, err
	}
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	effect, err := s.remove(id)
	return effect == EffectDeleted, err
}
