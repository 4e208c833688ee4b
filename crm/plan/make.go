package plan

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/oprc/oprc-pm/model"
)

// Make works out where a deployment belongs and the units that are to exist. It is
// pure: the same input gives the same plan, ids included. The error, if any, is an
// *Error; the plan then has no units, but says what is known: unknown targets,
// requirements, verdicts. The plan shares memory with the input; treat it as
// read-only. Safe for concurrent use.
func Make(in Input) (Plan, error) {
	d := &in.Deployment
	at := slices.IndexFunc(in.Package.Classes, func(c model.Class) bool { return c.Key == d.ClassKey })
	if at < 0 {
		return Plan{}, Errorf(ReasonClassNotFound, "package %s has no class %s", in.Package.Name, d.ClassKey)
	}
	class := in.Package.Classes[at]
	w := newWork(&in, class)
	defer w.release()
	plan := Plan{UnknownEnvs: w.readTargets()}
	if err := w.checkTargets(plan.UnknownEnvs); err != nil {
		w.explain(&plan)
		return plan, err
	}
	w.choose()
	slices.Sort(w.stranded)
	plan.Stranded, plan.Shortfall = w.stranded, w.shortfall()
	plan.Requirements = w.requirements()
	w.explain(&plan)
	if plan.StoodIn = w.stoodIn(plan.UnknownEnvs); w.presentPlaces() == 0 {
		if plan.Shortfall == "" {
			return plan, unknownError(plan.UnknownEnvs)
		}
		return plan, Errorf(ReasonNoFit, "no cluster fits: %s", plan.Shortfall)
	}
	functions, err := resolveFunctions(d, &in.Package, class)
	if err != nil {
		return plan, err
	}
	w.assignNodeIDs()
	units, least, notes := w.buildUnits(class, functions)
	plan.Units, plan.Placed = units, w.record()
	plan.Functions, plan.Template = functions, hashTemplate(d, class, functions)
	plan.Requirements.MinScale = least
	plan.Requirements.Notes = append(plan.Requirements.Notes, notes...)
	return plan, nil
}

// checkTargets says why there is nothing to choose from, if so.
func (w *work) checkTargets(unknown []string) error {
	switch {
	case len(w.named)+len(w.groups) > 0:
		return nil
	case len(unknown) > 0:
		return unknownError(unknown)
	case len(w.all()) == 0:
		return Errorf(ReasonNoEnvironment, "there are no clusters")
	}
	return Errorf(ReasonNoEnvironment, "none of available_envs exists: %s", model.NameList(w.d.AvailableEnvs))
}

func unknownError(names []string) *Error {
	return Errorf(ReasonUnknownEnvironment, "no cluster and no environment has the name %s", model.NameList(names))
}

// presentPlaces is how many clusters are selected that exist.
func (w *work) presentPlaces() int {
	count := 0
	for n := range w.places {
		if !w.isVacant(&w.places[n]) {
			count++
		}
	}
	return count
}

// stoodIn returns those of the targets that name nothing for which other clusters
// stand in, for all of their places.
func (w *work) stoodIn(unknown []string) []string {
	var names []string
	for _, name := range unknown {
		wanted, present := 1, 0
		for g := range w.groups {
			if w.groups[g].environment == name {
				wanted = w.groups[g].number
			}
		}
		for n := range w.places {
			if p := &w.places[n]; p.standsFor == name && !w.isVacant(p) {
				present++
			}
		}
		if present >= max(1, wanted) {
			names = append(names, name)
		}
	}
	return names
}

// requirements sums up what was asked for and what the selection gives.
func (w *work) requirements() Requirements {
	up := newReliability(w.want.quorum)
	for _, p := range w.places {
		up.add(w.states[p.cluster].availability)
	}
	r := Requirements{
		Clusters: w.presentPlaces() + w.missing(), Availability: w.want.availability,
		AchievedAvailability: up.value(), Quorum: w.want.quorum, Notes: w.want.notes,
	}
	if w.want.quorum && len(w.groups) == 0 && len(w.named) < 3 {
		r.note("strong consistency needs 3 clusters to survive the loss of one; %d named", len(w.named))
	}
	if up.count > 0 && !up.reaches(w.want.availability) {
		r.note("the selection reaches availability %s, less than %s", figure(up.value()), figure(w.want.availability))
	}
	return r
}

func (r *Requirements) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// figure shows a probability with as many nines as it has.
func figure(p float64) string { return string(appendFigure(nil, p)) }

func appendFigure(dst []byte, p float64) []byte {
	dst = strconv.AppendFloat(dst, p, 'f', 9, 64)
	return bytes.TrimSuffix(bytes.TrimRight(dst, "0"), []byte("."))
}
