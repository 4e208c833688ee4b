package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/storage"
)

// Limits of an etcd server that was started with its defaults.
const (
	DefaultMaxOps   = 128
	DefaultMaxBytes = 3 << 19 // 1.5 MiB
)

// Config says how to reach etcd, and who this node is.
type Config struct {
	// Endpoints are tried in turn: HOST:PORT, or URLs.
	Endpoints []string
	// Prefix is what all keys begin with.
	Prefix string
	// Username and Password, both or none.
	Username, Password string
	// TLS, when not nil, encrypts the connections.
	TLS *tls.Config
	// RequestTimeout bounds one request to etcd, and the wait for the first
	// connection.
	RequestTimeout time.Duration
	// SessionTTL, whole seconds, is after how long a node that is silent loses
	// leadership.
	SessionTTL time.Duration
	// MaxOps and MaxBytes are the server's --max-txn-ops and --max-request-bytes.
	MaxOps, MaxBytes int
	// HistoryEvents and HistoryBytes bound the changes kept for watchers.
	HistoryEvents, HistoryBytes int
	// QueueLength is how many commands may wait for the committer.
	QueueLength int
	// Node is how others see this one. Its ID is drawn when it is empty.
	Node Node
}

// Node is an entry of the register of nodes.
type Node struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	HTTPAddr string `json:"http_addr"`
	Version  string `json:"version"`
}

// Deps is what a store is given.
type Deps struct {
	// Machine runs the commands; the store owns it from then on.
	Machine Machine
	Logger  *slog.Logger
	// Metrics may be nil.
	Metrics *metrics.Set
}

// Machine is a storage.Machine that can also take back what it did, and learn what
// other nodes did. It is called by one goroutine at a time.
type Machine interface {
	storage.Machine
	// Undo forgets what the last Apply learnt, if that was not undone yet.
	Undo()
	// Absorb learns from the changes of one entry that another node made.
	Absorb(changes []storage.Change) error
}

// DefaultConfig is for an etcd on this machine.
func DefaultConfig() Config {
	return Config{
		Endpoints:      []string{"localhost:2379"},
		Prefix:         "/oaas/pm",
		RequestTimeout: 30 * time.Second,
		SessionTTL:     10 * time.Second,
		MaxOps:         DefaultMaxOps,
		MaxBytes:       DefaultMaxBytes,
		HistoryEvents:  100_000,
		HistoryBytes:   64 << 20,
		QueueLength:    4096,
	}
}

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(len(c.Endpoints) > 0, "endpoints: must name at least one")
	check(strings.HasPrefix(c.Prefix, "/") && strings.Trim(c.Prefix, "/") != "", "key prefix: must be a path, such as /oaas/pm")
	check((c.Username == "") == (c.Password == ""), "user name and password: both or none")
	check(c.RequestTimeout > 0, "timeout: must be positive")
	check(c.SessionTTL >= time.Second && c.SessionTTL%time.Second == 0, "session ttl: must be whole seconds, at least one")
	check(c.MaxOps >= 8, "max txn ops: must be at least 8")
	check(c.MaxBytes >= 64<<10, "max request bytes: must be at least 65536")
	check(c.HistoryEvents > 0 && c.HistoryBytes > 0, "history: must be positive")
	check(c.QueueLength > 0, "queue length: must be positive")
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}
