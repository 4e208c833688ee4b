package sim

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Config describes a simulated cluster. The zero value of every field but Name
// is usable.
type Config struct {
	// Name of the cluster, as it calls itself.
	Name string
	// Version of the CRM; default "sim". This, Nodes, Availability and Capacity
	// can be changed at run time, see Vitals.
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
	// Unimplemented are calls (see Call.Name) that the CRM does not know, until
	// the faults are changed.
	Unimplemented []string
	// Auth is what callers must show. TLS, when not nil, is how the ports are
	// secured; it must ask for client certificates if they are to be judged.
	Auth Auth
	TLS  *tls.Config
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
	errs = append(errs, validateCalls("unimplemented", c.Unimplemented))
	if c.Auth.Certificate && (c.TLS == nil || c.TLS.ClientCAs == nil) {
		errs = append(errs, errors.New("certificates of callers need TLS and the authorities that sign them"))
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
	faults  *faultBox
	journal *journal

	openOnce sync.Once
	openErr  error

	// commitMu serialises changes of units and term, including their way to
	// disk. It is taken before mu.
	commitMu sync.Mutex
	store    stateDir

	// mu guards what follows. units are by resource name.
	mu     sync.Mutex
	units  map[string]Unit
	term   uint64
	vitals Vitals
	auth   Auth
	rng    *rand.Rand
}

// New makes a simulated CRM. It does no I/O: the state directory is read by the
// first request or by Run.
func New(cfg Config) *Sim {
	cfg = cfg.withDefaults()
	s := &Sim{
		cfg:     cfg,
		journal: newJournal(cfg.JournalSize),
		store:   stateDir{dir: cfg.StateDir},
		faults: newFaultBox(cfg.Now, Faults{
			Latency: Duration(cfg.Latency), ErrorRate: cfg.ErrorRate, Unimplemented: cfg.Unimplemented,
		}),
		units:  map[string]Unit{},
		vitals: vitalsOf(cfg),
		auth:   cfg.Auth,
		rng:    rand.New(rand.NewPCG(cfg.Seed, 0x6f707263)),
	}
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
