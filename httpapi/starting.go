package httpapi

import (
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// starter is a store that is not of use at once when it was opened. Starting says
// why it is not yet, and "" from then on, for good. It must answer at once.
type starter interface{ Starting() string }

// started refuses what this node can answer only once it has started: its clients
// have other nodes, and should not wait for this one until their deadline. A node
// that served and lost its leader holds requests instead, because an election is
// over sooner than a client comes back.
func (s *Server) started() error {
	if s.starting == nil {
		return nil
	}
	if why := s.starting.Starting(); why != "" {
		return model.Errorf(model.CodeUnavailable, "this node is starting: %s; nothing was changed", why)
	}
	return nil
}

// startedFor is started for a read: what is stored here can always be had.
func (s *Server) startedFor(opts storage.ReadOptions) error {
	if opts.Consistency == storage.Stale {
		return nil
	}
	return s.started()
}
