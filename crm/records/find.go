package records

import (
	"context"
	"fmt"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/model"
)

// place is where a unit may be, and the id by which its CRM knows it.
type place struct{ cluster, id string }

// find asks where the unit may be. The first cluster that knows it ends the
// search.
func find[T any](ctx context.Context, r *Reader, id, cluster string, question func(context.Context, place, crm.Client) (T, error)) (T, error) {
	var none T
	places, failed, err := r.places(id, cluster)
	if err != nil {
		return none, err
	}
	if len(places) == 1 {
		o := ask(ctx, r, places[0].cluster, func(ctx context.Context, _ string, client crm.Client) (T, error) {
			return question(ctx, places[0], client)
		})
		return verdict(id, []outcome[T]{o}, failed)
	}
	ids := make(map[string]string, len(places))
	names := make([]string, len(places))
	for i, p := range places {
		ids[p.cluster], names[i] = p.id, p.cluster
	}
	search, stop := context.WithCancel(ctx)
	defer stop()
	outcomes, err := askAll(search, r, names, func(ctx context.Context, name string, client crm.Client) (T, error) {
		value, err := question(ctx, place{name, ids[name]}, client)
		if err == nil {
			stop() // the others need not look any further
		}
		return value, err
	})
	if err != nil {
		return none, err
	}
	return verdict(id, outcomes, failed)
}

// verdict is what the outcomes of a search amount to. failed are clusters that
// were not asked.
func verdict[T any](id string, outcomes []outcome[T], failed []model.ClusterFailure) (T, error) {
	var none T
	unasked := len(failed)
	for _, o := range outcomes {
		switch {
		case o.err == nil:
			return o.value, nil
		case crm.ClassOf(o.err) != crm.ClassNotFound:
			failed = append(failed, *Failure(o.cluster, o.err))
		}
	}
	switch asked := len(outcomes) + unasked; {
	case len(failed) == 0 && asked == 1:
		return none, model.Errorf(model.CodeNotFound, "cluster %q knows no unit %q", outcomes[0].cluster, id)
	case len(failed) == 0:
		return none, model.Errorf(model.CodeNotFound, "no cluster knows a unit %q", id)
	case asked > 1:
		return none, undecided(id, failed)
	}
	return none, &failed[0]
}

// undecided words a search that ended with clusters missing: the unit may be in
// any of them.
func undecided(id string, failed []model.ClusterFailure) error {
	f := failed[0]
	f.Message += fmt.Sprintf("; it may know unit %q, which no cluster that answered does", id)
	if others := failed[1:]; len(others) > 0 {
		names := make([]string, len(others))
		for i, other := range others {
			names[i] = other.Cluster
		}
		f.Message += "; so may " + model.NameList(names)
	}
	return &f
}

// places lists where a unit may be: in the cluster that is given, else where it
// is recorded, else anywhere.
func (r *Reader) places(id, cluster string) (places []place, failed []model.ClusterFailure, err error) {
	for _, ref := range r.inventory.FindUnit(id) {
		if cluster != "" && ref.Cluster != cluster {
			continue
		}
		at := place{ref.Cluster, ref.CRMID}
		if at.id == "" {
			// The CRM has not confirmed it; the id it was asked to run may do.
			at.id = ref.Unit
		}
		places = append(places, at)
	}
	if len(places) > 0 {
		return unique(places), nil, nil
	}
	names, err := r.asked(cluster, &failed)
	for _, name := range names {
		places = append(places, place{name, id})
	}
	if err == nil && len(names)+len(failed) == 0 {
		err = model.Errorf(model.CodeClusterUnavailable, "there is no cluster that could be asked")
	}
	return places, failed, err
}

// unique keeps one place per cluster.
func unique(places []place) []place {
	seen := map[string]bool{}
	kept := places[:0]
	for _, p := range places {
		if !seen[p.cluster] {
			seen[p.cluster] = true
			kept = append(kept, p)
		}
	}
	return kept
}
