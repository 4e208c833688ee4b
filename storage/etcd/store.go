package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/oprc/oprc-pm/internal/wait"
	"github.com/oprc/oprc-pm/storage"
)

// Store implements storage.Store over a shared etcd.
type Store struct {
	cfg     Config
	keys    keySpace
	machine Machine
	logger  *slog.Logger
	metrics *storeMetrics
	client  *clientv3.Client

	queue    chan *op
	reads    *readRounds
	register *register
	history  *storage.History
	current  atomic.Pointer[version]

	// mu guards the fields below and the machine, and makes versions follow each
	// other. It is never held over I/O.
	mu sync.Mutex
	// speculative is the entry that the machine knows of and etcd does not yet.
	speculative *entry
	// advanced is closed and replaced when current changes.
	advanced chan struct{}
	// legacy and legacyUnits are what an earlier package manager left or wrote, by
	// key, until it is adopted. foreign is what somebody else did to keys that are
	// ours, by key: the value, nil when removed. refused are values in legacy that
	// cannot be adopted.
	legacy                        map[string]legacyDoc
	legacyUnits, foreign, refused map[string][]byte
	// lease is the session of this node, or nil; sessionChanged is closed and replaced
	// when it changes.
	lease          *concurrency.Session
	sessionChanged chan struct{}

	// deposer ends this node's candidacy or leader run, when there is one.
	deposer context.CancelCauseFunc
	// fault is why the store cannot go on; faulted is closed then.
	fault   error
	faulted chan struct{}

	// followed is the revision up to which the watch was followed, staged are the
	// parts of staged entries by key; the follower writes both.
	followed atomic.Int64
	staged   map[string][]byte
	// reloads asks the follower to load the state again, and says why.
	reloads chan error
	// work wakes the leader's adopter.
	work chan struct{}
	runs *leaderRuns
	// leading is the term of the present leader run, or 0.
	leading atomic.Uint64
	// resign asks the present leader run to end.
	resign chan struct{}
	turn   turn
	// lost is why the state is not in etcd any more, stuck why the watch does not
	// get on; nil while all is well.
	lost, stuck atomic.Pointer[error]
	// contact is when etcd answered last, in nanoseconds since epoch.
	contact atomic.Int64
	epoch   time.Time
	// servers is what was seen of etcd's servers last.
	servers atomic.Pointer[[]Server]
	// lastTrouble is the newest error of etcd since it answered last.
	lastTrouble atomic.Pointer[string]

	// ctx ends first when the store closes, with all in running; then the session.
	ctx        context.Context
	cancel     context.CancelFunc
	running    sync.WaitGroup
	endSession context.CancelFunc
	session    sync.WaitGroup
	committed  chan struct{}
	closeOnce  sync.Once
	closeErr   error

	// When tests have set them: settling is called after each transaction that
	// settles an entry, answer changes what etcd answered to one that commits.
	settling func()
	answer   func(error) error
}

var _ storage.Store = (*Store)(nil)

// keepAlive is how often a silent connection is tried, and how long it may then stay
// silent.
const keepAlive = 3 * time.Second

