package httpapi

import (
	"errors"
	"fmt"
	"slices"

	"github.com/oprc/oprc-pm/crm/plan"
	"github.com/oprc/oprc-pm/model"
)

// planAnswer is a plan as clients see it.
type planAnswer struct {
	ID string `json:"id"`
	// Would is what the write would do to the document: create, update, nothing;
	// or roll, when only its units change.
	Would string `json:"would"`
	// Reason and Message say why there is no plan.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`

	Units        []model.DeploymentUnit `json:"units"`
	PlacedOn     []model.PlacedCluster  `json:"placed_on"`
	Requirements plan.Requirements      `json:"requirements"`
	Verdicts     []plan.Verdict         `json:"verdicts"`
	// Changes lead from the recorded units to those of the plan.
	Changes     []plan.Change `json:"changes"`
	Shortfall   string        `json:"shortfall"`
	UnknownEnvs []string      `json:"unknown_envs"`
	Stranded    []string      `json:"stranded"`
	Template    string        `json:"template"`
}

// deploymentPlan is a planAnswer in short.
type deploymentPlan struct {
	ID      string `json:"id"`
	Would   string `json:"would"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Changes without those that keep a unit.
	Changes   []plan.Change `json:"changes"`
	Shortfall string        `json:"shortfall,omitempty"`
}

// plan works out where a deployment belongs, from what the dispatcher would use.
// That there is no plan is an answer, too: the write would be accepted.
func (rq request) plan(s planSubject, explain bool) (planAnswer, error) {
	in := rq.s.deps.PlanInput(s.deployment, s.pkg)
	in.Explain = explain
	answer := planAnswer{ID: s.deployment.Key, Would: s.would}
	made, err := plan.Make(in)
	var unplannable *plan.Error
	switch {
	case errors.As(err, &unplannable):
		answer.Reason, answer.Message = unplannable.Reason, unplannable.Message
	case err != nil:
		return answer, fmt.Errorf("plan deployment %q: %w", s.deployment.Key, err)
	default:
		answer.Changes = plan.Compare(made, s.have)
	}
	answer.Units, answer.PlacedOn, answer.Requirements = made.Units, made.Placed, made.Requirements
	answer.Verdicts, answer.Shortfall, answer.UnknownEnvs = made.Verdicts, made.Shortfall, made.UnknownEnvs
	answer.Stranded, answer.Template = made.Stranded, made.Template
	if answer.Would == wouldNothing && slices.ContainsFunc(answer.Changes, changes) {
		answer.Would = wouldRoll
	}
	return answer, nil
}

func changes(c plan.Change) bool { return c.Action != plan.ChangeKeep }

func (a planAnswer) short() deploymentPlan {
	return deploymentPlan{
		ID: a.ID, Would: a.Would, Reason: a.Reason, Message: a.Message, Shortfall: a.Shortfall,
		Changes: slices.DeleteFunc(slices.Clone(a.Changes), func(c plan.Change) bool { return !changes(c) }),
	}
}
