package httpapi

import (
	"bytes"
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// rehearse runs commands on an overlay of the present state, by the rules that
// apply when they are committed, and calls look with what is then there. The
// first command that is rejected ends it with that rejection. look must not keep
// what the overlay hands out.
func (rq request) rehearse(commands []storage.Command, look func(after storage.Reader, results []storage.Result) error) (storage.ReadInfo, error) {
	if rq.s.deps.NewMachine == nil || rq.s.deps.PlanInput == nil {
		return storage.ReadInfo{}, errNoPlans()
	}
	now := time.Now()
	return rq.view(storage.ReadOptions{}, func(r storage.Reader) error {
		after := newOverlay(r)
		results := make([]storage.Result, 0, len(commands))
		machine := rq.s.deps.NewMachine()
		for _, command := range commands {
			// The index only has to be one that no document has.
			index := rq.s.deps.Store.Status().AppliedIndex + uint64(len(results)) + 1
			applied, _, err := machine.Apply(after, index, 0, []storage.Proposal{{Request: storage.Request{Command: command}, At: now}})
			if err != nil {
				return fmt.Errorf("rehearse %T: %w", command, err)
			}
			if err := applied[0].Err(); err != nil {
				return err
			}
			results = append(results, applied[0])
		}
		return look(after, results)
	})
}

func errNoPlans() error {
	return model.Errorf(model.CodeUnavailable, "this node cannot make plans")
}

// wouldWord says what a write would do, for a dry run.
func wouldWord(o storage.Outcome) string {
	switch o {
	case storage.Created:
		return wouldCreate
	case storage.Unchanged:
		return wouldNothing
	}
	return wouldUpdate
}

const (
	wouldCreate  = "create"
	wouldUpdate  = "update"
	wouldNothing = "nothing"
	// wouldRoll: the deployment stays as it is, but its units change.
	wouldRoll = "roll"
)

// dryRunDeployment answers what storing a deployment would lead to.
func (rq request) dryRunDeployment(cmd storage.PutDeployment, pre precondition) error {
	var subject planSubject
	info, err := rq.rehearse([]storage.Command{cmd}, func(after storage.Reader, results []storage.Result) error {
		var err error
		subject, err = readSubject(after, cmd.Key)
		subject.would = wouldWord(results[0].Outcome)
		return err
	})
	if err != nil {
		return pre.explain(err)
	}
	if err := rq.awaitInventory(info.Index); err != nil {
		return err
	}
	answer, err := rq.plan(subject, true)
	if err != nil {
		return err
	}
	return rq.answerLarge(&answer)
}

// packagePlan is what storing a package would lead to.
type packagePlan struct {
	ID    string `json:"id"`
	Would string `json:"would"`
	// Deployments of the package, and what would become of their units.
	Deployments []deploymentPlan `json:"deployments"`
	// Plans are those of the embedded deployments, in full.
	Plans []planAnswer `json:"plans"`
	// Omitted is how many deployments were not looked at, since there are so
	// many.
	Omitted int `json:"omitted"`
}

// maxPackagePlans bounds how many deployments the dry run of a package looks at.
const maxPackagePlans = 500

// dryRunPackage answers what storing a package, with its embedded deployments,
// would lead to.
func (rq request) dryRunPackage(cmd storage.PutPackage, embedded []storage.PutDeployment, pre precondition) error {
	commands := []storage.Command{cmd}
	for _, c := range embedded {
		commands = append(commands, c)
	}
	answer := packagePlan{ID: cmd.Name, Deployments: []deploymentPlan{}, Plans: []planAnswer{}}
	would := map[string]string{}
	var subjects []planSubject
	info, err := rq.rehearse(commands, func(after storage.Reader, results []storage.Result) error {
		answer.Would, answer.Omitted, subjects = wouldWord(results[0].Outcome), 0, subjects[:0]
		for i, c := range embedded {
			would[c.Key] = wouldWord(results[i+1].Outcome)
		}
		return storage.ByPackage.Scan(after, cmd.Name, "", func(key string) (bool, error) {
			if _, isEmbedded := would[key]; len(subjects) >= maxPackagePlans && !isEmbedded {
				answer.Omitted++
				return true, nil
			}
			subject, err := readSubject(after, key)
			subject.would = orElse(would[key], wouldNothing)
			subjects = append(subjects, subject)
			return true, err
		})
	})
	if err != nil {
		return pre.explain(err)
	}
	if err := rq.awaitInventory(info.Index); err != nil {
		return err
	}
	for _, subject := range subjects {
		_, isEmbedded := would[subject.deployment.Key]
		planned, err := rq.plan(subject, isEmbedded)
		if err != nil {
			return err
		}
		if isEmbedded {
			answer.Plans = append(answer.Plans, planned)
		}
		answer.Deployments = append(answer.Deployments, planned.short())
	}
	return rq.answerLarge(&answer)
}

// handleDeploymentPlan answers where a deployment belongs now, and why.
func (s *Server) handleDeploymentPlan(rq request) error {
	key, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	if s.deps.PlanInput == nil {
		return errNoPlans()
	}
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	var subject planSubject
	info, err := rq.view(opts, func(r storage.Reader) error {
		var err error
		subject, err = readSubject(r, key)
		subject.would = wouldNothing
		return err
	})
	if err != nil {
		return err
	}
	if err := rq.awaitInventory(info.Index); err != nil {
		return err
	}
	answer, err := rq.plan(subject, true)
	if err != nil {
		return err
	}
	return rq.answerLarge(&answer)
}

// planSubject is a deployment that is to be planned, as it is stored or would
// be.
type planSubject struct {
	deployment model.Deployment
	pkg        model.Package
	// have are the units that are recorded.
	have  []model.UnitStatus
	would string
}

func readSubject(r storage.Reader, key string) (planSubject, error) {
	var s planSubject
	d, found, err := readDeployment(r, key)
	if err != nil {
		return s, err
	}
	if !found {
		return s, deploymentMissing(key)
	}
	doc, err := r.Get(storage.PackageKey(d.PackageName))
	if err != nil {
		return s, err
	}
	s.deployment = d
	if doc != nil {
		if s.pkg, err = model.ParsePackage(bytes.Clone(doc)); err != nil {
			return s, fmt.Errorf("read package %q: %w", d.PackageName, err)
		}
	}
	s.have, err = storage.DecodeUnits(r, key)
	return s, err
}