// Open connects to etcd, takes a copy of the state and keeps it up. On an etcd that
// has no state yet it makes an empty one; documents of an earlier package manager
// are adopted by the first leader. ctx bounds only the opening.
func Open(ctx context.Context, cfg Config, deps Deps) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := newStore(cfg, deps)
	if err := s.connect(ctx); err != nil {
		return nil, fmt.Errorf("open etcd: %w", errors.Join(err, s.disconnect()))
	}
	s.metrics = newStoreMetrics(deps.Metrics, s)
	s.start()
	if err := s.found(ctx); err != nil {
		return nil, fmt.Errorf("open etcd: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// start starts the goroutines that Close ends.
func (s *Store) start() {
	for _, run := range []func(context.Context){s.runCommitter, s.runFollower, s.runReader, s.runLeadership, s.runObserver} {
		s.running.Go(func() { run(s.ctx) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.endSession = cancel
	s.session.Go(func() { s.runSession(requireLeader(ctx)) })
}

func newStore(cfg Config, deps Deps) *Store {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Node.ID == "" {
		cfg.Node.ID = rand.Text()
	}
	s := &Store{
		cfg: cfg, keys: newKeySpace(cfg.Prefix), machine: deps.Machine, logger: deps.Logger,
		queue: make(chan *op, cfg.QueueLength), reads: newReadRounds(), register: newRegister(),
		advanced: make(chan struct{}), sessionChanged: make(chan struct{}), refused: map[string][]byte{},
		work: make(chan struct{}, 1), runs: newLeaderRuns(), resign: make(chan struct{}),
		reloads: make(chan error, 1), faulted: make(chan struct{}),
		committed: make(chan struct{}), epoch: time.Now(),
	}
	s.contact.Store(-1)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.current.Store(emptyVersion())
	return s
}

// connect makes the client and loads the state. Etcd has to answer within the time for
// one request; how long the load takes depends on what is there.
func (s *Store) connect(ctx context.Context) (err error) {
	s.client, err = clientv3.New(clientv3.Config{
		Endpoints: s.cfg.Endpoints, Username: s.cfg.Username, Password: s.cfg.Password, TLS: s.cfg.TLS,
		DialTimeout:       s.cfg.RequestTimeout,
		DialKeepAliveTime: keepAlive, DialKeepAliveTimeout: keepAlive,
		// The transport must not be stricter than etcd is.
		MaxCallSendMsgSize: s.cfg.MaxBytes + 1<<20,
		// Attempts are repeated here, where it is known why the last one failed.
		MaxUnaryRetries: 2,
		DialOptions:     []grpc.DialOption{grpc.WithChainUnaryInterceptor(failFast), grpc.WithConnectParams(reconnect)},
		Logger:          zap.NewNop(),
	})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := s.reach(ctx); err != nil {
		return fmt.Errorf("reach %s: %w", strings.Join(s.cfg.Endpoints, ", "), err)
	}
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	if err := s.machine.Load(l.version.tree); err != nil {
		return fmt.Errorf("load the machine: %w", err)
	}
	s.history = storage.NewHistory(s.cfg.HistoryEvents, s.cfg.HistoryBytes, l.version.head.Index)
	s.install(l)
	s.logger.Info("loaded the state from etcd", "endpoints", s.cfg.Endpoints, "prefix", s.cfg.Prefix,
		"index", l.version.head.Index, "keys", l.version.tree.Len(), "legacy_documents", len(l.legacy))
	return nil
}

// reconnect is how often a member is tried that cannot be reached. The default of the
// transport would let a node stay away for two minutes after etcd is back.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.3, MaxDelay: retryMax},
	MinConnectTimeout: keepAlive,
}

// failFast makes a request fail while no member can be reached, with the reason,
// where the client would wait and then tell only that time was over.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

// reach waits until etcd answers. What is not a matter of time fails at once.
func (s *Store) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	var last error
	for {
		_, _, err := s.readHeadOnce(ctx)
		if err == nil || judge(err) == refused || errors.Is(err, errBadHead) {
			return err
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if !wait.For(ctx, wait.Jitter(5*retryMin, 0.3)) {
			return last
		}
	}
}

// found mints the cluster's id where there is no state yet. Of several nodes that do,
// one wins.
func (s *Store) found(ctx context.Context) error {
	if id, _ := s.current.Load().tree.Get(storage.ClusterIDKey); id != nil {
		return nil
	}
	o := newOp(storage.Request{Command: storage.MintClusterID{ClusterID: rand.Text()}})
	o.candidacy = 1
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	result, err := s.submit(bounded, o)
	if err != nil {
		return fmt.Errorf("make an empty state: %w", err)
	}
	if result.Outcome == storage.Created {
		s.logger.Info("made an empty state in etcd", "prefix", s.cfg.Prefix)
	}
	return nil
}

// Watch implements storage.Store.
func (s *Store) Watch(_ context.Context, opts storage.WatchOptions) (storage.Watcher, error) {
	return s.history.Watch(opts)
}

// Close ends the leader run, watchers and waiters, takes this node off the register
// and disconnects. It may be called more than once.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.cancel()
		s.history.Close()
		s.running.Wait()
		s.endSession()
		s.session.Wait()
		s.metrics.unregister()
		s.closeErr = s.disconnect()
	})
	return s.closeErr
}

func (s *Store) disconnect() error {
	s.cancel()
	if s.client == nil {
		return nil
	}
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("disconnect from etcd: %w", err)
	}
	return nil
}
