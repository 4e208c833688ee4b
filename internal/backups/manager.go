package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/backup"
)

// Config of a Manager.
type Config struct {
	// Interval between scheduled backups; 0: there are none.
	Interval time.Duration
	// Count and Age are how many backups of this cluster are kept at a destination,
	// and for how long; 0 is no bound. The newest always stays.
	Count int
	Age   time.Duration
	// Retry is the pause after a backup that failed.
	Retry time.Duration
	// RestoreIfEmpty restores the newest backup into a cluster at its first start.
	RestoreIfEmpty bool
	// Node, Release and Driver go into the backups; TempDir holds them on the way.
	Node, Release, Driver string
	TempDir               func() (string, error)
}

// DefaultRetry is the default of Config.Retry.
const DefaultRetry = time.Minute

// Store is the part of a storage.Store that is backed up.
type Store interface {
	backup.Source
	backup.Target
}

// Deps of a Manager; Now may be nil.
type Deps struct {
	Store        Store
	Destinations []Destination
	Logger       *slog.Logger
	Metrics      *metrics.Set
	Now          func() time.Time
}

// Manager makes backups, restores and looks after destinations. Its methods may be
// called from many goroutines.
type Manager struct {
	cfg     Config
	deps    Deps
	metrics *managerMetrics
	// running is held while a backup goes to the destinations.
	running sync.Mutex
}

// New makes a manager. It does no I/O.
func New(cfg Config, deps Deps) *Manager {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if cfg.Retry <= 0 {
		cfg.Retry = DefaultRetry
	}
	if cfg.TempDir == nil {
		cfg.TempDir = func() (string, error) { return "", nil }
	}
	return &Manager{cfg: cfg, deps: deps, metrics: newManagerMetrics(deps.Metrics)}
}

// Close ends connections to the destinations.
func (m *Manager) Close() {
	for _, d := range m.deps.Destinations {
		d.Close()
	}
}

// Save writes a backup to w; begin, if not nil, gets its header first.
func (m *Manager) Save(ctx context.Context, w io.Writer, consistency storage.Consistency, begin func(backup.Header) error) error {
	_, err := m.save(ctx, w, consistency, begin)
	return err
}

func (m *Manager) save(ctx context.Context, w io.Writer, consistency storage.Consistency, begin func(backup.Header) error) (backup.Header, error) {
	dir, err := m.cfg.TempDir()
	if err != nil {
		return backup.Header{}, err
	}
	return backup.Save(ctx, m.deps.Store, w, backup.SaveOptions{
		Consistency: consistency, Node: m.cfg.Node, Release: m.cfg.Release, Driver: m.cfg.Driver,
		At: m.deps.Now().UTC().Truncate(time.Second), Dir: dir, Begin: begin,
	})
}

// Restore replaces the cluster's state by that of a backup.
func (m *Manager) Restore(ctx context.Context, file io.ReadSeeker, force bool) (backup.Header, storage.Result, error) {
	h, result, err := backup.Restore(ctx, m.deps.Store, file, backup.RestoreOptions{Force: force})
	if err == nil {
		m.deps.Logger.Info("backup was restored", "index", result.Index, "from_cluster", h.ClusterID, "from_index", h.Index, "keys", h.Keys)
	}
	return h, result, err
}

func (m *Manager) configured() error {
	if len(m.deps.Destinations) == 0 {
		return model.Errorf(model.CodeFailedPrecondition, "no destination for backups is configured (backup.directory, backup.s3)")
	}
	return nil
}

