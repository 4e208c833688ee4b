package cluster

import (
	"context"
	"log/slog"
	"maps"
	"sync"
)

// addrBook knows where the other servers are. What was heard last wins: a gossip
// event or the address a peer gave when it connected. Below that come the
// addresses remembered from the last run, and what the Raft configuration says.
type addrBook struct {
	files  files
	path   string
	logger *slog.Logger
	dirty  chan struct{}

	mu    sync.RWMutex // guards addrs
	addrs map[string]string
}

// openAddrBook reads the addresses of the last run. A damaged file is only a
// hint lost.
func openAddrBook(path string, logger *slog.Logger) *addrBook {
	b := &addrBook{path: path, logger: logger, dirty: make(chan struct{}, 1), addrs: make(map[string]string)}
	if _, err := readJSON(path, &b.addrs); err != nil {
		logger.Warn("remembered peer addresses are unreadable", "err", err)
	}
	if b.addrs == nil {
		b.addrs = make(map[string]string)
	}
	return b
}

// learn records that the server id was heard of at addr just now.
func (b *addrBook) learn(id, addr string) {
	if id == "" || addr == "" {
		return
	}
	b.mu.Lock()
	changed := b.addrs[id] != addr
	// The bound keeps a hostile peer from filling memory and disk with ids.
	if changed && (len(b.addrs) < 1024 || b.addrs[id] != "") {
		b.addrs[id] = addr
	}
	b.mu.Unlock()
	if changed {
		select {
		case b.dirty <- struct{}{}:
		default:
		}
	}
}

// lookup returns the newest address known of id, or "".
func (b *addrBook) lookup(id string) string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.addrs[id]
}

// run saves changes until ctx ends.
func (b *addrBook) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.dirty:
		}
		b.mu.RLock()
		addrs := maps.Clone(b.addrs)
		b.mu.RUnlock()
		if err := b.files.writeJSON(b.path, addrs); err != nil {
			b.logger.Warn("peer addresses were not saved", "err", err)
		}
	}
}
