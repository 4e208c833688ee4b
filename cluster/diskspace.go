package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// DiskConfig says when a disk is short of space. Of a share and a size the lesser
// counts: a small disk is not short because it is small, nor a big one because of a
// share of it that is plenty.
type DiskConfig struct {
	// Interval is how often the disk is looked at.
	Interval time.Duration
	// Below Alarm a node warns, below Refuse it counts as unable to write.
	AlarmPercent, RefusePercent float64
	AlarmBytes, RefuseBytes     uint64
	// ReserveBytes are held in a file that is given up when the disk is that
	// short, so that what is under way can end. 0: none are.
	ReserveBytes uint64
	// StallTimeout is how long a leader's write may take before it steps down.
	StallTimeout time.Duration
}

// DefaultDiskConfig returns the production settings.
func DefaultDiskConfig() DiskConfig {
	return DiskConfig{
		Interval:     5 * time.Second,
		AlarmPercent: 15, AlarmBytes: 2 << 30,
		RefusePercent: 5, RefuseBytes: 512 << 20,
		ReserveBytes: 32 << 20,
		StallTimeout: 5 * time.Second,
	}
}

func (c DiskConfig) validate(check func(ok bool, format string, args ...any)) {
	check(c.Interval > 0 && c.StallTimeout > 0, "disk interval and stall timeout must be positive")
	check(c.RefusePercent >= 0 && c.RefusePercent <= c.AlarmPercent && c.AlarmPercent < 100, "disk percentages must be ordered: 0 <= refuse <= alarm < 100")
	check(c.RefuseBytes <= c.AlarmBytes, "disk refuse bytes must not exceed the alarm's")
}

// DiskSpace is the room on a disk, in bytes.
type DiskSpace struct{ Free, Total uint64 }

// statfs asks the system; what only the superuser may use does not count as free.
func statfs(path string) (DiskSpace, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return DiskSpace{}, fmt.Errorf("look at free space: %w", err)
	}
	size := uint64(st.Bsize) //nolint:gosec // never negative; its type differs among systems
	return DiskSpace{Free: st.Bavail * size, Total: st.Blocks * size}, nil
}

// diskState is how much room a disk has left.
type diskState int32

const (
	diskOK diskState = iota
	diskAlarm
	diskFull // too little to write
)

func (s diskState) String() string { return [...]string{"ok", "short", "full"}[s] }

// peerDisk is what a node tells the leader of its disk.
type peerDisk struct {
	DiskSpace
	State diskState
}

// diskGuard knows how much room the disk of the data directory has.
type diskGuard struct {
	cfg     DiskConfig
	dir     *dataDir
	look    func(path string) (DiskSpace, error)
	logger  *slog.Logger
	refused *metrics.Counter

	state atomic.Int32
	space atomic.Pointer[DiskSpace]
	// refusal is why the leader refuses writes, nil while it does not.
	refusal atomic.Pointer[string]

	mu      sync.Mutex // guards reserve: at most one goroutine looks
	reserve bool
}

func newDiskGuard(cfg DiskConfig, dir *dataDir, look func(string) (DiskSpace, error), set *metrics.Set, logger *slog.Logger) *diskGuard {
	if look == nil {
		look = statfs
	}
	g := &diskGuard{cfg: cfg, dir: dir, look: look, logger: logger,
		refused: set.GetOrCreateCounter("oprc_disk_writes_refused_total")}
	g.space.Store(&DiskSpace{})
	set.GetOrCreateGauge("oprc_disk_available_bytes", func() float64 { return float64(g.space.Load().Free) })
	set.GetOrCreateGauge("oprc_disk_total_bytes", func() float64 { return float64(g.space.Load().Total) })
	set.GetOrCreateGauge("oprc_disk_state", func() float64 { return float64(g.state.Load()) })
	return g
}

// run looks at the disk until ctx ends.
func (g *diskGuard) run(ctx context.Context) {
	tick := time.NewTicker(g.cfg.Interval)
	defer tick.Stop()
	for {
		g.check()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// check looks at the disk once.
func (g *diskGuard) check() {
	g.mu.Lock()
	defer g.mu.Unlock()
	space, err := g.look(g.dir.path)
	if err != nil {
		g.logger.Warn("free space is unknown", "err", err)
		return
	}
	g.space.Store(&space)
	before := diskState(g.state.Load())
	now := g.judge(space, before)
	g.state.Store(int32(now))
	if now != before {
		g.tell(now, space)
	}
	switch {
	case now == diskFull:
		g.release()
	case now == diskOK && g.fits(space):
		g.keep()
	}
}

func limit(total uint64, percent float64, size uint64) uint64 {
	return min(uint64(float64(total)*percent/100), size)
}

// judge holds on to a bad state until there is clearly more room: the reserve that
// was given up must not count as relief.
func (g *diskGuard) judge(space DiskSpace, before diskState) diskState {
	alarm := limit(space.Total, g.cfg.AlarmPercent, g.cfg.AlarmBytes)
	refuse := limit(space.Total, g.cfg.RefusePercent, g.cfg.RefuseBytes)
	if before == diskFull {
		refuse += g.reserveSize(space)
	}
	if before != diskOK {
		alarm += alarm / 16
		refuse += refuse / 16
	}
	switch {
	case space.Free < refuse:
		return diskFull
	case space.Free < max(alarm, refuse):
		return diskAlarm
	}
	return diskOK
}

func (g *diskGuard) tell(now diskState, space DiskSpace) {
	switch now {
	case diskFull:
		g.logger.Error("disk is full, this node counts as unable to write", "free_bytes", space.Free, "total_bytes", space.Total, "dir", g.dir.path)
	case diskAlarm:
		g.logger.Warn("disk is short of space", "free_bytes", space.Free, "total_bytes", space.Total, "dir", g.dir.path)
	default:
		g.logger.Info("disk has space again", "free_bytes", space.Free, "total_bytes", space.Total)
	}
}

// reserveName is the file that holds room for an emergency.
const reserveName = "reserve"

// reserveSize is what is held back, on a small disk a hundredth of it.
func (g *diskGuard) reserveSize(space DiskSpace) uint64 {
	return min(g.cfg.ReserveBytes, space.Total/100)
}

// fits reports whether the disk stays out of the alarm with the reserve.
func (g *diskGuard) fits(space DiskSpace) bool {
	size := g.reserveSize(space)
	return size > 0 && !g.reserve && space.Free > size+limit(space.Total, g.cfg.AlarmPercent, g.cfg.AlarmBytes)
}

func (g *diskGuard) keep() {
	path := g.dir.file(reserveName)
	if err := allocate(path, g.reserveSize(*g.space.Load())); err != nil {
		g.logger.Warn("no space was reserved", "err", err)
		_ = os.Remove(path) // tried again at the next look
		return
	}
	g.reserve = true
}

func (g *diskGuard) release() {
	err := os.Remove(g.dir.file(reserveName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.logger.Warn("reserved space was not released", "err", err)
		return
	}
	if err == nil {
		g.logger.Warn("reserved space was released")
	}
	g.reserve = false
}

// allocate makes a file that has its blocks.
func allocate(path string, size uint64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Fallocate(int(file.Fd()), 0, 0, int64(size)), file.Close()) //nolint:gosec // far below 2^63
}

func (g *diskGuard) own() peerDisk {
	return peerDisk{DiskSpace: *g.space.Load(), State: diskState(g.state.Load())}
}
