package sim

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// Faults is how a simulator misbehaves. The zero value is good behaviour.
type Faults struct {
	// Calls limits the faults to calls of these names (see Call.Name); empty
	// means all calls of the contract. Refuse and Units are not limited.
	Calls []string `json:"calls,omitempty"`
	// Refuse closes the ports, and all connections, until it is lifted. Where the
	// simulator has no port of its own its connections are cut.
	Refuse bool `json:"refuse,omitempty"`
	// Latency is added before a call has its effect.
	Latency Duration `json:"latency,omitempty"`
	// ErrorRate is the share of calls, 0 to 1, that are answered 503 without
	// an effect.
	ErrorRate float64 `json:"error_rate,omitempty"`
	// Status, when not 0, is answered to every call, without an effect.
	Status int `json:"status,omitempty"`
	// StaleTerm refuses every call that carries a term, as a CRM does that has
	// seen a newer one.
	StaleTerm bool `json:"stale_term,omitempty"`
	// Unimplemented are calls (see Call.Name) that the CRM does not know.
	Unimplemented []string `json:"unimplemented,omitempty"`
	// Hang stops calls before their effect until the caller goes away or the
	// fault is lifted; HangReply stops them after their effect.
	Hang      bool `json:"hang,omitempty"`
	HangReply bool `json:"hang_reply,omitempty"`
	// DropReply cuts the connection after the effect, in place of an answer.
	DropReply bool `json:"drop_reply,omitempty"`
	// Garbage answers with nonsense, after the effect.
	Garbage bool `json:"garbage,omitempty"`
	// Condition, when not empty, is reported of every unit.
	Condition string `json:"condition,omitempty"`
	// Units are those that fare badly; the first match counts.
	Units []UnitFault `json:"units,omitempty"`
}

// UnitFault is what befalls the units that match all of its patterns (of
// path.Match; empty matches anything).
type UnitFault struct {
	ID string `json:"id,omitempty"`
	// Deployment is the key of the deployment, over gRPC what is said beside the
	// unit.
	Deployment string `json:"deployment,omitempty"`
	// Class as PACKAGE.CLASS.
	Class string `json:"class,omitempty"`
	// Function and Image match when those of any function of the unit do.
	Function string `json:"function,omitempty"`
	Image    string `json:"image,omitempty"`

	// Refuse, when not 0, is the HTTP status that answers a deploy.
	Refuse int `json:"refuse,omitempty"`
	// Condition, when not empty, is what the unit reports, Down or Pending for
	// instance, with Message. A status call of gRPC is answered OK and Message
	// alone, in whatever words; the condition is in the record.
	Condition string `json:"condition,omitempty"`
	Message   string `json:"message,omitempty"`
	// TimeToRunning replaces that of the cluster when not 0.
	TimeToRunning Duration `json:"time_to_running,omitempty"`
}

// Validate returns all problems, joined.
func (f Faults) Validate() error {
	var errs []error
	if !(f.ErrorRate >= 0 && f.ErrorRate <= 1) {
		errs = append(errs, errors.New("error_rate must be between 0 and 1"))
	}
	if f.Latency < 0 {
		errs = append(errs, errors.New("latency must not be negative"))
	}
	if f.Status != 0 && !validStatus(f.Status) {
		errs = append(errs, errors.New("status must be between 200 and 599"))
	}
	errs = append(errs, validateCalls("calls", f.Calls), validateCalls("unimplemented", f.Unimplemented))
	for i, u := range f.Units {
		if err := u.validate(); err != nil {
			errs = append(errs, fmt.Errorf("units[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func validStatus(status int) bool { return status >= 200 && status <= 599 }

func validateCalls(field string, calls []string) error {
	for _, call := range calls {
		if !slices.Contains(callNames, call) {
			return fmt.Errorf("%s: %q is none of %v", field, call, callNames)
		}
	}
	return nil
}

func (u UnitFault) validate() error {
	var errs []error
	for _, pattern := range []string{u.ID, u.Deployment, u.Class, u.Function, u.Image} {
		if _, err := path.Match(pattern, ""); err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", pattern, err))
		}
	}
	if u.Refuse != 0 && (u.Refuse < 400 || u.Refuse > 599) {
		errs = append(errs, errors.New("refuse must be between 400 and 599"))
	}
	if u.TimeToRunning < 0 {
		errs = append(errs, errors.New("time_to_running must not be negative"))
	}
	return errors.Join(errs...)
}

func (f Faults) concern(call string) bool {
	return len(f.Calls) == 0 || slices.Contains(f.Calls, call)
}

// of returns what befalls a unit; zero when nothing does.
func (f Faults) of(unit *model.DeploymentUnit) UnitFault {
	for i := range f.Units {
		if f.Units[i].matches(unit) {
			return f.Units[i]
		}
	}
	return UnitFault{}
}

func (u *UnitFault) matches(unit *model.DeploymentUnit) bool {
	if !matches(u.ID, unit.ID) || !matches(u.Deployment, unit.DeploymentKey) || !matches(u.Class, unit.PackageName+"."+unit.ClassKey) {
		return false
	}
	if u.Function == "" && u.Image == "" {
		return true
	}
	for _, f := range unit.Functions {
		image := ""
		if f.ProvisionConfig != nil && f.ProvisionConfig.ContainerImage != nil {
			image = *f.ProvisionConfig.ContainerImage
		}
		if matches(u.Function, f.FunctionKey) && matches(u.Image, image) {
			return true
		}
	}
	return false
}

// matches tells whether pattern, which is valid, matches value.
func matches(pattern, value string) bool {
	if pattern == "" {
		return true
	}
	matched, _ := path.Match(pattern, value) // Its errors are found by validate.
	return matched
}

// Duration is a time.Duration that is text in JSON, as in 150ms.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	*d = Duration(value)
	return err
}
