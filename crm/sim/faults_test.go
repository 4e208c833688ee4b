package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/oprc/oprc-pm/crm/crmpb"
	"github.com/oprc/oprc-pm/model"
)

// get makes one request over the network, on a connection of its own.
func get(t *testing.T, url string) (int, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := client(t).Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// TestRefuseClosesThePorts: connections are refused, those that are open are cut,
// and the same ports open again; the port of control stays.
func TestRefuseClosesThePorts(t *testing.T) {
	t.Parallel()
	v, err := Start(New(Config{Name: "edge"}), Addrs{HTTP: Loopback, GRPC: Loopback, Control: Loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	c := dialGRPC(t, v)
	if err := c.deploy(t, "u1"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		v.SetFaults(Faults{Refuse: true})
		if _, err := get(t, v.URL()+"/api/v1/health"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("HTTP: got %v, want a refused connection", err)
		}
		wantCode(t, "gRPC", c.deploy(t, "u2"), codes.Unavailable)
		if code, err := get(t, v.ControlURL()+"/sim/units"); code != 200 || err != nil {
			t.Errorf("control: got %d, %v, want 200", code, err)
		}
		v.SetFaults(Faults{})
		if code, err := get(t, v.URL()+"/api/v1/health"); code != 200 || err != nil {
			t.Errorf("HTTP again: got %d, %v, want 200", code, err)
		}
	}
	until(t, "gRPC answers again", func() bool { return c.deploy(t, "u1") == nil })
	if code, err := get(t, v.ControlURL()+"/api/v1/health"); code != 404 || err != nil {
		t.Errorf("a call at the port of control: got %d, %v, want 404", code, err)
	}
}

// TestRefuseCutsWhatHangs: a caller that waits for an answer learns that there is
// none.
func TestRefuseCutsWhatHangs(t *testing.T) {
	t.Parallel()
	v := StartFor(t, Config{Name: "edge"})
	v.SetFaults(Faults{HangReply: true})
	failed := make(chan error, 1)
	go func() {
		_, err := get(t, v.URL()+"/api/v1/health")
		failed <- err
	}()
	until(t, "the call has had its effect", func() bool { return len(v.Calls(0)) == 1 })
	v.SetFaults(Faults{Refuse: true})
	if err := <-failed; err == nil {
		t.Error("got an answer, want the connection cut")
	}
}

// TestSchedule: a flapping cluster, without a clock that has to be waited for.
func TestSchedule(t *testing.T) {
	t.Parallel()
	down := Faults{Status: 503}
	for name, tt := range map[string]struct {
		steps []Step
		want  []int // after each second
	}{
		"repeats":          {[]Step{{Duration(2 * time.Second), down}, {Duration(time.Second), Faults{}}}, []int{503, 503, 200, 503, 503, 200, 503}},
		"lasts at the end": {[]Step{{Duration(2 * time.Second), down}, {0, Faults{}}}, []int{503, 503, 200, 200, 200}},
		"lasts before":     {[]Step{{Duration(time.Second), Faults{}}, {0, down}, {Duration(time.Second), Faults{}}}, []int{200, 503, 503, 503}},
		"is none":          {nil, []int{200, 200}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := &testClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
			s := New(Config{Name: "edge", Now: clock.Now})
			s.SetSchedule(tt.steps...)
			var got []int
			for range tt.want {
				code, _ := callRaw(t, s, "GET", "/api/v1/health", "")
				got = append(got, code)
				clock.advance(time.Second)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}

// TestScheduleLiftsAHang: a call that hangs is answered when its step is over.
func TestScheduleLiftsAHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Name: "edge"})
		s.SetSchedule(Step{Duration(time.Minute), Faults{Hang: true}}, Step{0, Faults{}})
		began := time.Now()
		code, _ := callRaw(t, s, "GET", "/api/v1/health", "")
		if took := time.Since(began); code != 200 || took != time.Minute {
			t.Errorf("got %d after %v, want 200 after a minute", code, took)
		}
	})
}

// TestScheduleOpensAndClosesPorts follows a schedule with real ports.
func TestScheduleOpensAndClosesPorts(t *testing.T) {
	t.Parallel()
	v := StartFor(t, Config{Name: "edge"})
	v.SetSchedule(Step{Duration(30 * time.Millisecond), Faults{Refuse: true}}, Step{Duration(30 * time.Millisecond), Faults{}})
	answers := func() bool { _, err := get(t, v.URL()+"/api/v1/health"); return err == nil }
	for range 3 {
		until(t, "the port opens", answers)
		until(t, "the port closes", func() bool { return !answers() })
	}
}

// TestUnitsThatFareBadly: by class, image, function, id or deployment.
func TestUnitsThatFareBadly(t *testing.T) {
	t.Parallel()
	image := "shop/cart:2"
	unit := model.DeploymentUnit{
		ID: "u1", DeploymentKey: "cart", PackageName: "shop", ClassKey: "Cart",
		Functions: []model.FunctionDeploymentSpec{{FunctionKey: "none"}, {FunctionKey: "add", ProvisionConfig: &model.ProvisionConfig{ContainerImage: &image}}},
	}
	for name, tt := range map[string]struct {
		fault UnitFault
		hit   bool
	}{
		"id":                {UnitFault{ID: "u?"}, true},
		"other id":          {UnitFault{ID: "v*"}, false},
		"deployment":        {UnitFault{Deployment: "cart"}, true},
		"class":             {UnitFault{Class: "shop.Cart"}, true},
		"class alone":       {UnitFault{Class: "Cart"}, false},
		"image":             {UnitFault{Image: "shop/cart:*"}, true},
		"other image":       {UnitFault{Image: "shop/cart:1"}, false},
		"function":          {UnitFault{Function: "add"}, true},
		"function of image": {UnitFault{Function: "none", Image: "shop/*"}, false},
		"all of several":    {UnitFault{ID: "u1", Class: "shop.*", Deployment: "other"}, false},
		"everything":        {UnitFault{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := New(Config{Name: "edge"})
			if err := s.Inject(unit); err != nil {
				t.Fatal(err)
			}
			tt.fault.Condition, tt.fault.Message = "Down", "image cannot be pulled"
			s.SetFaults(Faults{Units: []UnitFault{tt.fault}})
			_, body := call(t, s, "GET", "/api/v1/deployments/u1", "")
			want := map[bool]string{true: "Down", false: "Running"}[tt.hit]
			if body["status"] != want || tt.hit != (body["message"] == "image cannot be pulled") {
				t.Errorf("got %v, want %s", body, want)
			}
		})
	}
}

func TestSlowUnits(t *testing.T) {
	t.Parallel()
	clock := &testClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s := New(Config{Name: "edge", Now: clock.Now})
	s.SetFaults(Faults{Units: []UnitFault{{ID: "slow-*", TimeToRunning: Duration(time.Hour)}}})
	deploy(t, s, "slow-1")
	deploy(t, s, "u1")
	clock.advance(59 * time.Minute)
	for id, want := range map[string]string{"slow-1": "Deploying", "u1": "Running"} {
		if _, body := call(t, s, "GET", "/api/v1/deployments/"+id, ""); body["status"] != want {
			t.Errorf("%s: got %v, want %s", id, body["status"], want)
		}
	}
}

// TestHTTPFaults: those that TestGRPCFaults shows, over HTTP.
func TestHTTPFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		faults Faults
		status int
		code   string
		units  int
	}{
		"wrong term":     {Faults{StaleTerm: true}, 409, "stale_term", 0},
		"unimplemented":  {Faults{Unimplemented: []string{"deploy"}}, 501, "unimplemented", 0},
		"a unit refused": {Faults{Units: []UnitFault{{ID: "u1", Refuse: 422}}}, 422, "refused", 0},
		"all is well":    {Faults{}, 200, "", 1},
	} {
		s := New(Config{Name: "edge"})
		s.SetFaults(tt.faults)
		status, raw := callRaw(t, s, "POST", "/api/v1/deployments", unitJSON("u1", "cart"), "X-Oprc-Term", "1")
		var body map[string]any
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Fatal(err)
		}
		if code, _ := body["code"].(string); status != tt.status || code != tt.code || len(s.Units()) != tt.units {
			t.Errorf("%s: got %d %q and %d units, want %d %q and %d", name, status, code, len(s.Units()), tt.status, tt.code, tt.units)
		}
	}
	s := New(Config{Name: "edge"})
	s.SetFaults(Faults{StaleTerm: true})
	if status, _ := call(t, s, "GET", "/api/v1/health", ""); status != 200 {
		t.Errorf("without a term: got %d, want 200", status)
	}
}

