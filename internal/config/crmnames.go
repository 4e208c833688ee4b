package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// This file finds the cluster that CRM_<NAME>_URL and CRM_<NAME>_TOKEN are about.
// NAME is a cluster's name in upper case with _ for every other character. Where
// no cluster is written so, NAME may abbreviate the one that it fits: word by
// word, each the beginning of the cluster's, as in the specification's
// CRM_PROD_EAST_URL for production-east. What would fit two is an error.

// namedVariable is a CRM_<NAME>_URL or CRM_<NAME>_TOKEN.
type namedVariable struct {
	variable, name string
	token          bool
	value          string
}

// applyNamed applies them, and keeps the tokens that are for no cluster: it may
// be added at run time.
func (c *CRM) applyNamed(env map[string]string) []error {
	var errs []error
	for _, v := range namedVariables(env) {
		names := c.fitting(v.name)
		switch {
		case len(names) > 1:
			errs = append(errs, fmt.Errorf("%s: may mean %s; write the name out", v.variable, strings.Join(names, " or ")))
		case len(names) == 1:
			c.Clusters[names[0]] = v.apply(c.Clusters[names[0]])
		case v.token:
			if c.Tokens == nil {
				c.Tokens = map[string]Secret{}
			}
			c.Tokens[v.name] = Secret(v.value)
		}
	}
	return errs
}

// namedVariables returns the abbreviating ones first where a cluster is meant by
// two, so that the one that writes the name out wins; otherwise in order.
func namedVariables(env map[string]string) []namedVariable {
	var found []namedVariable
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		rest, ok := strings.CutPrefix(variable, "CRM_")
		if !ok {
			continue
		}
		v := namedVariable{variable: variable, value: env[variable]}
		if v.name, ok = strings.CutSuffix(rest, "_TOKEN"); ok {
			v.token = true
		} else if v.name, ok = strings.CutSuffix(rest, "_URL"); !ok {
			continue
		}
		if v.name != "" {
			found = append(found, v)
		}
	}
	slices.SortStableFunc(found, func(a, b namedVariable) int { return len(a.name) - len(b.name) })
	return found
}

func (v namedVariable) apply(cluster CRMCluster) CRMCluster {
	if v.token {
		cluster.Authentication.AuthType = AuthBearer
		cluster.Authentication.Token = Secret(v.value)
	} else {
		cluster.BaseURL = v.value
	}
	return cluster
}

// fitting returns the clusters that a NAME is for, sorted.
func (c *CRM) fitting(name string) []string {
	var exact, abbreviated []string
	for _, cluster := range slices.Sorted(maps.Keys(c.Clusters)) {
		switch full := suffix(cluster); {
		case full == name:
			exact = append(exact, cluster)
		case abbreviates(name, full):
			abbreviated = append(abbreviated, cluster)
		}
	}
	if len(exact) > 0 || name == "DEFAULT" || strings.HasPrefix(name, "CLUSTER_") {
		return exact // the latter have a meaning of their own
	}
	return abbreviated
}

// minAbbreviation is the fewest letters that stand for a word: fewer would fit by
// chance.
const minAbbreviation = 3

// abbreviates tells whether each word of name begins the word of full in its
// place. Words with digits must be the same: EDGE_1 is not EDGE_10.
func abbreviates(name, full string) bool {
	short, long := strings.Split(name, "_"), strings.Split(full, "_")
	if len(short) != len(long) {
		return false
	}
	for i := range short {
		switch {
		case short[i] == long[i]:
		case len(short[i]) < minAbbreviation || strings.ContainsAny(short[i]+long[i], "0123456789"):
			return false
		case !strings.HasPrefix(long[i], short[i]):
			return false
		}
	}
	return true
}
