package cluster

import (
	"net"
	"testing"
	"time"
)

// A node that starts again listens to no candidate while a leader that it heard
// before may hold a lease.
func TestRestartedVoterWaitsOutLeases(t *testing.T) {
	t.Parallel()
	n := openSingle(t)
	if !n.stream.notBefore.IsZero() {
		t.Error("a fresh node waits, though no leader can count on it")
	}
	cfg := n.cfg
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.LeaderLeaseTimeout = 300 * time.Millisecond
	n = New(cfg, Deps{})
	before := time.Now()
	if err := n.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if got, want := n.stream.notBefore, before.Add(cfg.LeaderLeaseTimeout); got.Before(want) {
		t.Errorf("peers are heard %s too early", want.Sub(got))
	}
	s := newRaftStream(n.mux)
	s.notBefore = time.Now().Add(50 * time.Millisecond)
	a, b := net.Pipe()
	defer a.Close()
	go s.serve(b, "")
	c, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if early := time.Until(s.notBefore); early > 0 {
		t.Errorf("a connection was handed over %s too early", early)
	}
}
