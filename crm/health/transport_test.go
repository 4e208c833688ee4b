package health

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/crm/sim"
	"github.com/oprc/oprc-pm/fsm"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage/memory"
)

// real is a monitor that leads over one simulated CRM, with the clients that a
// node has.
type real struct {
	*world
	sim *sim.Sim
}

// newReal serves a simulated CRM in a protocol and watches it.
func newReal(t *testing.T, protocol model.ClusterProtocol, change func(cfg *Config)) *real {
	t.Helper()
	s := sim.New(sim.Config{Name: "a"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoints := sim.Endpoints{HTTP: listener}
	if protocol == model.ProtocolGRPC {
		endpoints = sim.Endpoints{GRPC: listener}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ctx, endpoints); err != nil {
			t.Errorf("serve simulated CRM: %v", err)
		}
	})
	w := &world{TB: t, store: &countingStore{Store: memory.New(fsm.NewMachine())}}
	w.inventory = inventory.New(w.store, nil, nil)
	wg.Go(func() {
		if err := w.inventory.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("inventory: %v", err)
		}
	})
	fleet, err := crm.NewFleet(crm.DefaultConfig(), metrics.NewSet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Interval, cfg.Timeout, cfg.SlowAfter = 20*time.Millisecond, 2*time.Second, time.Second
	cfg.OpenTimeout, cfg.RetryTimeout, cfg.RecordDelay = 20*time.Millisecond, 40*time.Millisecond, time.Millisecond
	if change != nil {
		change(&cfg)
	}
	if w.monitor, err = NewMonitor(cfg, Deps{Store: w.store, Fleet: fleet, Inventory: w.inventory}); err != nil {
		t.Fatal(err)
	}
	w.put("a", func(c *model.Cluster) { c.Protocol, c.BaseURL = protocol, "http://"+listener.Addr().String() })
	w.sync()
	view, _ := w.inventory.Cluster("a")
	if err := fleet.Sync([]model.Cluster{view.Spec}); err != nil {
		t.Fatal(err)
	}
	stop := w.lead()
	t.Cleanup(func() {
		stop()
		fleet.Close()
		cancel()
		wg.Wait()
	})
	return &real{world: w, sim: s}
}

// until waits until the cluster is recorded as wanted and returns its health.
func (r *real) until(want string) model.ClusterHealth {
	r.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		view, _ := r.inventory.Cluster("a")
		got := shown(state{health: view.Health})
		if got == want {
			return view.Health
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			r.Fatalf("got %s (%s), want %s", got, view.Health.Message, want)
		}
	}
}

func TestFailuresOfRealCRMs(t *testing.T) {
	t.Parallel()
	for _, protocol := range []model.ClusterProtocol{model.ProtocolHTTP, model.ProtocolGRPC} {
		for _, test := range []struct {
			name    string
			faults  sim.Faults
			vitals  func(v *sim.Vitals)
			change  func(cfg *Config)
			want    string
			message string
		}{
			{name: "refused", faults: sim.Faults{Refuse: true}, want: lost, message: "cannot connect"},
			{name: "hung", faults: sim.Faults{Hang: true}, want: lost,
				change: func(cfg *Config) { cfg.Timeout = 50 * time.Millisecond; cfg.SlowAfter = 0 }},
			{name: "5xx", faults: sim.Faults{Status: 500}, want: lost},
			{name: "caller refused", faults: sim.Faults{Status: 401}, want: "Unknown/CallerRefused/"},
			{name: "garbage", faults: sim.Faults{Garbage: true}, want: lost},
			{name: "slow", faults: sim.Faults{Latency: sim.Duration(30 * time.Millisecond)}, want: "Degraded/Slow/closed",
				change: func(cfg *Config) { cfg.SlowAfter = 25 * time.Millisecond }},
			{name: "degraded by report", vitals: func(v *sim.Vitals) { v.Status = model.ClusterDegraded }, want: "Degraded/ReportedDegraded/closed"},
			{name: "unhealthy by report", vitals: func(v *sim.Vitals) { v.Status = model.ClusterUnhealthy }, want: "Unhealthy/ReportedUnhealthy/closed"},
			{name: "no node is ready", vitals: func(v *sim.Vitals) { v.ReadyNodes = 0 }, want: "Unhealthy/NoReadyNodes/closed"},
		} {
			t.Run(string(protocol)+" "+test.name, func(t *testing.T) {
				t.Parallel()
				r := newReal(t, protocol, test.change)
				first := r.until(healthy)
				if *first.NodeCount != 3 || *first.CRMVersion != "sim" || *first.Availability != 0.99 {
					t.Errorf("first contact: got %+v, want what the CRM says", first)
				}
				usual := r.sim.Vitals()
				r.sim.SetFaults(test.faults)
				if test.vitals != nil {
					vitals := usual
					test.vitals(&vitals)
					r.sim.SetVitals(vitals)
				}
				if got := r.until(test.want); test.message != "" && got.Message != test.message {
					t.Errorf("message: got %q, want %q", got.Message, test.message)
				}
				if got, want := r.monitor.Allow("a"), test.want != lost; got != want {
					t.Errorf("calls allowed: got %t, want %t", got, want)
				}
				r.sim.SetFaults(sim.Faults{})
				r.sim.SetVitals(usual)
				r.until(healthy)
				if !r.monitor.Allow("a") {
					t.Error("after the recovery: got calls refused")
				}
			})
		}
	}
}

func TestRefusedConnectionIsKnownInBothProtocols(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []model.ClusterProtocol{model.ProtocolHTTP, model.ProtocolGRPC} {
		fleet, err := crm.NewFleet(crm.DefaultConfig(), metrics.NewSet(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer fleet.Close()
		if err := fleet.Sync([]model.Cluster{{Name: "a", BaseURL: "http://" + address, Protocol: protocol}}); err != nil {
			t.Fatal(err)
		}
		client, _ := fleet.Client("a")
		_, err = client.Health(t.Context())
		if got, _, message := explainProbe(err); got != refused {
			t.Errorf("%s: got outcome %d (%s), want refused", protocol, got, message)
		}
	}
}

func TestUnusableSettingsAreNotTheClustersFault(t *testing.T) {
	t.Parallel()
	fleet, err := crm.NewFleet(crm.DefaultConfig(), metrics.NewSet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	// Sync says which settings cannot be used; here the client's answer counts.
	_ = fleet.Sync([]model.Cluster{{Name: "a", BaseURL: "ftp://nowhere", Protocol: model.ProtocolHTTP}})
	client, known := fleet.Client("a")
	if !known {
		t.Fatal("got no client, want one whose calls fail")
	}
	_, err = client.Health(t.Context())
	if got, reason, _ := explainProbe(err); got != unusable || reason != ReasonNoClient {
		t.Errorf("got outcome %d, %s, want unusable, NoClient", got, reason)
	}
}
