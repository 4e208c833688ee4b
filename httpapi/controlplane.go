package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// ClusterAdmin looks after the servers of the control plane itself. Errors are
// *model.Error.
type ClusterAdmin interface {
	// Health is how the leader sees the servers.
	Health(ctx context.Context) (storage.ClusterState, error)
	// Leave takes this node out of the cluster; it stops soon after.
	Leave(ctx context.Context, force bool) error
	// Remove takes the server with an id or name out of the cluster.
	Remove(ctx context.Context, ref string, force bool) error
	// Resolve finds the id of a server by its id or name.
	Resolve(ref string) (string, error)
	// TransferLeadership makes the server with the id the leader, or any for "".
	TransferLeadership(ctx context.Context, id string) error
	// Join meets the nodes at addresses of their gossip.
	Join(ctx context.Context, addrs []string) error
	// Compact makes the files of this node smaller.
	Compact(ctx context.Context) (storage.Compaction, error)
}

// admin returns who looks after the servers; not every driver has some.
func (rq request) admin() (ClusterAdmin, error) {
	if rq.s.deps.Admin == nil {
		return nil, model.Errorf(model.CodeFailedPrecondition, "this node's storage driver has no servers to look after; storage.type raft has")
	}
	return rq.s.deps.Admin, nil
}

// handleControlPlaneHealth answers with how the leader sees the servers.
func (s *Server) handleControlPlaneHealth(rq request) error {
	admin, err := rq.admin()
	if err != nil {
		return err
	}
	ctx := rq.deadline(s.cfg.RequestTimeout)
	defer ctx.release()
	state, err := admin.Health(ctx)
	if err != nil {
		return err
	}
	return rq.answerValue(state)
}

// handleCompact makes the files of this node smaller. That takes longer than other
// requests may.
func (s *Server) handleCompact(rq request) error {
	admin, err := rq.admin()
	if err != nil {
		return err
	}
	ctx := rq.deadline(compactTimeout)
	defer ctx.release()
	result, err := admin.Compact(ctx)
	if err != nil {
		return err
	}
	return rq.answerValue(result)
}

// compactTimeout is how long a compaction is waited for.
const compactTimeout = 10 * time.Minute

// serverOutcome is the answer to what was done about a server.
type serverOutcome struct {
	// Status is leaving, removed, transferred or joined.
	Status string `json:"status"`
	Node   string `json:"node,omitempty"`
	Leader string `json:"leader,omitempty"`
}

// handleLeave takes this node out of the cluster. The node answers, and stops.
func (s *Server) handleLeave(rq request) error {
	return rq.administer(func(ctx context.Context, admin ClusterAdmin) (serverOutcome, error) {
		force, _, err := rq.queryBool("force")
		if err != nil {
			return serverOutcome{}, err
		}
		return serverOutcome{Status: "leaving", Node: s.deps.NodeName}, admin.Leave(ctx, force)
	})
}

// handleRemoveMember takes a server out of the cluster, by id or name.
func (s *Server) handleRemoveMember(rq request) error {
	return rq.administer(func(ctx context.Context, admin ClusterAdmin) (serverOutcome, error) {
		ref, err := rq.pathParam("name")
		if err != nil {
			return serverOutcome{}, err
		}
		force, _, err := rq.queryBool("force")
		if err != nil {
			return serverOutcome{}, err
		}
		return serverOutcome{Status: "removed", Node: ref}, admin.Remove(ctx, ref, force)
	})
}

// handleTransferLeader makes another server the leader.
func (s *Server) handleTransferLeader(rq request) error {
	return rq.administer(func(ctx context.Context, admin ClusterAdmin) (serverOutcome, error) {
		var body struct {
			To string `json:"to"`
		}
		err := rq.smallBody(&body)
		if err != nil {
			return serverOutcome{}, err
		}
		id := ""
		if body.To != "" {
			if id, err = admin.Resolve(body.To); err != nil {
				return serverOutcome{}, err
			}
		}
		return serverOutcome{Status: "transferred", Leader: body.To}, admin.TransferLeadership(ctx, id)
	})
}

// maxJoinAddrs bounds how many addresses one request names.
const maxJoinAddrs = 64

// handleJoin makes this node meet others.
func (s *Server) handleJoin(rq request) error {
	return rq.administer(func(ctx context.Context, admin ClusterAdmin) (serverOutcome, error) {
		var body struct {
			Addrs []string `json:"addrs"`
		}
		if err := rq.smallBody(&body); err != nil {
			return serverOutcome{}, err
		}
		if len(body.Addrs) == 0 || len(body.Addrs) > maxJoinAddrs {
			return serverOutcome{}, invalidField("addrs", "addrs must name 1 to %d gossip addresses, HOST or HOST:PORT", maxJoinAddrs)
		}
		for _, addr := range body.Addrs {
			if !validToken([]byte(addr), maxNameBytes) || bytes.ContainsAny([]byte(addr), "/@") {
				return serverOutcome{}, invalidField("addrs", "%q is not HOST or HOST:PORT", printable([]byte(addr)))
			}
		}
		return serverOutcome{Status: "joined", Node: s.deps.NodeName}, admin.Join(ctx, body.Addrs)
	})
}

// administer does something about the servers and answers with what it was.
func (rq request) administer(do func(ctx context.Context, admin ClusterAdmin) (serverOutcome, error)) error {
	admin, err := rq.admin()
	if err != nil {
		return err
	}
	ctx := rq.deadline(rq.s.cfg.RequestTimeout)
	defer ctx.release()
	outcome, err := do(ctx, admin)
	if err != nil {
		return err
	}
	return rq.answerValue(outcome)
}

// smallBody reads an optional JSON object that has no members beyond v's.
func (rq request) smallBody(v any) error {
	body := bytes.TrimSpace(rq.ctx.PostBody())
	if len(body) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return invalidField("body", "the body is not the JSON object that is wanted: %v", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return invalidField("body", "the body holds more than one JSON object")
	}
	return nil
}
