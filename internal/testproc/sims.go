package testproc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Sim is a simulated cluster, a process at addresses of its own that stay the
// same over restarts. Process changes with every start: only the goroutine that
// starts and stops it may use it; the rest is for all.
type Sim struct {
	*Process
	Name     string
	Protocol model.ClusterProtocol
	// HTTP and GRPC are where the calls go, Control where the simulator itself is
	// spoken to, whatever its faults.
	HTTP, GRPC, Control string

	dir    string
	args   []string
	client *http.Client
}

// SimUnit is a unit as a simulator tells of it.
type SimUnit struct {
	Unit       model.DeploymentUnit `json:"unit"`
	AcceptedAt time.Time            `json:"accepted_at"`
}

// SimCall is an entry of a simulator's journal.
type SimCall struct {
	Seq        uint64    `json:"seq"`
	Name       string    `json:"name"`
	Protocol   string    `json:"protocol"`
	Unit       string    `json:"unit"`
	Deployment string    `json:"deployment"`
	Term       uint64    `json:"term"`
	Status     int       `json:"status"`
	Effect     string    `json:"effect"`
	At         time.Time `json:"at"`
}

// NewSim starts a simulated cluster that is called by protocol, with args in
// addition to its addresses. It knows its units again after a restart.
func NewSim(t testing.TB, name string, protocol model.ClusterProtocol, args ...string) *Sim {
	t.Helper()
	addrs := NewAddrs(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s := &Sim{
		Name: name, Protocol: protocol, HTTP: addrs.HTTP, GRPC: addrs.Cluster, Control: addrs.Gossip,
		dir: dataDir(t), args: args, client: &http.Client{Transport: transport, Timeout: 15 * time.Second},
	}
	s.Start(t)
	return s
}

// Start starts the process again, after Kill or Stop, and waits until it listens.
func (s *Sim) Start(t testing.TB) {
	t.Helper()
	args := []string{
		"crm-sim", "--name", s.Name, "--listen", s.HTTP, "--grpc-listen", s.GRPC, "--control-listen", s.Control,
		"--state-dir", filepath.Join(s.dir, "state"), "--log-level", "warn",
	}
	s.Process = Start(t, s.Name, s.dir, append(args, s.args...)...)
	waitFor(t, 10*time.Second, s.Name+" listens", func() error {
		select {
		case <-s.Done():
			t.Fatalf("%s ended: %v", s.Name, s.err)
		default:
		}
		return s.control(http.MethodGet, "/sim/term", "", nil)
	})
}

// BaseURL is where the control plane finds the cluster's CRM.
func (s *Sim) BaseURL() string {
	if s.Protocol == model.ProtocolGRPC {
		return "http://" + s.GRPC
	}
	return "http://" + s.HTTP
}

// Units are those that the cluster holds.
func (s *Sim) Units() (units []SimUnit, err error) {
	err = s.control(http.MethodGet, "/sim/units", "", &units)
	return units, err
}

// Calls is the journal after seq.
func (s *Sim) Calls(seq uint64) (calls []SimCall, err error) {
	err = s.control(http.MethodGet, fmt.Sprintf("/sim/calls?since=%d", seq), "", &calls)
	return calls, err
}

// SetFaults makes the cluster misbehave; faults is JSON.
func (s *Sim) SetFaults(faults string) error {
	return s.control(http.MethodPut, "/sim/faults", faults, nil)
}

// Lose drops a unit behind the control plane's back.
func (s *Sim) Lose(id string) error {
	return s.control(http.MethodDelete, "/sim/units/"+id, "", nil)
}

// Inject puts a unit there behind the control plane's back.
func (s *Sim) Inject(unit model.DeploymentUnit) error {
	body, err := json.Marshal(unit)
	if err != nil {
		return err
	}
	return s.control(http.MethodPost, "/sim/units", string(body), nil)
}

func (s *Sim) control(method, path, body string, into any) (err error) {
	request, err := http.NewRequest(method, "http://"+s.Control+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s at %s: status %d: %s", method, path, s.Name, response.StatusCode, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// SimsConfig is the configuration of a node that knows the clusters, as YAML;
// more settings of crm are added to it.
func SimsConfig(sims []*Sim, more ...string) string {
	var config strings.Builder
	config.WriteString("crm:\n")
	for _, line := range more {
		config.WriteString("  " + line + "\n")
	}
	config.WriteString("  clusters:\n")
	for _, s := range sims {
		fmt.Fprintf(&config, "    %s:\n      base_url: %s\n      protocol: %s\n", s.Name, s.BaseURL(), s.Protocol)
	}
	return config.String()
}

// NewOrchestration starts nodes that know the clusters, and waits until all are
// ready.
func NewOrchestration(t testing.TB, nodes int, sims []*Sim, more ...string) *Cluster {
	t.Helper()
	path := filepath.Join(dataDir(t), "config.yaml")
	if err := os.WriteFile(path, []byte(SimsConfig(sims, more...)), 0o600); err != nil {
		t.Fatal(err)
	}
	return NewCluster(t, nodes, "--config", path)
}