func TestLostAfterAccept(t *testing.T) {
	t.Parallel()
	v := StartFor(t, Config{Name: "edge"})
	v.SetFaults(Faults{DropReply: true, Calls: []string{"deploy"}})
	response, err := client(t).Post(v.URL()+"/api/v1/deployments", "application/json", bytes.NewBufferString(unitJSON("u1", "cart")))
	if err == nil {
		_ = response.Body.Close()
		t.Error("got an answer, want the connection cut")
	}
	if got := len(v.Units()); got != 1 {
		t.Errorf("units: got %d, want 1", got)
	}
}

// TestHungCallsEndWithTheCaller is a hang as a client of gRPC meets it.
func TestHungCallsEndWithTheCaller(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		faults Faults
		units  int
	}{
		"hung": {Faults{Hang: true}, 0}, "hung after accept": {Faults{HangReply: true}, 1}, "slow": {Faults{Latency: Duration(time.Hour)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := StartFor(t, Config{Name: "edge"})
			v.SetFaults(tt.faults)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := dialGRPC(t, v).deployments.Deploy(ctx, &crmpb.DeployRequest{DeploymentUnit: protoUnit("u1")})
			wantCode(t, "deploy", err, codes.DeadlineExceeded)
			if got := len(v.Units()); got != tt.units {
				t.Errorf("units: got %d, want %d", got, tt.units)
			}
		})
	}
}

func TestFaultsAreChecked(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Faults{
		"pattern": {Units: []UnitFault{{ID: "["}}}, "refuse": {Units: []UnitFault{{Refuse: 200}}}, "way": {Units: []UnitFault{{TimeToRunning: -1}}},
		"unimplemented": {Unimplemented: []string{"fly"}}, "status": {Status: 99}, "latency": {Latency: -1},
	} {
		if err := f.Validate(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if err := validateSteps([]Step{{For: -1}}); err == nil {
		t.Error("a step of less than no time: got no error")
	}
}