// List tells what is at the destinations, the newest first.
func (m *Manager) List(ctx context.Context) ([]model.StoredBackup, error) {
	if err := m.configured(); err != nil {
		return nil, err
	}
	var list []model.StoredBackup
	for _, d := range m.deps.Destinations {
		files, err := d.List(ctx)
		if err != nil {
			return nil, &model.Error{Code: model.CodeUnavailable, Message: fmt.Sprintf("%s: %v", d, err), Err: err}
		}
		for _, f := range files {
			list = append(list, stored(d, f))
		}
	}
	slices.SortStableFunc(list, func(a, b model.StoredBackup) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return list, nil
}

func stored(d Destination, f File) model.StoredBackup {
	return model.StoredBackup{Name: f.Name, Destination: d.String(), CreatedAt: f.CreatedAt, Index: f.Index, Size: f.Size}
}

// Run makes a backup now, at every destination.
func (m *Manager) Run(ctx context.Context) ([]model.StoredBackup, error) {
	if err := m.configured(); err != nil {
		return nil, err
	}
	made, err := m.runAll(ctx)
	if err != nil {
		return nil, &model.Error{Code: model.CodeUnavailable, Message: err.Error(), Err: err}
	}
	return made, nil
}

// runAll makes a backup at every destination, one after the other. One that fails does
// not keep the others from theirs.
func (m *Manager) runAll(ctx context.Context) ([]model.StoredBackup, error) {
	m.running.Lock()
	defer m.running.Unlock()
	var made []model.StoredBackup
	var errs []error
	for _, d := range m.deps.Destinations {
		started := time.Now()
		file, err := m.runOne(ctx, d)
		m.metrics.count(err, file.Size, m.deps.Now(), time.Since(started))
		if err != nil {
			m.deps.Logger.Error("backup failed", "destination", d.String(), "err", err)
			errs = append(errs, fmt.Errorf("%s: %w", d, err))
			continue
		}
		m.deps.Logger.Info("backup was made and read back", "destination", d.String(), "name", file.Name,
			"index", file.Index, "size", file.Size, "dur", time.Since(started))
		made = append(made, stored(d, file))
	}
	return made, errors.Join(errs...)
}

// runOne makes one backup, reads it back, and removes what is too old or too much.
func (m *Manager) runOne(ctx context.Context, d Destination) (File, error) {
	dir, err := m.cfg.TempDir()
	if err != nil {
		return File{}, err
	}
	spool, err := newSpool(dir)
	if err != nil {
		return File{}, err
	}
	defer spool.close()
	// The name says what is inside, so that has to be known first.
	h, err := m.save(ctx, spool.file, storage.Linearizable, nil)
	if err != nil {
		return File{}, err
	}
	id := m.deps.Store.Status().ClusterID
	file, ok := parseName(fileName(id, h), 0)
	if !ok {
		return File{}, fmt.Errorf("cluster id %q makes no name of a file", id)
	}
	err = d.Put(ctx, file.Name, func(w io.Writer) (err error) {
		file.Size, err = spool.copyTo(w)
		return err
	})
	if err != nil {
		return file, err
	}
	if err := verify(ctx, d, file.Name, h); err != nil {
		// What is not what was written is no backup, and must not be taken for one.
		return file, errors.Join(err, d.Remove(ctx, file.Name))
	}
	return file, m.prune(ctx, d, file)
}

// verify reads a whole backup and compares it with what was written.
func verify(ctx context.Context, d Destination, name string, want backup.Header) error {
	source, err := d.Open(ctx, name)
	if err != nil {
		return fmt.Errorf("read backup again: %w", err)
	}
	got, err := backup.Inspect(source)
	if err = errors.Join(err, source.Close()); err != nil {
		return fmt.Errorf("read backup again: %w", err)
	}
	if got.Digest != want.Digest || got.Index != want.Index || got.ClusterID != want.ClusterID {
		return fmt.Errorf("read backup again: it is of cluster %s at index %d, not of %s at %d", got.ClusterID, got.Index, want.ClusterID, want.Index)
	}
	return nil
}

// prune removes backups of this cluster beyond the bounds. newest was read back just
// now and stays.
func (m *Manager) prune(ctx context.Context, d Destination, newest File) error {
	files, err := d.List(ctx)
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(f File) bool {
		return f.ClusterID != newest.ClusterID || f.Name == newest.Name || newer(f, newest) < 0
	})
	slices.SortFunc(files, newer)
	for i, f := range files {
		tooMany := m.cfg.Count > 0 && i+1 >= m.cfg.Count
		tooOld := m.cfg.Age > 0 && newest.CreatedAt.Sub(f.CreatedAt) > m.cfg.Age
		if !tooMany && !tooOld {
			continue
		}
		if err := d.Remove(ctx, f.Name); err != nil {
			return err
		}
		m.metrics.removed.Inc()
		m.deps.Logger.Info("old backup was removed", "destination", d.String(), "name", f.Name)
	}
	return nil
}
