package etcd

import (
	"context"
	"sync"
	"time"

	"github.com/oprc/oprc-pm/internal/wait"
)

// Details is what a node knows of itself and of etcd.
type Details struct {
	AppliedIndex  uint64 `json:"applied_index"`
	Digest        string `json:"digest"`
	DigestIndex   uint64 `json:"digest_index"`
	LastContactMS int64  `json:"last_contact_ms"`
	// Etcd are the servers behind the endpoints, as they were asked last.
	Etcd []Server `json:"etcd"`
}

// Server is an etcd server behind an endpoint.
type Server struct {
	Endpoint  string `json:"endpoint"`
	Reachable bool   `json:"reachable"`
	Version   string `json:"version,omitempty"`
	Leader    bool   `json:"leader,omitempty"`
	// DBSizeBytes is the size of its database, of which DBInUseBytes are used, and
	// DBQuotaBytes the most that it may have.
	DBSizeBytes  int64 `json:"db_size_bytes,omitempty"`
	DBInUseBytes int64 `json:"db_in_use_bytes,omitempty"`
	DBQuotaBytes int64 `json:"db_quota_bytes,omitempty"`
	// Alarms are what it says is wrong, as NOSPACE.
	Alarms []string `json:"alarms,omitempty"`
	Error  string   `json:"error,omitempty"`
}

// observeTimeout bounds one look at a server.
const observeTimeout = 2 * time.Second

// runObserver looks at all servers now and then, so that asking for Details asks
// nobody.
func (s *Store) runObserver(ctx context.Context) {
	for ctx.Err() == nil {
		servers := make([]Server, len(s.cfg.Endpoints))
		var all sync.WaitGroup
		for i, endpoint := range s.cfg.Endpoints {
			all.Go(func() { servers[i] = s.observe(ctx, endpoint) })
		}
		all.Wait()
		s.servers.Store(&servers)
		wait.For(ctx, wait.Jitter(s.cfg.SessionTTL/2, 0.2))
	}
}

func (s *Store) observe(ctx context.Context, endpoint string) Server {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	resp, err := s.client.Status(ctx, endpoint)
	if err != nil {
		return Server{Endpoint: endpoint, Error: err.Error()}
	}
	return Server{
		Endpoint: endpoint, Reachable: true, Version: resp.Version, Leader: resp.Header.MemberId == resp.Leader,
		DBSizeBytes: resp.DbSize, DBInUseBytes: resp.DbSizeInUse, DBQuotaBytes: resp.DbSizeQuota, Alarms: resp.Errors,
	}
}

// Details tells of this node and of etcd, at once.
func (s *Store) Details() any {
	st := s.Status()
	d := Details{AppliedIndex: st.AppliedIndex, Digest: st.Digest, DigestIndex: st.DigestIndex, LastContactMS: st.LastContact.Milliseconds()}
	if servers := s.servers.Load(); servers != nil {
		d.Etcd = *servers
	}
	return d
}
